"""Writes trajectories that ASE reads."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms as AseAtoms
from ase.io.trajectory import TrajectoryWriter
from jaxtyping import Array, Bool, Int
from typing_extensions import override

from ritz.checks import check_count
from ritz.driver import AbstractDriver
from ritz.driver.processes.division import on_host
from ritz.driver.signatures import suggests_names
from ritz.loggers.base import AbstractLogger
from ritz.relax.batching.batch import Outcome, Slots, outcome
from ritz.relax.batching.bucket import unpack
from ritz.relax.driver import Relaxation
from ritz.relax.kernel import RelaxCarry
from ritz.relax.state import Structures
from ritz.types import Row

FORMATS = {".traj": "traj", ".extxyz": "extxyz", ".xyz": "extxyz"}
"""The formats by suffix."""

MOST_FRAMES = 64
"""Largest number of steps kept on the device before they are written."""

MOST_BYTES = 2**26
"""Largest amount of the device's memory for them, in bytes."""


class Frames(NamedTuple):
    """The last steps of a bucket, in a ring: step k is in row k % n."""

    outcome: Outcome
    """The first axis is the row, the second the slot."""
    member: Int[Array, "rows slots"]
    wanted: Bool[Array, "rows slots"]
    step: Int[Array, " rows"]
    """-1 for rows that are empty."""
    running: Bool[Array, " slots"]
    """Which slots held an unfinished structure after the last step."""
    last_member: Int[Array, " slots"]
    last_steps: Int[Array, " slots"]


class Trajectory(AbstractLogger):
    """Writes structures with energies and forces while they move, in a format of ASE.

    A structure is written at steps that are multiples of `every`, as it is before the step, and
    when it has finished; so a run of 50 steps with `every=10` leaves frames 0, 10, ..., 50, and
    one more if it finishes in between. Frames are gathered on the device, within compiled blocks,
    and written a block at a time; `info` of each has the `step` of the run and the `place` of the
    structure. A run that is resumed drops what was written after its checkpoint, a frame that was
    cut off included.

    Args:
        path: A file, relative to the run's working folder; its suffix, `.traj`, `.extxyz` or
            `.xyz`, tells the format. With `{place}` in it, each structure has a file of its own,
            otherwise all frames go to one file.
        every: Write at steps that are multiples of this.

    Raises:
        ValueError: If the format is unknown, or `every` is no whole number above zero.
    """

    traced_at = "on_step_end"

    @suggests_names
    def __init__(self, path: str | Path, every: int = 1):
        self.path = Path(path)
        if self.path.suffix not in FORMATS:
            raise ValueError(
                f"a trajectory ends in {', '.join(FORMATS)}, but {str(path)!r} was given."
            )
        self.every = check_count("every", every, 1)
        self._rows = MOST_FRAMES
        self._next = 0
        self._folder = Path()
        self._driver: Relaxation | None = None

    def check_run(self, driver: AbstractDriver, resume: bool) -> None:
        """Refuse drivers other than `Relaxation`.

        Raises:
            TypeError: If the driver is no `Relaxation`.
        """
        if not isinstance(driver, Relaxation):
            raise TypeError(
                f"Trajectory writes the structures of a Relaxation, not of a "
                f"{type(driver).__name__}."
            )

    @override
    def on_run_start(self, step: int, driver: Relaxation) -> None:
        self._driver, self._next = driver, step
        super().on_run_start(step, driver)

    def __call__(self, step: int, item: Row, state: object = None) -> None:
        """Refuse to write by hand, since rows hold no structures.

        Raises:
            RuntimeError: Always.
        """
        raise RuntimeError(
            f"{self.label} writes what a Relaxation does and takes no rows by hand: give it as "
            "out=... to the run."
        )

    @property
    def _structures(self) -> Structures:
        assert self._driver is not None, "open outside of a run"
        return self._driver.structures

    def ends_block(self, step: int) -> bool:
        """Blocks end where the ring on the device is full."""
        return (step + 1) % self._rows == 0

    # On the device.

    def init_traced(self, carry: RelaxCarry) -> tuple[Frames, ...]:
        """Empty rings, with as many rows as memory allows."""
        size = sum(x.nbytes for x in jax.tree.leaves([outcome(s) for s in carry.slots]))
        self._rows = int(np.clip(MOST_BYTES // max(size, 1), 1, MOST_FRAMES))
        return tuple(self._empty(slots) for slots in carry.slots)

    def _empty(self, slots: Slots) -> Frames:
        n, rows = len(slots.member), self._rows
        return Frames(
            outcome=jax.tree.map(lambda x: jnp.zeros((rows, *x.shape), x.dtype), outcome(slots)),
            member=jnp.zeros((rows, n), slots.member.dtype),
            wanted=jnp.zeros((rows, n), bool),
            step=jnp.full(rows, -1, jnp.int32),
            running=self._runs(slots),
            last_member=slots.member,
            last_steps=slots.steps,
        )

    def _runs(self, slots: Slots) -> jax.Array:
        return (slots.status >= 0) & (slots.status < len(slots.stages))

    @property
    @override
    def traced_settings(self) -> tuple[int, int]:
        return self.every, self._rows

    def traced(
        self, callback_carry: tuple[Frames, ...], carry: RelaxCarry, metrics: Row
    ) -> tuple[Frames, ...]:
        """Store the step in the ring."""
        step = jnp.asarray(metrics["step"], jnp.int32)
        return tuple(
            self._note(frames, slots, step)
            for frames, slots in zip(callback_carry, carry.slots, strict=True)
        )

    def _note(self, frames: Frames, slots: Slots, step: jax.Array) -> Frames:
        runs = self._runs(slots)
        new = slots.member != frames.last_member
        # A structure that waits for a longer neighbour list was not evaluated in this step.
        moved = slots.steps > jnp.where(new, 0, frames.last_steps)
        wanted = (frames.running | new) & ((moved & (step % self.every == 0)) | ~runs)
        row = step % self._rows
        return Frames(
            outcome=jax.tree.map(
                lambda ring, new: ring.at[row].set(new), frames.outcome, outcome(slots)
            ),
            member=frames.member.at[row].set(slots.member),
            wanted=frames.wanted.at[row].set(wanted),
            step=frames.step.at[row].set(step),
            running=runs,
            last_member=slots.member,
            last_steps=slots.steps,
        )

    # On the host.

    @override
    def load_traced(self, callback_carry: tuple[Frames, ...]) -> None:
        frames = on_host(callback_carry)  # by all processes, of which one writes
        first, self._next = self._next, max(self._next, int(frames[0].step.max()) + 1)
        if self._opened is None:
            return
        images = [
            image
            for step in sorted(int(s) for s in frames[0].step if s >= first)
            for image in self._images(frames, step)
        ]
        self._write(images)

    def on_run_end(self, step: int, driver: Relaxation) -> None:
        """Write unfinished structures as they are after the last step."""
        if step >= self._next and step % self.every == 0:
            state = driver.structures
            outcomes, places = state.present()
            found = unpack(state.given, outcomes, places, state.stages)
            images = [
                _labelled(image, step, place)
                for place, image in enumerate(found)
                if image is not None
            ]
            self._write(images if self._opened is not None else [])
        super().on_run_end(step, driver)

    def _write(self, images: Iterable[AseAtoms]) -> None:
        by_file: dict[Path, list[AseAtoms]] = {}
        for image in images:
            by_file.setdefault(self._file(image.info["place"]), []).append(image)
        for file, own in by_file.items():
            self._append(file, own)

    def _append(self, file: Path, images: list[AseAtoms]) -> None:
        if FORMATS[self.path.suffix] == "traj":  # `ase.io.write` cannot append to these
            with TrajectoryWriter(file, "a") as writer:
                for image in images:
                    writer.write(image)
        else:
            ase.io.write(file, images, format="extxyz", append=True)

    def _images(self, frames: tuple[Frames, ...], step: int) -> Iterator[AseAtoms]:
        state, row = self._structures, step % self._rows
        outcomes = [jax.tree.map(lambda x: x[row], f.outcome) for f in frames]
        places = [
            np.where(f.wanted[row], bucket.given_places(f.member[row]), -1)
            for f, bucket in zip(frames, state.buckets, strict=True)
        ]
        for place, image in enumerate(unpack(state.given, outcomes, places, state.stages)):
            if image is not None:
                yield _labelled(image, step, place)

    def _file(self, place: int) -> Path:
        return self._folder / str(self.path).replace("{place}", str(place))

    @contextlib.contextmanager
    def open(self, working_dir: Path, stage_name: str, initial_step: int = 0) -> Iterator[None]:
        """Drop frames at or beyond `initial_step`; a run from step 0 starts empty."""
        self._folder = working_dir
        n_files = len(self._structures.given) if "{place}" in str(self.path) else 1
        for place in range(n_files):
            file = self._file(place)
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.exists():
                self._keep(file, initial_step)
        yield

    def _keep(self, file: Path, initial_step: int) -> None:
        kept: list[AseAtoms] = []
        # The reader of a file that was cut off fails at its last frame, in one of many ways.
        with contextlib.suppress(Exception):
            for image in ase.io.iread(file, format=FORMATS[self.path.suffix]):
                if image.info.get("step", -1) < initial_step:
                    kept.append(image)
        file.unlink()
        if kept:
            temporary = file.with_name(file.name + ".tmp")
            self._append(temporary, kept)
            os.replace(temporary, file)

    def write(self, step: int, stats: Row) -> None:
        """Write nothing, since frames are written in `load_traced`."""


def _labelled(image: AseAtoms, step: int, place: int) -> AseAtoms:
    image.info |= {"step": step, "place": place}
    return image
