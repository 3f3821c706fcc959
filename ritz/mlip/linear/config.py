"""Configuration of fits in closed form."""

import dataclasses
from collections.abc import Mapping

from ritz.driver.signatures import suggests_fields
from ritz.mlip.training import config_fields as allow
from ritz.mlip.training.config import TrainingConfig
from ritz.mlip.training.config_fields import check_fields, setting


@suggests_fields
@dataclasses.dataclass(frozen=True)
class FitConfig:
    """Configuration of `ANNPotential.fit`; every field is checked on construction.

    Args:
        force_weight: alpha, the share of forces in what regularisation and ratios are chosen by:
            the least (1 - alpha) log RMSE_E + alpha log RMSE_F + beta log RMSE_S of structures that
            were left out. With 0 forces have no part in the fit.
        stress_weight: beta, the same of stress.
        regularisation: What is added to the normal equations, in units of the mean square of a
            column; None chooses it by cross-validation.
        energy_ratio: Expected error of energies per atom over that of force components, in
            Angstrom; None chooses it by cross-validation.
        stress_ratio: The same of stress components, in 1/Angstrom^2.
        folds: Number of parts of the training split, each of which is left out once.
        testpercent: Percentage of the structures that is held out, which choices do not see.
        seed: Seeds which structures are held out, and the folds.
        split_seed: Seeds which structures are held out; None takes `seed`.
        max_energy: See `TrainingConfig`.
        max_forces: See `TrainingConfig`.
        atomic_energies: See `TrainingConfig`.
        memory_limit: About how much memory rows take at a time, in GB.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a value is not allowed.
    """

    force_weight: float = setting(0.5, allow.fraction, "fit")
    stress_weight: float = setting(0.0, allow.not_negative, "fit")
    regularisation: float | None = setting(None, allow.optional(allow.not_negative), "fit")
    energy_ratio: float | None = setting(None, allow.optional(allow.positive), "fit")
    stress_ratio: float | None = setting(None, allow.optional(allow.positive), "fit")
    folds: int = setting(5, allow.count(2), "fit")
    testpercent: float = setting(10.0, allow.percentage_left_out, "data")
    seed: int | None = setting(None, allow.seed, "data")
    split_seed: int | None = setting(None, allow.optional(allow.count(0)), "data")
    max_energy: float | None = setting(None, None, "data")
    max_forces: float | None = setting(None, allow.optional(allow.positive), "data")
    atomic_energies: Mapping[str, float] | None = setting(None, allow.energies, "data")
    memory_limit: float = setting(0.5, allow.positive, "memory")

    def __post_init__(self) -> None:
        check_fields(self)

    @property
    def for_data(self) -> TrainingConfig:
        """The fields that say which structures are taken, as data sets are made with them."""
        return TrainingConfig(
            testpercent=self.testpercent,
            seed=self.seed,
            split_seed=self.split_seed,
            force_weight=self.force_weight,
            stress_weight=self.stress_weight,
            max_energy=self.max_energy,
            max_forces=self.max_forces,
            atomic_energies=self.atomic_energies,
        )
