"""`ritz mlip train`: other potentials than the default one."""

import pytest

from ritz.cli.main import main
from ritz.mlip import load_potential
from tests.cli.mlip.test_mlip import SMALL


@pytest.mark.slow
def test_symmetry_functions(tmp_path, capsys):
    folder = tmp_path / "run"
    small = [setting for setting in SMALL if not setting.startswith("potential")]
    functions = ["potential=symmetry_functions", "potential.hidden=[[4,tanh]]"]
    functions += ["potential.r_c=4", "potential.n_radial=3"]
    functions += ["potential.angular_r_c=3", "potential.zetas=[1,2]"]
    command = ["mlip", "train", *small, *functions, "train.iterations=2", f"folder={folder}"]
    assert main(command) == 0
    descriptor = load_potential(folder / "potential.npz").descriptor
    assert (descriptor.n_features, descriptor.cutoff, descriptor.near_cutoff) == (18, 4.0, 3.0)
    assert main(["mlip", "evaluate", f"folder={folder}"]) == 0
    capsys.readouterr()
    assert main(["mlip", "export", f"folder={folder}"]) == 2
    told = "ritz: export.format: potentials with SymmetryFunctions cannot be written"
    assert capsys.readouterr().err.startswith(told)
    assert not (folder / "aenet").exists()


@pytest.mark.medium
def test_the_atomic_cluster_expansion(tmp_path):
    small = [setting for setting in SMALL if not setting.startswith("potential")]
    expansion = ["potential=ace", "potential.hidden=[[4,tanh]]", "potential.cutoff=4"]
    command = ["mlip", "train", *small, *expansion, "potential.degrees=[3,3,2]"]
    assert main([*command, "train.iterations=2", f"folder={tmp_path / 'run'}"]) == 0
    descriptor = load_potential(tmp_path / "run" / "potential.npz").descriptor
    assert (descriptor.degrees, descriptor.cutoff, descriptor.body_order) == ((3, 3, 2), 4.0, 4)
    going_on = [f"folder={tmp_path / 'more'}", f"begin_from={tmp_path / 'run'}"]
    fewer = ["train.testpercent=70", "train.iterations=2"]  # with other usual distances
    assert main([*command, *fewer, *going_on]) == 0
    assert load_potential(tmp_path / "more" / "potential.npz").descriptor == descriptor


@pytest.mark.medium
def test_a_fit_in_closed_form(tmp_path, capsys):
    small = [s for s in SMALL if not s.startswith(("potential", "train.method"))]
    folder = f"folder={tmp_path / 'run'}"
    expansion = ["potential=ace", "potential.cutoff=4", "potential.degrees=[3,3,2]"]
    command = ["mlip", "fit", *small, *expansion, "fit.folds=3", folder]
    assert main([*command, "--dry-run"]) == 0
    assert main(command) == 0
    told = capsys.readouterr().out
    assert "least squares with regularisation" in told and "force RMSE" in told
    potential = load_potential(tmp_path / "run" / "potential.npz")
    assert potential.arch == {"O": [], "Ti": []}
    assert main(["mlip", "evaluate", folder]) == 0
    assert main([*command, "potential.hidden=[[4,tanh]]"]) == 2
    assert "has hidden layers" in capsys.readouterr().err
    assert main(["mlip", "fit", *small, "potential=painn", folder]) == 2
    assert "potential: painn is not linear in features" in capsys.readouterr().err


@pytest.mark.medium
def test_message_passing_with_the_cluster_expansion(tmp_path):
    small = [setting for setting in SMALL if not setting.startswith("potential")]
    network = ["potential=mace", "potential.size=medium", "potential.cutoff=3"]
    network += ["potential.l_max=1", "potential.n_channels=2", "potential.radial_hidden=[4]"]
    command = ["mlip", "train", *small, *network, "train.iterations=2"]
    assert main([*command, f"folder={tmp_path / 'run'}"]) == 0
    module = load_potential(tmp_path / "run" / "potential.npz").module
    assert (module.n_channels, module.l_hidden, module.radial_hidden) == (2, 1, (4,))
    assert module.species == ("O", "Ti")
