"""The total energy."""

import dataclasses
import functools
import operator
from collections.abc import Mapping

from jaxtyping import Array, Inexact, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.estimators.base import AbstractEstimator, LogPsi, Values, in_double


@suggests_fields
@dataclasses.dataclass(frozen=True)
class TotalEnergy(AbstractEstimator):
    """The sum of other energies: the local energy, in hartree.

    Args:
        uses: Names of the estimators that are added up.
    """

    uses: tuple[str, ...] = ("kinetic", "potential")

    @override
    def evaluate(
        self, log_psi: LogPsi, params: PyTree, samples: PyTree, values: Mapping[str, Values]
    ) -> Inexact[Array, " n_samples"]:
        return functools.reduce(operator.add, [in_double(values[name]) for name in self.uses])
