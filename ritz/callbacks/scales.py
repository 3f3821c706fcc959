"""Settings of a driver that callbacks adjust during a run."""

from typing import Any


def require(driver: Any, setting: str, who: str) -> None:
    """Check that `driver` has the adjustable `setting`.

    Raises:
        TypeError: If it has not, with how to mend it.
    """
    if setting not in driver.adjustable:
        raise TypeError(
            f"{who} adjusts driver.{setting}, which {type(driver).__name__} does not use; use it "
            f"in the driver and add {setting!r} to its class attribute `adjustable`."
        )
