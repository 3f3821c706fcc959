"""A missing package is told with the extra that installs it, wherever it is needed."""

import subprocess
import sys

import pytest

from ritz import loggers
from ritz.checkpoint import Checkpoint
from ritz.extras import MissingExtra, needed_extra, needs
from ritz.plotting import plot_runs
from ritz.testing import QuadraticDriver

MAIN = "from ritz.cli.entry import main; sys.argv[1:] = {!r}.split(); sys.exit(main())"

PACKAGES = {
    "lattice": ("netket", "import ritz.lattice", "ritz.lattice needs netket", "lattice"),
    "mlip": ("pandas", "from ritz.mlip import ANNPotential", "ritz.mlip needs pandas", "mlip"),
    "equivariant": ("e3nn_jax", "import ritz.mlip as m; m.MACE()", "MACE needs", "equivariant"),
    "cli": ("yaml", MAIN.format("status x"), "ritz: the command needs yaml", "cli"),
    "ritz lattice": ("netket", MAIN.format("lattice train --dry_run"), "ritz: ", "lattice"),
    "ritz relax": ("ase", MAIN.format("relax x --model lj"), "ritz: ritz.relax needs", "relax"),
    "ritz mlip": ("ase", MAIN.format("mlip train"), "ritz: ", "mlip"),
}


@pytest.mark.parametrize("case", PACKAGES)
@pytest.mark.medium
def test_packages_and_commands_name_their_extra(case):
    module, code, message, extra = PACKAGES[case]
    code = f"import sys; sys.modules[{module!r}] = None\n{code}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode != 0
    assert message in last and f"pip install 'ritz[{extra}]'" in last
    if "main()" in code:
        assert done.returncode == 2 and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "make", "extra"),
    [
        ("h5py", lambda: loggers.HDF5Log("a"), "hdf5"),
        ("tensorboardX", loggers.TensorBoardLog, "tensorboard"),
        ("wandb", loggers.WandbLog, "wandb"),
        ("mlflow", loggers.MLflowLog, "mlflow"),
        ("orbax", lambda: Checkpoint("c"), "checkpoint"),
    ],
)
def test_loggers_and_checkpoints_name_their_extra(module, make, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    made = make()
    name = type(made).__name__
    with pytest.raises(MissingExtra, match=f"{name} needs {module}: pip install 'ritz.{extra}.'"):
        QuadraticDriver().run(1, show_progress=False, **{made.run_argument: made})


def test_plots_name_their_extra(monkeypatch):
    for module in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match="A plot needs matplotlib: pip install 'ritz.plot.'"):
        plot_runs(["x"], "y.png")


def test_the_version_needs_nothing():
    code = "import sys\nfor m in ('jsonargparse', 'yaml', 'matplotlib', 'orbax', 'netket'):\n"
    code += f"    sys.modules[m] = None\n{MAIN.format('--version')}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("ritz ") and not done.stderr


def test_other_packages_pass_as_they_are():
    with pytest.raises(ModuleNotFoundError) as raised, needs("this"):
        import nothing_like_this  # noqa: F401
    assert not isinstance(raised.value, MissingExtra)
    assert needed_extra("h5py.whatever") == "ritz[hdf5]" and needed_extra("os") is None
    with pytest.raises(MissingExtra, match="inner needs"), needs("outer"), needs("inner"):
        raise ModuleNotFoundError(name="h5py")
