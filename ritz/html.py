"""Pieces of HTML, for objects at the end of a cell and for pages: tables and small curves.

They hold no scripts and take the colour of the text around them, so that they suit light and dark
pages.
"""

import functools
import html
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ritz.folders.view import ERRORS
from ritz.wording import counted

_WIDTH, _HEIGHT, _MARGIN = 160, 32, 2
_CELL = 'style="text-align: left; padding: 0.1em 0.8em 0.1em 0"'


class Markup(str):
    """HTML that is not to be escaped."""

    __slots__ = ()


def escaped(value: object) -> Markup:
    """A value as HTML text; `Markup` stays as it is."""
    return value if isinstance(value, Markup) else Markup(html.escape(brief(value)))


def brief(value: Any) -> str:
    """A value in a few words: numbers with six digits, statistics as mean and error.

    Of arrays it tells shape and type, of lists and dicts how many items there are.
    """
    mean = getattr(value, "mean", None)
    if mean is not None and not callable(mean):
        errors = (getattr(value, name, None) for name in ERRORS)
        error = next((one for one in errors if one is not None), None)
        return brief(mean) + ("" if error is None or np.ndim(error) else f" ± {_digits(error, 2)}")
    dtype = getattr(value, "dtype", None)
    if dtype is not None:
        return f"{dtype}{list(np.shape(value))}" if np.ndim(value) else _digits(value, 6)
    if isinstance(value, bool | str | int) or value is None:
        return str(value)
    if isinstance(value, list | tuple | dict | set | frozenset) and not hasattr(value, "_fields"):
        return counted(len(value), "item")
    return _digits(value, 6) if isinstance(value, float | complex) else str(value)


def _digits(value: Any, digits: int) -> str:
    try:
        return f"{np.asarray(value).item():.{digits}g}"
    except (TypeError, ValueError):
        return str(value)


def table(rows: Iterable[Sequence[object]], head: Sequence[object] = ()) -> Markup:
    """A table; cells are escaped unless they are `Markup`.

    Args:
        rows: Cells by row.
        head: Cells of the first row.
    """
    lines = [f"<tr>{''.join(f'<th {_CELL}>{escaped(c)}</th>' for c in head)}</tr>"] if head else []
    lines += [f"<tr>{''.join(f'<td {_CELL}>{escaped(c)}</td>' for c in row)}</tr>" for row in rows]
    return Markup(f'<table style="background: transparent">{"".join(lines)}</table>')


def titled(title: str, *parts: str) -> Markup:
    """Parts below a title in bold."""
    return Markup(f"<div><strong>{escaped(title)}</strong>{''.join(map(escaped, parts))}</div>")


def sparkline(values: ArrayLike) -> Markup:
    """A small curve of real parts as SVG; empty if there are not two finite values.

    Long series are thinned: each pixel shows the smallest and the largest of its values.

    Args:
        values: Shape (n,).
    """
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "biufc":
        return Markup()
    real = np.real(array).astype(float)
    places = np.flatnonzero(np.isfinite(real))
    if len(places) < 2:
        return Markup()
    if len(places) > 2 * _WIDTH:
        parts = np.array_split(places, _WIDTH)
        ends = [sorted({p[np.argmin(real[p])], p[np.argmax(real[p])]}) for p in parts]
        places = np.concatenate(ends)
    shown = real[places]
    low = float(np.min(shown))
    span = float(np.max(shown)) - low
    heights = (shown - low) / span if 0 < span < np.inf else np.full(len(shown), 0.5)
    x = _MARGIN + (_WIDTH - 2 * _MARGIN) * places / max(len(real) - 1, 1)
    y = _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * heights
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return Markup(
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<polyline points="{points}" fill="none" stroke="currentColor"/></svg>'
    )


def never_fails(
    shown: Callable[[Any], str],
) -> Callable[[Any], str]:
    """Decorator of `_repr_html_`: where that fails, the plain `repr` is shown."""

    @functools.wraps(shown)
    def safe(self: Any) -> str:
        try:
            return str(shown(self))
        except Exception:  # a cell must not fail because its last value cannot be shown well
            return f"<pre>{html.escape(object.__repr__(self))}</pre>"

    return safe


class HtmlFields:
    """Base class of results: a notebook shows their fields as a table."""

    @never_fails
    def _repr_html_(self) -> str:
        fields = getattr(self, "__dataclass_fields__", ())
        return titled(type(self).__name__, table((f, _inner(getattr(self, f))) for f in fields))


def _inner(value: object) -> object:
    if isinstance(value, Mapping) and value:
        return table(value.items())
    shown = getattr(value, "_repr_html_", None)
    return Markup(shown()) if callable(shown) else value


def tuple_table(rows: Mapping[str, Any]) -> Markup:
    """A table of named tuples of one kind, by name; empty if there are none."""
    if not rows:
        return Markup()
    fields = next(iter(rows.values()))._fields
    return table(((name, *row) for name, row in rows.items()), ("", *fields))
