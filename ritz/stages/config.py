"""Where the parts of a stage come from: objects, or class paths with arguments."""

import dataclasses
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

_MISSING = object()


class Config:
    """The configuration of a run, or of a part of it: names and values, nested.

    A value may be the thing itself, or say how to make it: `{"class_path": "optax.adam",
    "init_args": {"learning_rate": 0.01}}`, or only the path, with a dot or a colon before the last
    name.

    Args:
        values: A dict, a dataclass, or another `Config`.
        name: What it is called; of nested ones the last part of their path.
    """

    def __init__(self, values: Any = None, name: str = ""):
        if isinstance(values, Config):
            values, name = values.values, name or values.name
        if values is not None and not isinstance(values, Mapping):
            if not dataclasses.is_dataclass(values) or isinstance(values, type):
                raise TypeError(f"a Config takes a dict or a dataclass, but {values!r} was given.")
            values = {f.name: getattr(values, f.name) for f in dataclasses.fields(values)}
        self.values: Mapping[str, Any] = values or {}
        self.name = name

    def scoped(self, name: str) -> "Config":
        """The part called `name`, or an empty one."""
        return Config(self.values.get(name), name)

    def get(self, name: str, default: Any = None, **context: Any) -> Any:
        """The value called `name`, made if it says how.

        Args:
            name: Its name.
            default: What it is if there is none: a value, a class or function (called to make
                one), or a path.
            **context: Arguments that what is called takes, if it has parameters of these names and
                the configuration does not give them.

        Raises:
            ValueError: If a path or the arguments are wrong, naming the key.
        """
        value = self.values.get(name, _MISSING)
        if value is _MISSING or value is None:
            value = default
        return self._made(name, value, context)

    get_module = get
    """The same: a default may always be a path."""

    def read(self, kind: type) -> Any:
        """A dataclass of type `kind`, with the values of the same names.

        Raises:
            ValueError: If the dataclass refuses a value.
        """
        names = {f.name for f in dataclasses.fields(kind)}
        found = {name: value for name, value in self.values.items() if name in names}
        return kind(**found)

    def _made(self, name: str, value: Any, context: Mapping[str, Any]) -> Any:
        arguments: Mapping[str, Any] = {}
        if isinstance(value, Mapping) and "class_path" in value:
            arguments = value.get("init_args") or {}
            value = self._imported(name, value["class_path"])
        elif isinstance(value, str) and _is_path(value):
            value = self._imported(name, value)
        elif not inspect.isclass(value) and not inspect.isfunction(value):
            return value
        try:
            known = inspect.signature(value).parameters
            context = {k: v for k, v in context.items() if k in known and k not in arguments}
            return value(**{k: self._made(f"{name}.{k}", v, {}) for k, v in arguments.items()},
                         **context)  # fmt: skip
        except TypeError as error:
            raise ValueError(f"{self._key(name)}: {error}") from error

    def _imported(self, name: str, path: str) -> Any:
        module, _, attribute = path.replace(":", ".").rpartition(".")
        try:
            return getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"{self._key(name)}: {path!r} cannot be imported: {error}") from error

    def _key(self, name: str) -> str:
        return f"{self.name}.{name}" if self.name else name


def _is_path(text: str) -> bool:
    parts = text.replace(":", ".").split(".")
    return len(parts) > 1 and all(part.isidentifier() for part in parts)
