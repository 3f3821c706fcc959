"""Writers of rows with flat names."""

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar, overload

from ritz.driver import AbstractDriver
from ritz.loggers.base import AbstractLogger
from ritz.loggers.flat_row import FlatRow
from ritz.types import Row

Kind = TypeVar("Kind", bound=type)


class Writer(AbstractLogger, abc.ABC):
    """Base class of loggers whose rows contain flat names besides the logged quantities.

    `stats` in `write` holds `total_energy`, `total_energy_var`, `energy:NAME`, `energy:NAME_var`
    and so on, see `ritz.loggers.flat_row.FlatRow`. Use `self.to_scalar` on values.
    """

    def _row(self, log_data: Row, driver: AbstractDriver) -> Row:
        return FlatRow(log_data, driver.loss_name).flattened()


@overload
def configurable_dataclass(kind: Kind) -> Kind: ...
@overload
def configurable_dataclass(**options: Any) -> Callable[[Kind], Kind]: ...
def configurable_dataclass(kind: Any = None, **options: Any) -> Any:
    """Make a class a dataclass, so that its annotated fields are settings.

    Objects are compared by identity, as callbacks are.

    Args:
        kind: The class.
        **options: Further arguments of `dataclasses.dataclass`.
    """

    def decorate(kind: Any) -> Any:
        return dataclasses.dataclass(**{"eq": False, **options})(kind)

    return decorate if kind is None else decorate(kind)
