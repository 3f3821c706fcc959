"""Contracts of the parts of a stage that a configuration names."""

import collections.abc
import inspect
import types
from typing import Any

import jax
import optax

from ritz.driver.callback import AbstractCallback
from ritz.loggers.base import AbstractLogger
from ritz.samplers import AbstractSampler
from ritz.stages.contract import Contract, return_kinds
from ritz.updates import AbstractUpdateRule

_CALLABLE: Any = collections.abc.Callable

CALLBACK = Contract(
    "a callback",
    (AbstractCallback,),
    ("netket.callbacks", "netket._src.callbacks"),
    modules=("ritz.callbacks", "ritz.checkpoint"),
    plugins="callbacks",
)

WRITER = Contract(
    "a logger",
    (AbstractLogger,),
    ("netket.logging", "netket._src.logging"),
    modules=("ritz.loggers",),
    plugins="loggers",
)

UPDATE = Contract(
    "an update rule", (AbstractUpdateRule,), modules=("ritz.updates",), plugins="updates"
)

SAMPLER = Contract(
    "a sampler of ritz.samplers",
    (AbstractSampler,),
    modules=("ritz.samplers",),
    plugins="samplers",
)

LATTICE_SAMPLER = Contract(
    "a sampler of NetKet",
    packages=("netket.sampler",),
    example="netket.sampler.Sampler",
    modules=("ritz.lattice", "netket.sampler"),
    plugins="samplers",
)

LINE_SEARCH = (
    "it needs a line search, which cannot be used with the noisy losses of batches and samples"
)
"""Why methods such as BFGS are missing."""

OPTIMIZER = Contract(
    "an optax transformation, a learning rate or a schedule",
    (optax.GradientTransformation, float, jax.Array, _CALLABLE),
    ("optax", "netket.optimizer"),
    "optax.GradientTransformation",
    "give the name of an optimiser of optax, such as adam, adamw, lion or sgd, or the class path "
    "of a function of your own that says `-> optax.GradientTransformation`",
    modules=("optax",),
    elsewhere=(("bfgs", f"{LINE_SEARCH}: give sgd or adam"),),
)
"""Schedules are callables; whether they give numbers is checked when they are used."""


def is_schedule(value: object) -> bool:
    """Whether a function looks like a schedule, step -> rate, and not like one that makes things.

    It takes one argument, and its return annotation, if any, is no transformation or schedule.
    """
    if inspect.isclass(value) or isinstance(value, types.BuiltinFunctionType):
        return False
    if isinstance(value, AbstractUpdateRule) or not callable(value):
        return False
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        return False
    free = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = [p for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    makers = (optax.GradientTransformation, _CALLABLE)
    returned = return_kinds(value) or ()
    return bool(free) and len(needed) == 1 and not any(issubclass(k, makers) for k in returned)
