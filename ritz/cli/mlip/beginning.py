"""The trained potential or committee that a training begins with."""

from pathlib import Path

from ritz.cli.messages import under
from ritz.cli.mlip.config import MLIPRun
from ritz.mlip import AbstractDescriptor, AbstractMLIP, CommitteePotential
from ritz.mlip.committee.results import METADATA
from ritz.mlip.committee.saved import COMMITTEE, POTENTIAL, load_saved
from ritz.wording import counted


class Beginning:
    """What training begins with, from the setting `begin_from`.

    Args:
        given: The configuration.

    Raises:
        ValueError: If nothing is there, or another number of potentials.
    """

    def __init__(self, given: MLIPRun):
        self.path: Path | None = None
        """What `resume_from` of `train` takes; None if training begins anew."""
        self.energies: dict[str, float] | None = None
        """Energies of atoms of the potential, in eV; None if training begins anew."""
        self._model: AbstractMLIP | None = None
        if given.begin_from is None:
            return
        path = Path(given.begin_from)
        with under("begin_from: "):
            if not path.exists():
                raise ValueError(f"there is no file or folder {str(path)!r}.")
            loaded = load_saved(path)
            is_committee = isinstance(loaded, CommitteePotential)
            n_members = len(loaded) if isinstance(loaded, CommitteePotential) else 1
            if n_members != given.members or is_committee != (given.members > 1):
                has = f"a committee of {counted(n_members, 'member')}" * is_committee
                raise ValueError(
                    f"{path} holds {has or 'a single potential'}, but members={given.members} was "
                    f"given; give members={n_members}."
                )
        first = loaded.members[0] if isinstance(loaded, CommitteePotential) else loaded
        self._model, self.energies = first, dict(first.atomic_energies)
        self.path = next(filter(Path.exists, _places(path)))

    @property
    def descriptor(self) -> AbstractDescriptor | None:
        """The descriptor of the potential that training begins with, if it has one."""
        return None if self._model is None else self._model.descriptor

    def check_form(self, potential: AbstractMLIP) -> None:
        """Refuse to begin with a potential of another form.

        Args:
            potential: What is trained.

        Raises:
            ValueError: With both.
        """
        if self._model is not None and self._model.model != potential.model:
            raise ValueError(
                f"begin_from: there is {self._model!r}, but the settings of potential make "
                f"{potential!r}; give the same, as --config with the config.yaml of that run does."
            )


def _places(path: Path) -> list[Path]:
    """Where the file or folder that `resume_from` takes may be."""
    if path.is_file() or (path / METADATA).is_file():
        return [path]
    return [path / COMMITTEE, path / POTENTIAL, path]
