"""A picture of a run that is drawn while it goes on."""

import base64
import io
import math
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.driver.rows import error_of, mean_of
from ritz.driver.signatures import suggests_names
from ritz.extras import needs
from ritz.folders.columns import thinned
from ritz.folders.files import atomic_write
from ritz.notebook import Display, in_notebook
from ritz.picture_style import COLOURS, DPI, draw_curve, open_frame, whole_steps
from ritz.types import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_POINTS = 2000
_LARGEST_SHARE = 0.05
"""Share of the time of a run that drawing may take."""
_NOTEBOOK_DPI = 100


class LivePlot(AbstractCallback):
    """Draws quantities with error bands while a run goes on, in a notebook or into a file.

    The picture stays at its place below the cell and is drawn anew at most every `min_interval`
    seconds, and when the run ends; if drawing is slow, more rarely, so that it takes a twentieth of
    the time at most. Only rows are read, so that steps run as compiled blocks. A later run goes on
    with the curves; those of a resumed run begin where it goes on, as `ritz plot` has the rest.

    Args:
        *quantities: Names in the rows, from top to bottom; by default the loss.
        exact: Value of a dashed line in the first panel.
        logarithmic: Quantities with a logarithmic axis.
        path: A file that the picture is written to; without one it is shown in the notebook.
        min_interval: Seconds between two drawings.

    Raises:
        MissingExtra: If matplotlib is not installed.
        ValueError: If there is no notebook and no path.
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
        self.quantities, self.exact, self.logarithmic = quantities, exact, logarithmic
        self.path, self.min_interval = path, min_interval
        self._display = Display()
        self._columns: dict[str, list[tuple[int, float, float]]] = {}
        self._due = 0.0

    @override
    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        names = self.quantities or (driver.loss_name,)
        before = self._columns
        self._columns = {n: [row for row in before.get(n, ()) if row[0] < step] for n in names}
        self._display = Display()
        self._due = time.monotonic() + self.min_interval

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        for name, column in self._columns.items():
            value = log_data.get(name)
            if value is not None:
                column.append((step, _number(mean_of(value), name), _error(value)))

    @override
    def on_step_end(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        if time.monotonic() >= self._due:
            self._show()

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        self._show()

    @override
    def on_run_error(self, step: int, error: BaseException, driver: AbstractDriver) -> None:
        self._show()

    def _show(self) -> None:
        if jax.process_index() != 0:
            return
        began = time.monotonic()
        content = io.BytesIO()
        if self.path is None:
            self.figure().savefig(content, format="png", dpi=_NOTEBOOK_DPI)
            picture = base64.b64encode(content.getvalue()).decode()
            self._display.show({"image/png": picture, "text/plain": "LivePlot"})
        else:
            path = Path(self.path)
            self.figure().savefig(content, format=path.suffix.lstrip(".") or "png", dpi=DPI)
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_write(path, content.getvalue())
        now = time.monotonic()
        self._due = now + max(self.min_interval, (now - began) / _LARGEST_SHARE)

    def figure(self) -> "Figure":
        """The curves so far, as a figure of matplotlib."""
        from matplotlib.figure import Figure

        n = max(len(self._columns), 1)
        figure = Figure(figsize=(7, 1.4 + 2 * n), layout="constrained")
        panels = figure.subplots(n, sharex=True, squeeze=False)[:, 0]
        for place, (axes, (name, column)) in enumerate(
            zip(panels, self._columns.items(), strict=True)
        ):
            _draw(axes, column, COLOURS[place % len(COLOURS)])
            if name in self.logarithmic:
                axes.set_yscale("log", nonpositive="mask")
            axes.set_ylabel(name)
            open_frame(axes)
        if self.exact is not None:
            panels[0].axhline(self.exact, color="black", ls="--", lw=1)
        panels[-1].set_xlabel("step")
        whole_steps(panels[-1])
        return figure


def _draw(axes: object, column: Sequence[tuple[int, float, float]], colour: str) -> None:
    steps, values, errors = np.array(column, float).reshape(-1, 3).T
    kept = thinned(values, _MOST_POINTS)
    known = errors[kept] if np.any(np.isfinite(errors)) else None
    draw_curve(axes, steps[kept], values[kept], known, color=colour)


def _number(value: object, name: str) -> float:
    """The real part of a number.

    Raises:
        ValueError: If it is none.
    """
    try:
        return float(np.real(np.asarray(value)).item())
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"LivePlot draws numbers, but {name} is {value!r}; name a component by a callback that "
            "logs it."
        ) from error


def _error(value: object) -> float:
    error = error_of(value)
    return math.nan if error is None or np.ndim(error) else float(np.real(error))
