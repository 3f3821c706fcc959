"""Damages files of run folders: runs go on as if nothing had been, or say what is lost."""

import os
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fuzz.case import Kind, Wrong
from fuzz.command import Outcome, ritz
from fuzz.damage import damage

SETTINGS = (
    "system.extent=[4]",
    "train.n_samples=32",
    "train.burn_in=2",
    "progress=false",
    "train.save_step_interval=4",
    "evaluate.n_samples=32",
    "evaluate.burn_in=2",
    "evaluate.iterations=6",
)
FULL_SUM = "train.full_sum=true"
STEPS, MORE, KILLED = 12, 18, 10

SAYS_LOSS = re.compile(r"rows|damaged|gone|changed by hand|Skipped|no YAML|no text|cannot be read")
"""Words of the warnings after which a run may come to another end."""


def killed_run(folder: str) -> None:
    """A run that dies in the middle, with journals that nobody has closed; in its own process."""
    from ritz.cli import command_run

    class Dies(command_run.KeepConfig):
        def is_live(self, step: int) -> bool:
            return step == KILLED

        def on_step_end(self, step: int, log_data: Any, driver: Any) -> None:
            if step == KILLED:
                os._exit(9)

    command_run.KeepConfig = Dies
    ritz("lattice", "train", *SETTINGS, FULL_SUM, f"train.iterations={STEPS}", f"folder={folder}")


class RunFolders(Kind):
    """Copies a run folder, damages it, and goes on with it.

    There are three of them, by name: of a run that has ended, of one that was killed, and of one
    that has diverged.
    """

    name = "run_folders"

    def prepare(self) -> None:
        """Make the folders, and go on with each of them undamaged."""
        self.bases = {"ended": (FULL_SUM,), "killed": (FULL_SUM,), "sampled": ()}
        self.wanted: dict[str, Any] = {}
        here = Path.cwd()
        for name, settings in self.bases.items():
            place = self.folder / name
            place.mkdir()
            os.chdir(place)
            if name == "killed":
                code = "from fuzz.run_folders import killed_run; killed_run('run')"
                path = str(Path(__file__).parents[1])
                environment = {**os.environ, "PYTHONPATH": path}
                subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
            else:
                ritz(
                    "lattice",
                    "train",
                    *SETTINGS,
                    *settings,
                    f"train.iterations={STEPS}",
                    "folder=run",
                )
            shutil.copytree("run", "again")
            shutil.move("again", self.folder / "run")
            os.chdir(self.folder)
            self._go_on(settings)
            self.wanted[name] = contents(Path("run"))
            shutil.rmtree("run")
        os.chdir(here)

    def case(self, chance: random.Random, folder: Path) -> None:
        """Damage one copy in one to three places."""
        name = chance.choice(sorted(self.bases))
        shutil.copytree(self.folder / name / "run", folder / "run", symlinks=True)
        _own_locks(folder / "run")
        self.done.append(f"a copy of the {name} run")
        for _ in range(chance.choice([1, 1, 1, 2, 3])):
            self.done.append(damage(folder / "run", chance))
        for look in (("status", "run"), ("plot", "run", "-o", "a.png")):
            told = ritz(*look)
            if told.status and "run" not in told.error:
                raise Wrong(f"`ritz {' '.join(look)}` does not name the file: {told.error!r}")
        self._judge(name, self._go_on(self.bases[name]), folder)

    def _go_on(self, settings: tuple[str, ...]) -> Outcome:
        return ritz(
            "lattice", "train", *SETTINGS, *settings, f"train.iterations={MORE}", "folder=run"
        )

    def _judge(self, name: str, told: Outcome, folder: Path) -> None:
        if told.status:
            if "run/" not in told.error and "run " not in told.error:
                raise Wrong(f"the error names no file: {told.error!r}")
            return
        found = contents(folder / "run")
        if found["steps"] != list(range(MORE)) and not any("rows" in w for w in told.warnings):
            raise Wrong(f"rows of the steps {found['steps']} without a warning: {told.warnings}")
        if len(set(found["steps"])) != len(found["steps"]):
            raise Wrong(f"rows twice: {found['steps']}")
        other = sorted(
            k
            for k in found.keys() | self.wanted[name].keys()
            if found.get(k) != self.wanted[name].get(k)
        )
        if other and not any(SAYS_LOSS.search(text) for text in told.warnings):
            raise Wrong(f"{', '.join(other[:6])} differ, with the warnings {told.warnings}")
        if told.warnings:
            return


def _own_locks(folder: Path) -> None:
    """A lock knows its inode: let that of the copy count."""
    for lock in folder.rglob("run.lock"):
        text = lock.read_text()
        lock.write_text(re.sub(r'"inode": \d+', f'"inode": {lock.stat().st_ino}', text))


def contents(folder: Path) -> dict[str, Any]:
    """All that must not depend on damage: columns of logs, and the last parameters."""
    from ritz.checkpoint.folder import entries, read
    from ritz.plotting import read_log

    found: dict[str, Any] = {}
    for log in ("train.log", "train.csv"):
        for name, history in read_log(folder / log).items():
            if name not in ("wallclock", "block"):
                inner: Any = history if isinstance(history, dict) else {"": history}
                for part, column in inner.items():
                    for field, values in column.to_dict().items():
                        key = f"{log}/{name}/{part}/{field}"
                        found[key] = np.asarray(values).tobytes()
        found.setdefault("steps", []).append(read_log(folder / log)["Energy"].iters.tolist())
    first, second = found["steps"]
    found["steps"] = first if first == second else [*first, "but", *second]
    last = entries(folder / "checkpoints" / "train")[-1]
    for name, array in read(last.path).arrays.items():
        found[f"checkpoint/{name}"] = np.asarray(array).tobytes()
    found["train.mpack"] = (folder / "train.mpack").read_bytes()
    return found
