"""Every Python block in README and docs runs, page by page."""

import inspect
import pkgutil
import re
from pathlib import Path
from typing import Any

import jax
import pytest

import ritz.callbacks
import ritz.checkpoint
import ritz.distributed
import ritz.driver
import ritz.estimators
import ritz.exploration
import ritz.lattice
import ritz.loggers
import ritz.mlip
import ritz.molecule
import ritz.plotting
import ritz.relax
import ritz.report
import ritz.samplers
import ritz.stages
import ritz.sweeps
import ritz.testing
import ritz.updates

pytestmark = pytest.mark.netket

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SHOWN = re.compile(r'^--8<-- "(.*)"$', re.MULTILINE)
BLOCK = re.compile(r"^```(?:python| \{ \.python \})\n(.*?)^```", re.DOTALL | re.MULTILINE)

LONG = (
    "active-learning.md", "fermions.md", "lattice.md", "lattice-observables.md", "mlip.md",
    "molecule.md", "relax.md", "stages.md",
)  # fmt: skip
"""Pages whose programs take long to compile; README has their first example."""

MODULES = [
    ritz.callbacks,
    ritz.checkpoint,
    ritz.distributed,
    ritz.driver,
    ritz.estimators,
    ritz.exploration,
    ritz.lattice,
    ritz.loggers,
    ritz.mlip,
    ritz.molecule,
    ritz.plotting,
    ritz.relax,
    ritz.report,
    ritz.samplers,
    ritz.stages,
    ritz.sweeps,
    ritz.testing,
    ritz.updates,
]


def blocks(page):
    """Its Python blocks, with the files that they show."""
    found = BLOCK.findall(page.read_text())
    return [SHOWN.sub(lambda line: (ROOT / line[1]).read_text(), block) for block in found]


@pytest.fixture
def _compiled_quickly(page):
    """Compiling takes most of the time where programs are large."""
    jax.config.update("jax_disable_most_optimizations", page.name == "mlip.md")
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.mark.medium
@pytest.mark.usefixtures("_compiled_quickly")
@pytest.mark.parametrize(
    "page",
    [pytest.param(p, marks=pytest.mark.slow if p.name in LONG else ()) for p in PAGES if blocks(p)],
    ids=lambda p: p.name,
)
def test_code_runs(page, monkeypatch):
    monkeypatch.setattr("sys.stderr.write", lambda text: None, raising=False)
    Path("tio2").symlink_to(ROOT / "tests" / "data" / "tio2")
    namespace = {"__name__": "page"}
    for place, block in enumerate(blocks(page)):
        exec(compile(block, f"{page.name}[{place}]", "exec"), namespace)


def test_the_readme_example_is_short():
    example = blocks(ROOT / "README.md")[0]
    assert "AbstractCallback" in example and len(example.splitlines()) <= 15


def slater(params, electrons):
    distances = jax.numpy.linalg.norm(electrons, axis=-1)
    return jax.numpy.ones(()), -params["zeta"] * distances.sum()


@pytest.mark.medium
@pytest.mark.parametrize("live", [True, False])
def test_the_readme_callback_stops_a_molecule_too(live):
    namespace: dict[str, Any] = {"__name__": "page"}
    exec(blocks(ROOT / "README.md")[0], namespace)
    callback = namespace["StopWhenPrecise"]
    callback.is_live = lambda self, step: live
    molecule = ritz.molecule.Molecule("He")
    driver = ritz.molecule.VMC(molecule, slater, 0.1, params={"zeta": 1.7}, n_walkers=64)
    driver.run(4, callback=callback(1e-6), show_progress=False)
    assert driver.step_count == 4
    driver.run(4, callback=callback(0.9), show_progress=False)
    assert driver.stop_message.startswith("stopped by StopWhenPrecise: energy -")
    assert driver.step_count == 4


def test_the_page_about_the_loop_shows_the_loop():
    assert '\n--8<-- "ritz/driver/loop.py"\n' in (ROOT / "docs" / "run-loop.md").read_text()


def public(module):
    """What a module exports: its functions and classes."""
    return [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]


@pytest.mark.parametrize("module", MODULES, ids=lambda m: m.__name__)
def test_public_names_are_in_the_reference_and_documented(module):
    page = f"reference/{module.__name__.split('.')[1]}.md"
    reference = (ROOT / "docs" / page).read_text()
    for name in public(module):
        assert f"::: {module.__name__}.{name}\n" in reference, f"{name} is not in {page}"
        assert (getattr(module, name).__doc__ or "").strip(), f"{name} has no docstring"


def shown(page):
    """The objects that a page of the reference has, in its order."""
    return re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs" / "reference").glob("*.md")), ids=lambda p: p.stem
)
def test_tables_of_the_reference_have_what_follows_with_its_first_line(page):
    rows = re.findall(r"^\| \[`\S+`\]\[(\S+)\] \| (.*) \|$", page.read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == shown(page)
    for name, line in rows:
        value = pkgutil.resolve_name(name)
        if callable(value):
            first = inspect.getdoc(value).split("\n")[0].replace("|", "\\|")
            assert line == first, f"{page.name} should have: | [`...`][{name}] | {first} |"


@pytest.mark.parametrize("module", [ritz.callbacks, ritz.loggers], ids=["callbacks", "loggers"])
def test_the_tables_list_everything(module):
    page = (ROOT / "docs" / f"{module.__name__.split('.')[1]}.md").read_text()
    base = (ritz.callbacks.AbstractCallback, ritz.loggers.AbstractLogger)
    for name, value in vars(module).items():
        if isinstance(value, type) and issubclass(value, base) and not name.startswith("Abstract"):
            assert f"`{name}`" in page, f"{name} is not in the table of its page"
