"""Makes objects from the class paths of a configuration."""

from collections.abc import Mapping, Sequence
from typing import Any

from ritz.cli.settings.parts import Part
from ritz.stages.contract import Contract
from ritz.stages.parts import make


class PartFactory:
    """Makes objects from the class paths of a configuration.

    Args:
        contracts: What class paths may name, by the last word of the setting.
    """

    def __init__(self, contracts: Mapping[str, Contract]):
        self.contracts = contracts

    def made(self, key: str, part: Part, **context: Any) -> Any:
        """Make the object that a part describes.

        Args:
            key: The setting, with dots; a number at its end is the place in a list.
            part: The part.
            **context: Arguments that it is given if it takes them.

        Raises:
            ValueError: If it cannot be made: one line that names the key.
        """
        word = next(word for word in reversed(key.split(".")) if not word.isdigit())
        return make(key, part.as_dict(), context, self.contracts[word])

    def made_list(self, key: str, parts: Sequence[Part] | None) -> list[Any]:
        """Make the objects of a list of parts; an empty list for None."""
        return [self.made(f"{key}.{place}", part) for place, part in enumerate(parts or ())]
