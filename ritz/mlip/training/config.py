"""How a potential is trained."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ritz.driver.arguments import check_choice, check_count, check_seed
from ritz.driver.divergence import POLICIES
from ritz.mlip.arguments import (
    check_device,
    check_dtype,
    check_flag,
    check_fraction,
    check_positive,
)
from ritz.mlip.batching.memory import DataSettings
from ritz.mlip.training.losses import KINDS, WEIGHT_SCHEDULES
from ritz.mlip.training.optimisers import SCHEDULES, SGD, Adam, AdamW, Method

_FLAGS = (
    "force_scale_unbiased", "use_scheduler", "save_best", "normalize_features", "normalize_energy",
    "save_energies", "save_forces", "timing", "show_progress", "show_batch_progress",
    "cache_features", "cache_neighbors", "cache_force_triplets", "cache_warmup",
    "persistent_workers",
)  # fmt: skip

_COUNTS = {
    "iterations": 0, "checkpoint_interval": 0, "scheduler_patience": 0,
    "force_resample_num_epochs": 0, "force_min_structures_per_epoch": 0,
    "num_workers": 0, "prefetch_factor": 1,
}  # fmt: skip

_COUNTS_OR_NONE = {
    "max_checkpoints": 1, "warmup_epochs": 0, "seed": 0, "split_seed": 0,
    "cache_feature_max_entries": 0, "cache_neighbor_max_entries": 0,
    "cache_force_triplet_max_entries": 0,
}  # fmt: skip

_CHOICES = {
    "on_divergence": POLICIES,
    "sampling_policy": ("uniform", "energy_weighted", "error_weighted"),
    "force_sampling": ("random", "fixed"),
    "loss": KINDS,
    "schedule": SCHEDULES,
    "weight_schedule": WEIGHT_SCHEDULES,
    "cache_scope": ("all", "train", "val"),
    "memory_mode": ("gpu", "cpu", "mixed"),
}

_OF_STEPS = (
    "method", "seed", "force_weight", "stress_weight", "loss", "huber_delta", "force_fraction",
    "force_sampling", "force_resample_num_epochs", "force_min_structures_per_epoch",
    "force_scale_unbiased", "sampling_policy", "schedule", "final_fraction", "warmup_epochs",
    "gradient_clip", "final_force_weight", "final_stress_weight", "weight_schedule",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How a potential is trained; every field is checked when it is made.

    Args:
        iterations: How many epochs are trained. With `train(resume_from=...)`, how many more than
            the saved run has completed; `ritz mlip train` counts them from its beginning.
        method: `Adam`, `AdamW` or `SGD`, with learning rate and batch size.
        testpercent: Which percentage of the structures is held out for validation.
        seed: Seeds first parameters, batches, weighted sampling and force subsets; None for 0.
        split_seed: Seeds which structures are held out; None takes `seed`.
        force_weight: alpha in (1 - alpha) L_E + alpha L_F; 0 trains on energies alone.
        stress_weight: What L_S, of stress components in eV/Angstrom^3, is multiplied with.
        final_force_weight: What `force_weight` becomes in the course of the epochs; None for no
            change. `validation_loss` takes the last values, so that epochs compare.
        final_stress_weight: The same for `stress_weight`.
        weight_schedule: How they change: "linear", "cosine", or "step" after three quarters.
        loss: "rmse", "mse" or "huber": the form of L_E, L_F and L_S.
        huber_delta: From which error on Huber's loss is linear, in the units of each.
        force_fraction: Which fraction of the structures with forces adds to L_F.
        force_sampling: "random" chooses others every `force_resample_num_epochs`; "fixed" does not.
        force_resample_num_epochs: 0 for never.
        force_min_structures_per_epoch: How many add to L_F at the least.
        force_scale_unbiased: Whether L_F is divided by the root of the fraction of atoms with
            forces that it is of, in each batch.
        sampling_policy: "uniform": each structure once an epoch; "energy_weighted": more often
            where the energy is low; "error_weighted": more often where it is wrong.
        max_energy: Structures with more energy per atom, in eV and less that of the atoms, are
            left out.
        max_forces: Structures with a larger force on an atom, in eV/Angstrom, are left out.
        atomic_energies: By species, in eV; what is taken off total energies. Others have 0.
        normalize_features: Whether features get mean 0 and standard deviation 1 over the training
            split.
        normalize_energy: Whether energies per atom get the range from -1 to 1.
        E_shift: In eV per atom, in place of the middle of that range.
        E_scaling: In 1/eV, in place of 2 over its width.
        feature_stats: Arrays "mean" and "std", or "cov" for the variance, in place of those found.
        schedule: How the learning rate falls within `iterations`: "constant", "cosine" or
            "exponential".
        final_fraction: To which fraction of itself it falls.
        warmup_epochs: In how many epochs it rises from zero before; None for 5, or a quarter of
            `iterations` where that is less.
        gradient_clip: The largest norm of a gradient; None for no limit.
        use_scheduler: Whether the learning rate is lowered when validation stalls.
        scheduler_patience: After how many epochs without improvement.
        scheduler_factor: What it is multiplied with.
        scheduler_min_lr: It is never lowered below this.
        checkpoint_dir: Where checkpoints are saved; None for none.
        checkpoint_interval: After how many epochs; 0 for none.
        max_checkpoints: How many are kept; None for all.
        accept_changes: What may differ from the saved run where training goes on, such as
            "callbacks" or "config".
        on_divergence: What happens when the loss, the update or the parameters are not finite:
            "stop" ends training, "retry" goes back to the last good parameters with half the
            learning rate, "ignore" goes on; see `AbstractDriver.run`.
        save_best: Whether the parameters that were best in validation are kept, restored at the
            end, and written to `best_model.npz` in `checkpoint_dir`.
        precision: "float32", "float64", or "auto" for that of the descriptor.
        device: Where training runs: "cpu", "gpu", "cuda:1" ...; None for JAX's default. It is
            looked for when training begins.
        memory_mode: Where data are: "gpu" for the device that trains, "cpu" for the memory of the
            host, from which what the next batches need is brought to the device while others are
            trained on. On CPUs both are the same.
        memory_limit: How much the data may take there, in GB. What is larger is read and computed
            anew in each epoch, in windows that together keep within it. None for half of what is
            free.
        cache_features: Whether features are kept in memory where data are streamed; otherwise
            they are there anyway.
        cache_feature_max_entries: Of how many structures, in each split; None for all.
        cache_neighbors: The same for pairs of neighbours.
        cache_neighbor_max_entries: Of how many structures.
        cache_force_triplets: The same for derivatives of the features.
        cache_force_triplet_max_entries: Of how many structures.
        cache_persist_dir: Where features, and for forces their derivatives, are kept in files
            that other runs with the same data and descriptor take them from; None for nowhere.
        cache_scope: "train", "val" or "all": for which split the caches and the files are.
        cache_warmup: Whether the caches are filled before the first epoch.
        num_workers: How many threads prepare streamed data; 0 for one, which prepares the next
            window while the present one is trained on.
        prefetch_factor: How many windows each of `num_workers` threads prepares ahead.
        persistent_workers: Whether the threads live on between epochs.
        save_energies: Whether predicted energies of both splits are written.
        save_forces: The same for forces.
        timing: Whether times are reported in `TrainOut.timing`.
        show_progress: Whether a bar counts epochs.
        show_batch_progress: Whether a bar counts the batches of each epoch.

    Raises:
        TypeError: If a field has the wrong type.
        ValueError: If a value is not allowed.
        NotImplementedError: If `memory_mode` is "mixed".
    """

    iterations: int = 100
    method: Method = dataclasses.field(default_factory=Adam)
    testpercent: float = 10
    seed: int | None = None
    split_seed: int | None = None
    force_weight: float = 0.0
    stress_weight: float = 0.0
    final_force_weight: float | None = None
    final_stress_weight: float | None = None
    weight_schedule: str = "linear"
    loss: str = "rmse"
    huber_delta: float = 0.01
    force_fraction: float = 1.0
    force_sampling: str = "random"
    force_resample_num_epochs: int = 0
    force_min_structures_per_epoch: int = 1
    force_scale_unbiased: bool = False
    sampling_policy: str = "uniform"
    max_energy: float | None = None
    max_forces: float | None = None
    atomic_energies: Mapping[str, float] | None = None
    normalize_features: bool = True
    normalize_energy: bool = True
    E_shift: float | None = None
    E_scaling: float | None = None
    feature_stats: Mapping[str, Any] | None = None
    schedule: str = "constant"
    final_fraction: float = 0.01
    warmup_epochs: int | None = 0
    gradient_clip: float | None = None
    use_scheduler: bool = False
    scheduler_patience: int = 10
    scheduler_factor: float = 0.5
    scheduler_min_lr: float = 1e-6
    checkpoint_dir: str | None = "checkpoints"
    checkpoint_interval: int = 1
    max_checkpoints: int | None = None
    accept_changes: Sequence[str] = ()
    on_divergence: str = "stop"
    save_best: bool = True
    precision: str = "auto"
    device: str | None = None
    memory_mode: str = "gpu"
    memory_limit: float | None = None
    cache_features: bool = False
    cache_feature_max_entries: int | None = 1024
    cache_neighbors: bool = False
    cache_neighbor_max_entries: int | None = 512
    cache_force_triplets: bool = False
    cache_force_triplet_max_entries: int | None = 256
    cache_persist_dir: str | None = None
    cache_scope: str = "all"
    cache_warmup: bool = False
    num_workers: int = 0
    prefetch_factor: int = 2
    persistent_workers: bool = True
    save_energies: bool = False
    save_forces: bool = False
    timing: bool = False
    show_progress: bool = True
    show_batch_progress: bool = False

    def __post_init__(self) -> None:
        for name in _FLAGS:
            check_flag(name, getattr(self, name))
        for name, least in _COUNTS.items():
            check_count(name, getattr(self, name), least)
        for name, least in _COUNTS_OR_NONE.items():
            if getattr(self, name) is not None:
                check_count(name, getattr(self, name), least)
        check_seed("seed", self.run_seed)
        for name, allowed in _CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        if self.memory_mode == "mixed":
            raise NotImplementedError(
                "memory_mode='mixed' is reserved; 'gpu' keeps data on the device and 'cpu' on the "
                "host, as far as memory_limit allows."
            )
        self._check_numbers()
        self._check_data()
        if isinstance(self.accept_changes, str):
            raise ValueError(
                f"accept_changes takes names in a list, such as [{self.accept_changes!r}]."
            )
        if not isinstance(self.method, Adam | AdamW | SGD):
            raise TypeError(f"method must be Adam, AdamW or SGD, but {self.method!r} was given.")
        if self.precision != "auto":
            check_dtype("precision", self.precision)
        check_device("device", self.device)

    def _check_numbers(self) -> None:
        if check_fraction("testpercent", self.testpercent, 100) == 100:
            raise ValueError("testpercent must be below 100, or nothing is left to train on.")
        for name in ("force_weight", "force_fraction", "final_fraction"):
            check_fraction(name, getattr(self, name))
        for name in ("stress_weight", "scheduler_min_lr"):
            check_positive(name, getattr(self, name), or_zero=True)
        check_positive("huber_delta", self.huber_delta)
        factor = check_positive("scheduler_factor", self.scheduler_factor)
        if factor >= 1:
            raise ValueError(f"scheduler_factor must be below 1, but {factor!r} was given.")
        if self.final_force_weight is not None:
            check_fraction("final_force_weight", self.final_force_weight)
        if self.final_stress_weight is not None:
            check_positive("final_stress_weight", self.final_stress_weight, or_zero=True)
        for name in ("max_forces", "gradient_clip", "E_scaling", "memory_limit"):
            if getattr(self, name) is not None:
                check_positive(name, getattr(self, name))

    def _check_data(self) -> None:
        for symbol, energy in (self.atomic_energies or {}).items():
            if not isinstance(energy, int | float | np.number) or not np.isfinite(energy):
                raise ValueError(
                    f"atomic_energies must be finite numbers in eV, but {symbol} has {energy!r}."
                )
        stats = self.feature_stats
        if stats is not None and not (
            isinstance(stats, Mapping) and "mean" in stats and {"std", "cov"} & set(stats)
        ):
            raise ValueError("feature_stats needs arrays under 'mean' and 'std'.")

    def check_beginning(self) -> None:
        """Refuse what a run that goes on may have, but not a new one.

        Raises:
            ValueError: If the learning rate would still rise when the run ends.
        """
        if self.warmup_epochs and self.warmup_epochs >= self.iterations:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} leave nothing of iterations={self.iterations}."
            )

    def warmup(self, n_epochs: int) -> int:
        """In how many epochs of a run of `n_epochs` the learning rate rises from zero."""
        return min(5, n_epochs // 4) if self.warmup_epochs is None else self.warmup_epochs

    @property
    def alpha(self) -> float:
        """`force_weight`."""
        return self.force_weight

    @property
    def weights(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """`force_weight` and `stress_weight`, first and last."""
        force, stress = self.final_force_weight, self.final_stress_weight
        last = (
            self.force_weight if force is None else force,
            self.stress_weight if stress is None else stress,
        )
        return (self.force_weight, self.stress_weight), last

    @property
    def resample_every(self) -> int:
        """After how many epochs other structures add to the force loss; 0 for never."""
        return 0 if self.force_sampling == "fixed" else self.force_resample_num_epochs

    def n_supervised(self, n_labelled: int) -> int:
        """How many of the structures with forces or stress add to the force loss."""
        if not self.uses_forces and not self.uses_stress:
            return 0
        least = self.force_min_structures_per_epoch
        return min(max(round(self.force_fraction * n_labelled), least), n_labelled)

    @property
    def data_settings(self) -> DataSettings:
        """Where packed data are kept, and how they are streamed."""
        return DataSettings(
            mode=self.memory_mode,
            limit=self.memory_limit,
            device=self.device,
            n_workers=self.num_workers,
            prefetch_factor=self.prefetch_factor,
            persistent_workers=self.persistent_workers,
        )

    @property
    def of_steps(self) -> dict[str, Any]:
        """The fields on which the steps of training depend."""
        return {name: getattr(self, name) for name in _OF_STEPS}

    @property
    def uses_forces(self) -> bool:
        """Whether forces are trained on at any time."""
        return any(force > 0 for force, _ in self.weights)

    @property
    def uses_stress(self) -> bool:
        """Whether stress is trained on at any time."""
        return any(stress > 0 for _, stress in self.weights)

    @property
    def run_seed(self) -> int:
        """What seeds all but the split."""
        return 0 if self.seed is None else self.seed

    @property
    def seed_of_split(self) -> int:
        """What seeds the split."""
        return self.run_seed if self.split_seed is None else self.split_seed
