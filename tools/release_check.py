"""Build, install and use Ritz as a user would: the check before a release.

Usage: python -m tools.release_check [PYTHON ...]

The wheel is built from the sdist, and installed with the extra `all` and the newest versions of
everything into an environment of its own for each interpreter. There the demo and a command of each
domain run. A table tells what went well; the exit status is 1 if anything did not. The environments
are removed in the end, unless --keep is given.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
TOOLS = ("build", "twine")
SHOWN = ("ritz", "jax", "numpy", "netket", "flax", "optax", "ase", "matplotlib")
"""Packages whose versions are told."""
_IN_WHEEL = (
    "ritz/py.typed",
    "ritz/report/page.html",
    "ritz/report/style.css",
    "ritz/cli/lattice/presets/tfim-chain.yaml",
    "ritz/cli/skeletons/callback.py",
)
_IN_SDIST = (
    ".ci/run",
    "tests/",
    "docs/",
    "Makefile",
    "constraints.txt",
    "CHANGELOG.md",
    "CITATION.cff",
)
_LONGEST = 1200
"""Seconds that a command may take."""

COMMANDS = {
    "help": ["--help"],
    "demo": ["demo"],
    "lattice": ["lattice", "train", "system.extent=[6]", "train.iterations=20", "folder=ising"],
    "molecule": [
        *("molecule", "train", "system=He", "train.iterations=20", "train.n_walkers=64"),
        "folder=he",
    ],
    "mlip": ["mlip", "train", "data.train=[tio2/*.xsf]", "train.iterations=5", "folder=tio2_run"],
    "relax": ["relax", "tio2/structure0001.xsf", "--model=./tio2_run", "fmax=1e6"],
    "report": ["report", "ising", "he", "tio2_run", "-o", "report.html"],
}
"""What a user does, by name."""


class Outcome(NamedTuple):
    """One step of the check of an interpreter."""

    name: str
    ok: bool
    seconds: float
    told: str


def main() -> int:
    """Run the check; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pythons", nargs="*", default=[sys.executable], metavar="PYTHON")
    parser.add_argument("--keep", action="store_true", help="leave the folder of the environments")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="ritz-release-"))
    try:
        problems = _checked(given.pythons, folder)
    finally:
        if given.keep:
            _write(f"everything in {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    return 1 if problems else 0


def _checked(pythons: Sequence[str], folder: Path) -> list[str]:
    """Build and use a wheel, and write what went well; returns what went wrong."""
    wheel, problems = _built(folder)
    tables = {} if wheel is None else {p: _used(p, wheel, folder) for p in pythons}
    for python, (versions, outcomes) in tables.items():
        _write(f"\n{python}: {', '.join(f'{name} {v}' for name, v in versions.items())}")
        _write("  " + ", ".join(f"{one.name} {'ok' if one.ok else 'FAILED'}" for one in outcomes))
        problems += [f"{python}: {one.name}\n{one.told}" for one in outcomes if not one.ok]
    for note in _notes():
        _write(f"note: {note}")
    for problem in problems:
        _write(f"FAILED: {problem}")
    return problems


def _built(folder: Path) -> tuple[Path | None, list[str]]:
    """The wheel, made from the sdist, and what is wrong with either."""
    python = folder / "tools" / "bin" / "python"
    problems = []
    made = _environment(sys.executable, folder / "tools")
    if not made.ok:
        return None, [f"{made.name}:\n{made.told}"]
    installed = _call([python, "-m", "pip", "install", "-q", *TOOLS], folder)
    if installed.returncode:
        return None, [f"{', '.join(TOOLS)} cannot be installed:\n{installed.stderr}"]
    built = _call([python, "-m", "build", "--outdir", folder / "dist", ROOT], folder)
    if built.returncode:
        return None, [f"build:\n{built.stdout[-2000:]}{built.stderr[-2000:]}"]
    files = sorted((folder / "dist").iterdir())
    checked = _call([python, "-m", "twine", "check", "--strict", *files], folder)
    if checked.returncode:
        problems.append(f"twine check:\n{checked.stdout}{checked.stderr}")
    wheel = next(file for file in files if file.suffix == ".whl")
    sdist = next(file for file in files if file.suffix == ".gz")
    names = zipfile.ZipFile(wheel).namelist()
    problems += [f"{name} is not in the wheel" for name in _IN_WHEEL if name not in names]
    problems += [f"{n} is in the wheel" for n in names if not n.startswith(("ritz/", "ritz-"))]
    with tarfile.open(sdist) as content:
        inside = [name.partition("/")[2] for name in content.getnames()]
    problems += [
        f"{name} is not in the sdist"
        for name in _IN_SDIST
        if not any(found.startswith(name) for found in inside)
    ]
    return wheel, problems


def _used(python: str, wheel: Path, folder: Path) -> tuple[dict[str, str], list[Outcome]]:
    """Versions in an environment with the wheel, and how each command went."""
    place = folder / Path(python).name.replace("/", "_")
    place = place if not place.exists() else Path(tempfile.mkdtemp(dir=folder))
    place.mkdir(exist_ok=True)
    installed = place / "env" / "bin" / "python"
    outcomes = [_environment(python, place / "env")]
    if outcomes[0].ok:
        command = [installed, "-m", "pip", "install", "-q", f"{wheel}[all]"]
        outcomes.append(_outcome("install", command, place))
    if not outcomes[-1].ok:
        return {}, outcomes
    (place / "tio2").symlink_to(ROOT / "tests" / "data" / "tio2")
    for name, arguments in COMMANDS.items():
        outcomes.append(_outcome(name, [installed.with_name("ritz"), *arguments], place))
    listed = _call([installed, "-m", "pip", "list", "--format=freeze"], place).stdout
    pairs = dict(line.split("==", 1) for line in listed.splitlines() if "==" in line)
    return {name: pairs[name] for name in SHOWN if name in pairs}, outcomes


def _environment(python: str, place: Path) -> Outcome:
    """Make a virtual environment; its interpreter is `bin/python` in `place`."""
    found = os.path.abspath(shutil.which(python) or python)
    return _outcome("environment", [found, "-m", "venv", place], place.parent)


def _outcome(name: str, command: Sequence[str | Path], place: Path) -> Outcome:
    began = time.perf_counter()
    ended = _call(command, place)
    told = f"{ended.stdout[-1500:]}{ended.stderr[-3000:]}"
    one = Outcome(name, ended.returncode == 0, time.perf_counter() - began, told)
    _write(f"{place.name}: {'ok' if one.ok else 'FAILED':<7} {name:<11} {one.seconds:7.1f} s")
    return one


def _call(command: Sequence[str | Path], place: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command outside of the sources, so that what is installed is found."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    text = list(map(str, command))
    try:
        return subprocess.run(
            text, cwd=place, env=clean, capture_output=True, text=True, timeout=_LONGEST
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(text, 124, "", f"took more than {_LONGEST} s")
    except OSError as error:  # as for an interpreter that is not installed
        return subprocess.CompletedProcess(text, 127, "", f"{text[0]}: {error.strerror}\n")


def _notes() -> list[str]:
    """What a release still lacks, though everything works."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    links = re.findall(r"\]\((?!https?:|#)([^)]+)\)", (ROOT / "README.md").read_text())
    notes = []
    if not project.get("urls"):
        notes.append(
            "[project.urls] is empty: put Source, Documentation, Changelog and Issues there when "
            "the project has a public address."
        )
    if links:
        notes.append(
            f"README has {len(links)} links to files of the project, which lead nowhere on the "
            "page of a package: make them lead to the public address."
        )
    return notes


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
