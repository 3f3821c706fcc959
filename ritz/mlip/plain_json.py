"""JSON of results, in which what is not finite is null."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def dumps(value: Any, **how: Any) -> str:
    """JSON that every reader takes: NaN and infinities, which JSON does not have, become null."""
    return json.dumps(_plain(value), allow_nan=False, **how)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_plain(part) for part in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
