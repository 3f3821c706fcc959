"""Fits of linear potentials: data in, potential and errors out."""

import time
from typing import TYPE_CHECKING

import pandas as pd

from ritz.mlip.data.datasets import AbstractDataset
from ritz.mlip.linear.config import FitConfig
from ritz.mlip.linear.fitting import fit_linear
from ritz.mlip.linear.normal_equations import ENERGY, FORCES, STRESS, Solution
from ritz.mlip.potentials.predicting import predict_dataset
from ritz.mlip.potentials.predictions import errors_of
from ritz.mlip.training.prepare import GivenData, resolve
from ritz.mlip.training.run import TrainOut

if TYPE_CHECKING:
    from ritz.mlip.potentials.ann import ANNPotential

_NAMES = {ENERGY: "", FORCES: "_force", STRESS: "_stress"}
_UNITS = {ENERGY: "eV/atom", FORCES: "eV/Angstrom", STRESS: "eV/Angstrom^3"}
_UNITS_OF_RATIOS = {ENERGY: "Angstrom", STRESS: "1/Angstrom^2"}


def fit_potential(potential: "ANNPotential", given: GivenData, config: FitConfig) -> TrainOut:
    """Fit a potential; see `ANNPotential.fit`."""
    began = time.perf_counter()
    deep = [symbol for symbol, hidden in potential.model.arch if hidden]
    if deep:
        form = ", ".join(f"{symbol!r}: []" for symbol, _ in potential.model.arch)
        raise ValueError(
            f"the network of {deep[0]} has hidden layers, so that there is no closed form: use "
            f"train(...), or arch={{{form}}} for a potential that is linear in its features."
        )
    train, test = resolve(potential.descriptor, config.for_data, given)
    found = fit_linear(potential.model, train, config)
    potential.parameters = found.networks
    potential.normalisation = found.normalisation
    potential.atomic_energies = dict(train.atomic_energies)
    potential.statistics = found.statistics
    potential.check_finite()
    fitted_at = time.perf_counter()
    errors = {}
    for split, data in (("train", train), ("test", test)):
        if data is not None and len(data):
            errors |= _errors(potential, data, config.force_weight > 0, split)
    now = time.perf_counter()
    errors["seconds"] = fitted_at - began
    return TrainOut(
        pd.DataFrame([errors], index=pd.Index([1], name="epoch")),
        {
            **{f"final_{name}": value for name, value in errors.items() if name != "seconds"},
            **_choice(found.solution),
            "n_epochs": 1,
            "n_structures_train": len(train),
            "n_structures_test": 0 if test is None else len(test),
        },
        {"training": fitted_at - began, "evaluation": now - fitted_at, "total": now - began},
        stop_message=f"least squares with {_told(found.solution)}",
    )


def _errors(
    potential: "ANNPotential", data: AbstractDataset, with_forces: bool, split: str
) -> dict[str, float]:
    found = errors_of(predict_dataset(potential, data, with_forces))
    short = {name.removesuffix("_energy"): value for name, value in found.items()}
    return {f"{name}_{split}": value for name, value in short.items()}


def _choice(solution: Solution) -> dict[str, float]:
    ratios = {f"{name}_ratio": value for name, value in solution.choice.ratios.items()}
    left_out = {f"left_out_RMSE{_NAMES[name]}": x for name, x in solution.left_out.items()}
    return {"regularisation": solution.choice.penalty, **ratios, **left_out}


def _told(solution: Solution) -> str:
    told = [f"regularisation {solution.choice.penalty:.2g}"]
    for name, ratio in solution.choice.ratios.items():
        told.append(f"{name} ratio {ratio:.2g} {_UNITS_OF_RATIOS[name]}")
    if solution.left_out:
        errors = ", ".join(
            f"{name} {x:.3g} {_UNITS[name]}" for name, x in solution.left_out.items()
        )
        told.append(f"chosen by what was left out (RMSE: {errors})")
    return ", ".join(told)
