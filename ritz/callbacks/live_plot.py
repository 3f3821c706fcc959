"""A picture of a run that is drawn while it goes on."""

import base64
import difflib
import io
import logging
import math
import os
import time
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from typing_extensions import override

from ritz.callbacks.live_curve import LiveCurve
from ritz.callbacks.monitor import is_expected
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.rows import error_of, mean_of
from ritz.driver.signatures import suggests_names
from ritz.extras import needs
from ritz.folders.files import atomic_write
from ritz.notebook import Display, in_notebook
from ritz.picture_style import COLOURS, DPI, draw_curve, open_frame, whole_steps
from ritz.types import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_logger = logging.getLogger(__name__)

_LARGEST_SHARE = 0.05
"""Share of the time of a run that drawing may take."""
_NOTEBOOK_DPI = 100


class LivePlot(AbstractCallback):
    """Draws quantities with error bands while a run goes on, in a notebook or into a file.

    The picture stays at its place below the cell and is drawn anew at most every `min_interval`
    seconds, and when the run ends; if drawing is slow, more rarely, so that it takes a twentieth of
    the time at most. Only rows are read, so that steps run as compiled blocks. A later run goes on
    with the curves; those of a resumed run begin where it goes on, as `ritz plot` has the rest. Of
    long runs each curve keeps a few thousand rows, the lowest and highest of equal intervals.

    A run does not end because it cannot be drawn: a warning tells what went wrong, once, and the
    next drawing is tried all the same. Names that are in no row are told after the first one, or at
    the run's end if the driver or a callback logs them at some steps only.

    Args:
        *quantities: Names in the rows, from top to bottom; by default the loss.
        exact: Value of a dashed line in the first panel.
        logarithmic: Quantities with a logarithmic axis.
        path: A file that the picture is written to; without one it is shown in the notebook.
        min_interval: Seconds between two drawings.

    Raises:
        MissingExtra: If matplotlib is not installed.
        ValueError: If there is no notebook and no path, or nothing can be drawn into `path`.
    """

    callback_order = CallbackOrder.LOG
    decides = False
    is_live = never_live

    @suggests_names
    def __init__(
        self,
        *quantities: str,
        exact: float | None = None,
        logarithmic: Collection[str] = (),
        path: str | Path | None = None,
        min_interval: float = 2.0,
    ):
        with needs("LivePlot", "plot"):
            import matplotlib.figure  # noqa: F401

        if path is None and not in_notebook():
            raise ValueError(
                "LivePlot shows a picture in a notebook, and this is none; give path='live.png' to "
                "have it written into a file, or use ProgressBar."
            )
        if path is not None:
            _check_picture(Path(path))
        self.quantities, self.exact, self.logarithmic = quantities, exact, logarithmic
        self.path, self.min_interval = path, min_interval
        self._display = Display()
        self._curves: dict[str, LiveCurve] = {}
        self._missing: set[str] = set()
        self._known: set[str] = set()
        self._left_out: set[str] = set()
        self._has_rows = self._has_failed = False
        self._due = math.inf

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        if jax.process_index() != 0:
            return
        before = self._curves
        names = self.quantities or (driver.loss_name,)
        self._curves = {name: before.get(name) or LiveCurve() for name in names}
        for curve in self._curves.values():
            curve.cut(step)
        self._missing = {name for name, curve in self._curves.items() if not len(curve)}
        self._known, self._has_rows, self._has_failed = set(), False, False
        self._display = Display()
        self._due = time.monotonic() + self.min_interval

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        for name, curve in self._curves.items():
            value = log_data.get(name)
            if value is not None:
                number = _number(mean_of(value))
                if number is None:
                    self._leave_out(name, value)
                else:
                    error = _number(error_of(value))
                    curve.add(step, number, math.nan if error is None else error)
        if self._missing:
            self._missing -= log_data.keys()
            self._known |= log_data.keys()
            if not self._has_rows:
                self._tell({n for n in self._missing if not is_expected(n, driver)}, "the first")
        self._has_rows = True

    def _leave_out(self, name: str, value: object) -> None:
        if name not in self._left_out:
            self._left_out.add(name)
            shown = " ".join(repr(value).split())[:60]
            _logger.warning("LivePlot draws numbers, and leaves out %s, which is %s", name, shown)

    def _tell(self, names: Collection[str], which: str) -> None:
        """Tell which names were not in rows, and which ones there are."""
        self._missing -= set(names)
        for name in sorted(names):
            near = difflib.get_close_matches(name, sorted(self._known), n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are: {_listed(self._known)}."
            _logger.warning("LivePlot: no %r in %s row; %s", name, which, hint)

    @override
    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        if time.monotonic() >= self._due:
            self._show()

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        if self._has_rows:
            self._tell(set(self._missing), "any")
        self._show()

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self._show()

    def _show(self) -> None:
        if not self._curves:
            return
        began = time.monotonic()
        try:
            self._draw()
        except Exception as error:  # of matplotlib, of a disk, of a notebook
            if not self._has_failed:
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                _logger.warning("LivePlot could not draw, and the run goes on: %s", reason)
            self._has_failed = True
        now = time.monotonic()
        self._due = now + max(self.min_interval, (now - began) / _LARGEST_SHARE)

    def _draw(self) -> None:
        content = io.BytesIO()
        if self.path is None:
            self.figure().savefig(content, format="png", dpi=_NOTEBOOK_DPI)
            picture = base64.b64encode(content.getvalue()).decode()
            self._display.show({"image/png": picture, "text/plain": "LivePlot"})
        else:
            path = Path(self.path)
            self.figure().savefig(content, format=_format(path), dpi=DPI)
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, content.getvalue())

    def figure(self) -> "Figure":
        """The curves so far, as a figure of matplotlib."""
        from matplotlib.figure import Figure

        n = max(len(self._curves), 1)
        figure = Figure(figsize=(7, 1.4 + 2 * n), layout="constrained")
        panels = figure.subplots(n, sharex=True, squeeze=False)[:, 0]
        for place, (name, curve) in enumerate(self._curves.items()):
            axes = panels[place]
            steps, values, errors = np.where(np.isfinite(curve.rows), curve.rows, np.nan).T
            known = errors if np.any(np.isfinite(errors)) else None
            draw_curve(axes, steps, values, known, color=COLOURS[place % len(COLOURS)])
            if name in self.logarithmic:
                axes.set_yscale("log", nonpositive="mask")
            axes.set_ylabel(name)
            open_frame(axes)
        if self.exact is not None:
            panels[0].axhline(self.exact, color="black", ls="--", lw=1)
        panels[-1].set_xlabel("step")
        whole_steps(panels[-1])
        return figure


def _check_picture(path: Path) -> None:
    """Refuse a file that no picture can be written to.

    Raises:
        ValueError: If it has no format of matplotlib, or its folder cannot be written.
    """
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    if _format(path) not in formats:
        names = ", ".join(f".{name}" for name in sorted(formats))
        raise ValueError(f"LivePlot cannot draw into {path}: a name must end in one of {names}.")
    if path.is_dir():
        raise ValueError(f"LivePlot needs the name of a file, and {path} is a folder.")
    there = next(folder for folder in path.absolute().parents if folder.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise ValueError(f"LivePlot cannot write {path}: {there} is no folder that can be written.")


def _format(path: Path) -> str:
    return path.suffix.lstrip(".").lower() or "png"


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _number(value: object) -> float | None:
    """The real part of a number; None for anything else."""
    try:
        return float(np.real(np.asarray(value)).item())
    except (TypeError, ValueError):
        return None
