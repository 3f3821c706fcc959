import subprocess
import sys

import pytest


def in_a_new_process(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_import_is_light_and_changes_nothing():
    out = in_a_new_process(
        "import sys, jax, ritz, ritz.driver, ritz.callbacks, ritz.loggers, ritz.updates\n"
        "heavy = 'netket flax h5py tensorboardX matplotlib wandb mlflow tqdm'.split()\n"
        "print([m for m in heavy if m in sys.modules], jax.config.jax_enable_x64)"
    )
    assert out == "[] False\n"


@pytest.mark.netket
def test_only_the_lattice_domain_imports_netket():
    assert (
        in_a_new_process(
            "import sys, ritz.cli.main, ritz.plotting, ritz.testing; print('netket' in sys.modules)"
        )
        == "False\n"
    )


def test_the_loop_is_short():
    from pathlib import Path

    import ritz.driver

    loop = Path(ritz.driver.__file__).with_name("loop.py")
    assert len(loop.read_text().splitlines()) < 120
