"""Configuration of training."""

import dataclasses
from collections.abc import Mapping, Sequence

import optax
from numpy.typing import ArrayLike

from ritz.checks import check_flag
from ritz.driver.divergence import POLICIES
from ritz.driver.signatures import suggests_fields
from ritz.mlip.arrays import check_device
from ritz.mlip.batching.memory import DataSettings
from ritz.mlip.training import config_fields as allow
from ritz.mlip.training.config_fields import check_fields, fields_where, setting
from ritz.mlip.training.kfac import KFAC
from ritz.mlip.training.losses import KINDS, WEIGHT_SCHEDULES
from ritz.mlip.training.optimisers import SCHEDULES, Adam, Method, Rates, as_method
from ritz.types import Settings

SAMPLING_POLICIES = ("uniform", "energy_weighted", "error_weighted")
"""Ways to draw structures into batches."""


@suggests_fields
@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Configuration of training; every field is checked on construction.

    Args:
        iterations: How many epochs are trained. With `train(resume_from=...)`, how many more than
            the saved run has completed; `ritz mlip train` counts them from its beginning.
        method: `Adam`, `AdamW`, `SGD` or `KFAC`, with learning rate and batch size; or any
            `optax.GradientTransformation`, with 32 structures in a batch, see `OptaxMethod`.
        testpercent: Percentage of the structures that is held out for validation.
        seed: Seeds first parameters, batches, weighted sampling and force subsets; None for 0.
        split_seed: Seeds which structures are held out; None takes `seed`.
        force_weight: alpha in (1 - alpha) L_E + alpha L_F; 0 trains on energies alone.
        stress_weight: beta, the factor of L_S, which is of stress components in eV/Angstrom^3.
        final_force_weight: What `force_weight` becomes in the course of the epochs; None for no
            change. `validation_loss` takes the last values, so that epochs compare.
        final_stress_weight: The same for `stress_weight`.
        weight_schedule: How they change: "linear", "cosine", or "step" after three quarters.
        loss: "rmse", "mse" or "huber": the form of L_E, L_F and L_S.
        huber_delta: Error beyond which Huber's loss is linear, in the units of L_E, L_F and L_S.
        force_fraction: Fraction of the structures with forces that adds to L_F.
        force_sampling: "random" chooses others every `force_resample_num_epochs`; "fixed" does not.
        force_resample_num_epochs: Epochs after which others are chosen; 0 for never.
        force_min_structures_per_epoch: Smallest number of structures that add to L_F.
        force_scale_unbiased: Whether L_F is divided, in each batch, by the root of the fraction of
            the atoms with known forces that add to it.
        sampling_policy: "uniform": each structure once an epoch; "energy_weighted": more often
            where the energy is low; "error_weighted": more often where it is wrong.
        max_energy: Structures with more energy per atom, in eV and less that of the atoms, are
            left out.
        max_forces: Structures with a larger force on an atom, in eV/Angstrom, are left out.
        atomic_energies: Energies of free atoms by species, in eV, taken off total energies; for all
            species of the structures. None takes those of isolated atoms among the structures
            (`config_type="IsolatedAtom"`), or 0 without such; {} counts energies from zero.
        normalize_features: Whether features get mean 0 and standard deviation 1 over the training
            split.
        normalize_energy: Whether energies per atom get the range from -1 to 1.
        E_shift: In eV per atom, in place of the middle of the energies per atom.
        E_scaling: In 1/eV, in place of 2 over the width of their range.
        feature_stats: Arrays "mean" and "std", or "cov" for the variance, in place of those found.
        schedule: How the learning rate falls within `iterations`: "constant", "cosine" or
            "exponential".
        final_fraction: Fraction of itself that the learning rate falls to.
        warmup_epochs: Number of epochs in which it first rises; None for 5, or a quarter
            of `iterations` where that is less.
        gradient_clip: The largest norm of a gradient; None for no limit.
        use_scheduler: Whether the learning rate is lowered when validation stalls.
        scheduler_patience: Number of epochs without improvement after which it is lowered.
        scheduler_factor: Factor, below 1, that it is then multiplied with.
        scheduler_min_lr: It is never lowered below this.
        checkpoint_dir: Where checkpoints are saved; None for none.
        checkpoint_interval: Number of epochs between checkpoints; 0 for none.
        max_checkpoints: Number of checkpoints that are kept; None for all.
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
        cache_feature_max_entries: Largest number of structures whose features are kept, in each
            split; None for all.
        cache_neighbors: The same for pairs of neighbours.
        cache_neighbor_max_entries: Largest number of structures whose pairs are kept.
        cache_force_triplets: The same for derivatives of the features.
        cache_force_triplet_max_entries: Largest number of structures whose derivatives are kept.
        cache_persist_dir: Where features, and for forces their derivatives, are kept in files
            that other runs with the same data and descriptor take them from; None for nowhere.
        cache_scope: The split that caches and files are for: "train", "val" or "all".
        cache_warmup: Whether the caches are filled before the first epoch.
        num_workers: Number of threads that prepare streamed data; 0 for one, which prepares the
            next window while the present one is trained on.
        prefetch_factor: Number of windows that each of `num_workers` threads prepares ahead.
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

    iterations: int = setting(100, allow.count(0), "run")
    method: Method | optax.GradientTransformation = setting(
        None, allow.optimiser, "optimiser", fixed=True, make=Adam
    )
    testpercent: float = setting(10.0, allow.percentage_left_out, "data")
    seed: int | None = setting(None, allow.seed, "run", fixed=True)
    split_seed: int | None = setting(None, allow.optional(allow.count(0)), "data")
    force_weight: float = setting(0.0, allow.fraction, "loss", fixed=True)
    stress_weight: float = setting(0.0, allow.not_negative, "loss", fixed=True)
    final_force_weight: float | None = setting(
        None, allow.optional(allow.fraction), "loss", fixed=True
    )
    final_stress_weight: float | None = setting(
        None, allow.optional(allow.not_negative), "loss", fixed=True
    )
    weight_schedule: str = setting("linear", allow.one_of(*WEIGHT_SCHEDULES), "loss", fixed=True)
    loss: str = setting("rmse", allow.one_of(*KINDS), "loss", fixed=True)
    huber_delta: float = setting(0.01, allow.positive, "loss", fixed=True)
    force_fraction: float = setting(1.0, allow.fraction, "forces", fixed=True)
    force_sampling: str = setting("random", allow.one_of("random", "fixed"), "forces", fixed=True)
    force_resample_num_epochs: int = setting(0, allow.count(0), "forces", fixed=True)
    force_min_structures_per_epoch: int = setting(1, allow.count(0), "forces", fixed=True)
    force_scale_unbiased: bool = setting(False, check_flag, "forces", fixed=True)
    sampling_policy: str = setting(
        "uniform", allow.one_of(*SAMPLING_POLICIES), "batches", fixed=True
    )
    max_energy: float | None = setting(None, None, "data")
    max_forces: float | None = setting(None, allow.optional(allow.positive), "data")
    atomic_energies: Mapping[str, float] | None = setting(None, allow.energies, "data")
    normalize_features: bool = setting(True, check_flag, "normalisation")
    normalize_energy: bool = setting(True, check_flag, "normalisation")
    E_shift: float | None = setting(None, None, "normalisation")
    E_scaling: float | None = setting(None, allow.optional(allow.positive), "normalisation")
    feature_stats: Mapping[str, ArrayLike] | None = setting(
        None, allow.feature_statistics, "normalisation"
    )
    schedule: str = setting("constant", allow.one_of(*SCHEDULES), "optimiser", fixed=True)
    final_fraction: float = setting(0.01, allow.fraction, "optimiser", fixed=True)
    warmup_epochs: int | None = setting(0, allow.optional(allow.count(0)), "optimiser", fixed=True)
    gradient_clip: float | None = setting(
        None, allow.optional(allow.positive), "optimiser", fixed=True
    )
    use_scheduler: bool = setting(False, check_flag, "scheduler")
    scheduler_patience: int = setting(10, allow.count(0), "scheduler")
    scheduler_factor: float = setting(0.5, allow.below_one, "scheduler")
    scheduler_min_lr: float = setting(1e-6, allow.not_negative, "scheduler")
    checkpoint_dir: str | None = setting("checkpoints", None, "checkpoints")
    checkpoint_interval: int = setting(1, allow.count(0), "checkpoints")
    max_checkpoints: int | None = setting(None, allow.optional(allow.count(1)), "checkpoints")
    accept_changes: Sequence[str] = setting((), allow.names, "checkpoints")
    on_divergence: str = setting("stop", allow.one_of(*POLICIES), "run")
    save_best: bool = setting(True, check_flag, "checkpoints")
    precision: str = setting("auto", allow.precision, "run")
    device: str | None = setting(None, check_device, "memory")
    memory_mode: str = setting("gpu", allow.memory_mode, "memory")
    memory_limit: float | None = setting(None, allow.optional(allow.positive), "memory")
    cache_features: bool = setting(False, check_flag, "caches")
    cache_feature_max_entries: int | None = setting(1024, allow.optional(allow.count(0)), "caches")
    cache_neighbors: bool = setting(False, check_flag, "caches")
    cache_neighbor_max_entries: int | None = setting(512, allow.optional(allow.count(0)), "caches")
    cache_force_triplets: bool = setting(False, check_flag, "caches")
    cache_force_triplet_max_entries: int | None = setting(
        256, allow.optional(allow.count(0)), "caches"
    )
    cache_persist_dir: str | None = setting(None, None, "caches")
    cache_scope: str = setting("all", allow.one_of("all", "train", "val"), "caches")
    cache_warmup: bool = setting(False, check_flag, "caches")
    num_workers: int = setting(0, allow.count(0), "memory")
    prefetch_factor: int = setting(2, allow.count(1), "memory")
    persistent_workers: bool = setting(True, check_flag, "memory")
    save_energies: bool = setting(False, check_flag, "output")
    save_forces: bool = setting(False, check_flag, "output")
    timing: bool = setting(False, check_flag, "output")
    show_progress: bool = setting(True, check_flag, "output")
    show_batch_progress: bool = setting(False, check_flag, "output")

    def __post_init__(self) -> None:
        check_fields(self)
        if isinstance(self.method, KFAC) and any(force == 1 for force, _ in self.weights):
            raise ValueError(
                "KFAC goes by the curvature of the energies in the loss, but force_weight or "
                "final_force_weight is 1, so that they have no part in it; give less than 1, or "
                "Adam."
            )

    def check_beginning(self) -> None:
        """Check what only a new run must fulfil.

        Raises:
            ValueError: If the learning rate would still rise when the run ends.
        """
        if self.warmup_epochs and self.warmup_epochs >= self.iterations:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs} leave nothing of iterations={self.iterations}."
            )

    def warmup(self, n_epochs: int) -> int:
        """Number of epochs, in a run of `n_epochs`, in which the learning rate rises from zero."""
        return min(5, n_epochs // 4) if self.warmup_epochs is None else self.warmup_epochs

    def rates(self, n_epochs: int, n_batches: int) -> Rates:
        """Schedule of the learning rate.

        Args:
            n_epochs: Number of epochs of the run.
            n_batches: Steps of an epoch.
        """
        warmup = self.warmup(n_epochs)
        if self.schedule == "constant" and not warmup:
            return Rates()  # whatever the number of epochs, so that programs are shared
        return Rates(self.schedule, warmup * n_batches, n_epochs * n_batches, self.final_fraction)

    @property
    def optimiser(self) -> Method:
        """`method`, with a batch size and a learning rate where it is one of optax."""
        return as_method(self.method)

    @property
    def batch_size(self) -> int:
        """Largest number of structures in a batch."""
        return self.optimiser.batchsize

    @property
    def alpha(self) -> float:
        """Weight of the force loss, which aenet calls alpha: `force_weight`."""
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
        """Number of epochs after which other structures add to the force loss; 0 for never."""
        return 0 if self.force_sampling == "fixed" else self.force_resample_num_epochs

    def n_supervised(self, n_labelled: int) -> int:
        """Number of structures, out of `n_labelled` with forces, that add to the force loss."""
        if not self.uses_forces and not self.uses_stress:
            return 0
        least = self.force_min_structures_per_epoch
        return min(max(round(self.force_fraction * n_labelled), least), n_labelled)

    @property
    def data_settings(self) -> DataSettings:
        """Where packed data are kept, and how they are streamed."""
        return DataSettings(**fields_where(self, group="memory"))

    @property
    def changing_weights(self) -> str | None:
        """`weight_schedule`, or None if the weights stay as they are."""
        first, last = self.weights
        return None if first == last else self.weight_schedule

    @property
    def of_steps(self) -> Settings:
        """Fields that a resumed run must share with the saved one."""
        return fields_where(self, fixed=True)

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
        """Seed of everything but the split."""
        return 0 if self.seed is None else self.seed

    @property
    def seed_of_split(self) -> int:
        """Seed of the split into training and validation."""
        return self.run_seed if self.split_seed is None else self.split_seed
