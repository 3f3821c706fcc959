"""Counts with their nouns, as messages have them: "1 step", "2 steps"."""

_PLURALS = {"is": "are", "has": "have", "does": "do", "follows": "follow"}


def counted(number: int, noun: str, verb: str | None = None) -> str:
    """A number with its noun, and the verb that follows: "1 step", "3 atoms are".

    Args:
        number: The number.
        noun: The noun in the singular; see `plural`.
        verb: The verb in the singular: is, has, does or follows.
    """
    words = [noun, verb] if number == 1 else [plural(noun), verb and _PLURALS[verb]]
    return " ".join([str(number), *filter(None, words)])


def plural(noun: str) -> str:
    """The plural of a regular noun: "steps", "batches", "trajectories", but "epochs"."""
    if noun.endswith("y") and noun[-2:-1] not in "aeiou":
        return f"{noun[:-1]}ies"
    return noun + ("es" if noun.endswith(("s", "tch")) else "s")
