"""The driver of batched relaxation and dynamics."""

import logging
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms as AseAtoms
from typing_extensions import override

from ritz.checks import check_choice, check_positive
from ritz.driver import GrowingDriver
from ritz.driver.arguments import Plugin
from ritz.driver.callback import AbstractCallback
from ritz.driver.signatures import suggests_names
from ritz.potentials.pairs import padded_width
from ritz.relax.algorithms.stage import AbstractStage, FusedStage
from ritz.relax.arguments import ModelLike, checked_atoms, checked_stages, potential_of
from ritz.relax.batching.batch import Atoms, Geometry, Outcome, is_running, waiting
from ritz.relax.batching.bucket import as_images, fingerprint, pack
from ritz.relax.batching.list_sizes import collapsed, grown, list_settings, most_allowed
from ritz.relax.batching.neighbors import ListSettings
from ritz.relax.batching.slots import (
    failed,
    first_slots,
    made_from,
    n_slots,
    widened,
    with_counters,
    with_lists,
)
from ritz.relax.checks import SKIN, checked
from ritz.relax.convergence.convergence_hook import ConvergenceHook, HookLike
from ritz.relax.convergence.finish import AllFinished, RegisteredHook
from ritz.relax.kernel import RelaxCarry, RelaxKernel, overflows, present
from ritz.relax.numbers import as_real
from ritz.relax.observation.explosion import highest_temperature
from ritz.relax.observation.quantities import check_names
from ritz.relax.observation.reasons import Reasons
from ritz.relax.state import Structures
from ritz.types import State
from ritz.wording import counted

_logger = logging.getLogger(__name__)

_MANY = 4  # growth of a list that is reported as a warning
_GROWN = (
    "Step %d: neighbour lists of %s overflowed; they now hold %d neighbours an atom instead of "
    "%d.%s"
)


class Relaxation(GrowingDriver):
    """Relaxes structures, or moves them in time, all at once and each at its own pace.

    Batched relaxation = neighbour lists + a potential + optimisers or integrators. Structures of
    similar size share a bucket of padded arrays; each bucket has a number of slots, and when a
    structure has finished, a waiting one takes its slot. The convergence hooks of the stages
    decide about that on the device; a structure that has finished does not move any more.

    Each row has `fmax`, the largest force of those that go on, or else of those that finish in this
    step (the loss), `energy`, the sum of the energies in the slots, and how many are `running`,
    `waiting`, `converged` (have left the last stage), `unconverged` (have used up their steps) and
    `failed`. Under `structures` it has by slot: `place` among those given, `energy`, `fmax` and
    `status`, `temperature` with integrators, and `volume` and `pressure`, in GPa, with moving
    cells. The run stops when all have finished, after a step in which nothing moves.

    A structure *fails* if numbers are not finite, two atoms are closer than the potential knows,
    dynamics explodes (above 100,000 K or a hundred times the initial or thermostats' temperature)
    or it collapses. The other structures go on; `state.reasons` and a warning say why.

    Args:
        atoms: One `ase.Atoms` or many. `FixAtoms` and `FixCartesian` are held, and `FixScaled`,
            `FixedPlane` and `FixedLine` if the free directions lie along x, y or z. Integrators
            start from the momenta.
        model: A potential, see `AbstractPotential`; a trained one, or the path of its file or run
            folder.
        stages: An optimiser or integrator, or several joined by `+`; `FIRE()` by default.
        convergence_hook: Criteria in place of those of a single stage.
        max_atoms: Number of atoms treated at once, including padding, which bounds memory; by
            default 2,048 on CPUs and 65,536 on other devices.
        slots: Number of structures per bucket treated at once; by default as many as
            `max_atoms` allows.
        skin: How far neighbour lists reach beyond the cutoff, in Angstrom.
        neighbors: "device", "host" (vesin), or "auto" for vesin with large structures.
        dtype: "float64" or "float32", for this driver alone, whatever is set in jax.
        seed: Seeds thermal velocities and noise.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If a structure cannot be treated, which is named, or a value is not allowed.
    """

    @suggests_names
    def __init__(
        self,
        atoms: AseAtoms | Iterable[AseAtoms],
        model: ModelLike,
        stages: AbstractStage | FusedStage | None = None,
        *,
        convergence_hook: HookLike | None = None,
        max_atoms: int | None = None,
        slots: int | None = None,
        skin: float = SKIN,
        neighbors: str = "auto",
        dtype: str = "float64",
        seed: int = 0,
    ):
        model = potential_of(model)
        skin = check_positive("skin", skin)
        check_choice("neighbors", neighbors, ("auto", "device", "host"))
        check_choice("dtype", dtype, ("float64", "float32"))
        structures = checked(atoms, model, skin)
        max_atoms = checked_atoms(max_atoms, slots)
        self.dtype = dtype
        self.skin = skin
        self.seed = seed
        self._model = model
        self._hooked: list[ConvergenceHook] = []
        self._stages = checked_stages(stages, convergence_hook, structures)
        self._highest = highest_temperature(self._stages.stages, structures)
        self._buckets = pack(structures, model.cutoff, self.skin)
        self._widths = [padded_width(bucket.width) for bucket in self._buckets]
        self._images = [bucket.images for bucket in self._buckets]
        self._neighbors = neighbors
        self._n_slots = n_slots(self._buckets, slots, max_atoms)
        with self._precision():
            real = jnp.dtype(dtype)
            given = tuple(bucket.given for bucket in self._buckets)
            arrays = jax.tree.map(lambda x: as_real(x, real), (model, given))
            self._potential, self._given = arrays
            self._key = jax.random.key(seed)
            self.rebuild()
            carry = self._first_carry()
        state = Structures(
            given=structures,
            buckets=self._buckets,
            stages=self._stages,
            carry=carry,
            present=self._present,
            reason=self._reason,
        )
        super().__init__(state, "fmax")
        super().register_hook(AllFinished())

    # Kernel and carry.

    def _list_settings(self, bucket: int) -> ListSettings:
        return list_settings(
            made_by=self._neighbors,
            cutoff=self._model.cutoff,
            skin=self.skin,
            n_atoms=self._buckets[bucket].n_atoms,
            sizes=(self._widths[bucket], self._images[bucket]),
            cell_moves=any(stage.moves_cell for stage in self._stages.stages),
        )

    @override
    def rebuild(self) -> None:
        settings = tuple(map(self._list_settings, range(len(self._buckets))))
        self._kernel = RelaxKernel(
            potential=self._potential,
            given=self._given,
            key=self._key,
            stages=self._stages,
            lists=settings,
            highest=self._highest,
        )

    def _first_carry(self) -> RelaxCarry:
        parts = zip(self._given, self._n_slots, self._kernel.lists, strict=True)
        found = [first_slots(given, n, self._stages, settings) for given, n, settings in parts]
        return RelaxCarry(tuple(g for g, _ in found), tuple(s for _, s in found))

    @property
    def kernel(self) -> RelaxKernel:
        """The kernel; it changes when neighbour lists grow."""
        return self._kernel

    @property
    @override
    def carry(self) -> RelaxCarry:
        return self.state.carry

    @carry.setter
    def carry(self, carry: RelaxCarry) -> None:
        self.state.carry = carry

    diverges = False  # structures fail one by one

    batch: tuple[()] | None = None
    """No samples are drawn."""

    def _compute_live(self) -> tuple[Any, Any]:
        self.batch = None  # refill and neighbour lists come before each attempt
        return super()._compute_live()

    def _present(self, carry: RelaxCarry) -> tuple[Outcome, ...]:
        """Evaluate structures after the last step, with larger neighbour lists if necessary."""
        with self._precision():
            carry, found = present(self._kernel, carry)
            while overflows(carry, len(self._stages)):
                self.carry = carry
                self.attend()
                carry, found = present(self._kernel, self.carry)
        return found

    # Neighbour lists that did not fit.

    def attend(self) -> None:
        """Enlarge neighbour lists that did not fit; structures that have collapsed fail."""
        carry, n_stages = self.carry, len(self._stages)
        if not overflows(carry, n_stages):
            return
        found, grown = list(carry.slots), False
        for bucket, slots in enumerate(carry.slots):
            rows = np.flatnonzero(np.asarray(slots.lists.overflow & is_running(slots, n_stages)))
            if rows.size:
                geometry, atoms = jax.device_get((carry.params[bucket], slots.atoms))
                reach, most = self._kernel.lists[bucket].reach, self._most_neighbors(bucket)
                lost = collapsed(geometry, atoms, rows, reach, most)
                found[bucket] = failed(slots, carry.params[bucket], lost) if lost else slots
                left = [int(row) for row in rows if row not in lost]
                grown |= bool(left)
                if left:
                    self._grow(bucket, geometry, atoms, left)
        if grown:
            self.grow()
            with self._precision():
                pairs = zip(found, self._widths, strict=True)
                found = [widened(own, width) for own, width in pairs]
        self.carry = carry._replace(slots=tuple(found))

    def _most_neighbors(self, bucket: int) -> int:
        return most_allowed(self._buckets[bucket].width, self._kernel.lists[bucket].reach)

    def _grow(self, bucket: int, geometry: Geometry, atoms: Atoms, rows: Sequence[int]) -> None:
        reach, old = self._kernel.lists[bucket].reach, self._widths[bucket]
        width, images = grown(geometry, atoms, rows, reach, (old, self._images[bucket]))
        self._widths[bucket], self._images[bucket] = width, images
        many = width > _MANY * max(self._buckets[bucket].width, 1)
        level = logging.WARNING if many else logging.INFO
        size, more = self._buckets[bucket].n_atoms, " Something is collapsing." * many
        _logger.log(level, _GROWN, self.step_count, counted(size, "atom"), width, old, more)

    def _reason(self, bucket: int, outcome: Outcome, row: int, place: int) -> str:
        reasons = Reasons(self._model, self._kernel.lists[bucket].reach, self._highest)
        return reasons.of(self.structures.given[place], outcome, row, self._most_neighbors(bucket))

    # Checkpoints.

    @override
    def saved_sizes(self) -> State:
        return {
            "widths": list(map(int, self._widths)),
            "images": [list(map(int, images)) for images in self._images],
        }

    @override
    def load_sizes(self, saved: State) -> None:
        self._widths = [int(width) for width in saved["widths"]]
        self._images = [as_images(images) for images in saved["images"]]

    @override
    def saved_carry(self, carry: RelaxCarry) -> State:
        """The carry; of its neighbour lists, the data from which they are made again."""
        origins = [made_from(own.lists) for own in carry.slots]
        bare = tuple(own._replace(lists=()) for own in carry.slots)
        return {"params": carry.params, "slots": bare, "lists": origins}

    @override
    def loaded_carry(self, saved: State, fresh_samples: bool) -> RelaxCarry:
        """The carry; noise depends on the structures' steps alone, so it always repeats."""
        parts = zip(saved["slots"], saved["lists"], self._kernel.lists, strict=True)
        return RelaxCarry(tuple(saved["params"]), tuple(with_lists(*part) for part in parts))

    @property
    @override
    def settings(self) -> dict[str, object]:
        return {
            **super().settings,
            "structures": f"{len(self.state)} structures {fingerprint(self._buckets)}",
            "model": {
                "kind": type(self._model),
                "params": self._model.params,
                **self._model.static,
            },
            "stages": tuple((s.name, s.settings, s.max_steps) for s in self._stages.stages),
            "convergence": tuple(hook.rule for hook in self._stages.all_hooks),
            "slots": tuple(self._n_slots),
            "skin": self.skin,
            "neighbors": self._neighbors,
            "dtype": self.dtype,
            "seed": self.seed,
        }

    # Hooks.

    def register_hook(self, callback: Plugin | ConvergenceHook) -> None:
        """Register a callback for every run, or a convergence hook that acts on structures."""
        if not isinstance(callback, ConvergenceHook):
            super().register_hook(callback)
        elif not any(callback is known for known in self._hooked):
            check_names(c.key for c in callback.criteria)
            stages = self._stages.register_hook(callback)
            n_hooks = len(stages.all_hooks)  # an error, if statuses are wrong
            self._hooked.append(callback)
            self._stages = self.state.stages = stages
            with self._precision():
                slots = tuple(with_counters(own, n_hooks) for own in self.carry.slots)
                self.carry = self.carry._replace(slots=slots)
                self.rebuild()

    def adapt(self, plugin: Plugin | ConvergenceHook, argument: str) -> AbstractCallback:
        """Register convergence hooks, which act within the compiled step."""
        if isinstance(plugin, ConvergenceHook) and argument == "callback":
            self.register_hook(plugin)
            return RegisteredHook(plugin)
        return super().adapt(plugin, argument)

    @property
    def structures(self) -> Structures:
        """The state; within a block, that at the block's start."""
        return self._variational_state

    @property
    def stages(self) -> FusedStage:
        """The stages with all their hooks."""
        return self._stages

    @property
    def n_unfinished(self) -> int:
        """Number of structures that run or wait."""
        found = 0
        for slots, given in zip(self.carry.slots, self._given, strict=True):
            found += int(np.sum(np.asarray(is_running(slots, len(self._stages)))))
            found += int(waiting(slots, len(given.place)))
        return found

    @property
    def n_rounds(self) -> int:
        """Largest number of times that any slot is filled."""
        counts = [len(given.place) for given in self._given]
        return max(math.ceil(n / slots) for n, slots in zip(counts, self._n_slots, strict=True))

    def _estimate_one(self, observable: Callable[[Structures], Any], fullsum: bool) -> Any:
        return observable(self.state)
