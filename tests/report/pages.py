"""Pages of reports, read."""

from html.parser import HTMLParser
from pathlib import Path

from ritz.report import write_report


class Page(HTMLParser):
    """Text of a page without scripts and pictures, and what its elements refer to."""

    def __init__(self, file: Path):
        super().__init__()
        self.text, self.links, self.inside = "", [], []
        self.cells: list[str] = []
        """Text of the cells of all tables."""
        self.svg: list[str] = []
        """Text of the pictures for readers without JavaScript, as matplotlib notes it."""
        self._in_cell = False
        self.feed(file.read_text())
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list) -> None:
        links = ("src", "href", "xlink:href", "action", "data")
        self.links += [value for name, value in attrs if name in links]
        if tag in ("script", "style", "svg"):
            self.inside.append(tag)
        if tag in ("td", "th"):
            self._in_cell = True
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        if self.inside and tag == self.inside[-1]:
            self.inside.pop()
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if not self.inside:
            self.text += data
        if self._in_cell:
            self.cells[-1] += data

    def handle_comment(self, data: str) -> None:
        if "svg" in self.inside:  # matplotlib notes the text of paths here
            self.svg.append(data.strip())


def page_of(*runs: Path, **settings: object) -> Page:
    """The page about runs, written and read."""
    return Page(write_report(runs, "page-of-runs.html", **settings))  # type: ignore[arg-type]
