"""Counts with their nouns, as messages have them: "1 step", "2 steps"."""

_PLURALS = {"is": "are", "has": "have", "does": "do", "follows": "follow"}


def counted(number: int, noun: str, verb: str | None = None) -> str:
    """A number with its noun, and the verb that follows: "1 step", "3 atoms are".

    Args:
        number: The number.
        noun: The noun in the singular; its plural ends in -s, or -es after an s.
        verb: The verb in the singular: is, has, does or follows.
    """
    plural = noun + ("es" if noun.endswith("s") else "s")
    words = [noun, verb] if number == 1 else [plural, verb and _PLURALS[verb]]
    return " ".join([str(number), *filter(None, words)])
