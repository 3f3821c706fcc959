"""Which quantities of a run `ritz status` and `ritz plot` show, and how."""

import dataclasses

ERRORS = ("error_of_mean", "Sigma")
"""Names of the error of a mean, in statistics and in logs in NetKet's layout."""


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A quantity of a run's rows, and how to display it.

    Args:
        name: Name in the rows; an empty one is the loss.
        label: Displayed name; by default `name`.
        unit: Such as "meV/atom"; empty for plain numbers.
        scale: Factor from the logged value to that unit.
        logarithmic: Whether its axis is logarithmic if values span more than a decade.
        field: The field of statistics that is drawn, such as "Variance"; by default the mean.
    """

    name: str = ""
    label: str = ""
    unit: str = ""
    scale: float = 1.0
    logarithmic: bool = False
    field: str = ""

    @property
    def title(self) -> str:
        """The label, and the unit in a line of its own."""
        label = self.label or self.name
        return f"{label}\n({self.unit})" if self.unit else label


LOSS = Quantity()


@dataclasses.dataclass(frozen=True)
class RunView:
    """The quantities of a run that are shown.

    Args:
        numbers: Quantities whose newest values `ritz status` shows below the loss.
        curves: Quantities that `ritz plot` draws, one below the other, if a run has them.
        logs: Names, without suffix, of the logs to look for in a run folder.
        has_target: Whether the number of steps that a run may take tells how long it will be.
        reference: What the energy that a run is compared with is called.
    """

    numbers: tuple[Quantity, ...] = ()
    curves: tuple[Quantity, ...] = (LOSS,)
    logs: tuple[str, ...] = ("train", "run")
    has_target: bool = True
    reference: str = "exact"

    def quantity(self, name: str) -> Quantity:
        """The `Quantity` with this name in the rows; a plain one if it is not listed."""
        known = (*self.numbers, *self.curves)
        return next((one for one in known if one.name == name), Quantity(name))


V_SCORE = Quantity("v_score", "V-score", logarithmic=True)
TEMPERATURE = Quantity("temperature", unit="K")

ANY_RUN = RunView(curves=(LOSS, V_SCORE, TEMPERATURE))
"""View of runs of an unknown domain."""
