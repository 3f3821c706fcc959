"""What varies in a sweep: grids, lists, seeds and random draws."""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

Variation: TypeAlias = dict[str, Any]
"""Settings of one run that differ from those of others, by their dotted names."""

RANGE = {"from", "to", "points", "log"}
DRAWS = ("uniform", "log_uniform", "integer", "choice")
"""Distributions of random settings."""


def variations(
    *,
    vary: Mapping[str, Any] | None = None,
    runs: Sequence[Mapping[str, Any]] | None = None,
    draw: Mapping[str, Any] | None = None,
    seeds: int | Sequence[int] | None = None,
) -> list[Variation]:
    """All combinations of what varies, seeds innermost.

    Args:
        vary: Setting -> its values, a list or `{from: a, to: b, points: n, log: false}`; all
            combinations are taken, the first setting outermost.
        runs: The settings of runs, one by one.
        draw: `{runs: n, seed: s, NAME: {uniform: [a, b]}}`: n runs whose settings are drawn, also
            from `log_uniform: [a, b]`, `integer: [a, b]` (both included) or `choice: [...]`.
        seeds: Seeds, or how many (0, 1, ...); each run is taken with each.

    Returns:
        The settings of each run; one without settings if nothing varies.

    Raises:
        ValueError: If one is not of these forms, a number is not finite, or two of them name the
            same setting.
    """
    parts = [
        _grid({} if vary is None else vary),
        _rows([{}] if runs is None else runs),
        _draws({} if draw is None else draw),
        [{}] if seeds is None else [{"seed": seed} for seed in _seeds(seeds)],
    ]
    _refuse_twice(parts)
    for name, value in (item for part in parts for row in part for item in row.items()):
        if not _is_finite(value):
            raise ValueError(f"{name} must have finite values, but {value!r} was given.")
    return [
        {name: value for part in combination for name, value in part.items()}
        for combination in itertools.product(*parts)
    ]


def _grid(grid: Mapping[str, Any]) -> list[Variation]:
    _check_mapping("vary", grid)
    values = [_values(name, given) for name, given in grid.items()]
    return [dict(zip(grid, chosen, strict=True)) for chosen in itertools.product(*values)]


def _values(name: str, given: Any) -> Sequence[Any]:
    if isinstance(given, Mapping) and {"from", "to", "points"} <= set(given) <= RANGE:
        return _range(name, given)
    if isinstance(given, list) and given:
        return given
    if given == []:
        raise ValueError(f"vary.{name}: the list of its values is empty; give at least one.")
    raise ValueError(
        f"vary.{name} takes a list of values or {{from: 0.5, to: 1.5, points: 5}} (log: true for "
        f"equal ratios), but {given!r} was given."
    )


def _range(name: str, given: Mapping[str, Any]) -> list[float]:
    first, last = (_number(f"vary.{name}.{end}", given[end]) for end in ("from", "to"))
    n = given["points"]
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(f"vary.{name}.points must be a whole number above 0, but it is {n!r}.")
    if n == 1:
        return [first]
    shares = [k / (n - 1) for k in range(n)]
    if not given.get("log", False):
        return [round(first + share * (last - first), 12) for share in shares]
    if first * last <= 0:
        raise ValueError(
            f"vary.{name}: with log: true both ends must have the same sign and not be 0, but "
            f"they are {first:g} and {last:g}."
        )
    return [float(f"{first * (last / first) ** share:.12g}") for share in shares]


def _rows(rows: Sequence[Mapping[str, Any]]) -> list[Variation]:
    if not isinstance(rows, list) or not rows:
        raise ValueError(f"runs takes the settings of at least one run, but {rows!r} was given.")
    for row in rows:
        _check_mapping("each entry of runs", row)
    return [dict(row) for row in rows]


def _draws(given: Mapping[str, Any]) -> list[Variation]:
    if not given:
        return [{}]
    _check_mapping("draw", given)
    n, seed = given.get("runs"), given.get("seed", 0)
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise ValueError(
            f"draw.runs must say how many runs are drawn, as a whole number above 0, but {n!r} "
            "was given."
        )
    if not isinstance(seed, int):
        raise ValueError(f"draw.seed must be a whole number, but {seed!r} was given.")
    names = [name for name in given if name not in ("runs", "seed")]
    if not names:
        raise ValueError("draw names no setting: give NAME: {uniform: [a, b]}, for example.")
    numbers = random.Random(seed)
    return [{name: _draw(name, given[name], numbers) for name in names} for _ in range(n)]


def _draw(name: str, given: Any, numbers: random.Random) -> Any:
    kind = next(iter(given)) if isinstance(given, Mapping) and len(given) == 1 else None
    values = given[kind] if kind in DRAWS else None
    if not isinstance(values, list) or not values or (kind != "choice" and len(values) != 2):
        raise ValueError(
            f"draw.{name} takes {{uniform: [a, b]}}, {{log_uniform: [a, b]}}, {{integer: [a, "
            f"b]}} or {{choice: [...]}}, but {given!r} was given."
        )
    if kind == "choice":
        return numbers.choice(values)
    low, high = (_number(f"draw.{name}", value) for value in values)
    if not low <= high or (kind == "log_uniform" and low <= 0):
        above = "0 < a <= b" if kind == "log_uniform" else "a <= b"
        raise ValueError(f"draw.{name}: [a, b] must have {above}, but {values!r} was given.")
    if kind == "integer" and not (low.is_integer() and high.is_integer()):
        raise ValueError(f"draw.{name}: integer takes whole numbers, but {values!r} was given.")
    if kind == "integer":
        return numbers.randint(int(low), int(high))
    if kind == "uniform":
        return float(f"{numbers.uniform(low, high):.6g}")
    return float(f"{math.exp(numbers.uniform(math.log(low), math.log(high))):.6g}")


def _seeds(given: int | Sequence[int]) -> Sequence[int]:
    whole = [given] if isinstance(given, int) else given
    valid = isinstance(whole, list) and whole and all(type(n) is int and n >= 0 for n in whole)
    if not valid or given == 0:
        raise ValueError(
            "seeds takes how many seeds (1 or more) or a list of them, whole numbers from 0 on "
            f"without quotes, but {given!r} was given."
        )
    return range(given) if isinstance(given, int) else whole


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} must be a number, but {value!r} was given.")
    return float(value)


def _is_finite(value: Any) -> bool:
    """Whether all numbers in a value are finite."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def _check_mapping(name: str, given: Any) -> None:
    if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
        raise ValueError(f"{name} takes settings by their names, but {given!r} was given.")


def _refuse_twice(parts: Sequence[Sequence[Variation]]) -> None:
    """Refuse a setting that two ways of varying name."""
    names = [sorted({name for row in part for name in row}) for part in parts]
    for one, other in itertools.combinations(names, 2):
        both = set(one) & set(other)
        if both:
            raise ValueError(f"{min(both)} varies in two ways; let it vary in one of them.")
