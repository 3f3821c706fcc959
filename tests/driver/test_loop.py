import numpy as np
import pytest

from ritz.callbacks import AbstractCallback, CallbackOrder, LambdaCallback, StopRun
from ritz.driver import AbstractDriver, StepRejectedError, StopReason
from ritz.loggers import RuntimeLog
from tests.driver.tools import Diary, Halving, text

STEP = "SS CS CE BU SE"


def quiet(driver, n_iter, **arguments):
    return driver.run(n_iter, show_progress=False, **arguments)


class Rejecting(Diary):
    def __init__(self, answers, **options):
        super().__init__(**options)
        self.answers = list(answers)

    def on_compute_update_end(self, step, log_data, driver):
        super().on_compute_update_end(step, log_data, driver)
        return self.answers.pop(0) if self.answers else None


def test_golden_order_of_a_plain_run():
    diary = Diary()
    quiet(Halving(), 2, callback=diary)
    assert text(diary.diary) == f"RS {STEP} {STEP} RE"


def test_golden_order_of_several_callbacks():
    shared = []
    callbacks = [Diary(5, diary=shared, name="b"), Diary(-5, diary=shared, name="a")]
    quiet(Halving(), 1, callback=callbacks)
    assert text(shared) == "aRS bRS aSS bSS aCS bCS aCE bCE aBU bBU aSE bSE aRE bRE"


def test_ties_keep_the_given_order():
    shared = []
    callbacks = [Diary(0, diary=shared, name=n) for n in "xyz"]
    quiet(Halving(), 0, callback=callbacks)
    assert text(shared) == "xRS yRS zRS xRE yRE zRE"


def test_golden_order_of_a_rejected_step():
    diary = Rejecting([True, True])
    driver = Halving()
    quiet(driver, 1, callback=diary)
    assert text(diary.diary) == f"RS SS CS CE SS CS CE {STEP} RE"
    assert driver.resets == 3


def test_empty_run_calls_start_and_end():
    diary = Diary()
    driver = Halving()
    quiet(driver, 0, callback=diary)
    assert text(diary.diary) == "RS RE"
    assert driver.stop_reason is StopReason.FINISHED


def test_what_is_true_in_each_hook():
    seen = []

    class Look(AbstractCallback):
        def on_step_start(self, step, log_data, driver):
            assert log_data == {}
            seen.append(("start", step, driver.step_count, float(driver.parameters)))

        def on_compute_update_end(self, step, log_data, driver):
            assert "loss" not in log_data
            assert (driver.loss, driver._loss_stats) == (float(driver.parameters),) * 2
            assert driver.update is driver._dp

        def before_parameter_update(self, step, log_data, driver):
            assert log_data["loss"] == float(driver.parameters)
            seen.append(("before", step, driver.step_count, float(driver.parameters)))

        def on_step_end(self, step, log_data, driver):
            seen.append(("end", step, driver.step_count, float(driver.parameters)))

        def on_run_end(self, step, driver):
            seen.append(("run end", step, driver.step_count, float(driver.parameters)))

    quiet(Halving(), 2, callback=Look())
    assert seen == [
        ("start", 0, 0, 1.0),
        ("before", 0, 0, 1.0),
        ("end", 0, 0, 0.5),
        ("start", 1, 1, 0.5),
        ("before", 1, 1, 0.5),
        ("end", 1, 1, 0.25),
        ("run end", 2, 2, 0.25),
    ]


def test_two_runs_go_on():
    driver, log, diary = Halving(), RuntimeLog(), Diary()
    quiet(driver, 2, out=log, callback=diary)
    quiet(driver, 2, out=log, callback=diary)
    assert driver.step_count == 4
    assert list(log.data["loss"].iters) == [0, 1, 2, 3]
    assert list(log.data["loss"].values) == [1.0, 0.5, 0.25, 0.125]
    assert text(diary.diary) == f"RS {STEP} {STEP} RE RS {STEP} {STEP} RE"


def test_run_after_a_stop_takes_the_dropped_step_again():
    driver, log = Halving(), RuntimeLog()
    quiet(driver, 3, out=log, callback=Diary(0, "before_parameter_update", StopRun()))
    assert (driver.step_count, list(log.data["loss"].iters)) == (1, [0, 1])
    quiet(driver, 2, out=log)
    assert (driver.step_count, list(log.data["loss"].iters)) == (3, [0, 1, 2])


@pytest.mark.parametrize("answer", [True, 1, np.bool_(True), np.array(1.0), "yes"])
def test_any_true_value_rejects(answer):
    driver, log = Halving(), RuntimeLog()
    quiet(driver, 1, out=log, callback=Rejecting([answer]))
    assert list(log.data["attempts"].values) == [2]


def test_jax_booleans_reject():
    import jax.numpy as jnp

    driver = Halving()
    quiet(driver, 1, callback=Rejecting([jnp.array(True), jnp.array(False)]))
    assert driver.resets == 2


@pytest.mark.parametrize("answer", [None, False, 0, np.bool_(False)])
def test_false_values_accept(answer):
    driver, log = Halving(), RuntimeLog()
    quiet(driver, 1, out=log, callback=Rejecting([answer]))
    assert driver.resets == 1
    assert "attempts" not in log.data


def test_an_array_is_no_answer():
    with pytest.raises(TypeError, match="neither true nor false; return True to reject"):
        quiet(Halving(), 1, callback=Rejecting([np.ones(2)]))


def test_all_are_asked_although_one_rejects_and_the_driver_is_not():
    asked = []

    class Careful(Halving):
        def _accept_step(self):
            asked.append("driver")
            return True

    shared = []
    callbacks = [Rejecting([True], diary=shared, name="a"), Diary(diary=shared, name="b")]
    quiet(Careful(), 1, callback=callbacks)
    assert (
        text(shared)
        == "aRS bRS aSS bSS aCS bCS aCE bCE aSS bSS aCS bCS aCE bCE aBU bBU aSE bSE aRE bRE"
    )
    assert asked == ["driver"]


def test_the_driver_can_reject():
    class Picky(Halving):
        def _accept_step(self):
            return np.bool_(self.step_attempt == 2)

    driver, log = Picky(), RuntimeLog()
    quiet(driver, 1, out=log)
    assert (driver.resets, list(log.data["attempts"].values)) == (3, [3])


def test_a_driver_can_reject_by_what_is_set_on_it():
    driver = Halving()
    driver._accept_step = lambda: driver.step_attempt == 1
    quiet(driver, 1)
    assert (driver.resets, driver.step_count) == (2, 1)


def test_log_data_is_one_dict_emptied_between_attempts():
    ids, sizes = set(), []

    class Fill(AbstractCallback):
        def on_step_start(self, step, log_data, driver):
            ids.add(id(log_data))
            sizes.append(len(log_data))
            log_data["note"] = 1

        def on_compute_update_end(self, step, log_data, driver):
            return driver.step_attempt < 2

    quiet(Halving(), 1, callback=Fill())
    assert (len(ids), sizes) == (1, [0, 0, 0])


def test_step_attempt_counts_and_begins_anew():
    attempts = []

    class Count(AbstractCallback):
        def on_compute_update_end(self, step, log_data, driver):
            attempts.append((driver.step_attempt, driver._step_attempt))
            return driver.step_attempt < 1

    quiet(Halving(), 2, callback=Count())
    assert attempts == [(0, 0), (1, 1), (0, 0), (1, 1)]


def test_endless_rejection_is_an_error():
    driver, diary = Halving(), Diary()
    stubborn = [Rejecting([True] * 9, name="one"), Rejecting([True] * 9, name="two")]
    with pytest.raises(
        StepRejectedError,
        match=r"step 0 was rejected 3 times in a row, last by Rejecting:one, Rejecting:two; the "
        r"last loss was 1.0. Loosen",
    ):
        quiet(driver, 1, callback=[*stubborn, diary], max_attempts=3)
    assert (driver.step_count, driver.resets, diary.diary[-1]) == (0, 3, "ER")


def test_a_callback_may_replace_the_update():
    driver = Halving()
    quiet(
        driver,
        1,
        callback=LambdaCallback(
            on_compute_update_end=lambda step, log_data, d: setattr(d, "update", np.array(0.25))
        ),
    )
    assert float(driver.parameters) == 0.75


def test_steps_is_the_same_loop():
    driver, diary = Halving(), Diary()
    infos = list(driver.steps(2, callback=diary))
    assert [(i.step, i.loss, i.log_data["loss"]) for i in infos] == [(0, 1.0, 1.0), (1, 0.5, 0.5)]
    assert text(diary.diary) == f"RS {STEP} {STEP} RE"


def test_leaving_the_generator_ends_the_run_well():
    driver, diary = Halving(), Diary()
    steps = driver.steps(10, callback=diary)
    for info in steps:
        if info.step == 1:
            break
    steps.close()
    assert driver.step_count == 2
    assert text(diary.diary) == f"RS {STEP} {STEP} RE"
    assert driver.stop_reason is StopReason.CLOSED
    quiet(driver, 1)


def test_steps_checks_its_arguments_at_once():
    with pytest.raises(ValueError, match="n_iter must be a whole number of at least 0"):
        Halving().steps(-1)


def test_a_running_driver_refuses_a_second_run():
    driver = Halving()
    steps = driver.steps(3)
    next(steps)
    with pytest.raises(RuntimeError, match="running already; finish or close its loop"):
        quiet(driver, 1)
    steps.close()


def test_trial_loss_needs_an_implementation():
    with pytest.raises(NotImplementedError, match="define trial_loss"):
        Halving().trial_loss(None)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("reset_step", ()), ("compute_loss_and_update", ()), ("update_parameters", (1,))],
)
def test_a_driver_without_its_three_methods_says_so(method, arguments):
    driver = AbstractDriver(Halving().state)
    with pytest.raises(NotImplementedError, match=f"AbstractDriver must define {method}"):
        getattr(driver, method)(*arguments)


def test_callbacks_print_in_order():
    driver = Halving()
    quiet(driver, 0, callback=[Diary(7, name="late"), Diary(-3)], out=RuntimeLog())
    assert repr(driver.callbacks) == (
        " order  callback\n    -3  Diary\n     7  Diary:late\n    10  RuntimeLog"
    )


def test_named_orders():
    assert {o.name: int(o) for o in CallbackOrder} == {
        "OBSERVE": -10, "USER": 0, "LOG": 10, "CHECKPOINT": 20, "STOP": 100,
    }  # fmt: skip


def test_estimate_keeps_the_structure():
    class Measured(Halving):
        def _estimate_one(self, observable, fullsum):
            return observable * 2

    assert Measured().estimate({"a": 1, "b": [2, {"c": 3}]}) == {"a": 2, "b": [4, {"c": 6}]}


def test_snapshot_and_restore_copy_what_is_changed_in_place():
    driver = Halving()
    driver.parameters = np.array([1.0])
    snapshot = driver.snapshot()
    driver.parameters += 1
    driver.restore(snapshot)
    driver.parameters += 1
    driver.restore(snapshot)
    assert driver.parameters.tolist() == [1.0]


def test_the_loss_may_be_none():
    class Lossless(Halving):
        def compute_loss_and_update(self):
            return None, self.parameters / 2

    log = RuntimeLog()
    quiet(Lossless(), 2, out=log)
    assert list(log.data) == ["wallclock"]
