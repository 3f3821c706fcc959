import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ritz.checkpoint import CheckpointError
from ritz.driver.processes.signals import SignalGuard
from ritz.loggers import CSVLog
from ritz.plotting import read_log
from ritz.stages import Config, Pipeline, RunContext, StageAbort, WorkStage, WorkStageConfig


class Walk(WorkStage):
    """A random walk; gives up beyond `limit`."""

    limit = np.inf
    at = ()

    def create_state(self, rngs, params=None):
        return {"x": jnp.zeros(3) if params is None else params["x"]}

    def loop(self, state, initial_step, rngs):
        for step in range(initial_step, 10**6):
            for number, when in self.at:
                if step == when:
                    os.kill(os.getpid(), number)
            key = jax.random.fold_in(rngs, step)
            state = {"x": state["x"] + jax.random.normal(key, (3,))}
            if jnp.max(jnp.abs(state["x"])) > self.limit:
                raise StageAbort(step, state)
            yield step, state, {"loss": float(jnp.sum(state["x"])), "first": float(state["x"][0])}


def walk(name="walk", iterations=20, **settings):
    config = WorkStageConfig(iterations=iterations, save_step_interval=5)
    stage = Walk(config, name, writers=[CSVLog(name)])
    for key, value in settings.items():
        setattr(stage, key, value)
    return stage


def run(stage, folder="w", **context):
    key = jax.random.key(1)
    return stage.run(stage.create_state(key), RunContext(Path(folder), **context), key)


def test_a_stage_with_its_own_loop():
    state = run(walk())
    data = read_log("w/walk.csv")
    assert data["loss"].iters.tolist() == list(range(20))
    assert data["first"].values[-1] == pytest.approx(float(state["x"][0]))
    assert sorted(p.name for p in Path("w/checkpoints/walk").glob("0*")) == [
        "00000010",
        "00000015",
        "00000020-end",
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_signals_end_it_with_their_status_and_it_goes_on(number):
    whole = run(walk(), "whole")
    with pytest.raises(SystemExit) as raised:
        run(walk(at=[(number, 7)]))
    assert raised.value.code == 128 + number
    assert (Path("w/checkpoints/walk") / "00000008-end").is_dir()
    resumed = run(walk())
    np.testing.assert_array_equal(resumed["x"], whole["x"])
    first, second = (read_log(f"{f}/walk.csv")["loss"] for f in ("whole", "w"))
    np.testing.assert_array_equal(first.values, second.values)


def test_giving_up_keeps_the_state_for_inspection(capsys):
    with pytest.raises(SystemExit, match="stage walk: the stage gave up at step"):
        run(walk(limit=2.0))
    kept = list(Path("w/checkpoints/walk/failed").iterdir())
    assert len(kept) == 1 and not list(Path("w/checkpoints/walk").glob("*-end"))
    with pytest.raises(SystemExit):  # again, from the last good state
        run(walk(limit=2.0))
    state = run(walk(limit=np.inf))
    np.testing.assert_array_equal(state["x"], run(walk(), "other")["x"])


def test_restore_path_demands_a_checkpoint():
    Path("empty").mkdir()
    for nothing in ("nothing", "empty"):
        with pytest.raises(
            CheckpointError, match=f"restore_path: there is no checkpoint in .*/{nothing} o"
        ):
            run(walk(), restore_path=Path(nothing))
        assert not Path("w").exists()
    run(walk(iterations=10), "first")
    whole = run(walk(), "whole")
    sources = ["first", "first/checkpoints/walk", "first/checkpoints/walk/00000010-end"]
    for number, source in enumerate(sources):
        state = run(walk(), f"second{number}", restore_path=Path(source))
        np.testing.assert_array_equal(state["x"], whole["x"])
    # Its own folder, which may hold nothing yet, is no other run.
    np.testing.assert_array_equal(run(walk(), "w", restore_path=Path("w"))["x"], whole["x"])


def test_states_can_be_read_back():
    state, stage = run(walk()), walk()
    template = stage.create_state(jax.random.key(0))
    folder = Path("w/checkpoints/walk")
    read = stage.restore_checkpoint(folder, template)
    np.testing.assert_array_equal(read["x"], state["x"])
    earlier = stage.restore_checkpoint(folder, template, prefix="00000010")
    np.testing.assert_array_equal(earlier["x"], run(walk(iterations=10), "short")["x"])
    with pytest.raises(CheckpointError, match="state of other shapes: x was float64"):
        stage.restore_checkpoint(folder, {"x": jnp.zeros(4)})


def test_wrong_steps_are_refused():
    class Wrong(Walk):
        def loop(self, state, initial_step, rngs):
            yield 3, state

    with pytest.raises(ValueError, match=r"Wrong.loop yielded step 3, but step 0 comes next"):
        run(Wrong(WorkStageConfig(iterations=2), "wrong"))


def test_a_pipeline_goes_on_where_it_was():
    def stages(**settings):
        return Pipeline([walk("one", 6), walk("two", 12, **settings), walk("three", 4)])

    key = jax.random.key(5)
    whole = stages().run(RunContext(Path("whole")), key)
    with pytest.raises(SystemExit) as raised:
        stages(at=[(signal.SIGTERM, 8)]).run(RunContext(Path("p")), key)
    assert raised.value.code == 143
    assert not Path("p/three").exists()
    before = Path("p/one/one.csv").read_bytes()
    resumed = stages().run(RunContext(Path("p")), key)
    for name in ("one", "two", "three"):
        np.testing.assert_array_equal(resumed[name]["x"], whole[name]["x"])
    assert Path("p/one/one.csv").read_bytes() == before
    with pytest.raises(ValueError, match="different names"):
        Pipeline([walk("a"), walk("a")])


def test_a_signal_between_stages_counts():
    guard = SignalGuard()
    guard.received = signal.SIGTERM
    with pytest.raises(SystemExit) as raised:
        run(walk(), signal_handler=guard)
    assert raised.value.code == 143 and not Path("w").exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"iterations": -1}, "iterations must be a whole number of at least 0, but -1 was given"),
        ({"burn_in": 1.5}, "burn_in must be a whole number"),
        ({"save_time_interval": -3}, "save_time_interval must be at least 0 seconds, but -3"),
        ({"save_time_interval": float("nan")}, "save_time_interval must be at least 0"),
    ],
)
def test_settings_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        WorkStageConfig(**settings)


def test_configurations():
    config = Config(
        {
            "train": {
                "iterations": 3,
                "log": {"class_path": "ritz.loggers.CSVLog", "init_args": {"path": "x"}},
            }
        }
    )
    train = config.scoped("train")
    assert train.name == "train" and train.read(WorkStageConfig).iterations == 3
    assert isinstance(train.get("log"), CSVLog) and str(train.get("log").path) == "x"
    assert isinstance(train.get_module("other", "ritz.loggers:CSVLog"), CSVLog)
    assert train.get("missing", 5) == 5 and config.scoped("nothing").values == {}
    assert Config(WorkStageConfig(iterations=7)).get("iterations") == 7
    nested = {
        "class_path": "optax.sgd",
        "init_args": {
            "learning_rate": {
                "class_path": "optax.linear_schedule",
                "init_args": {"init_value": 1.0, "end_value": 0.0, "transition_steps": 2},
            }
        },
    }
    made = Config({"o": nested}).get("o")
    assert made.init({}) is not None
    with pytest.raises(TypeError, match="a Config takes a dict or a dataclass, but 3 was given"):
        Config(3)


def sgd(**arguments):
    return {"class_path": "optax.sgd", "init_args": arguments}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("optax.sgdd", r"train.o: there is no 'sgdd' in optax; did you mean sgd"),
        ("nosuch.thing", r"train.o: there is no 'thing' in nosuch\."),
        ({**sgd(), "learning_rate": 1}, "'learning_rate' stands beside class_path"),
        (sgd(rate=1), r"train.o.rate: sgd has no such argument; it takes: learning_rate"),
        (sgd(learn_rate=1), r"learn_rate: sgd has no .*; did you mean train.o.learning_rate\?$"),
        (sgd(learning_rate="x"), r"train.o.learning_rate: 'x' was given, but float"),
        ({"class_path": 3}, "class_path must be a name"),
        (sgd(), r"train.o: .*learning_rate"),
        ({"class_path": "optax.losses"}, "train.o: there is no .losses. in optax; did you mean"),
    ],
)
def test_wrong_parts_are_told_in_one_line(value, message):
    with pytest.raises(ValueError, match=message) as raised:
        Config({"o": value}, "train").get("o")
    assert "\n" not in str(raised.value)
