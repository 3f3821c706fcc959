"""The gradient of the loss as an update rule: steepest descent."""

import dataclasses

from jaxtyping import Array, PyTree
from typing_extensions import override

from ritz.driver.signatures import suggests_fields
from ritz.types import Row
from ritz.updates.base import AbstractUpdateRule, cast_like
from ritz.updates.problem import Problem


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Gradient(AbstractUpdateRule):
    """The gradient of the loss; for use with Adam and other first-order optimisers."""

    @override
    def init(self, params: PyTree, problem: Problem) -> PyTree:
        return ()

    @override
    def update(
        self, state: PyTree, problem: Problem, params: PyTree, key: Array
    ) -> tuple[PyTree, PyTree, Row]:
        return cast_like(problem.gradient(), params), state, {}
