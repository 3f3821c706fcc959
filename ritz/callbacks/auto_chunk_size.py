"""Finds chunk sizes that fit into memory."""

import logging
from typing import ClassVar, Protocol

import jax
from jaxtyping import PyTree
from typing_extensions import override

from ritz.callbacks.scales import require
from ritz.checks import check_count
from ritz.driver.callback import AbstractCallback
from ritz.driver.signatures import suggests_names
from ritz.types import Loss

_logger = logging.getLogger(__name__)


class Chunked(Protocol):
    """A driver whose step can be computed in chunks."""

    adjustable: ClassVar[frozenset[str]]
    chunk_sizes: dict[str, int | None]
    """Name of a computation -> number of samples at once; None for all."""

    @property
    def whole_sizes(self) -> dict[str, int]:
        """The chunk sizes that compute everything at once."""
        ...

    def reset_step(self) -> None: ...  # noqa: D102
    def compute_loss_and_update(self) -> tuple[Loss, PyTree]: ...  # noqa: D102
    def snapshot(self) -> PyTree: ...  # noqa: D102
    def restore(self, snapshot: PyTree) -> None: ...  # noqa: D102


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (
        isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" in str(error)
    )


class AutoChunkSize(AbstractCallback):
    """Halves the driver's chunk sizes until a step fits into memory, before the run starts.

    A trial step is computed and thrown away. Only running out of memory makes a chunk smaller;
    any other error is raised unchanged. The next run starts from the sizes found.

    Args:
        minimum: The smallest chunk size to try.
    """

    callback_order = -100  # before any other callback reads the driver's state
    state_fields = ("sizes",)

    @suggests_names
    def __init__(self, minimum: int = 1):
        self.minimum = check_count("minimum", minimum, 1)
        self.sizes: dict[str, int | None] = {}
        """The chunk sizes that fitted, by name; None computes everything at once."""

    @override
    def on_run_start(self, step: int, driver: Chunked) -> None:
        require(driver, "chunk_sizes", "AutoChunkSize")
        if self.sizes:
            driver.chunk_sizes = self.sizes
        while True:
            snapshot = driver.snapshot()
            try:
                driver.reset_step()
                jax.block_until_ready(driver.compute_loss_and_update())
            except (MemoryError, jax.errors.JaxRuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                driver.chunk_sizes = self._halved(driver, error)
            else:
                self.sizes = dict(driver.chunk_sizes)
                _logger.info("Chunk sizes: %s.", self.sizes)
                return
            finally:
                driver.restore(snapshot)
                driver.reset_step()

    def _halved(self, driver: Chunked, error: BaseException) -> dict[str, int | None]:
        whole = driver.whole_sizes
        sizes = {name: size or whole[name] for name, size in driver.chunk_sizes.items()}
        smaller: dict[str, int | None] = {
            name: max(-(-size // 2), self.minimum) for name, size in sizes.items()
        }
        if smaller == sizes:
            raise MemoryError(
                f"a step does not fit into memory even in chunks of {sizes}; use a smaller model, "
                "fewer samples or fewer chains."
            ) from error
        _logger.warning("Out of memory with chunk sizes %s; trying %s.", sizes, smaller)
        return smaller
