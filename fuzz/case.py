"""What all kinds of fuzzing share: cases, findings, and a limit of time."""

import contextlib
import random
import signal
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Finding(NamedTuple):
    """Something that went wrong silently, with a traceback, or not at all within the time."""

    kind: str
    seed: int
    case: int
    done: str
    """What was done."""
    came: str
    """What came out."""

    def __str__(self) -> str:
        return (
            f"FINDING in {self.kind}, seed {self.seed}, case {self.case}\n"
            f"  done:   {self.done}\n"
            f"  came:   {self.came}\n"
            f"  repeat: python -m fuzz --only {self.kind} --seed {self.seed} --case {self.case}"
        )


class Wrong(Exception):
    """A case came to something that must not be; the message says what."""


class TookTooLong(BaseException):
    """The time of a case is over; no error of Ritz's own, so that nothing catches it."""


class Kind(ABC):
    """A kind of fuzzing: cases that depend on nothing but their random generator.

    Args:
        folder: An empty folder for everything that it writes.
    """

    name: str
    limit: float = 60.0
    """Seconds that a case may take."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.done: list[str] = []
        """What the present case has done so far, for the report of a finding."""

    @abstractmethod
    def prepare(self) -> None:
        """Make what all cases share."""

    @abstractmethod
    def case(self, chance: random.Random, folder: Path) -> None:
        """Go through one case.

        Args:
            chance: Decides everything.
            folder: An empty folder, the present one during the case.

        Raises:
            Wrong: If something came out that must not be.
        """

    def close(self) -> None:
        """Free what `prepare` has taken."""
        return

    def try_case(self, seed: int, number: int, folder: Path) -> Finding | None:
        """Go through one case; what it found."""
        self.done = []
        chance = random.Random(f"{self.name} {seed} {number}")
        try:
            with within(self.limit), contextlib.chdir(folder):
                self.case(chance, folder)
            return None
        except Wrong as wrong:
            came = str(wrong)
        except TookTooLong:
            came = f"it took more than {self.limit:g} s"
        except Exception as error:  # an error of the oracle: something cannot even be read
            came = traceback_line(error)
        return Finding(self.name, seed, number, "; ".join(self.done), came)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Raise `TookTooLong` after some time."""

    def end(*_: Any) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def traceback_line(error: BaseException) -> str:
    """An error in one line, with the place where it was raised."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = (
        ""
        if place is None
        else (f" in {Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}")
    )
    return f"{type(error).__name__}{where}: {' '.join(str(error).split())[:400]}"
