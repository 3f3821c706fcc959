"""What the device does while Python waits: kernels and their times, from JAX's profiler."""

import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

_NAME_WIDTH = 60

Span = tuple[float, float, str]
"""Begin and end in nanoseconds, and what ran."""


class DeviceTime(NamedTuple):
    """Kernels of one call."""

    busy: float
    """Seconds in which the first device ran any kernel or copy; overlapping ones count once."""
    n_kernels: int
    """Number of kernels and copies; on CPUs, of operations."""
    by_kernel: dict[str, float]
    """Name -> seconds of all its launches, without those of kernels inside; the longest first."""

    def largest(self, n: int) -> list[tuple[str, float]]:
        """Names of the `n` longest kernels, and their shares of the sum of all."""
        total = sum(self.by_kernel.values())
        return [(name, t / total) for name, t in list(self.by_kernel.items())[:n]]


def device_time(action: Callable[[], Any]) -> DeviceTime:
    """Call `action`, which must wait for its results, under the profiler.

    On GPUs the spans are those of the first device's streams; on CPUs those of XLA's operations,
    which are nested: a loop holds what runs in it.

    Raises:
        RuntimeError: If the profiler has recorded no kernel.
    """
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0  # calls of Python would fill the buffer
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            action()
        files = list(Path(folder).glob("**/*.xplane.pb"))
        lines = [_outermost(line) for file in files for line in _lines(file)]
    spans = [span for line in lines for span in line]
    if not spans:
        raise RuntimeError("the profiler has recorded no kernel of the device.")
    by_kernel: dict[str, float] = {}
    for line in lines:
        for name, seconds in _self_times(line):
            by_kernel[name] = by_kernel.get(name, 0.0) + seconds
    ordered = dict(sorted(by_kernel.items(), key=lambda item: -item[1]))
    return DeviceTime(_union(spans), len(spans), ordered)


def _lines(file: Path) -> Iterator[list[Span]]:
    """The spans of each stream of the first GPU, or of each thread of the CPU."""
    planes = {plane.name: plane for plane in jax.profiler.ProfileData.from_file(str(file)).planes}
    gpus = sorted(name for name in planes if name.startswith("/device:GPU"))
    if gpus:
        for line in planes[gpus[0]].lines:
            if line.name.startswith("Stream"):  # the others show the same spans by module and step
                yield [_span(event) for event in line.events]
    elif "/host:CPU" in planes:
        for line in planes["/host:CPU"].lines:
            yield [_span(event) for event in line.events if _is_operation(event)]


def _span(event: Any) -> Span:
    name = event.name[:_NAME_WIDTH]
    return event.start_ns, event.start_ns + event.duration_ns, name


def _is_operation(event: Any) -> bool:
    with warnings.catch_warnings():  # of the type of these pairs
        warnings.simplefilter("ignore", DeprecationWarning)
        return any(name == "hlo_op" for name, _ in event.stats)


def _outermost(spans: list[Span]) -> list[Span]:
    """Spans in the order in which they begin, those around others first."""
    return sorted(spans, key=lambda span: (span[0], -span[1]))


def _self_times(spans: Iterable[Span]) -> Iterator[tuple[str, float]]:
    """Names and seconds of the spans of one line, without the spans that they hold."""
    around: list[list[Any]] = []  # end, name and seconds of those that are open
    for begin, end, name in spans:
        while around and around[-1][0] <= begin:
            _, closed, own = around.pop()
            yield closed, own
        length = (end - begin) * 1e-9
        if around:
            around[-1][2] -= min(length, (around[-1][0] - begin) * 1e-9)
        around.append([end, name, length])
    yield from ((name, own) for _, name, own in around)


def _union(spans: Iterable[Span]) -> float:
    """Seconds covered by any of the spans."""
    covered, last = 0.0, -float("inf")
    for begin, end, _ in sorted(spans):
        covered += max(0.0, end - max(begin, last))
        last = max(last, end)
    return covered * 1e-9
