"""Potentials from trained models, files and run folders."""

import abc
import importlib
from os import PathLike
from pathlib import Path

from ritz.potentials.potential import AbstractPotential

READERS = ["ritz.mlip.committee.saved"]
"""Modules that read potentials from disk, imported where a path is given; each has a function
`load_saved(path)` that returns an `AbstractPotentialSource`, and raises `ValueError` if it reads no
such file or folder."""


class AbstractPotentialSource(abc.ABC):
    """Base class of models, such as trained ones, that can be frozen into a potential."""

    @abc.abstractmethod
    def frozen(self) -> AbstractPotential:
        """The potential as it is now; later training does not change it.

        Raises:
            RuntimeError: If the model is not trained yet.
        """


def as_potential(model: object) -> AbstractPotential:
    """Return a potential unchanged, frozen from a model, or read from a path.

    Args:
        model: An `AbstractPotential`; an `AbstractPotentialSource` such as
            `ritz.mlip.ANNPotential` or a committee; or the path of a file that its `save` wrote,
            of a folder with a committee, or of a run folder of `ritz mlip train`.

    Raises:
        TypeError: If `model` is something else.
        ValueError: If there is nothing at the path, or no potential.
        RuntimeError: If it was not trained.
    """
    if isinstance(model, AbstractPotential):
        return model
    if isinstance(model, AbstractPotentialSource):
        return model.frozen()
    if isinstance(model, str | PathLike):
        return _read(Path(model)).frozen()
    raise TypeError(
        "a potential is an AbstractPotential, a trained one, or the path of a file or run folder, "
        f"but {model!r} was given."
    )


def _read(path: Path) -> AbstractPotentialSource:
    if not path.exists():
        raise ValueError(f"model: there is no file or folder {str(path)!r}.")
    reasons = []
    for name in READERS:
        try:
            reader = importlib.import_module(name)
        except ImportError as error:
            raise ValueError(
                f"model: to read {path} this is needed: pip install 'ritz[mlip]' ({error})"
            ) from error
        try:
            return reader.load_saved(path)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError("; ".join(reasons))
