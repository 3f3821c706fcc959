"""What of a run is shown to people."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Quantity:
    """A quantity of a run's rows, as people read it.

    Args:
        name: In the rows; an empty one is the loss.
        label: What it is called; by default its name.
        unit: Such as "meV/atom"; empty for plain numbers.
        scale: What the logged value is multiplied by to have that unit.
        logarithmic: Whether its axis is, where there is more than a decade to see.
    """

    name: str = ""
    label: str = ""
    unit: str = ""
    scale: float = 1.0
    logarithmic: bool = False

    @property
    def title(self) -> str:
        """The label, and the unit in a line of its own."""
        label = self.label or self.name
        return f"{label}\n({self.unit})" if self.unit else label


LOSS = Quantity()


@dataclasses.dataclass(frozen=True)
class RunView:
    """What of a run is shown.

    Args:
        numbers: What `ritz status` tells: the newest values, below the loss.
        curves: What `ritz plot` draws, one below the other; those that no run has are left out.
        logs: The names, without suffix, of the logs that are looked for in a run folder.
    """

    numbers: tuple[Quantity, ...] = ()
    curves: tuple[Quantity, ...] = (LOSS,)
    logs: tuple[str, ...] = ("train", "run")

    def quantity(self, name: str) -> Quantity:
        """How a quantity is shown, by its name in the rows."""
        known = (*self.numbers, *self.curves)
        return next((one for one in known if one.name == name), Quantity(name))


V_SCORE = Quantity("v_score", "V-score", logarithmic=True)

ANY_RUN = RunView(curves=(LOSS, V_SCORE))
"""Of runs of which nothing more is known."""
