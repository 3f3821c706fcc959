"""The page of a report."""

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import ritz
from ritz.extras import needs
from ritz.folders.files import atomic_write
from ritz.folders.view import ANY_RUN, Quantity, RunView
from ritz.plotting import draw_runs, panels_of
from ritz.report import interactive, static
from ritz.report.facts import RunFacts, Views, facts_of
from ritz.report.numbers import digest_rows, headline, result_rows, timing_rows, with_error
from ritz.sweeps.comparison import compare
from ritz.sweeps.picture import draw_comparison
from ritz.sweeps.results import runs_in

_POINTS = 6000
"""Number of points of a quantity in interactive pictures, of all runs together, about."""
_LEAST_POINTS, _MOST_POINTS = 400, 2000
_ACCEPTANCE = Quantity("acceptance")


def write_report(
    runs: Sequence[str | Path],
    output: str | Path = "report.html",
    view_of: Views = lambda _: ANY_RUN,
) -> Path:
    """Write a page about one or several runs.

    The page is one file of HTML that asks for nothing from the network. Its pictures are
    interactive (Bokeh), and static ones take their place in a browser without JavaScript. It shows
    results with error bars and how each run ended, curves, warnings, the digest of an evaluation,
    predicted against known values, step times and the time spent in hooks, the configuration, and
    machine and versions; of several runs also a table of what differs.

    Args:
        runs: Run folders, folders of runs such as that of a sweep, or logs.
        output: The file.
        view_of: How the run in a folder is shown, see `RunView`.

    Returns:
        `output`.

    Raises:
        MissingExtra: If Bokeh, matplotlib or pandas is not installed.
        ValueError: If there is no run.
    """
    with needs("A report", "report"):
        import bokeh  # noqa: F401
        import jinja2
        import matplotlib  # noqa: F401
        import pandas  # noqa: F401

    known = [facts_of(path, view_of) for path in _expanded(runs)]
    figures: dict[str, Any] = {}
    content = {
        "title": known[0].name if len(known) == 1 else f"{len(known)} runs",
        "version": ritz.__version__,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "style": (files("ritz.report") / "style.css").read_text(),
        "comparison": _comparison(known),
        "groups": list(_groups(known, figures)),
        "runs": [_run(number, facts, figures) for number, facts in enumerate(known)],
    }
    content["scripts"], content["places"] = interactive.scripts_and_pictures(figures)
    source = (files("ritz.report") / "page.html").read_text()
    options: Any = {"autoescape": True, "trim_blocks": True, "lstrip_blocks": True}
    page = jinja2.Environment(**options).from_string(source).render(content)
    output = Path(output)
    output.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(output, page.encode())
    return output


def _expanded(runs: Sequence[str | Path]) -> list[Path]:
    """Runs, with those of a folder in its place."""
    found: list[Path] = []
    for path in map(Path, runs):
        try:
            found += runs_in(path)
        except ValueError:
            found.append(path)  # a log, or the folder of one
    return list(dict.fromkeys(found))


def _comparison(known: Sequence[RunFacts]) -> dict[str, Any] | None:
    """What differs between several runs, as a table and a picture; None for one run."""
    folders = [facts.path for facts in known if facts.path.is_dir() and facts.result]
    if len(folders) < 2:
        return None
    frame = compare(folders)
    quantity = frame.attrs["quantity"]
    shown: Any = frame.drop(columns=["suspect", "error"], errors="ignore")
    rows = []
    for place, row in enumerate(shown.to_dict("records")):
        cells = {name: _cell(name, value) for name, value in row.items()}
        if "error" in frame and math.isfinite(row[quantity] or math.nan):
            cells[quantity] = with_error(row[quantity], frame["error"].iloc[place])
        rows.append((Path(frame.index[place]).name, cells))
    picture = None
    with contextlib.suppress(ValueError):  # no setting with numbers differs, or no results yet
        picture = static.svg_of(draw_comparison(frame))
    return {"columns": list(shown.columns), "rows": rows, "svg": picture}


def _cell(name: str, value: Any) -> str:
    if isinstance(value, float):
        digits = 3 if name in ("seconds", "relative_error") else 9
        return "" if math.isnan(value) else f"{value:.{digits}g}"
    return "" if value is None else str(value)


def _groups(known: Sequence[RunFacts], figures: dict[str, Any]) -> Any:
    """Curves of the runs of each domain over each other."""
    logged = sorted((f for f in known if f.has_log), key=lambda facts: facts.domain or "")
    for number, (domain, members) in enumerate(
        itertools.groupby(logged, lambda facts: facts.domain)
    ):
        runs = list(members)
        paths, view = [facts.path for facts in runs], _with_acceptance(runs[0].view)
        exact = {facts.exact for facts in runs}
        reference = exact.pop() if len(exact) == 1 else None
        most = min(max(_POINTS // len(runs), _LEAST_POINTS), _MOST_POINTS)
        try:
            curves = panels_of(paths, view=view, most=most)
            picture = draw_runs(paths, exact=reference, view=view)
        except ValueError as error:
            yield {"domain": domain, "told": str(error), "svg": None, "names": []}
            continue
        names = []
        made = interactive.panels(curves, reference, view.reference)
        for place, figure in enumerate(made):
            names.append(f"curves{number}_{place}")
            figures[names[-1]] = figure
        banded = any(c is not None and c.error is not None for _, own in curves for c in own)
        svg = static.svg_of(picture)
        yield {"domain": domain, "told": "", "svg": svg, "names": names, "banded": banded}


def _with_acceptance(view: RunView) -> RunView:
    """The view with the acceptance of moves below its curves."""
    if any(one.name == _ACCEPTANCE.name for one in view.curves):
        return view
    return dataclasses.replace(view, curves=(*view.curves, _ACCEPTANCE))


def _run(number: int, facts: RunFacts, figures: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of one run besides its curves."""
    pictures = {}
    if facts.steps is not None:
        name = f"steps{number}"
        figures[name] = interactive.step_time_figure(facts.steps)
        pictures["steps"] = name, static.svg_of(static.step_time_figure(facts.steps))
    parities = []
    for quantity, parity in facts.parity.items():
        name = f"parity{number}_{quantity}"
        figures[name] = interactive.parity_figure(quantity, parity)
        svg = static.svg_of(static.parity_figure(quantity, parity))
        parities.append((quantity, parity, name, svg))
    return {
        "facts": facts,
        "headline": headline(facts),
        "results": result_rows(facts),
        "digest": digest_rows(facts.digest),
        "timing": timing_rows(facts.timing),
        "pictures": pictures,
        "parities": parities,
    }
