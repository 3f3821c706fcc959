"""A driver that halves its parameter, and callbacks that keep a diary."""

import types

import numpy as np

from ritz.callbacks import AbstractCallback, LambdaCallback
from ritz.driver import AbstractDriver
from ritz.driver.callback import HOOKS
from ritz.loggers import RuntimeLog

CODES = dict(zip(HOOKS, ("RS", "SS", "CS", "CE", "BU", "SE", "RE", "ER"), strict=True))


class Halving(AbstractDriver):
    """theta: 1, 1/2, 1/4, ...; the loss is theta."""

    def __init__(self):
        super().__init__(types.SimpleNamespace(parameters=np.array(1.0)))
        self.resets = 0

    def reset_step(self):
        self.resets += 1

    def compute_loss_and_update(self):
        return float(self.parameters), self.parameters / 2

    def update_parameters(self, update):
        self.parameters = self.parameters - update


class Diary(AbstractCallback):
    """Notes each hook as a code; raises `error` in `hook`, at step 1 in hooks of a step."""

    def __init__(self, order=0, hook=None, error=None, diary=None, name=""):
        self.callback_order = order
        self.name = name or None
        self.hook, self.error = hook, error
        self.diary = [] if diary is None else diary

    def note(self, hook, step):
        self.diary.append((self.name or "") + CODES[hook])
        if hook == self.hook and (step == 1 or hook in ("on_run_start", "on_run_end")):
            raise self.error
        if hook == "on_run_error" == self.hook:
            raise self.error

    def on_run_start(self, step, driver):
        self.note("on_run_start", step)

    def on_step_start(self, step, log_data, driver):
        self.note("on_step_start", step)

    def on_compute_update_start(self, step, log_data, driver):
        self.note("on_compute_update_start", step)

    def on_compute_update_end(self, step, log_data, driver):
        self.note("on_compute_update_end", step)

    def before_parameter_update(self, step, log_data, driver):
        self.note("before_parameter_update", step)

    def on_step_end(self, step, log_data, driver):
        self.note("on_step_end", step)

    def on_run_end(self, step, driver):
        self.note("on_run_end", step)

    def on_run_error(self, step, error, driver):
        self.note("on_run_error", step)


class LiveAt(AbstractCallback):
    """Sees the steps for which `chosen(step)` is true live, and notes the parameters there."""

    def __init__(self, chosen):
        self.chosen, self.seen = chosen, {}

    def is_live(self, step):
        return self.chosen(step)

    def on_step_end(self, step, log_data, driver):
        if self.chosen(step):
            self.seen[step] = driver.parameters


def run(driver, n_iter, *callbacks, **arguments):
    log = RuntimeLog()
    driver.run(n_iter, out=log, callback=list(callbacks), show_progress=False, **arguments)
    return log.data


class Deferred(Diary):
    def is_live(self, step):
        return False


def at(step, act, hook="before_parameter_update", order=0):
    """A deferred callback that does something in one hook of one step."""

    def do(now, log_data, driver):
        return act(driver) if now == step else None

    return LambdaCallback(order=order, live=False, **{hook: do})


def raising(error):
    def act(driver):
        raise error

    return act


def text(diary):
    return " ".join(diary)
