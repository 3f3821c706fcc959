"""The plain gradient."""

import dataclasses
from typing import Any

from jaxtyping import Array, PyTree

from ritz.updates.base import AbstractUpdateRule, cast_like
from ritz.updates.problem import Problem


@dataclasses.dataclass(frozen=True)
class Gradient(AbstractUpdateRule):
    """The gradient of the loss; for use with Adam and other first-order optimisers."""

    def init(self, params: PyTree, problem: Problem) -> Any:
        """Nothing is remembered."""
        return ()

    def update(
        self, state: Any, problem: Problem, params: PyTree, key: Array
    ) -> tuple[PyTree, Any, dict[str, Any]]:
        """`problem.gradient()`."""
        return cast_like(problem.gradient(), params), state, {}
