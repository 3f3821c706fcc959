"""Random settings of the command line: a good run, or one line that says what is wrong."""

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.case import Kind, Wrong
from fuzz.command import ritz, strict_json

CANARY = "canary"
"""A file that is there only if something was executed that must not be."""

NUMBERS = ("0", "1", "-1", "2", "3", "0.5", "1e30", "-1e30", "nan", "inf", "-inf", ".nan", ".inf",
           "1e-3", "1e400", "1_0", "0x10", "1e-320", "99999999999999999999", "2.5",
           "1,5")  # fmt: skip

HUGE = ("1e30", "99999999999999999999")
SIZES = ("potential.rad_order", "potential.ang_order", "potential.hidden", "model.alpha",
         "members", "train.n_samples", "train.sampler.n_chains")  # fmt: skip
"""Settings for which a huge number is right, and more than any memory holds."""

ODD = (
    "", "null", "~", "true", "[]", "{}", "[[]]", "[1]", "{a: 1}", "[[[[[[1]]]]]]", "'", '"', "[",
    "}", "a: b: c", "- 1", "!!python/object/apply:os.system ['touch canary']",
    "!!python/name:os.system", "&a [*a]", "*a", "[" * 80 + "]" * 80, "é", "\\x00", "%s", "{0}",
    "${HOME}", "lambda: 1", "__import__('os')", "x" * 300, " ", "#", "?", "|", "@", "1e", "--",
    "=", "a=b",
)  # fmt: skip

PATHS = (
    "os.system", "subprocess.run", "builtins.exec", "builtins.eval", "pathlib.Path.touch",
    "os.mknod", "posix.system", "os:system", "shutil.copy", "builtins.open", "open", "eval", "os",
    "pty.spawn", "importlib.import_module", "runpy.run_path", "ritz", "ritz.cli.main.main",
    "ritz.callbacks", "numpy.save", "numpy.load", "jax.numpy.zeros", "optax.adam", "optax.sgd",
    "optax", "optax.chain", "optax.exponential_decay", "flax.linen.Dense", "netket.models.RBM",
    "netket.models", "ritz.updates.SR", "ritz.updates", "ritz.callbacks.EarlyStopping",
    "ritz.loggers.CSVLog", "ritz.relax.LennardJones", "ritz.lattice.systems.TransverseIsing",
    "ase.calculators.emt.EMT", "..", "a..b", ".", "os.path", "os.environ.clear", "builtins.object",
    "builtins.print", "types.FunctionType", "functools.partial", "operator.attrgetter",
    "unittest.mock.Mock", "collections.defaultdict", "canary_module.touch",
)  # fmt: skip

ARGUMENTS = ("command", "args", "path", "cmd", "learning_rate", "source", "file", "name",
             "callbacks", "monitor", "func")  # fmt: skip
CALLS = ("touch canary", "['touch', 'canary']", "open('canary', 'w')", "canary")

TRAIN = ("train.iterations", "train.n_samples", "train.burn_in", "train.chunk_size",
         "train.full_sum", "train.sampler", "train.optimizer", "train.update", "train.callbacks",
         "train.loggers", "train.save_time_interval", "train.save_step_interval",
         "train.accept_changes", "train.single_scores", "train.stop_on_nan", "train.on_divergence",
         "train.n_discard_per_chain", "train.optimizer.learning_rate", "train.update.diag_shift",
         "train.optimizer.b1", "train.update.solver", "seed", "system", "system.extent",
         "system.h", "system.pbc", "model", "model.alpha", "model.param_dtype", "train",
         "train.itertions", "train.sampler.n_chains", "evaluate.iterations",
         "train.callbacks.0.patience", "config", "dry_run", "progress", "distributed")  # fmt: skip
MLIP = ("train.iterations", "train.method", "train.method.mu", "train.method.batchsize",
        "train.force_weight", "train.testpercent", "train.schedule", "train.final_fraction",
        "train.warmup_epochs", "train.precision", "train.device", "train.max_energy",
        "train.max_forces", "train.callbacks", "train.checkpoint_interval", "train.memory_mode",
        "train.max_checkpoints", "members", "potential", "potential.hidden", "potential.rad_order",
        "potential.rad_cutoff", "potential.ang_order", "potential.ang_cutoff", "data.energy_key",
        "data.train", "data.test", "data.energy_unit", "data.length_unit", "data.forces_unit",
        "data.stress_unit", "data.atomic_energies", "train.seed", "train.split_seed",
        "train.on_divergence", "train.normalize_E", "export.format", "predict.files")  # fmt: skip
RELAX = ("fmax", "optimizer", "optimizer.memory", "optimizer.dt", "cell", "pressure", "max_steps",
         "max_atoms", "output", "table", "trajectory", "every", "log", "model.epsilon",
         "model.sigma", "model.cutoff", "model.onset", "model", "checkpoint", "folder", "files",
         "callbacks", "save_time_interval", "accept_changes", "config", "dry_run",
         "progress")  # fmt: skip

LATTICE_BASE = ("system.extent=[4]", "train.full_sum=true", "progress=false", "folder=run")
MLIP_BASE = (
    "progress=false", "folder=run", "train.testpercent=0", "train.force_weight=0",
    "potential.rad_order=2", "potential.rad_cutoff=3.0", "potential.ang_order=1",
    "potential.ang_cutoff=2.5", "potential.hidden=[[2,tanh]]", "data.train=[data.extxyz]",
)  # fmt: skip
RELAX_BASE = ("data.extxyz", "--model", "lennard-jones", "--model.epsilon=0.01",
              "--model.sigma=2.0", "--model.cutoff=4.0", "--progress=false")  # fmt: skip


def frames(n: int = 4) -> str:
    """A small file of structures with energies."""
    text = ""
    for i in range(n):
        text += f'2\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3 energy={-i}.5\n'
        text += f"Ar 0 0 0\nAr {2 + 0.1 * i} 0 0\n"
    return text


def value(chance: random.Random) -> str:
    """Something that may be no value of any setting."""
    kind = chance.random()
    if kind < 0.4:
        return chance.choice(NUMBERS)
    if kind < 0.65:
        return chance.choice(PATHS)
    if kind < 0.75:
        path, name, call = chance.choice(PATHS), chance.choice(ARGUMENTS), chance.choice(CALLS)
        part = f"{{class_path: {path}, init_args: {{{name}: {call}}}}}"
        return f"[{part}]" if chance.random() < 0.5 else part
    return chance.choice(ODD)


def settings(names: tuple[str, ...], chance: random.Random, dashes: bool) -> list[str]:
    """One to three random settings."""
    found = []
    for _ in range(chance.choice([1, 1, 2, 3])):
        name = chance.choice(names)
        if chance.random() < 0.08:
            place = chance.randrange(len(name))
            name = name[:place] + chance.choice("xX._-é") + name[place + 1 :]
        if chance.random() < 0.15:
            name = f"{name}.{chance.choice(ARGUMENTS)}"
            given = chance.choice(CALLS)
        else:
            given = value(chance)
        if name in SIZES and given in HUGE:
            given = "2"
        prefix = "--" if dashes or chance.random() < 0.2 else ""
        found.append(f"{prefix}{name}={given}")
    return found


class Settings(Kind):
    """Gives `ritz lattice train`, `ritz mlip train` and `ritz relax` random settings."""

    name = "settings"

    def prepare(self) -> None:
        """Do nothing: the commands compile what they need."""
        warnings.simplefilter("ignore")

    def case(self, chance: random.Random, folder: Path) -> None:
        """One command; two of three are dry runs."""
        Path("data.extxyz").write_text(frames())
        Path("canary_module.py").write_text(
            f"def touch(*_, **__):\n    open({str(folder / CANARY)!r}, 'w')\n"
        )
        which = chance.choice(["lattice", "lattice", "mlip", "relax", "yaml"])
        if which == "relax":
            given = ["relax", *RELAX_BASE, *settings(RELAX, chance, True)]
            given += ["--max_steps=20"] if chance.random() < 0.9 else []
        else:
            given = self._domain(which, chance)
        self.done.append(f"`ritz {' '.join(given)}`"[:1200])
        told = ritz(*given)
        if (folder / CANARY).is_file():
            raise Wrong("something was executed: the canary is there")
        if told.status != 2 and any(_has_no_arguments(token) for token in given):
            raise Wrong(f"an argument of a number was taken, and the status is {told.status}")
        if told.status == 2 and (folder / "run" / "potential.npz").exists():
            raise Wrong("the command was refused, and a potential is there")
        results(folder)

    def _domain(self, which: str, chance: random.Random) -> list[str]:
        domain = chance.choice(["lattice", "mlip"]) if which == "yaml" else which
        names, base = (TRAIN, LATTICE_BASE) if domain == "lattice" else (MLIP, MLIP_BASE)
        more = settings(names, chance, False)
        if which == "yaml":
            Path("c.yaml").write_text(yaml_file(names, chance))
            more = ["--config=c.yaml"]
            self.done.append(f"c.yaml holds {Path('c.yaml').read_text()[:300]!r}")
        dry = ["--dry_run"] if chance.random() < 0.67 else ["train.iterations=2"]
        order = [*more, *base] if which == "yaml" else [*base, *more]
        return [domain, "train", *order, *dry]


PLAIN = ("train.iterations", "train.n_samples", "seed", "members", "train.force_weight", "fmax",
         "pressure", "max_steps", "checkpoint", "folder", "save_time_interval", "output", "table",
         "log", "every", "data.energy_unit", "train.full_sum")  # fmt: skip


def _has_no_arguments(token: str) -> bool:
    """Whether an argument is given to a number or a name."""
    return any(token.lstrip("-").startswith(f"{name}.") for name in PLAIN)


def yaml_file(names: tuple[str, ...], chance: random.Random) -> str:
    """A configuration with a few odd entries, nested as its names say."""
    text = ""
    for _ in range(chance.choice([1, 2, 3])):
        parts = chance.choice(names).split(".")
        for depth, part in enumerate(parts):
            text += "  " * depth + part + ":"
            text += f" {value(chance)}\n" if depth == len(parts) - 1 else "\n"
    return text


def results(folder: Path) -> None:
    """Check that no file which looks like a result holds what is not finite.

    Raises:
        Wrong: If one does.
    """
    for file in folder.rglob("summary.json"):
        summary: Any = strict_json(file)
        for part in (summary, summary.get("train") or {}):
            if part.get("stop_reason") == "FINISHED" and part.get("energy", 0) is None:
                raise Wrong(f"{file.name} tells of a finished run without an energy: {summary}")
    for file in folder.rglob("potential.npz"):
        with np.load(file, allow_pickle=False) as arrays:
            for name, array in arrays.items():
                if array.dtype.kind in "fc" and not np.all(np.isfinite(array)):
                    raise Wrong(f"potential.npz is written, and its {name} is not finite")
    for file in folder.rglob("relaxed.csv"):
        for line in file.read_text().splitlines():
            if ",converged," in line and "nan" in line:
                raise Wrong(f"converged, and not finite: {line}")
