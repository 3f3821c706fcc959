"""Optimisers of training."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar

import optax

from ritz.checks import check_count, check_fraction, check_positive

Schedule = Callable[[Any], Any]
"""From the number of steps taken to the learning rate."""


@dataclasses.dataclass(frozen=True)
class _MomentMethod:
    """Settings that both forms of Adam share."""

    mu: float = 0.001
    batchsize: int = 32
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, rate="mu", decays=("beta1", "beta2"), others=("epsilon",))

    @property
    def learning_rate(self) -> float:
        """The learning rate."""
        return self.mu


@dataclasses.dataclass(frozen=True)
class Adam(_MomentMethod):
    """Adam (Kingma and Ba, arXiv 1412.6980).

    Args:
        mu: The learning rate.
        batchsize: How many structures a batch has at the most.
        beta1: The decay of the mean of gradients.
        beta2: The decay of the mean of their squares.
        epsilon: What is added to the root of the latter.
        weight_decay: Times the parameters, it is added to the gradient (L2); see `AdamW`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    method_name: ClassVar[str] = "adam"
    weight_decay: float = 0.0

    def transformation(self, schedule: Schedule) -> optax.GradientTransformation:
        """The optimiser with a learning rate that changes."""
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.adam(schedule, self.beta1, self.beta2, self.epsilon),
        )


@dataclasses.dataclass(frozen=True)
class AdamW(_MomentMethod):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).

    Args:
        mu: The learning rate.
        batchsize: How many structures a batch has at the most.
        beta1: The decay of the mean of gradients.
        beta2: The decay of the mean of their squares.
        epsilon: What is added to the root of the latter.
        weight_decay: Times the learning rate, it is what parameters lose in a step.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    method_name: ClassVar[str] = "adamw"
    weight_decay: float = 0.01

    def transformation(self, schedule: Schedule) -> optax.GradientTransformation:
        """The optimiser with a learning rate that changes."""
        return optax.adamw(
            schedule, self.beta1, self.beta2, self.epsilon, weight_decay=self.weight_decay
        )


@dataclasses.dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent.

    Args:
        lr: The learning rate.
        batchsize: How many structures a batch has at the most.
        momentum: How much of the last step is taken again.
        weight_decay: Times the parameters, it is added to the gradient.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    method_name: ClassVar[str] = "sgd"
    lr: float = 0.01
    batchsize: int = 32
    momentum: float = 0.0
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check(self, rate="lr", decays=("momentum",))

    @property
    def learning_rate(self) -> float:
        """The learning rate."""
        return self.lr

    def transformation(self, schedule: Schedule) -> optax.GradientTransformation:
        """The optimiser with a learning rate that changes."""
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.sgd(schedule, self.momentum or None),
        )


@dataclasses.dataclass(frozen=True)
class OptaxMethod:
    """Any optimiser of optax; as `method`, a bare transformation is taken as one of these.

    The schedule of the learning rate, warm-up included, multiplies its steps, and `learning_rate`
    in histories is that factor.

    Args:
        optimizer: The transformation of gradients, with its own learning rate.
        batchsize: How many structures a batch has at the most.

    Raises:
        TypeError: If `optimizer` is no transformation.
        ValueError: If a value is not allowed.
    """

    method_name: ClassVar[str] = "optax"
    optimizer: optax.GradientTransformation
    batchsize: int = 32

    def __post_init__(self) -> None:
        if not isinstance(self.optimizer, optax.GradientTransformation):
            raise TypeError(
                "optimizer must be a GradientTransformation such as optax.lion(1e-3), but "
                f"{self.optimizer!r} was given."
            )
        check_count("batchsize", self.batchsize, 1)

    @property
    def learning_rate(self) -> float:
        """1: what multiplies the steps of the transformation."""
        return 1.0

    def transformation(self, schedule: Schedule) -> optax.GradientTransformation:
        """The optimiser with steps that are scaled."""
        return optax.chain(self.optimizer, optax.scale_by_schedule(schedule))


Method = Adam | AdamW | SGD | OptaxMethod


def as_method(given: Any, name: str = "method") -> Method:
    """An optimiser of Ritz as it is, and one of optax in an `OptaxMethod`.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(given, optax.GradientTransformation):
        return OptaxMethod(given)
    if not isinstance(given, Adam | AdamW | SGD | OptaxMethod):
        raise TypeError(
            f"{name} must be Adam, AdamW or SGD of ritz.mlip, or a GradientTransformation such as "
            f"optax.lion(1e-3), but {given!r} was given."
        )
    return given


def _check(
    method: Any, rate: str, decays: tuple[str, ...] = (), others: tuple[str, ...] = ()
) -> None:
    check_positive(rate, getattr(method, rate))
    check_count("batchsize", method.batchsize, 1)
    check_positive("weight_decay", method.weight_decay, or_zero=True)
    for name in decays:
        if check_fraction(name, getattr(method, name)) == 1:
            raise ValueError(f"{name} must be below 1, but 1 was given.")
    for name in others:
        check_positive(name, getattr(method, name))


SCHEDULES = ("constant", "cosine", "exponential")
"""Schedules of the learning rate."""


@dataclasses.dataclass(frozen=True)
class Rates:
    """Schedule of the learning rate: a rise from zero, then a fall to a fraction.

    Args:
        schedule: How it falls: one of `SCHEDULES`.
        warmup_steps: In how many steps it rises.
        n_steps: After how many steps it has fallen.
        final_fraction: To which fraction it has fallen then.
    """

    schedule: str = "constant"
    warmup_steps: int = 0
    n_steps: int = 1
    final_fraction: float = 0.0

    def of(self, rate: float) -> Schedule:
        """The schedule of a learning rate."""
        left = max(self.n_steps - self.warmup_steps, 1)
        falling = {
            "constant": optax.constant_schedule(rate),
            "cosine": optax.cosine_decay_schedule(rate, left, self.final_fraction),
            "exponential": optax.exponential_decay(
                rate, left, max(self.final_fraction, 1e-9), end_value=rate * self.final_fraction
            ),
        }[self.schedule]
        if not self.warmup_steps:
            return falling
        rising = optax.linear_schedule(0.0, rate, self.warmup_steps)
        return optax.join_schedules([rising, falling], [self.warmup_steps])


@functools.lru_cache(maxsize=64)
def optimizer(
    method: Method, rates: Rates, gradient_clip: float | None
) -> optax.GradientTransformation:
    """The optimiser of a run; equal arguments give one object, and so one compiled program.

    Args:
        method: The optimiser.
        rates: How its learning rate changes.
        gradient_clip: The largest norm of a gradient, or None.
    """
    found = method.transformation(rates.of(method.learning_rate))
    if gradient_clip is not None:
        found = optax.chain(optax.clip_by_global_norm(gradient_clip), found)
    return found
