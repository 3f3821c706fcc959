"""What conformance checks are made of."""


def require(condition: object, message: str) -> None:
    """Refuse what is checked unless a condition holds, also where Python runs with `-O`.

    Args:
        condition: Anything that is true or false.
        message: What is wrong if it is false.

    Raises:
        AssertionError: If it is false.
    """
    if not condition:
        raise AssertionError(message)
