"""Averages of parameters over the steps of a training, for evaluations."""

from collections.abc import Iterable

from jaxtyping import PyTree

from ritz.callbacks import ParameterEMA
from ritz.driver.callback import AbstractCallback

LAST, AVERAGE = "last", "average"
PARAMETERS = (LAST, AVERAGE)
"""Parameters of a training that an evaluation can take."""


def average_of(callbacks: Iterable[AbstractCallback], stage: str) -> PyTree:
    """The average of the parameters that the callbacks of a stage have taken.

    Args:
        callbacks: The callbacks, of which one is a `ParameterEMA`.
        stage: The name of the stage, for messages.

    Raises:
        ValueError: If there is no such callback, or it has averaged no step.
    """
    found = [one for one in callbacks if isinstance(one, ParameterEMA)]
    if len(found) != 1:
        raise ValueError(
            f"parameters='{AVERAGE}' needs an average of the parameters of stage {stage}, which "
            f"has {len(found)} callbacks ParameterEMA; give it one, such as ParameterEMA(0.99)."
        )
    try:
        return found[0].average
    except RuntimeError as error:
        raise ValueError(f"parameters='{AVERAGE}', stage {stage}: {error}") from error
