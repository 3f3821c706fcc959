"""Averages the rows of an evaluation."""

import io
import logging
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from typing_extensions import override

from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, CallbackOrder, never_live
from ritz.estimators.chain_moments import ChainMoments
from ritz.folders.arrays import read_arrays
from ritz.folders.files import atomic_write
from ritz.html import never_fails, titled, tuple_table
from ritz.html import table as table_of
from ritz.stages.statistics import drift, r_hat, series_statistics
from ritz.types import Row, State
from ritz.wording import counted

_logger = logging.getLogger(__name__)

FILE = "digest.npz"

HIGHEST_R_HAT = 1.1
"""R-hat above which the chains of a whole evaluation disagree."""

LARGEST_DRIFT = 4.5
"""Drift above which an evaluation was not in equilibrium."""

MOST_SUSPECT = 0.01
"""The fraction of suspect steps above which an evaluation is suspect."""


class Estimate(NamedTuple):
    """Estimate of one quantity from an evaluation."""

    mean: float
    error: float
    """One standard error, from blocking over the steps."""
    variance: float
    """Variance of the local values."""
    autocorrelation_time: float
    """Autocorrelation time of the means over the walkers, or chains, of each step, in steps of the
    driver. That of single walkers' positions, which rows of molecules have, is another."""
    r_hat: float
    """R-hat, the disagreement of the chains; NaN if unknown."""
    n_steps: int
    n_samples: int
    """Number of samples in all steps; 0 if unknown."""
    reliable: bool
    """Whether the run is long enough for its correlations."""
    suspect: str = ""
    """Doubts about mean and error, such as "acceptance, r_hat"; empty if there are none."""
    drift: float = math.nan
    """Difference of the means of the second and the first half, in standard errors."""
    variance_error: float = math.nan
    """One standard error of `variance`, from blocking over the steps."""

    @never_fails
    def _repr_html_(self) -> str:
        return titled("Estimate", table_of(zip(self._fields, self, strict=True)))

    @property
    def too_short(self) -> str:
        """Why `reliable` is false, in words; empty where it is true."""
        if self.reliable:
            return ""
        time = self.autocorrelation_time
        return (
            f"{counted(self.n_steps, 'step', 'is')} too few to know the error bar"
            + (f", with an autocorrelation time of {time:.2g}" if time > 2 else "")
            + ": evaluate longer"
        )


class Digest(AbstractCallback):
    """Averages the statistics of every step, and writes them to `digest.npz` when the run ends.

    `digest.npz` holds `NAME.mean`, `NAME.error` and so on, as in `Estimate`, for every quantity
    with a mean, and `n_steps`. A row is averaged once: rows of an interrupted run that come again
    take the place of the old ones, and any other repetition is an error.

    Args:
        names: The quantities; by default all with a mean in the first row.
        interval: Steps between previews in the log; 0 for none.
        moments: `driver -> {name: (count, means, m2)}`, the moments of each chain, for R-hat.
        folder: Where to write, relative to the run's working folder; None writes nothing.
    """

    callback_order = CallbackOrder.LOG
    decides = False
    state_fields = ("_steps", "_means", "_variances", "_suspects")

    def __init__(
        self,
        names: tuple[str, ...] = (),
        interval: int = 0,
        moments: Callable[[AbstractDriver], Mapping[str, ChainMoments]] | None = None,
        folder: str | Path | None = ".",
    ):
        self.names = names
        self.interval = interval
        self.folder = folder
        self._moments = moments
        self._steps: list[int] = []
        self._means: dict[str, list[float]] = {}
        self._variances: dict[str, list[float]] = {}
        self._suspects: dict[int, str] = {}
        """Marks of suspect rows, by step."""

    def on_run_start(self, step: int, driver: AbstractDriver) -> None:
        """Forget the rows that will come again."""
        self._truncate(step)

    @override
    def load_state_dict(self, state: State) -> None:
        self._steps = [int(s) for s in state["_steps"]]
        self._means = {k: list(map(float, v)) for k, v in state["_means"].items()}
        self._variances = {k: list(map(float, v)) for k, v in state["_variances"].items()}
        self._suspects = {int(step): str(mark) for step, mark in state["_suspects"].items()}

    @override
    def state_dict(self) -> State:
        return {
            "_steps": np.array(self._steps, int),
            "_means": {name: np.array(v) for name, v in self._means.items()},
            "_variances": {name: np.array(v) for name, v in self._variances.items()},
            "_suspects": {str(step): mark for step, mark in self._suspects.items()},
        }

    def _truncate(self, step: int) -> None:
        n = sum(s < step for s in self._steps)
        for column in (self._steps, *self._means.values(), *self._variances.values()):
            del column[n:]
        self._suspects = {s: mark for s, mark in self._suspects.items() if s < step}

    @override
    def before_parameter_update(self, step: int, log_data: Row, driver: AbstractDriver) -> None:
        if self._steps and step <= self._steps[-1]:
            raise RuntimeError(
                f"step {step} was averaged already (the last was {self._steps[-1]}); a row counts "
                "once."
            )
        names = self.names or tuple(k for k, v in log_data.items() if _parts(v) is not None)
        for name in names:
            if name not in log_data:
                raise ValueError(
                    f"{name!r} is to be averaged but not logged; this run logs: "
                    f"{', '.join(log_data)}."
                )
            for entry, mean, variance in _entries(name, log_data[name]):
                self._means.setdefault(entry, []).append(mean)
                self._variances.setdefault(entry, []).append(variance)
        self.names = names
        self._steps.append(step)
        if "suspect" in log_data:
            self._suspects[step] = log_data["suspect"]
        if self.interval and (step + 1) % self.interval == 0:
            preview = table(self.estimates())
            _logger.info(
                "Evaluation, preview after %s:\n%s", counted(len(self._steps), "step"), preview
            )

    is_live = never_live

    @never_fails
    def _repr_html_(self) -> str:
        count = counted(len(self._steps), "step")
        return titled(f"{self.label}, {count}", tuple_table(self.estimates()))

    def estimates(self, driver: AbstractDriver | None = None) -> dict[str, Estimate]:
        """The estimates so far, by name.

        Args:
            driver: The driver whose chains give R-hat and the number of samples.
        """
        known = {} if driver is None or self._moments is None else self._moments(driver)
        found = {}
        for name, column in self._means.items():
            means, variances = np.array(column), np.array(self._variances[name])
            series = series_statistics(means)
            count, *of_chains = known.get(name, (0, np.zeros(0), np.zeros(0)))
            chains, m2 = map(np.asarray, of_chains)
            disagreement = r_hat(int(count), chains, m2)
            found[name] = Estimate(
                mean=series.mean,
                error=series.error,
                variance=float(np.mean(variances) + np.var(means)),
                autocorrelation_time=series.autocorrelation_time,
                r_hat=disagreement,
                n_steps=len(means),
                n_samples=int(count) * len(chains),
                reliable=series.reliable,
                drift=(change := drift(means)),
                suspect=self._mark(disagreement, change),
                variance_error=series_statistics(variances).error,
            )
        return found

    def _mark(self, disagreement: float, change: float) -> str:
        """Doubts about single steps, if there are many, about all chains, and about equilibrium."""
        counts: dict[str, int] = {}
        for mark in self._suspects.values():
            for name in mark.split(", "):
                counts[name] = counts.get(name, 0) + 1
        names = {name for name, n in counts.items() if n > MOST_SUSPECT * len(self._steps)}
        if disagreement > HIGHEST_R_HAT:
            names.add("r_hat")
        if abs(change) > LARGEST_DRIFT:
            names.add("drift")
        return ", ".join(sorted(names))

    @override
    def on_run_end(self, step: int, driver: AbstractDriver) -> None:
        if not self._steps:
            return
        estimates = self.estimates(driver)  # on all processes, since chains are gathered
        doubtful = {name: e.suspect for name, e in estimates.items() if e.suspect}
        if doubtful:
            _logger.warning(
                "This evaluation cannot be trusted: %s. Its digest says so as `suspect`.",
                "; ".join(f"{name} is suspect by {why}" for name, why in doubtful.items()),
            )
        _logger.info("Evaluation, %s:\n%s", counted(len(self._steps), "step"), table(estimates))
        if self.folder is not None and jax.process_index() == 0:
            self._write(driver.working_dir / self.folder / FILE, estimates)

    def _write(self, path: Path, estimates: Mapping[str, Estimate]) -> None:
        columns = {
            f"{name}.{field}": np.asarray(value)
            for name, estimate in estimates.items()
            for field, value in estimate._asdict().items()
        }
        content = io.BytesIO()
        np.savez(content, n_steps=np.asarray(len(self._steps)), **columns)  # type: ignore[arg-type]
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, content.getvalue())


def table(estimates: Mapping[str, Estimate]) -> str:
    """Estimates as a table of text, one line each."""
    lines = []
    for name, e in estimates.items():
        warning = "" if e.reliable else "  (too few steps for the error)"
        error = f"(suspect: {e.suspect})" if e.suspect else f"+- {e.error:.2g}"
        lines.append(
            f"{name:>12}  {e.mean:.8g} {error}  variance {e.variance:.3g}  "
            f"tau {e.autocorrelation_time:.2g}  R-hat {e.r_hat:.4f}{warning}"
        )
    return "\n".join(lines)


def read_digest(path: str | Path) -> dict[str, Estimate]:
    """The estimates in a `digest.npz`, or in the folder that holds one.

    Raises:
        ValueError: If there is none.
    """
    file = Path(path)
    file = file / FILE if file.is_dir() else file
    try:
        fields = {key: cell.item() for key, cell in read_arrays(file).items() if "." in key}
        names = dict.fromkeys(key.rpartition(".")[0] for key in fields)
        return {name: _estimate(fields, name) for name in names}
    except (ValueError, TypeError) as error:  # the latter where fields are missing
        raise ValueError(f"{file} is no digest: {error}") from error


def _estimate(fields: Mapping[str, Any], name: str) -> Estimate:
    """The estimate of one quantity among the fields of a digest, "NAME.mean" and so on."""
    there = [field for field in Estimate._fields if f"{name}.{field}" in fields]
    return Estimate(**{field: fields[f"{name}.{field}"] for field in there})


def _parts(value: object) -> tuple[np.ndarray, np.ndarray] | None:
    """Mean and variance of a logged value; None for values without a mean."""
    mean, variance = getattr(value, "mean", None), getattr(value, "variance", None)
    if mean is None or variance is None or callable(mean):
        return None
    return np.real(np.asarray(mean)), np.real(np.asarray(variance))


def _entries(name: str, value: object) -> Iterator[tuple[str, float, float]]:
    """Name, mean and variance of a quantity, or of each component of an array: "forces[0,2]"."""
    mean, variance = _parts(value) or (np.asarray(math.nan), np.asarray(math.nan))
    for index in np.ndindex(np.shape(mean)):
        place = f"[{','.join(map(str, index))}]" if index else ""
        yield f"{name}{place}", float(mean[index]), float(variance[index])
