"""The run loop. docs/run-loop.md shows this file."""

from collections.abc import Generator

from ritz.driver.hooks import HookList
from ritz.driver.processes.signals import SignalGuard, interactive
from ritz.driver.processes.votes import StepsTakenBack
from ritz.driver.run_state import StepInfo, Steps
from ritz.driver.stepping import Stepping
from ritz.driver.stop import StepRejectedError, StopReason, StopRun
from ritz.types import Row
from ritz.wording import counted


def run_loop(driver: Stepping, n_iter: int, hooks: HookList) -> Steps:
    """Take `n_iter` steps; however they end, tell every callback once."""
    with SignalGuard() as signals:
        try:
            reason, message = yield from take_steps(driver, n_iter, hooks, signals)
            hooks.check()
        except GeneratorExit:
            reason, message = StopReason.CLOSED, StopReason.CLOSED.value
        except BaseException as error:
            driver.run_state.fail(error)
            hooks.fail(driver.step_count, error, driver)
            raise
        driver.run_state.stop(reason, message)
        try:
            hooks.end(driver.step_count, driver)
        except BaseException as error:
            driver.run_state.fail(error)
            raise
    if (signals.received or signals.agreed_on) and not interactive():
        raise signals.interruption()


def take_steps(
    driver: Stepping, n_iter: int, hooks: HookList, signals: SignalGuard
) -> Generator[StepInfo, None, tuple[StopReason, str]]:
    """Take up to `n_iter` steps; return why they ended."""
    try:
        hooks.start(driver.step_count, driver, signals)
        last, attempt = driver.step_count + n_iter, 0
        while driver.step_count < last:
            if driver.block is None and signals.agreed():
                return StopReason.INTERRUPTED, signals.message
            driver.begin_step(hooks)  # may compute a block, which the next steps then replay
            if driver.block is not None:
                yield from driver.replay_block(hooks)
                if driver.block is None:  # a callback has ended it
                    continue
            try:
                yield take_step(driver, hooks, signals, driver.step_count, attempt)
                attempt = 0
            except StepsTakenBack as back:  # another process has decided earlier
                attempt = back.rejections
        return StopReason.FINISHED, StopReason.FINISHED.value
    except StopRun as stop:
        return stop.reason, str(stop)
    finally:
        with signals.held:
            hooks.announce_error(driver.step_count)  # the others go back to the same step
            driver.settle()
            hooks.settle()


def take_step(
    driver: Stepping, hooks: HookList, signals: SignalGuard, step: int, attempt: int
) -> StepInfo:
    """Attempt a step until it is accepted, then move the parameters and count it."""
    log_data: Row = {}
    compute_step(driver, hooks, step, log_data, attempt)
    hooks.call("before_parameter_update", step, log_data, driver)
    counted = whole = False
    try:
        with signals.held:
            driver.move()
            counted = True
        hooks.call("on_step_end", step, log_data, driver)
        whole = True
    except StopRun:
        whole = True
        raise
    finally:
        driver.count_step(counted, whole)
    return StepInfo(step, driver.loss, log_data)


def compute_step(driver: Stepping, hooks: HookList, step: int, log_data: Row, attempt: int) -> None:
    """Compute the loss and the update, again while anybody rejects them, and log the loss."""
    rejecting: list[str] = []
    while attempt < driver.max_attempts:
        driver.begin_attempt(attempt)
        log_data.clear()
        hooks.call("on_step_start", step, log_data, driver)
        driver.reset_step()
        hooks.call("on_compute_update_start", step, log_data, driver)
        driver.propose()
        rejecting = driver.objections(hooks.call("on_compute_update_end", step, log_data, driver))
        if not hooks.rejected(step, rejecting, driver):
            driver.fill_row(log_data)
            return
        attempt += driver.retreat()
    raise StepRejectedError(
        f"step {step} was rejected {counted(driver.max_attempts, 'time')} in a row, last by "
        f"{', '.join(rejecting) or 'another process'}; the last loss was {driver.loss}. Loosen "
        "what rejects it, make the steps smaller, or raise `max_attempts` in run()."
    )
