import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import ritz
from ritz.wording import counted


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


def test_no_attribute_takes_the_place_of_a_method_of_a_base_class():
    """A string called like a base class's method fails only where that is called."""
    modules = pkgutil.walk_packages(ritz.__path__, "ritz.")
    found = []
    for module in [importlib.import_module(m.name) for m in modules if m.name != "ritz.__main__"]:
        for kind in vars(module).values():
            if inspect.isclass(kind) and kind.__module__ == module.__name__:
                found += [(kind, name) for name in _shadowing(kind)]
    assert not found


def _shadowing(kind):
    """Names of plain attributes, also only annotated ones, that are functions in a base class."""
    own = {n: v for n, v in vars(kind).items() if not callable(v) and not hasattr(v, "__get__")}
    names = {*own, *inspect.get_annotations(kind)} if kind.__module__.startswith("ritz") else own
    bases = [base for base in kind.__mro__[1:] if base.__module__.startswith("ritz")]
    return [n for n in names if any(inspect.isfunction(vars(base).get(n)) for base in bases)]


def test_the_loop_is_short():
    import ritz.driver

    loop = Path(ritz.driver.__file__).with_name("loop.py")
    assert len(loop.read_text().splitlines()) < 120


def test_counts_agree_with_their_nouns():
    assert counted(1, "step") == "1 step" and counted(0, "step") == "0 steps"
    assert counted(1, "isolated atom", "is") == "1 isolated atom is"
    assert counted(3, "line", "follows") == "3 lines follow"
    assert [counted(2, noun) for noun in ("epoch", "batch")] == ["2 epochs", "2 batches"]


PLURAL = re.compile(
    r"(\{[^{}]*\}|%d) ((more|isolated|older) )?(steps|epochs|structures|samples|atoms|frames|"
    r"chains|members|checkpoints|parameters|features|iterations|rows|lines)\b"
)
EXEMPT = {
    "ritz/cli/commands/demo.py",  # 16 samples or more
    "ritz/lattice/wavefunction.py",  # any number is shared equally by 1 chain
    "ritz/mlip/training/driver.py",  # texts that checkpoints keep and compare
    "ritz/relax/driver.py",
    "ritz/testing/drivers.py",  # even numbers
}


def test_counts_in_messages_are_written_by_one_helper():
    root = Path(ritz.__file__).parents[1]
    found = {
        f"{path.relative_to(root)}: {line.strip()}"
        for path in (root / "ritz").rglob("*.py")
        for line in path.read_text().splitlines()
        if PLURAL.search(line) and not line.lstrip().startswith(('"""', "#"))
    }
    found = {line for line in found if line.partition(":")[0] not in EXEMPT}
    assert not found


def test_conformance_checks_check_under_python_o_too():
    folder = Path(ritz.__file__).parent
    checked = [*(folder / "testing").glob("*.py"), folder / "cli" / "plugin_check.py"]
    statements = {f.name: re.findall(r"^ *assert .*", f.read_text(), re.MULTILINE) for f in checked}
    assert {name: found for name, found in statements.items() if found} == {}
