"""The page of a report."""

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import ritz
from ritz.extras import needs
from ritz.folders.files import atomic_write
from ritz.folders.view import ANY_RUN, Quantity, RunView
from ritz.plotting import RunLog, draw_panels, labels_of, panels_of_readable
from ritz.plotting.parity import FILE as PARITY
from ritz.report import interactive, static
from ritz.report.facts import RunFacts, Views, facts_of
from ritz.report.numbers import (
    digest_rows,
    headline,
    number_text,
    result_rows,
    timing_rows,
    unit_of,
)
from ritz.stages.digest import FILE as DIGEST
from ritz.sweeps.comparison import table_of
from ritz.sweeps.picture import draw_comparison
from ritz.sweeps.results import runs_in

_POINTS = 6000
"""Number of points of a quantity in interactive pictures, of all runs together, about."""
_LEAST_POINTS, _MOST_POINTS = 400, 2000
_ACCEPTANCE = Quantity("acceptance")


def write_report(
    runs: str | Path | Sequence[str | Path],
    output: str | Path = "report.html",
    view_of: Views = lambda _: ANY_RUN,
    quantities: Sequence[str] = (),
) -> Path:
    """Write a page about one or several runs.

    The page is one file of HTML that asks for nothing from the network. Its pictures are
    interactive (Bokeh), and static ones take their place in a browser without JavaScript. It shows
    results with error bars and how each run ended, curves, warnings, the digest of an evaluation,
    predicted against known values, step times and the time spent in hooks, the configuration, and
    machine and versions; of several runs also a table of what differs.

    Args:
        runs: Run folders, folders of runs such as that of a sweep, or logs; or one of them.
        output: The file.
        view_of: How the run in a folder is shown, see `RunView`.
        quantities: Names of further logged quantities that are drawn, such as those that a callback
            logs.

    Returns:
        `output`.

    Raises:
        MissingExtra: If Bokeh, matplotlib or pandas is not installed.
        ValueError: If there is no run, none is given, or none has one of `quantities`.
    """
    with needs("A report", "report"):
        import bokeh  # noqa: F401
        import jinja2
        import matplotlib  # noqa: F401
        import pandas  # noqa: F401

    known = _named([facts_of(path, view_of) for path in _expanded(runs)])
    _check_quantities(quantities, known)
    figures: dict[str, Any] = {}
    content = {
        "title": known[0].name if len(known) == 1 else f"{len(known)} runs",
        "version": ritz.__version__,
        "written": time.strftime("%Y-%m-%d %H:%M"),
        "style": (files("ritz.report") / "style.css").read_text(),
        "comparison": _comparison(known),
        "groups": list(_groups(known, figures, quantities)),
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


def _expanded(runs: str | Path | Sequence[str | Path]) -> list[Path]:
    """Runs, with those of a folder in its place, each once."""
    paths = [runs] if isinstance(runs, str | Path) else runs
    found: list[Path] = []
    for path in map(Path, paths):
        try:
            found += runs_in(path)
        except ValueError:
            found.append(path)  # a log, or the folder of one
    if not found:
        raise ValueError('a report needs at least one run, such as write_report("runs/ising").')
    return list({path.resolve(): path for path in found}.values())


def _named(known: Sequence[RunFacts]) -> list[RunFacts]:
    """Several runs, called by what tells their paths apart."""
    if len(known) == 1:
        return list(known)
    labels = labels_of([facts.path for facts in known])
    pairs = zip(known, labels, strict=True)
    return [dataclasses.replace(facts, name=label) for facts, label in pairs]


def _comparison(known: Sequence[RunFacts]) -> dict[str, Any] | None:
    """What differs between several runs, as a table and a picture; None for one run."""
    compared = {str(facts.path): facts for facts in known if facts.path.is_dir() and facts.result}
    if len(compared) < 2:
        return None
    frame = table_of([facts.path for facts in compared.values()])
    shown: Any = frame.drop(columns=["suspect", "error"], errors="ignore")
    differing = _differing([facts.machine for facts in compared.values()])
    machines = [name for name in differing if name not in shown]  # or else it is a setting
    rows = []
    for path, cells in zip(frame.index, frame.to_dict("records"), strict=True):
        facts = compared[str(path)]
        texts = {name: _cell(name, cells, frame.attrs["quantity"], facts) for name in shown}
        texts |= {name: facts.machine.get(name, "") for name in machines}
        rows.append((facts.name, texts))
    columns = [*shown.columns, *machines]
    views = [facts.view for facts in compared.values()]
    return {"columns": columns, "rows": rows, "svg": _comparison_svg(frame, views)}


def _comparison_svg(frame: Any, views: Sequence[RunView]) -> str | None:
    """The picture of a table; None if no setting with numbers differs, or no results are there."""
    units = {unit_of(frame.attrs["quantity"], view) for view in views}
    scale, unit = units.pop() if len(units) == 1 else (1.0, "")
    try:
        return static.svg_of(draw_comparison(frame, scale=scale, unit=unit))
    except ValueError:
        return None


def _differing(machines: Sequence[Mapping[str, str]]) -> list[str]:
    """Names of the entries in which machines differ, as far as these are known."""
    names = dict.fromkeys(name for machine in machines for name in machine)
    known = {name: {m[name] for m in machines if name in m} for name in names}
    return [name for name, values in known.items() if len(values) > 1]


def _cell(name: str, cells: Mapping[Any, Any], quantity: str, facts: RunFacts) -> str:
    value = cells[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isnan(value):
        return ""
    if is_number and name == quantity:
        return number_text(name, value, facts.view, cells.get("error"), cells.get("suspect"))
    if isinstance(value, float):
        digits = 3 if name in ("seconds", "relative_error") else 9
        return f"{value:.{digits}g}"
    return "" if value is None else str(value)


def _check_quantities(quantities: Sequence[str], known: Sequence[RunFacts]) -> None:
    logged = {name for facts in known if facts.log for name in facts.log.quantities}
    shown = ", ".join(sorted(logged)) or "none"
    for name in quantities:
        if name not in logged:
            raise ValueError(f"no run has a quantity {name!r}; there are: {shown}.")


def _groups(
    known: Sequence[RunFacts], figures: dict[str, Any], quantities: Sequence[str]
) -> Iterator[dict[str, Any]]:
    """Curves of the runs of each domain over each other."""
    logged = [facts for facts in known if facts.log is not None or facts.log_problem]
    logged.sort(key=lambda facts: facts.domain or "")
    for number, (domain, members) in enumerate(
        itertools.groupby(logged, lambda facts: facts.domain)
    ):
        yield _group(f"curves{number}", domain, list(members), figures, quantities)


def _group(
    name: str,
    domain: str | None,
    runs: Sequence[RunFacts],
    figures: dict[str, Any],
    quantities: Sequence[str],
) -> dict[str, Any]:
    """Curves of the runs of a domain, and sentences about those that have none."""
    view = _with_more(runs[0].view, quantities)
    logs = [RunLog(facts.name, facts.log) for facts in runs if facts.log is not None]
    most = min(max(_POINTS // len(runs), _LEAST_POINTS), _MOST_POINTS)
    panels, reasons = panels_of_readable(logs, view, most) if logs else ([], {})
    exact = {facts.exact for facts in runs}
    line = exact.pop() if len(exact) == 1 else None
    svg = None
    if panels:
        with contextlib.suppress(ValueError):  # values that matplotlib cannot place
            top = line if panels[0].is_main else None
            svg = static.svg_of(draw_panels(panels, top, view.reference))
    names = []
    for place, figure in enumerate(interactive.panel_figures(panels, line, view.reference)):
        names.append(f"{name}_{place}")
        figures[names[-1]] = figure
    return {
        "domain": domain,
        "notes": [*_log_notes(runs), *(f"No curves: {reason}" for reason in reasons.values())],
        "svg": svg,
        "names": names,
        "banded": any(curve.error is not None for panel in panels for curve in panel.drawn),
    }


def _log_notes(runs: Sequence[RunFacts]) -> Iterator[str]:
    """Sentences about logs that could not be read."""
    for facts in runs:
        if facts.log is None:
            yield f"No curves of {facts.name}: {facts.log_problem}"
        elif facts.log_problem:
            yield f"Curves of {facts.name} are from {facts.log.path.name}: {facts.log_problem}"


def _with_more(view: RunView, names: Sequence[str]) -> RunView:
    """The view with the acceptance of moves, and quantities of these names, below its curves."""
    shown = {quantity.name for quantity in view.curves}
    wanted = {_ACCEPTANCE.name: _ACCEPTANCE} | {name: view.quantity(name) for name in names}
    more = [quantity for name, quantity in wanted.items() if name not in shown]
    return dataclasses.replace(view, curves=(*view.curves, *more))


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
        "older_digest": DIGEST in facts.outdated,
        "older_parity": PARITY in facts.outdated,
        "timing": timing_rows(facts.timing),
        "pictures": pictures,
        "parities": parities,
    }
