import numpy as np
import pytest

from ritz.callbacks import AbstractCallback, EarlyStopping, LambdaCallback, StopRun
from ritz.driver import StopReason
from ritz.loggers import JsonLog, RuntimeLog
from tests.driver.tools import Diary, Halving


def refused(error, match, *args, **arguments):
    driver, diary = Halving(), Diary()
    callbacks = arguments.pop("callback", [])
    callbacks = callbacks if isinstance(callbacks, list) else [callbacks]
    with pytest.raises(error, match=match):
        driver.run(*args, show_progress=False, callback=[diary, *callbacks], **arguments)
    assert diary.diary == []  # no hook has run
    assert driver.step_count == 0


@pytest.mark.parametrize("n_iter", [-1, 1.5, "prova", None, True])
def test_n_iter(n_iter):
    refused(ValueError, f"n_iter must be a whole number of at least 0, but {n_iter!r} was", n_iter)


def test_n_iter_second_argument_first():
    with pytest.raises(ValueError, match="n_iter must be a whole number"):
        Halving().run("prova", 12)


@pytest.mark.parametrize("name", ["step_size", "save_params_every", "write_every", "max_attempts"])
def test_counts(name):
    refused(ValueError, f"{name} must be a whole number of at least 1, but 0 was", 1, **{name: 0})


def test_numpy_integers_are_whole_numbers():
    driver = Halving()
    driver.run(np.int64(2), show_progress=False)
    assert driver.step_count == 2


def test_a_class_instead_of_an_instance():
    refused(
        TypeError,
        r"class EarlyStopping, not an instance; write callback=EarlyStopping\(\.\.",
        1,
        callback=EarlyStopping,
    )
    refused(TypeError, r"write out=RuntimeLog\(\.\.\.\)", 1, out=RuntimeLog)


def test_a_logger_as_callback_and_a_callback_as_logger():
    refused(TypeError, r"RuntimeLog is a logger; write out=RuntimeLog", 1, callback=RuntimeLog())
    refused(TypeError, r"Diary is no logger; write callback=Diary", 1, out=Diary())


def test_things_that_are_neither():
    refused(TypeError, "callback takes callbacks, or functions .* but 3 was given", 1, callback=[3])
    refused(TypeError, "out takes path prefixes or loggers, .* but 3 was given", 1, out=3)
    refused(TypeError, "obs takes a dict of name -> observable", 1, obs=[1])


def test_one_callback_twice():
    diary = Diary()
    with pytest.raises(ValueError, match="was given twice"):
        Halving().run(1, callback=[diary, diary], show_progress=False)


def test_two_states_with_one_key():
    match = "two callbacks have the state key 'EarlyStopping'.*callback.name = 'second'"
    refused(ValueError, match, 1, callback=[EarlyStopping(), EarlyStopping()])
    second = EarlyStopping(patience=9)
    second.name = "second"
    Halving().run(1, callback=[EarlyStopping(), second], show_progress=False)


def test_out_takes_a_prefix_a_logger_several_and_none(tmp_path):
    driver, log = Halving(), RuntimeLog()
    assert driver.run(1, out=None, show_progress=False) == ()
    assert driver.run(1, out=log, show_progress=False) == (log,)
    first, second = driver.run(1, out=["a/b", log], show_progress=False)
    assert isinstance(first, JsonLog) and second is log
    assert (tmp_path / "a" / "b.log").exists()
    (json_log,) = driver.run(1, out=tmp_path / "c", show_progress=False)
    assert list(json_log.data["loss"].iters) == [3]


def test_a_prefix_keeps_the_rows_of_the_run_before():
    driver = Halving()
    driver.run(2, out="log", show_progress=False)
    (log,) = driver.run(2, out="log", show_progress=False)
    assert list(log.data["loss"].iters) == [0, 1, 2, 3]
    (log,) = Halving().run(1, out="log", show_progress=False)
    assert list(log.data["loss"].iters) == [0]


def test_plain_functions_stop_on_a_false_value():
    driver, log = Halving(), RuntimeLog()
    calls = []

    def enough(step, log_data, driver):
        calls.append((step, log_data["loss"]))
        return step < 1

    driver.run(5, out=log, callback=enough, show_progress=False)
    assert calls == [(0, 1.0), (1, 0.5)]
    assert (driver.step_count, list(log.data["loss"].iters)) == (1, [0, 1])
    assert driver.stop_reason is StopReason.STOPPED
    assert driver.stop_message.endswith("enough: returned False")


def test_plain_functions_that_return_nothing_go_on():
    driver = Halving()
    driver.run(3, callback=lambda step, log_data, driver: None, show_progress=False)
    assert driver.step_count == 3


def test_obs_is_estimated_every_step_size_before_plain_functions():
    class Measured(Halving):
        def _estimate_one(self, observable, fullsum):
            return observable(self.parameters)

    seen = []
    log = RuntimeLog()
    Measured().run(
        4,
        out=log,
        obs={"double": lambda p: float(2 * p)},
        step_size=2,
        show_progress=False,
        callback=lambda step, log_data, driver: seen.append("double" in log_data),
    )
    assert seen == [True, False, True, False]
    assert list(log.data["double"].iters) == [0, 2]
    assert list(log.data["double"].values) == [2.0, 0.5]


def test_timeit_writes_a_table(capsys):
    Halving().run(1, timeit=True, show_progress=False, callback=Diary())
    table = capsys.readouterr().err
    assert "Diary" in table and "on_step_end" in table


def test_why_a_run_ended_is_logged_once(caplog):
    caplog.set_level("INFO", logger="ritz")
    Halving().run(1, show_progress=False)
    Halving().run(3, show_progress=False, callback=Diary(0, "on_step_end", StopRun("enough")))
    assert [(r.levelname, r.message) for r in caplog.records] == [
        ("INFO", "Run ended at step 1: finished all steps."),
        ("WARNING", "Run ended at step 2: stopped by Diary: enough."),
    ]


def test_misspelt_hooks_fail_when_the_class_is_made():
    with pytest.raises(TypeError, match="on_stepend is no hook .* did you mean on_step_end"):

        class Typo(AbstractCallback):
            def on_stepend(self, step, log_data, driver): ...

    with pytest.raises(TypeError, match="after_parameter_update.* did you mean before_parameter"):

        class Wrong(AbstractCallback):
            def after_parameter_update(self, step, log_data, driver): ...

    with pytest.raises(TypeError, match="on_iteration_end is no hook .* did you mean on_"):

        class Other(AbstractCallback):
            def on_iteration_end(self, step, log_data, driver): ...

    with pytest.raises(TypeError, match="__call__ is no hook .* did you mean before_parameter"):

        class OfNetKet(AbstractCallback):
            def __call__(self, step, log_data, driver): ...

    with pytest.raises(TypeError, match=r"write `def is_live\(self, step\)`"):

        class AlwaysDeferred(AbstractCallback):
            def is_live(self): ...

    class Helping(AbstractCallback):
        def on_convergence(self, value): ...


def test_what_comes_too_late_for_a_row_is_told_once(caplog):
    def late(step, log_data, driver):
        log_data["late"] = 1.0

    log = RuntimeLog()
    callback = LambdaCallback(on_step_end=late)
    Halving().run(3, out=log, callback=callback, show_progress=False)
    assert "late" not in log.data
    told = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(told) == 1 and told[0].startswith("late: added to a row in on_step_end or")


def test_hooks_with_other_arguments_fail_when_the_class_is_made():
    with pytest.raises(
        TypeError,
        match=r"Short.on_step_end takes \(self, step\), but is called with \(step, log_data, "
        r"driver\); write `def on_step_end\(self, step, log_data, driver\)`",
    ):

        class Short(AbstractCallback):
            def on_step_end(self, step): ...

    with pytest.raises(
        TypeError, match=r"Long.on_run_end takes \(self, step, log_data, driver\), b"
    ):

        class Long(AbstractCallback):
            def on_run_end(self, step, log_data, driver): ...

    class Free(AbstractCallback):
        def on_step_end(self, *args): ...

        def on_run_end(self, step, driver, more=None): ...


def test_functions_with_other_arguments_are_refused_before_the_run():
    match = (
        r"LambdaCallback.on_step_end takes \(step\), but is called with \(step, log_data, driver"
    )
    refused(TypeError, match, 1, callback=LambdaCallback(on_step_end=lambda step: None))
    refused(
        TypeError,
        "takes .step, row., but is called with .step, log_data, driver.",
        1,
        callback=lambda step, row: True,
    )


def test_misspelt_arguments_of_run():
    refused(
        TypeError, r"run has no argument 'callbacks'; did you mean callback=\?", 1, callbacks=[]
    )
    refused(TypeError, r"run has no argument 'loggers'; it takes: n_iter, out", 1, loggers=[])
    with pytest.raises(TypeError, match="steps has no argument 'on_divergance'; did you mean on_d"):
        Halving().steps(1, on_divergance="stop")


@pytest.mark.parametrize("old", ["on_legacy_run", "on_parameter_update"])
def test_retired_hooks_are_refused(old):
    with pytest.raises(TypeError, match="did you mean before_parameter_update"):
        type("Old", (AbstractCallback,), {old: lambda self: None})


def test_other_methods_are_free():
    class Fine(AbstractCallback):
        def once(self): ...

        def on_error_log(self): ...

        on_colour = "red"


def test_lambda_callback_refuses_other_names():
    with pytest.raises(TypeError, match="'on_stop' is not a hook; the hooks are: on_run_start"):
        LambdaCallback(on_stop=print)
    with pytest.raises(TypeError, match="on_step_end must be a function, but 3 was given"):
        LambdaCallback(on_step_end=3)
