"""What a step sends between devices, read from its compiled program."""

import contextlib
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ritz.driver import CompiledDriver, OwnPrecision
from ritz.driver.blocks.block import run_block
from ritz.driver.blocks.live import draw_and_step
from ritz.driver.blocks.traced import Observers

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "collective-permute",
    "collective-broadcast",
    "ragged-all-to-all",
)
"""The collective operations of XLA."""

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%?([\w.\-]+) = (.*?) ([\w\-]+)\((.*)$")
_SHAPE = re.compile(r"\b([a-z]+)(\d*)\w*\[([\d,]*)\]")
_CALLED = re.compile(
    r"(?:calls|to_apply|body|condition|true_computation|false_computation)=%?([\w.\-]+)"
)
_BRANCHES = re.compile(r"branch_computations=\{([^}]*)\}")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"')
_OPERAND = re.compile(r"%([\w.\-]+)")
_SOURCE = re.compile(r'op_name="([^"]*)"')
_GROUPS = re.compile(r"replica_groups=(?:\[(\d+),(\d+)\]|\{\{([\d,]*)\})")


class Collective(NamedTuple):
    """One collective operation of a compiled program."""

    kind: str
    """One of `KINDS`."""
    bytes: int
    """Size of the whole array: what an all-reduce sums, an all-gather ends up with, a
    reduce-scatter or an all-to-all begins with on each device."""
    times: int
    """How often one pass runs it, if it is in inner loops of known length; branches of conditionals
    are all counted."""
    loops: int
    """Number of loops of unknown length around it, each of which is counted as one pass."""
    devices: int
    """Number of devices that take part in it."""
    source: str
    """The operation of JAX that it comes from, as `jit(f)/while/body/dot_general`."""

    @property
    def sent(self) -> float:
        """Bytes that each device sends in one pass, by ring algorithms, the least that is possible.

        With n devices that is 2 (n - 1) / n of an array for an all-reduce, (n - 1) / n for
        gathers, scatters and all-to-all, and all of it for a permutation (Patarasuk and Yuan,
        J. Parallel Distrib. Comput. 69, 117, 2009).
        """
        part = (self.devices - 1) / self.devices
        factor = {"all-reduce": 2 * part, "collective-permute": 1.0}.get(self.kind, part)
        return factor * self.bytes * self.times


class Total(NamedTuple):
    """The collectives of one kind together."""

    count: int
    """How many operations a pass runs."""
    bytes: int
    """Their sizes together, see `Collective.bytes`."""


def collectives_in(program: str) -> tuple[Collective, ...]:
    """The collective operations of a compiled program.

    Args:
        program: The text of a program after it was compiled:
            `jax.jit(f).lower(*arguments).compile().as_text()`. Before, there are none yet.

    Returns:
        One entry for each operation that is run, those in called computations included.

    Raises:
        ValueError: If it is not the text of a compiled program.
    """
    computations, entry = _computations(program)
    if entry is None:
        raise ValueError(
            "this is not the text of a compiled program; give "
            "jax.jit(f).lower(*arguments).compile().as_text()."
        )
    return tuple(_walk(computations, entry, times=1, loops=0))


def step_collectives(driver: CompiledDriver) -> tuple[Collective, ...]:
    """What the devices send one another in one live step of a driver.

    Args:
        driver: A driver that has run at least a step, so that its arrays lie where steps leave
            them.
    """
    with _running(driver) as (kernel, carry):
        lowered = draw_and_step.lower(kernel, Observers(driver.loss_name), carry, (), None)
        return _compiled(lowered)


def block_collectives(driver: CompiledDriver) -> tuple[Collective, ...]:
    """What the devices send one another in the program of a block.

    Those of a step have `loops` of at least 1, since the block is a loop of unknown length; those
    with 0 are sent once a block. A step of the block has the rest once, or as often as the inner
    loop of unknown length runs, such as that of conjugate gradients, if `loops` is 2.

    Args:
        driver: A driver that has run at least a step.
    """
    with _running(driver) as (kernel, carry):
        step = np.int32(driver.step_count)
        lowered = run_block.lower(kernel, Observers(driver.loss_name), carry, (), step, step)
        return _compiled(lowered)


def totals(collectives: Iterable[Collective]) -> dict[str, Total]:
    """Count and bytes by kind, for comparison with what a step is known to need."""
    found: dict[str, Total] = {}
    for one in collectives:
        count, size = found.get(one.kind, (0, 0))
        found[one.kind] = Total(count + one.times, size + one.times * one.bytes)
    return found


def described(collectives: Iterable[Collective]) -> str:
    """A line for each collective, the largest first; for messages of failed tests."""
    ordered = sorted(collectives, key=lambda one: -one.bytes * one.times)
    return "\n".join(
        f"{one.kind:>20} {one.times:>5} x {one.bytes:>10} bytes, loops {one.loops}: {one.source}"
        for one in ordered
    )


@contextlib.contextmanager
def _running(driver: CompiledDriver) -> Iterator[tuple[Any, Any]]:
    """Kernel and carry of a driver, in the precision of its runs."""
    own = isinstance(driver, OwnPrecision)
    with driver._precision() if own else contextlib.nullcontext(), driver.environment():
        yield driver.step_kernel, driver.carry


def _compiled(lowered: Any) -> tuple[Collective, ...]:
    return collectives_in(lowered.compile().as_text())


class _Instruction(NamedTuple):
    name: str
    shape: str
    opcode: str
    rest: str
    """Operands and attributes."""


def _computations(program: str) -> tuple[dict[str, list[_Instruction]], str | None]:
    """The instructions of each computation of a program, and the name of its entry."""
    found: dict[str, list[_Instruction]] = {}
    entry, present = None, None
    for line in program.splitlines():
        header = _COMPUTATION.match(line)
        if header:
            present = found[header[2]] = []
            entry = header[2] if header[1] else entry
            continue
        instruction = _INSTRUCTION.match(line)
        if present is not None and instruction:
            present.append(_Instruction(*instruction.groups()))
    return found, entry


def _walk(
    computations: dict[str, list[_Instruction]], name: str, *, times: int, loops: int
) -> Iterator[Collective]:
    """The collectives of a computation and those that it calls."""
    instructions = computations.get(name, [])
    shapes = {one.name: one.shape for one in instructions}
    for one in instructions:
        kind = one.opcode.removesuffix("-start")
        if kind in KINDS:
            yield _collective(kind, one, shapes, times, loops)
            continue  # what it applies only adds numbers
        known = _TRIPS.search(one.rest) if one.opcode == "while" else None
        inner_times = times * (int(known[1]) if known else 1)
        inner_loops = loops + (one.opcode == "while" and known is None)
        branches = _BRANCHES.search(one.rest)
        called = _CALLED.findall(one.rest) + (_OPERAND.findall(branches[1]) if branches else [])
        for inner in called:
            yield from _walk(computations, inner, times=inner_times, loops=inner_loops)


def _collective(
    kind: str, one: _Instruction, shapes: dict[str, str], times: int, loops: int
) -> Collective:
    operands = _OPERAND.findall(one.rest.partition(")")[0])
    given = sum(_size(shapes.get(name, "")) for name in operands)
    result = _size(one.shape)
    if one.opcode.endswith("-start") and kind != "all-reduce":  # its shape has the operands too
        result -= given
    source, groups = _SOURCE.search(one.rest), _GROUPS.search(one.rest)
    return Collective(
        kind=kind,
        bytes=max(given, result),
        times=times,
        loops=loops,
        devices=_group_size(groups),
        source=source[1] if source else "",
    )


def _group_size(groups: re.Match[str] | None) -> int:
    if groups is None:
        return jax.device_count()
    if groups[2]:
        return int(groups[2])
    members: Sequence[str] = groups[3].split(",") if groups[3] else ()
    return len(members) or jax.device_count()


def _size(shape: str) -> int:
    """Bytes of an array, or of all arrays of a tuple."""
    total = 0
    for letters, bits, axes in _SHAPE.findall(shape):
        width = 8 if letters == "pred" or not bits else int(bits)
        total += math.prod(int(n) for n in axes.split(",") if n) * width // 8
    return total
