import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Nothing is sent anywhere, by anybody.
os.environ.update(
    DO_NOT_TRACK="true", MLFLOW_DISABLE_TELEMETRY="true", WANDB_ERROR_REPORTING="false",
    WANDB_MODE="offline",
)  # fmt: skip

import jax
import pytest

# NetKet switches to this too; without it, results would depend on which test came first.
jax.config.update("jax_enable_x64", True)


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
