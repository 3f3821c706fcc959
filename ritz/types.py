"""Names for types that several packages use."""

from typing import Any, TypeAlias

JSON: TypeAlias = Any
"""A value as JSON can hold it: number, string, flag, None, or lists and dicts of them."""

Loss: TypeAlias = Any
"""The loss of a step: a number, or statistics, an object with `mean` and an error of it."""

Value: TypeAlias = Any
"""A value of a row: a number, text or array, statistics, or dicts and lists of these."""

Row: TypeAlias = dict[str, Any]
"""The row of a step, `log_data`: name -> number, array, or an object with `mean` and `error`."""

State: TypeAlias = dict[str, Any]
"""What a checkpoint keeps: name -> number, string, None, array, or lists and dicts of them."""

Settings: TypeAlias = dict[str, Any]
"""Settings as YAML has them: name -> number, string, flag, None, or lists and dicts of them."""
