"""Optimisers of training."""

import dataclasses
import functools
from typing import ClassVar

import optax
from jaxtyping import PyTree

from ritz.checks import check_count, check_fraction, check_positive
from ritz.driver.signatures import suggests_fields
from ritz.mlip.models.abstract_model import AbstractModel
from ritz.mlip.training.curvature import EnergyCurvature
from ritz.mlip.training.kfac import KFAC
from ritz.updates.optimizer_step import check_goes_by_gradients


@dataclasses.dataclass(frozen=True)
class _MomentMethod:
    """Settings and checks that both forms of Adam share."""

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
        """The learning rate, by the name that all methods share."""
        return self.mu


@suggests_fields
@dataclasses.dataclass(frozen=True)
class Adam(_MomentMethod):
    """Adam (Kingma and Ba, arXiv 1412.6980).

    Args:
        mu: The learning rate.
        batchsize: Largest number of structures in a batch.
        beta1: Decay of the running mean of gradients, from 0 to below 1.
        beta2: Decay of the running mean of their squares, from 0 to below 1.
        epsilon: Added to the root of the mean square, so that no step divides by zero.
        weight_decay: This many times the parameters are added to the gradient (L2); `AdamW`
            decouples the decay from the gradient.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a value is not allowed.
    """

    method_name: ClassVar[str] = "adam"

    def transformation(self, schedule: optax.Schedule) -> optax.GradientTransformation:
        """The optimiser with the learning rate of a schedule."""
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.adam(schedule, self.beta1, self.beta2, self.epsilon),
        )


@suggests_fields
@dataclasses.dataclass(frozen=True)
class AdamW(_MomentMethod):
    """Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101).

    It takes the arguments of `Adam`, and raises the same errors; but `weight_decay`, by default
    0.01, times the learning rate is the fraction that parameters lose in a step.
    """

    method_name: ClassVar[str] = "adamw"
    weight_decay: float = 0.01

    def transformation(self, schedule: optax.Schedule) -> optax.GradientTransformation:
        """The optimiser with the learning rate of a schedule."""
        return optax.adamw(
            schedule, self.beta1, self.beta2, self.epsilon, weight_decay=self.weight_decay
        )


@suggests_fields
@dataclasses.dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent.

    Args:
        lr: The learning rate.
        batchsize: Largest number of structures in a batch.
        momentum: Fraction of the last step that is taken again, from 0 to below 1.
        weight_decay: This many times the parameters are added to the gradient.

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
        """The learning rate, by the name that all methods share."""
        return self.lr

    def transformation(self, schedule: optax.Schedule) -> optax.GradientTransformation:
        """The optimiser with the learning rate of a schedule."""
        return optax.chain(
            optax.add_decayed_weights(self.weight_decay),
            optax.sgd(schedule, self.momentum or None),
        )


@suggests_fields
@dataclasses.dataclass(frozen=True)
class OptaxMethod:
    """Any optimiser of optax; as `method`, a bare transformation is taken as one of these.

    The schedule of the learning rate, warm-up included, multiplies its steps, and `learning_rate`
    in histories is that factor.

    Args:
        optimizer: The transformation of gradients, with its own learning rate.
        batchsize: Largest number of structures in a batch.

    Raises:
        TypeError: If `optimizer` is no transformation.
        ValueError: If a value is not allowed, or the optimiser needs the loss, as line searches do.
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
        check_goes_by_gradients("method", self.optimizer, "Adam or KFAC of ritz.mlip")
        check_count("batchsize", self.batchsize, 1)

    @property
    def learning_rate(self) -> float:
        """1, the factor of the transformation's steps where the schedule is at its maximum."""
        return 1.0

    def transformation(self, schedule: optax.Schedule) -> optax.GradientTransformation:
        """The optimiser with its steps multiplied by a schedule."""
        return optax.chain(self.optimizer, optax.scale_by_schedule(schedule))


Method = Adam | AdamW | SGD | KFAC | OptaxMethod


def as_method(given: object, name: str = "method") -> Method:
    """An optimiser of Ritz as it is, and one of optax in an `OptaxMethod`.

    Raises:
        TypeError: If it is something else.
    """
    if isinstance(given, optax.GradientTransformation):
        return OptaxMethod(given)
    if not isinstance(given, Method):
        raise TypeError(
            f"{name} must be Adam, AdamW, SGD or KFAC of ritz.mlip, or a GradientTransformation "
            f"such as optax.lion(1e-3), but {given!r} was given."
        )
    return given


def curvature_for(method: Method, model: AbstractModel, networks: PyTree) -> EnergyCurvature | None:
    """The curvature that an optimiser goes by; None if it goes by none.

    Args:
        method: The optimiser.
        model: What is trained.
        networks: The parameters of one network.
    """
    return method.curvature(model, networks) if isinstance(method, KFAC) else None


def _check(
    method: "_MomentMethod | SGD",
    rate: str,
    decays: tuple[str, ...] = (),
    others: tuple[str, ...] = (),
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
    """Schedule of the learning rate: a linear rise, then a fall to a fraction.

    Args:
        schedule: How it falls: one of `SCHEDULES`.
        warmup_steps: Number of steps in which it rises, the first of which is not zero.
        n_steps: Number of steps after which it has fallen.
        final_fraction: The fraction of itself that it has fallen to by then.
    """

    schedule: str = "constant"
    warmup_steps: int = 0
    n_steps: int = 1
    final_fraction: float = 0.0

    def of(self, rate: float) -> optax.Schedule:
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
        # No step is lost to a rate of zero: the rate is 1 / (n + 1) at first, and 1 after n steps.
        first = rate / (self.warmup_steps + 1)
        rising = optax.linear_schedule(first, rate, self.warmup_steps)
        return optax.join_schedules([rising, falling], [self.warmup_steps])


@functools.lru_cache(maxsize=64)
def optimizer(
    method: Method,
    rates: Rates,
    gradient_clip: float | None,
    curvature: EnergyCurvature | None = None,
) -> optax.GradientTransformation:
    """The optimiser of a run; equal arguments give one object, and so one compiled program.

    Args:
        method: The optimiser.
        rates: How its learning rate changes.
        gradient_clip: The largest norm of a gradient; None for no limit.
        curvature: From `curvature_for`.
    """
    schedule = rates.of(method.learning_rate)
    if isinstance(method, KFAC):
        if curvature is None:
            raise TypeError("KFAC needs the curvature of a model, from curvature_for.")
        transformation = method.transformation(schedule, curvature)
    else:
        transformation = method.transformation(schedule)
    if gradient_clip is None:
        return transformation
    return optax.chain(optax.clip_by_global_norm(gradient_clip), transformation)
