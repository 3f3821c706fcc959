"""The base class of models that are another one with something added."""

from typing import ClassVar

from flax import linen as nn


class Wrapper(nn.Module):
    """A model whose parameters are those of `model`, name by name; wrappers may wrap wrappers."""

    model: nn.Module
    """A flax module, configurations -> log psi."""

    preserve_adopted_names: ClassVar[bool] = True
    """Of flax: that names which are given below are kept."""

    def setup(self) -> None:
        """Share the model's parameters."""
        nn.share_scope(self, self.model)

    def __post_init__(self) -> None:
        # All of them share a scope, in which flax takes each name once.
        if isinstance(self.model, Wrapper) and self.model.name is None:
            depth, inner = 1, self.model
            while isinstance(inner, Wrapper):
                depth, inner = depth + 1, inner.model
            object.__setattr__(self, "model", self.model.clone(name=f"model_{depth}"))
        super().__post_init__()
