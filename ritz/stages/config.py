"""Configurations, in which class paths with arguments stand for objects."""

import dataclasses
import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ritz.stages.contract import Contract
from ritz.stages.parts import make


class Config:
    """The configuration of a run, or of a part of it: names and values, nested.

    A value may be the thing itself, or say how to make it: `{"class_path": "optax.adam",
    "init_args": {"learning_rate": 0.01}}`, or only the path, see `ritz.stages.parts.make`.

    Args:
        values: A dict, a dataclass, or another `Config`.
        name: Its name; for nested ones the last part of their path.

    Raises:
        TypeError: If `values` is something else.
    """

    def __init__(self, values: Any = None, name: str = ""):
        found = values
        if isinstance(values, Config):
            values, name = values.values, name or values.name
        if values is not None and not isinstance(values, Mapping):
            if not dataclasses.is_dataclass(values) or isinstance(values, type):
                raise TypeError(f"a Config takes a dict or a dataclass, but {values!r} was given.")
            values = {f.name: getattr(values, f.name) for f in dataclasses.fields(values)}
        self.values: Mapping[str, Any] = values or {}
        self.name = name
        self._read: set[str] = found._read if isinstance(found, Config) else set()

    def scoped(self, name: str) -> "Config":
        """The part called `name`, or an empty one."""
        self._read.add(name)
        return Config(self.values.get(name), name)

    def get(
        self, name: str, default: object = None, takes: Contract | None = None, **context: object
    ) -> Any:
        """The value called `name`; an object is made from a class path.

        Args:
            name: Its name.
            default: Used if there is no value: a value, a class or function (called to make
                one), or a path.
            takes: What a path may name, see `ritz.stages.parts.make`.
            **context: Arguments that what is called takes, if it has parameters of these names and
                the configuration does not give them.

        Raises:
            ValueError: If a path or the arguments are wrong, naming the key.
        """
        value = self.values.get(name)
        self._read.add(name)
        value = default if value is None else value
        return make(self._key(name), value, context, takes=takes)

    get_module = get
    """`get` by another name, since the default may always be a path."""

    def made_list(self, name: str, takes: Contract | None = None) -> list[Any]:
        """The values of a list called `name`; objects are made from class paths.

        Raises:
            ValueError: If it is not a list, or an entry is wrong, naming the key.
        """
        self._read.add(name)
        given = self.values.get(name) or ()
        if isinstance(given, str | Mapping) or not isinstance(given, Iterable):
            raise ValueError(f"{self._key(name)}: a list is needed, but {given!r} was given.")
        return [make(self._key(f"{name}.{i}"), value, takes=takes) for i, value in enumerate(given)]

    def read(self, kind: type) -> Any:
        """A dataclass of type `kind`, with the values of the same names.

        Raises:
            ValueError: If the dataclass refuses a value.
        """
        names = {f.name for f in dataclasses.fields(kind)}
        return kind(**{name: value for name, value in self.values.items() if name in names})

    def refuse_unknown(self, known: Iterable[str]) -> None:
        """Refuse names that are not `known` and were never read, as probably misspelt.

        Raises:
            ValueError: With the nearest names.
        """
        known = sorted({*known, *self._read})
        for name in self.values:
            if name not in known:
                near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.5)
                hint = (
                    f"did you mean {' or '.join(near)}?"
                    if near
                    else f"there are: {', '.join(known)}."
                )
                raise ValueError(f"{self._key(str(name))}: there is no such setting; {hint}")

    def _key(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name
