"""What a class path may name: nothing else is called."""

import enum
import functools
import importlib
import inspect
import os
import sys
from pathlib import Path

import optax
import pytest

from ritz.callbacks import EarlyStopping, StopCondition
from ritz.loggers import RuntimeLog
from ritz.stages import Config
from ritz.stages.contract import ContractError, check_general
from ritz.stages.contracts import CALLBACK, OPTIMIZER, UPDATE, WRITER
from ritz.stages.parts import call, make

MODULE = """
import functools
import os
from os import system
from pathlib import Path
from subprocess import run as harmless
import numpy as np
import jax
import optax
from ritz.callbacks import AbstractCallback, StopCondition

RATE = optax.sgd(0.1)
part = functools.partial(os.system, "touch called")

class Mine(AbstractCallback):
    def __init__(self, inner: StopCondition | None = None, other=None):
        self.inner, self.other = inner, other

def make() -> Mine: return Mine()
def maybe() -> Mine | None: return Mine()
def liar() -> Mine: return 3
def unsaid(): Path("called").touch()
def wrong() -> int: Path("called").touch(); return 3
def rate(start=0.1) -> optax.Schedule: return lambda step: start
def adam() -> optax.GradientTransformation: return optax.adam(0.1)
@jax.jit
def compiled(x) -> float: return x
def number() -> float: return 0.5
broken = 1
"""

NOT_MADE = (Exception, enum.Enum)
"""Kinds of classes that a configuration does not make."""


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    Path("mine_attack.py").write_text(MODULE)
    Path("broken_attack.py").write_text("import nothing_like_this\n")
    Path("syntax_attack.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    for name in ("mine_attack", "broken_attack", "syntax_attack"):
        sys.modules.pop(name, None)
    assert not Path("called").exists()


TOUCH = {"command": "touch called"}


@pytest.mark.parametrize("takes", [CALLBACK, WRITER, UPDATE, OPTIMIZER, None])
@pytest.mark.parametrize(
    ("path", "arguments"),
    [
        ("os.system", TOUCH),
        ("posix.system", TOUCH),
        ("builtins.eval", {"source": "open('called', 'w')"}),
        ("builtins.print", {}),
        ("subprocess.Popen", {"args": ["touch", "called"]}),
        ("subprocess:run", {"args": ["touch", "called"]}),
        ("pathlib.Path.touch", {"self": "called"}),
        ("ritz.cli.relax.domain.Path", {}),
        ("ritz.stages.parts.importlib", {}),
        ("ritz.stages.parts.importlib.import_module", {"name": "this"}),
        ("ritz.stages.parts.__builtins__", {}),
        ("ritz.loggers.__class__", {"name": "x"}),
        ("ritz.cli.settings.parts.os.system", TOUCH),
        ("ritz.folders.files.atomic_write", {"path": "called", "content": b""}),
        ("ritz.loggers.files.LineFile", {"path": "called"}),
        ("ritz.checks.check_count", {"name": "x", "value": 1, "least": 0}),
        ("numpy.save", {"file": "called", "arr": [1]}),
        ("numpy.memmap", {"filename": "called", "mode": "w+", "shape": 3}),
        ("jax.profiler.start_server", {"port": 0}),
        ("mine_attack.system", TOUCH),
        ("mine_attack.harmless", {"args": ["touch", "called"]}),
        ("mine_attack.part", {}),
        ("mine_attack.np", {}),
        ("mine_attack.os", {}),
        ("mine_attack.RATE", {}),
        ("mine_attack.broken", {}),
    ],
)
def test_nothing_that_does_not_fit_is_called(path, arguments, takes):
    with pytest.raises(ValueError, match=r"^x: ") as raised:
        make("x", {"class_path": path, "init_args": arguments}, takes=takes)
    assert "\n" not in str(raised.value)


def test_the_standard_library_is_not_even_imported():
    with pytest.raises(ContractError, match="of Python's own modules .a module of yours needs an"):
        make("x", "this.s", takes=CALLBACK)
    assert "this" not in sys.modules


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "unsaid",
            "does not say that it returns a callback; if it does, write `def unsaid.....* ->",
        ),
        ("wrong", "mine_attack.wrong returns int, but a callback is needed"),
        ("maybe", ""),
        ("make", ""),
        ("Mine", ""),
        ("liar", "mine_attack.liar returned int, but a callback is needed"),
        ("adam", "mine_attack.adam returns GradientTransformation, but a callback is needed"),
    ],
)
def test_functions_say_what_they_return(name, message):
    path = f"mine_attack.{name}"
    if message:
        with pytest.raises(ContractError, match=message):
            make("x", path, takes=CALLBACK)
    else:
        assert type(make("x", path, takes=CALLBACK)).__name__ == "Mine"


def test_what_contracts_take():
    assert isinstance(make("x", "ritz.callbacks.EarlyStopping", takes=CALLBACK), EarlyStopping)
    assert isinstance(make("x", "ritz.loggers:RuntimeLog", takes=WRITER), RuntimeLog)
    assert make("x", "mine_attack.rate", takes=OPTIMIZER)(3) == 0.1
    assert isinstance(make("x", "mine_attack.adam", takes=OPTIMIZER), optax.GradientTransformation)
    with pytest.raises(
        ContractError, match=r"x: an update rule is needed, but ritz.*Timeout is an"
    ):
        make("x", "ritz.callbacks.Timeout", takes=UPDATE)
    with pytest.raises(
        ContractError, match="x: an optax transformation, .* is needed, but ritz.up"
    ):
        make("x", "ritz.updates.SR", takes=OPTIMIZER)


def inner(path, **arguments):
    return {"class_path": path, "init_args": arguments}


def test_arguments_are_checked_by_their_annotations():
    made = make("x", inner("mine_attack.Mine", inner=inner("ritz.callbacks.Timeout", total=3)))
    assert isinstance(made.inner, StopCondition)
    with pytest.raises(ContractError, match="x.inner: StopCondition is needed, but ritz.loggers.R"):
        make(
            "x",
            inner("mine_attack.Mine", inner="mine_attack.Mine")
            | {"init_args": {"inner": inner("ritz.loggers.RuntimeLog")}},
        )
    with pytest.raises(ContractError, match="x.inner: 'os.system' is refused"):
        make("x", inner("mine_attack.Mine", inner=inner("os.system", **TOUCH)))
    with pytest.raises(ContractError, match="x.learning_rate: 'time.time' is refused"):
        make("x", inner("optax.sgd", learning_rate=inner("time.time")), takes=OPTIMIZER)
    with pytest.raises(ContractError, match=r"x.learning_rate.0.a: 'time.time' is refused"):
        make("x", inner("optax.sgd", learning_rate=[{"a": inner("time.time")}]))


def test_parameters_without_annotation_take_what_is_of_the_field_or_of_ones_own():
    for path in (
        "mine_attack.make",
        "mine_attack.unsaid",
        "mine_attack.number",
        "optax.identity",
        "jax.nn.initializers.zeros",
        "ritz.callbacks.EarlyStopping",
    ):
        if path != "mine_attack.unsaid" and "zeros" not in path:
            assert make("x", inner("mine_attack.Mine", other=inner(path))).other is not None
    normal = inner("jax.nn.initializers.normal", stddev=0.1)
    assert callable(make("x", inner("mine_attack.Mine", other=normal)).other)
    for path in ("pytest.main", "ritz.cli.main.main", "jax.jit", "tqdm.tqdm", "orjson.dumps"):
        with pytest.raises(ContractError, match=r"x.other: .* is refused: here, what Ritz, N"):
            make("x", inner("mine_attack.Mine", other=inner(path)))


@pytest.mark.parametrize(
    "package", ["relax", "potentials", "mlip", "callbacks", "loggers", "updates"]
)
def test_all_that_ritz_exports_to_make_is_taken(package):
    exported = vars(importlib.import_module(f"ritz.{package}"))
    kinds = {name: kind for name, kind in exported.items() if inspect.isclass(kind)}
    offered = [
        name
        for name, kind in kinds.items()
        if name[0] != "_" and not name.startswith("Abstract") and not issubclass(kind, NOT_MADE)
    ]
    assert offered
    for name in offered:
        check_general("x", f"ritz.{package}.{name}", kinds[name])


def test_modules_that_cannot_be_imported_are_told():
    with pytest.raises(ValueError, match="x: 'broken_attack.f' needs the package nothing_like"):
        make("x", "broken_attack.f")
    with pytest.raises(ValueError, match="x: syntax_attack cannot be imported: SyntaxError: "):
        make("x", "syntax_attack.f")


def test_lists_are_lists():
    with pytest.raises(ValueError, match="writers: a list is needed, but 'a.b' was given"):
        Config({"writers": "a.b"}).made_list("writers")


def test_partials_in_modules_are_no_functions():
    assert isinstance(functools.partial(os.system), functools.partial)
    with pytest.raises(ContractError, match="is no class and no function"):
        make("x", "mine_attack.part")


def test_null_is_no_number():
    def takes(rate: float, steps: int | None, old: float = None):  # noqa: RUF013
        return rate, steps, old

    given = {"rate": 0.1, "steps": None, "old": None}
    assert call("x", takes, given, None) == (0.1, None, None)
    with pytest.raises(ValueError, match="x.rate: null was given, but float is needed"):
        call("x", takes, {**given, "rate": None}, None)
