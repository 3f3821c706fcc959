"""Refuses structures that lack what is trained on."""

from collections.abc import Iterable

from ritz.mlip.structure import Structure
from ritz.wording import counted


def listed_keys(keys: Iterable[str]) -> str:
    """The keys under which there are numbers, for messages."""
    keys = sorted(keys)
    if not keys:
        return "no numbers under any key"
    return "numbers under the keys " + ", ".join(keys)


class LabelCheck:
    """Refuses structures that have nothing to train on.

    Args:
        forces: Whether forces are asked for; some must have them.
        stress: Whether stresses are asked for; some must have them.
        key: How one says under which key a label is, for messages.
        prefix: What the names of weights begin with there.
    """

    def __init__(
        self,
        forces: bool,
        stress: bool,
        key: str = "read_structures(..., {label}_key=...)",
        prefix: str = "",
    ):
        self._key, self._prefix = key, prefix
        self._found = {"forces": not forces, "stress": not stress}
        self._count = 0
        self._weighs = False
        self._first: Structure | None = None

    def see(self, structure: Structure) -> None:
        """Look at the next structure.

        Raises:
            ValueError: If it has no energy.
        """
        if structure.energy is None:
            raise ValueError(no_energy(structure, self._count, self._key))
        self._first = structure if self._first is None else self._first
        self._count += 1
        self._weighs |= structure.weight > 0
        for label in self._found:
            self._found[label] |= getattr(structure, label) is not None

    def finish(self) -> None:
        """Refuse what none of the structures had.

        Raises:
            ValueError: If none has forces or stress that are asked for, or a weight above zero.
        """
        if self._first is not None and not self._weighs:
            raise ValueError(
                f"of {counted(self._count, 'structure')} none has a weight above 0, so that none "
                f"counts; the first is {self._first.name or 0}. Give some such a weight, or take "
                "'weight' out of the files."
            )
        for label, has in self._found.items():
            if not has:
                weight = {"forces": "force_weight", "stress": "stress_weight"}[label]
                weight = f"{self._prefix}{weight}"
                raise ValueError(
                    f"no structure has {label}, but {weight} is above 0; set {weight}=0, or say "
                    f"under which key they are: {self._key.format(label=label)}"
                    f"{_of_first(self._first)}."
                )


def no_energy(
    structure: Structure, place: int, key: str = "read_structures(..., {label}_key=...)"
) -> str:
    """What is wrong with a structure without energy; the keys that its file has are listed."""
    how = key.format(label="energy")
    has = f" Its file has {listed_keys(structure.keys)}." if structure.keys else ""
    return (
        f"structure {structure.name or place} has no energy; say under which key its file has it: "
        f"{how}, or give Structure(energy=...).{has}"
    )


def _of_first(structure: Structure | None) -> str:
    if structure is None or not structure.keys:
        return ""
    return f"; {structure.name} has {listed_keys(structure.keys)}"
