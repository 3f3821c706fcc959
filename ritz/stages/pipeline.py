"""Several stages, one after the other."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
from jaxtyping import PyTree

from ritz.driver.processes.signals import RunInterrupted, SignalGuard
from ritz.stages.averages import AVERAGE, LAST, average_of
from ritz.stages.base import RunContext, WorkStage


class Pipeline:
    """Runs stages in order; each begins with the parameters of the one before it.

    An evaluation with `parameters="average"` begins with their average, see `ParameterEMA`.

    An interrupted pipeline that is run again goes on in the interrupted stage; the states of stages
    that have ended are read from their last checkpoints.

    Args:
        stages: The stages, such as `[pretrain, train, evaluate]`; their names must differ.

    Raises:
        ValueError: If there are none, or two have one name.
    """

    def __init__(self, stages: Sequence[WorkStage]):
        names = [stage.name for stage in stages]
        if not names or len(set(names)) < len(names):
            raise ValueError(
                "a Pipeline takes stages with different names, such as "
                f"builder(..., name='train'), but these were given: {names}."
            )
        self.stages = tuple(stages)

    def run(self, context: RunContext, rngs: jax.Array) -> dict[str, PyTree]:
        """Run all stages, or what is left of them.

        Args:
            context: Where to write, each stage in a folder of its name; `restore_path` is for the
                first one.
            rngs: A random key.

        Returns:
            The state of each stage at its end, by the stage's name.

        Raises:
            SystemExit: See `WorkStage.run`.
        """
        states: dict[str, PyTree] = {}
        with SignalGuard() as guard:
            for place, stage in enumerate(self.stages):
                if guard.received is not None:
                    raise RunInterrupted(f"interrupted by {guard.received.name}", guard.received)
                create_key, run_key = jax.random.split(jax.random.fold_in(rngs, place))
                arguments = {}
                if states:
                    arguments["params"] = self._parameters(place, list(states.values())[-1])
                state = stage.create_state(create_key, **arguments)
                restore_path = None if states else context.restore_path
                own = dataclasses.replace(
                    context,
                    save_path=Path(context.save_path) / stage.name,
                    restore_path=restore_path,
                    signal_handler=guard,
                )
                states[stage.name] = stage.run(state, own, run_key)
        return states

    def _parameters(self, place: int, last: PyTree) -> PyTree:
        """The parameters with which a stage begins.

        Args:
            place: Its place among the stages.
            last: The state at the end of the stage before it.
        """
        before = self.stages[place - 1]
        if getattr(self.stages[place].config, "parameters", LAST) == AVERAGE:
            return average_of(before.callbacks, before.name)
        return getattr(last, "params", last)
