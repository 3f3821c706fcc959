"""Executes the notebooks of the gallery and writes their pages.

A notebook is a Python file in the percent format, which editors and Jupyter (with jupytext) open
as a notebook, ruff checks, and a diff shows line by line. From `NAME.py` come, in docs/gallery,
the page `NAME.md` with outputs and pictures and the notebook `NAME.ipynb` without them.

    python examples/gallery/render.py            # all
    python examples/gallery/render.py ase jaqmc  # some
"""

import ast
import contextlib
import io
import json
import os
import re
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
SOURCES = Path(__file__).parent
PAGES = ROOT / "docs" / "gallery"


class Cell(NamedTuple):
    """A cell of a notebook: its text, and whether that is Markdown."""

    markdown: bool
    text: str


def names() -> list[str]:
    """Names of the notebooks, in alphabetical order."""
    return sorted(p.stem for p in SOURCES.glob("*.py") if p.stem != "render")


def read_cells(name: str) -> list[Cell]:
    """The cells of a notebook; Markdown without its comment signs."""
    cells = []
    for part in re.split(r"^# %%", (SOURCES / f"{name}.py").read_text(), flags=re.MULTILINE)[1:]:
        head, _, body = part.partition("\n")
        markdown = "[markdown]" in head
        cells.append(
            Cell(
                markdown,
                re.sub(r"^# ?", "", body, flags=re.MULTILINE).strip() if markdown else body.strip(),
            )
        )
    return cells


def notebook(cells: list[Cell]) -> str:
    """The JSON of a notebook without outputs (nbformat 4.5)."""
    common = [
        {
            "cell_type": "markdown" if cell.markdown else "code",
            "id": f"cell-{place}",
            "metadata": {},
            "source": cell.text.splitlines(keepends=True),
        }
        for place, cell in enumerate(cells)
    ]
    code = {"execution_count": None, "outputs": []}
    whole = {
        "cells": [c if c["cell_type"] == "markdown" else c | code for c in common],
        "metadata": {"language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def execute(text: str, namespace: dict[str, Any]) -> str:
    """Runs a cell, and returns what it printed and the value of an expression at its end.

    Objects of matplotlib are left out: their pictures are saved.
    """
    tree = ast.parse(text)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "<cell>", "exec"), namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "<cell>", "eval"), namespace)
            if value is not None and not type(value).__module__.startswith("matplotlib"):
                print(repr(value))
    return printed.getvalue().rstrip()


def save_pictures(stem: Path) -> list[Path]:
    """Writes the open figures of matplotlib as `STEM-N.png`, and closes them."""
    import matplotlib.pyplot as plt

    paths = []
    for figure in map(plt.figure, plt.get_fignums()):
        paths.append(
            stem.with_name(
                f"{stem.name}-{len(list(stem.parent.glob(stem.name + '-*.png'))) + 1}.png"
            )
        )
        figure.savefig(paths[-1], dpi=110, bbox_inches="tight")
    plt.close("all")
    return paths


def render(name: str, pages: Path = PAGES) -> None:
    """Executes a notebook and writes its page, its pictures and the file to download."""
    import matplotlib

    matplotlib.use("agg")
    for old in pages.glob(f"{name}-*.png"):
        old.unlink()
    cells = read_cells(name)
    namespace: dict[str, Any] = {"__name__": "notebook"}
    parts = []
    for cell in cells:
        parts.append(cell.text if cell.markdown else f"```python\n{cell.text}\n```")
        if not cell.markdown:
            if output := execute(cell.text, namespace):
                parts.append(f"```text\n{output}\n```")
            parts += [f"![]({path.name})" for path in save_pictures(pages / name)]
    title, rest = parts[0].split("\n", 1) if "\n" in parts[0] else (parts[0], "")
    link = f"*A notebook: [download it]({name}.ipynb).*"
    (pages / f"{name}.md").write_text("\n\n".join([title, link, rest.strip(), *parts[1:]]) + "\n")
    (pages / f"{name}.ipynb").write_text(notebook(cells))


def main(arguments: list[str]) -> None:
    """Renders the notebooks named, or all, in an empty folder with the data `tio2`."""
    sys.path[0] = str(ROOT)  # in place of this folder, whose ase.py would hide ASE
    warnings.simplefilter("ignore", DeprecationWarning)
    for name in arguments or names():
        with tempfile.TemporaryDirectory() as folder:
            os.chdir(folder)
            Path("tio2").symlink_to(ROOT / "tests" / "data" / "tio2")
            render(name)
            os.chdir(ROOT)


if __name__ == "__main__":
    main(sys.argv[1:])
