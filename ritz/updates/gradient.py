"""The plain gradient."""

import dataclasses
from typing import Any

from jaxtyping import Array, PyTree
from typing_extensions import override

from ritz.updates.base import AbstractUpdateRule, cast_like
from ritz.updates.problem import Problem


@dataclasses.dataclass(frozen=True)
class Gradient(AbstractUpdateRule):
    """The gradient of the loss; for use with Adam and other first-order optimisers."""

    @override
    def init(self, params: PyTree, problem: Problem) -> Any:
        return ()

    @override
    def update(
        self, state: Any, problem: Problem, params: PyTree, key: Array
    ) -> tuple[PyTree, Any, dict[str, Any]]:
        return cast_like(problem.gradient(), params), state, {}
