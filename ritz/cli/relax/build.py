"""Builds the potential and the optimiser of `ritz relax`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ritz.cli.relax.config import CONTRACTS, RelaxRun
from ritz.cli.settings.parts import Part
from ritz.potentials import AbstractPotential
from ritz.stages.contract import ContractError
from ritz.stages.parts import make

if TYPE_CHECKING:
    from ritz.relax import AbstractOptimizer, FrechetCell

_SHORT = {"lj": "LennardJones"}


def model_of(part: Part) -> AbstractPotential:
    """The potential: from a file or folder, or made from its class.

    Raises:
        ValueError: If it is none.
    """
    from ritz.relax.arguments import CALCULATORS, potential_of

    name = part.class_path
    if _is_path(name):
        if part.init_args:
            raise ValueError(
                f"model.{next(iter(part.init_args))}: {name} is a trained potential, without "
                "arguments."
            )
        return _potential(potential_of, name, name)
    if "." not in name and ":" not in name:
        camel = "".join(word[:1].upper() + word[1:] for word in name.replace("_", "-").split("-"))
        part = Part(_SHORT.get(name, camel), part.init_args)
    try:
        made = make("model", part.as_dict(), {}, CONTRACTS["model"])
    except ContractError as error:
        if name.startswith("ase.calculators."):
            raise ValueError(
                f"model: {name} is no potential that can be used here: it is a calculator of ASE, "
                f"{CALCULATORS}"
            ) from error
        raise
    return _potential(potential_of, name, made)


def _is_path(name: str) -> bool:
    path = Path(name)
    return "/" in name or path.suffix == ".npz" or path.exists()


def _potential(
    potential_of: Callable[[Any], AbstractPotential], name: str, given: object
) -> AbstractPotential:
    try:
        return potential_of(given)
    except (TypeError, RuntimeError) as error:
        raise ValueError(f"model: {name} is no potential that can be used here: {error}") from error


def optimizer_of(part: Part) -> "AbstractOptimizer":
    """The optimiser, by the name that `relax` takes, by its class, or by a class path.

    Raises:
        ValueError: If it is none.
    """
    from ritz.relax.relaxing import OPTIMIZERS

    known = {kind.__name__: kind for kind in OPTIMIZERS.values()}
    short = {**known, **OPTIMIZERS}.get(part.class_path)
    if short is None and "." not in part.class_path and ":" not in part.class_path:
        raise ValueError(
            f"optimizer: {part.class_path!r} was given; there are: {', '.join(OPTIMIZERS)}."
        )
    path = part.class_path if short is None else f"{short.__module__}.{short.__name__}"
    given = {"class_path": path, "init_args": part.init_args}
    return make("optimizer", given, takes=CONTRACTS["optimizer"])


def cell_of(given: RelaxRun) -> "FrechetCell | None":
    """How cells move; None if they do not.

    Raises:
        ValueError: If there is a pressure, and they do not.
    """
    from ritz.relax import FrechetCell

    if not given.cell:
        if given.pressure:
            raise ValueError("pressure: only moving cells feel it; give --cell too.")
        return None
    return FrechetCell(pressure=given.pressure)
