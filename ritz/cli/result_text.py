"""How a value with an error bar is printed."""

import math


def value_text(value: str, error: float | None, suspect: str = "") -> str:
    """A value with its error bar, or with what is wrong with it instead.

    Args:
        value: The value.
        error: One standard error; None or NaN if it is not known.
        suspect: Why neither can be trusted; empty where they can.
    """
    if suspect:
        return f"{value} (suspect: {suspect})"
    return value if error is None or math.isnan(error) else f"{value} +- {error:.2g}"
