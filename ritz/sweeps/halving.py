"""Successive halving: runs that are behind the others are given up early."""

import contextlib
import json
import math
from collections.abc import Sequence
from typing import Any

from ritz.extras import needs
from ritz.folders.files import atomic_write
from ritz.folders.summary import read_summary
from ritz.sweeps.plan import Plan, PlannedRun
from ritz.sweeps.record import FINISHED, PRUNED, Outcome, read_record, write_record
from ritz.wording import counted

FILE = "halving.json"
"""File of a run folder with the quantity at each rung."""

SETTING = "train.iterations"

_SYSTEM = ("system", "extent", "preset")
"""Settings, with those below them, of what is computed: the energies of two are not compared."""


class Halving:
    """Gives up runs by Optuna's asynchronous successive halving.

    Each run is trained for `least` iterations, then for `factor` times as many, and so on up to its
    own number. After each of these rungs it goes on only if it is among the best 1/`factor` of
    those of its group that have come so far (Li et al., A System for Massively Parallel
    Hyperparameter Tuning, MLSys 2020). One of each group always goes on.

    Args:
        iterations: Iterations of each run, by name.
        groups: Group of each run, by name: only runs of one group are compared.
        least: Iterations of the first rung.
        factor: Ratio of two rungs, and of the runs before and after one.
        quantity: What is compared, an entry of `summary.json`; the lower, the better.

    Raises:
        MissingExtra: If Optuna is not installed.
        ValueError: If a number is not allowed.
    """

    def __init__(
        self,
        iterations: dict[str, int],
        groups: dict[str, str],
        least: int,
        factor: int = 3,
        quantity: str = "energy",
    ):
        for name, value, lowest in (("least", least, 1), ("factor", factor, 2)):
            if type(value) is not int or value < lowest:
                raise ValueError(
                    f"halving.{name} must be a whole number from {lowest} on, but {value!r} was "
                    "given."
                )
        with needs("Successive halving", "sweep"):
            import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        pruner = optuna.pruners.SuccessiveHalvingPruner(least, factor)
        studies = {
            group: optuna.create_study(direction="minimize", pruner=pruner)
            for group in groups.values()
        }
        self._trials: dict[str, Any] = {name: studies[groups[name]].ask() for name in iterations}
        self._iterations = iterations
        self._at = dict.fromkeys(iterations, least)
        """The rung to which each run goes next."""
        self.factor, self.quantity = factor, quantity

    @classmethod
    def of(cls, plan: Plan) -> "Halving":
        """Successive halving as a plan asks for it, with what its runs have shown before.

        Raises:
            ValueError: If its arguments do not fit, or a run has no number of iterations.
        """
        known = {"least", "factor", "quantity"}
        given = plan.halving
        if not isinstance(given, dict) or not {"least"} <= set(given) <= known:
            raise ValueError(
                "halving takes least (iterations of the first rung), factor and quantity, but "
                f"{given!r} was given."
            )
        if any(run.after for run in plan.runs):
            raise ValueError("halving: runs that begin with each other's state are not given up.")
        iterations = {run.name: _iterations(run) for run in plan.runs}
        made = cls(iterations, {run.name: _group(run) for run in plan.runs}, **given)
        for run in plan.runs:
            if read_record(run) is None:
                continue  # it had other settings
            for rung, value in _values(run, made.quantity).items():
                if rung == made._at[run.name]:
                    made._is_behind(run.name, value)
                    made._at[run.name] *= made.factor
        return made

    def next_part(self, run: PlannedRun) -> list[str] | None:
        """Settings of the next part of a run; None for the whole rest."""
        rung = self._at[run.name]
        return [f"{SETTING}={rung}"] if rung < self._iterations[run.name] else None

    def _is_behind(self, name: str, value: float) -> bool:
        """Report what a run has at its rung."""
        trial = self._trials[name]
        trial.report(value, self._at[name])
        return trial.should_prune() or math.isinf(value)

    def goes_on(self, run: PlannedRun, outcome: Outcome) -> bool:
        """Note how good a run is; whether it goes on after this part."""
        rung = self._at[run.name]
        if outcome.state != FINISHED or rung >= self._iterations[run.name]:
            return False
        stage = read_summary(run.folder).get(run.commands[0][1])
        found = stage.get(self.quantity) if isinstance(stage, dict) else None
        value = float(found) if isinstance(found, int | float) else math.inf
        _keep(run, self.quantity, rung, value)
        if self._is_behind(run.name, value):
            return False
        self._at[run.name] = rung * self.factor
        return True

    def judged(self, run: PlannedRun, outcome: Outcome) -> Outcome:
        """The outcome of a run that does not go on."""
        rung = self._at[run.name]
        if outcome.state != FINISHED or rung >= self._iterations[run.name]:
            return outcome
        value = _values(run, self.quantity).get(rung, math.inf)
        reason = f"after {counted(rung, 'iteration')} its {self.quantity} was {value:.8g}"
        given_up = outcome._replace(state=PRUNED, message=reason)
        write_record(run, given_up)
        return given_up


def _iterations(run: PlannedRun) -> int:
    found = iterations_of(run.commands[0])
    if found is None:
        raise ValueError(f"halving needs {SETTING} among the settings of the sweep.")
    return found


def iterations_of(command: Sequence[str]) -> int | None:
    """The iterations that a command line asks for; None if it gives no number of them."""
    for token in reversed(command):
        name, _, value = token.lstrip("-").partition("=")
        if name == SETTING:
            with contextlib.suppress(ValueError):
                return int(float(value))
    return None


def _group(run: PlannedRun) -> str:
    """The system of a run as far as it varies."""
    own = {k: v for k, v in run.settings.items() if k.partition(".")[0] in _SYSTEM}
    return json.dumps(own, sort_keys=True)


def _values(run: PlannedRun, quantity: str) -> dict[int, float]:
    """Rung -> the quantity there, as far as it is known."""
    try:
        found = json.loads((run.folder / FILE).read_text())[quantity]
        return {int(rung): math.inf if v is None else float(v) for rung, v in found.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _keep(run: PlannedRun, quantity: str, rung: int, value: float) -> None:
    found = {**_values(run, quantity), rung: value}
    content = {str(r): None if math.isinf(v) else v for r, v in found.items()}
    atomic_write(run.folder / FILE, json.dumps({quantity: content}).encode() + b"\n")
