"""Settings of a driver that callbacks adjust during a run."""

from typing import ClassVar, Protocol


class Adjustable(Protocol):
    """A driver, or another object, with settings that callbacks adjust."""

    adjustable: ClassVar[frozenset[str]]


def require(driver: Adjustable, setting: str, who: str) -> None:
    """Check that `driver` has the adjustable `setting`.

    Raises:
        TypeError: If it has not, with how to mend it.
    """
    if setting not in driver.adjustable:
        raise TypeError(
            f"{who} adjusts driver.{setting}, which {type(driver).__name__} does not use; use it "
            f"in the driver and add {setting!r} to its class attribute `adjustable`."
        )
