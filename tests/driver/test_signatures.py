"""Built-in plug-ins suggest the name of a misspelt argument."""

import dataclasses
import enum
import inspect
import pickle

import pytest

import ritz.callbacks
import ritz.checkpoint
import ritz.loggers
import ritz.mlip.training.callbacks
import ritz.relax
import ritz.updates
from ritz.driver.signatures import suggests_names

OPEN = ("LambdaCallback", "TensorBoardLog", "WandbLog")
"""Plug-ins that pass further arguments on."""
CONTAINERS = ("AllOf", "AnyOf", "Column", "History", "HistoryDict", "Histories")

MODULES = (
    ritz.callbacks,
    ritz.checkpoint,
    ritz.loggers,
    ritz.mlip.training.callbacks,
    ritz.relax,
    ritz.updates,
)
PLUGINS = {
    f"{module.__name__}.{name}": kind
    for module in MODULES
    for name, kind in vars(module).items()
    if inspect.isclass(kind)
    and not inspect.isabstract(kind)
    and kind.__init__ is not object.__init__
    and not issubclass(kind, BaseException | tuple | enum.Enum)
    and kind.__module__.startswith("ritz.")
    and not name.startswith("_")
    and name not in (*OPEN, *CONTAINERS)
}
NOT_MADE_BY_HAND = {
    "ritz.mlip.training.callbacks.EpochHistory",
    "ritz.relax.RelaxResult",
    "ritz.updates.Problem",
}


@pytest.mark.parametrize("name", sorted(set(PLUGINS) - NOT_MADE_BY_HAND))
def test_a_misspelt_argument_is_answered_with_the_nearest(name):
    kind = PLUGINS[name]
    known = [one for one in inspect.signature(kind).parameters if one not in ("args", "kwargs")]
    wrong = known[-1] + "_x" if known else "nothing"
    answer = f"did you mean {known[-1]}=" if known else "it takes"
    with pytest.raises(TypeError, match=f"{kind.__name__} has no argument '{wrong}'; {answer}"):
        kind(**{wrong: 1})


def test_the_class_that_was_called_is_named():
    class Base:
        @suggests_names
        def __init__(self, interval=1):
            self.interval = interval

    class Derived(Base):
        pass

    with pytest.raises(TypeError, match="^Derived has no argument 'intervall'; did you mean inte"):
        Derived(intervall=1)


def test_a_base_class_is_named_where_it_was_given_a_wrong_argument():
    class Base:
        @suggests_names
        def __init__(self, interval=1):
            self.interval = interval

    class Derived(Base):
        @suggests_names
        def __init__(self, name):
            super().__init__(intervall=1)

    with pytest.raises(
        TypeError, match="^Base has no argument 'intervall'; did you mean interval="
    ):
        Derived("x")


def test_signatures_pickling_and_dataclasses_are_as_before():
    assert next(iter(inspect.signature(ritz.callbacks.EarlyStopping).parameters)) == "monitor"
    rule = ritz.relax.Criterion("fmax", 0.1)
    assert pickle.loads(pickle.dumps(rule)) == rule
    assert dataclasses.replace(rule, threshold=0.2).threshold == 0.2
