"""Contents of a checkpoint: gathered from a driver and its callbacks, and restored."""

import importlib.metadata
import platform
import sys
import time
from collections.abc import Collection, Mapping, Sequence

import jax
import numpy as np
from jaxtyping import PyTree

from ritz.checkpoint.folder import CheckpointError, Contents
from ritz.checkpoint.logs import accounts
from ritz.checkpoint.plain import Arrays, Decoder, Encoder
from ritz.driver import AbstractDriver
from ritz.driver.callback import AbstractCallback, has_state, has_step_hooks
from ritz.driver.description import describe, differences
from ritz.driver.rows import error_of, mean_of
from ritz.driver.stop import StopReason
from ritz.types import JSON, State

FORMAT = 1
"""The version of the layout."""

_PACKAGES = ("ritz", "jax", "jaxlib", "numpy", "optax", "netket")
_ASKED_STEPS = 128
"""Number of steps that are checked to find out whether a callback is ever live."""
_MOST_LINES = 5


def describe_run(driver: AbstractDriver, began: int, configuration: object) -> State:
    """The part of a checkpoint that stays the same during a run.

    Args:
        driver: The driver, with the callbacks of the run.
        began: The step at which the run began.
        configuration: Anything that JSON can hold.
    """
    callbacks = driver.hooks.callbacks
    return {
        "format": FORMAT,
        "began": began,
        "target": driver.target_step,
        "callback set": _callback_set(callbacks),
        "logs": [c.label for c in callbacks if c.run_argument == "out"],
        "settings": describe(driver.settings),
        "versions": versions(),
        "processes": jax.process_count(),
        "devices": jax.device_count(),
        "device kind": jax.devices()[0].device_kind,
        "platform": platform.platform(),
        "configuration": configuration,
    }


def gather(
    driver: AbstractDriver,
    description: State,
    ended: bool,
    monitored: float | None,
    snapshot: PyTree = None,
) -> Contents:
    """Everything that a resumed run needs, as copies, those of the device not yet complete.

    Nothing waits for the device, unless other processes have parts of arrays: the next block can
    begin while arrays are copied to the host.

    Args:
        driver: The driver, between two steps.
        description: From `describe_run`.
        ended: Whether the run has ended.
        monitored: The value by which checkpoints are compared.
        snapshot: A result of `driver.snapshot`; by default taken now.
    """
    snapshot = driver.snapshot() if snapshot is None else snapshot
    arrays: Arrays = {}
    encoder = Encoder(arrays, driver.parameters)
    state = {name: encoder.encode(leaf, f"state.{name}") for name, leaf in _named_leaves(snapshot)}
    states = {
        key: encoder.encode(dict(callback.state_dict()), f"callbacks.{key}")
        for key, callback in driver.hooks.stateful.items()
    }
    adjustable = {
        name: encoder.encode(getattr(driver, name), f"adjustable.{name}")
        for name in sorted(driver.adjustable)
    }
    manifest = {
        **description,
        "step": driver.step_count,
        "ended": _ending(driver) if ended else None,
        "elapsed": driver.elapsed,
        "loss": _loss(driver),
        "monitored": monitored,
        "state": state,
        "callbacks": states,
        "adjustable": adjustable,
        "rows": accounts(driver.hooks.callbacks, _first_step_left(driver, ended)),
        "saved": time.strftime("%Y-%m-%d %H:%M:%S%z"),
    }
    return Contents(manifest, arrays)


def versions() -> dict[str, str]:
    """Versions of software and device, which may change the last bits of a result."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {**found, "backend": jax.default_backend()}


def _first_step_left(driver: AbstractDriver, ended: bool) -> int:
    """Rows before it stay; a callback that ended the run keeps the row of its step too."""
    stopped = ended and driver.stop_reason is StopReason.STOPPED
    return sys.maxsize if stopped else driver.step_count


def _ending(driver: AbstractDriver) -> dict[str, str]:
    assert driver.stop_reason is not None
    return {"reason": driver.stop_reason.name, "message": driver.stop_message}


def _loss(driver: AbstractDriver) -> State | None:
    if driver.loss is None:
        return None
    mean, error = np.asarray(mean_of(driver.loss)), error_of(driver.loss)
    error = np.asarray(np.nan if error is None else error)
    if mean.size != 1 or mean.dtype.kind not in "biufc":
        return None
    found = {
        "name": driver.loss_name,
        "mean": float(np.real(mean).reshape(())),
        "error": float(np.real(error).reshape(())),
    }
    return {**found, "suspect": ", ".join(sorted(driver.doubts))} if driver.doubts else found


def _named_leaves(tree: PyTree) -> list[tuple[str, PyTree]]:
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    named = [(jax.tree_util.keystr(path, simple=True, separator="."), x) for path, x in leaves]
    if len({name for name, _ in named}) < len(named):  # keys such as 1 and "1"
        named = [(jax.tree_util.keystr(path), x) for path, x in leaves]
    return named


def _callback_set(callbacks: Sequence[AbstractCallback]) -> list[str]:
    """The callbacks on which the results may depend: with a state, or live at some steps."""
    return sorted(
        c.label
        for c in callbacks
        if c.run_argument != "out"
        and (has_state(c) or (has_step_hooks(c) and any(map(c.is_live, range(_ASKED_STEPS)))))
    )


def check(
    manifest: State, driver: AbstractDriver, accept: Collection[str], where: str
) -> list[str]:
    """Refuse a checkpoint of another run.

    Args:
        manifest: The checkpoint's manifest.
        driver: The driver that would go on with it.
        accept: Settings, or "callbacks", that may differ.
        where: The checkpoint, for messages.

    Returns:
        The differences that were accepted.

    Raises:
        CheckpointError: With what differs.
    """
    if manifest["format"] != FORMAT:
        raise CheckpointError(
            f"{where} has format {manifest['format']}; this version of Ritz reads {FORMAT}."
        )
    saved_set, present_set = manifest["callback set"], _callback_set(driver.hooks.callbacks)
    found = {
        "callbacks": [f"the saved run had {c}" for c in _without(saved_set, present_set)]
        + [f"the saved run had no {c}" for c in _without(present_set, saved_set)]
    }
    present = describe(driver.settings)
    for line in differences(manifest["settings"], present):
        found.setdefault(line.partition(" ")[0].partition(".")[0], []).append(line)
    refused = [line for name, lines in found.items() if name not in accept for line in lines]
    accepted = [line for name, lines in found.items() if name in accept for line in lines]
    shapes = _other_shapes(manifest, driver)
    if refused or shapes:
        lines = [*refused, *shapes]
        more = f"; and {len(lines) - _MOST_LINES} more" if len(lines) > _MOST_LINES else ""
        names = sorted(name for name, lines in found.items() if lines and name not in accept)
        raise CheckpointError(
            f"{where} is of another run: {'; '.join(lines[:_MOST_LINES])}{more}. Use the settings "
            "of the saved run, or another folder.",
            accept=[] if shapes else names,
            differences=lines,
        )
    return accepted


def other_callbacks(manifest: State, driver: AbstractDriver) -> bool:
    """Whether the saved run had other callbacks on which its results depend."""
    return manifest["callback set"] != _callback_set(driver.hooks.callbacks)


def check_shapes(
    manifest: State, driver: AbstractDriver, where: str, settings: Collection[str] = ()
) -> None:
    """Refuse a checkpoint whose state has different shapes, or that was made with other settings.

    Args:
        manifest: The checkpoint's manifest.
        driver: The driver that would take its state.
        where: The checkpoint, for messages.
        settings: Names of the settings that must be the same.

    Raises:
        CheckpointError: With what differs.
    """
    known = {name: value for name, value in driver.settings.items() if name in settings}
    saved = {k: v for k, v in manifest["settings"].items() if k.partition(".")[0] in settings}
    others, shapes = differences(saved, describe(known)), _other_shapes(manifest, driver)
    if others or shapes:
        kinds = ["settings"] * bool(others) + ["shapes"] * bool(shapes)
        lines = [*others, *shapes]
        raise CheckpointError(
            f"{where} has a state of other {' and '.join(kinds)}: "
            f"{'; '.join(lines[:_MOST_LINES])}.",
            differences=lines,
        )


def _other_shapes(manifest: State, driver: AbstractDriver) -> list[str]:
    return differences(
        {name: _shape(form) for name, form in manifest["state"].items()},
        {n: _shape_of(leaf) for n, leaf in _named_leaves(driver.snapshot())},
    )


def _without(names: Sequence[str], others: Sequence[str]) -> list[str]:
    left = list(others)
    missing = []
    for name in names:
        if name in left:
            left.remove(name)
        else:
            missing.append(name)
    return missing


def _shape(form: JSON) -> str:
    if isinstance(form, Mapping) and "array" in form:
        key = f" key {form['key']}" if "key" in form else ""
        return f"{form['dtype']}{form['shape']}{key}"
    return "a number or an object"


def _shape_of(leaf: PyTree) -> str:
    return _shape(Encoder(None).encode(leaf, ""))


def put_back(contents: Contents, driver: AbstractDriver) -> dict[str, State]:
    """Restore the saved state into `driver`.

    Returns:
        The states of the callbacks, by their keys.
    """
    manifest = contents.manifest
    decoder = Decoder(contents.arrays, driver.parameters)
    template = driver.snapshot()
    leaves = [
        decoder.decode(manifest["state"][name], leaf) for name, leaf in _named_leaves(template)
    ]
    for name, form in manifest["adjustable"].items():
        if name in driver.adjustable:
            setattr(driver, name, decoder.decode(form))
    driver.restore(jax.tree.unflatten(jax.tree.structure(template), leaves))
    driver.resume_at(manifest["step"], manifest["elapsed"])
    return {key: decoder.decode(form) for key, form in manifest["callbacks"].items()}


def ended_by_callback(manifest: State) -> str | None:
    """The message of the callback that ended the saved run for good, or None."""
    ended = manifest["ended"]
    if ended is not None and ended["reason"] == StopReason.STOPPED.name:
        return ended["message"]
    return None
