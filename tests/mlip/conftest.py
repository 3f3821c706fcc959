import jax
import pytest


@pytest.fixture(autouse=True, scope="package")
def _compiled_quickly():
    """Compiling takes most of the time here."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
