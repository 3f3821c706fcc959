"""The driver of batched relaxation and dynamics."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ase import Atoms as AseAtoms
from typing_extensions import override

from ritz.checks import check_choice, check_positive
from ritz.driver.arguments import Plugin
from ritz.driver.callback import AbstractCallback
from ritz.driver.processes.division import on_host
from ritz.driver.signatures import suggests_names
from ritz.potentials.pairs import padded_width
from ritz.relax.algorithms.stage import AbstractStage, FusedStage
from ritz.relax.arguments import (
    ModelLike,
    check_committee,
    checked_atoms,
    checked_stages,
    potential_of,
)
from ritz.relax.batching.batch import Outcome, is_running_on_host
from ritz.relax.batching.bucket import as_images, fingerprint, pack
from ritz.relax.batching.division import divided_slots
from ritz.relax.batching.layouts import loaded_form, saved_form
from ritz.relax.batching.list_sizes import list_settings
from ritz.relax.batching.neighbors import ListSettings
from ritz.relax.batching.slots import (
    first_slots,
    n_slots,
    with_counters,
)
from ritz.relax.checks import SKIN, checked
from ritz.relax.convergence.convergence_hook import ConvergenceHook, HookLike
from ritz.relax.convergence.finish import AllFinished, RegisteredHook
from ritz.relax.kernel import RelaxCarry, RelaxKernel, carry_layout, overflows, present
from ritz.relax.numbers import as_real
from ritz.relax.observation.explosion import highest_temperature
from ritz.relax.observation.quantities import check_names
from ritz.relax.observation.reasons import Reasons
from ritz.relax.observation.spread_limit import SpreadLimit
from ritz.relax.state import Structures
from ritz.relax.with_lists import WithLists
from ritz.types import State


class Relaxation(WithLists):
    """Relaxes structures, or moves them in time, all at once and each at its own pace.

    Batched relaxation = neighbour lists + a potential + optimisers or integrators. Structures of
    similar size share a bucket of padded arrays; each bucket has a number of slots, and when a
    structure has finished, a waiting one takes its slot. The convergence hooks of the stages
    decide about that on the device; a structure that has finished does not move any more.

    Each row has `fmax`, the largest force of those that go on, or else of those that finish in this
    step (the loss), `energy`, the sum of the energies in the slots, and how many are `running`,
    `waiting`, `converged` (have left the last stage), `unconverged` (have used up their steps) and
    `failed`; with integrators also `temperature`, the mean over those that `fmax` is of. Under
    `structures` it has by slot: `place` among those given, `energy`, `fmax` and `status`,
    `temperature` with integrators, and `volume` and `pressure`, in GPa, with moving cells. The run
    stops when all have finished, after a step in which nothing moves.

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
        max_atoms: Number of atoms that each device treats at once, including padding, which bounds
            memory; by default 2,048 on CPUs and 65,536 on other devices.
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
        check_committee(model, self._stages.all_hooks)
        self._highest = highest_temperature(self._stages.stages, structures)
        self.buckets = pack(structures, model.cutoff, self.skin)
        self.widths = [padded_width(bucket.width) for bucket in self.buckets]
        self.images = [bucket.images for bucket in self.buckets]
        self._neighbors = neighbors
        n_used = n_slots(self.buckets, slots, max_atoms * jax.device_count())
        self._division = divided_slots(n_used)
        self._asked = {"slots": slots, "max_atoms": None if slots else max_atoms}
        with self._precision():
            real = jnp.dtype(dtype)
            given = tuple(bucket.given for bucket in self.buckets)
            arrays = jax.tree.map(lambda x: as_real(x, real), (model, given))
            arrays = self._division.put((*arrays, jax.random.key(seed)))
            self._potential, self._given, self._key = arrays
            self.rebuild()
            carry = self._first_carry()
        state = Structures(
            given=structures,
            buckets=self.buckets,
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
            n_atoms=self.buckets[bucket].n_atoms,
            sizes=(self.widths[bucket], self.images[bucket]),
            cell_moves=any(stage.moves_cell for stage in self._stages.stages),
        )

    @override
    def rebuild(self) -> None:
        settings = tuple(map(self._list_settings, range(len(self.buckets))))
        self._kernel = RelaxKernel(
            potential=self._potential,
            given=self._given,
            key=self._key,
            stages=self._stages,
            lists=settings,
            highest=self._highest,
            division=self._division,
        )

    def _first_carry(self) -> RelaxCarry:
        parts = zip(self._given, self._division.n_slots, self._kernel.lists, strict=True)
        more = self._division, self._stages
        found = [first_slots(given, n, *more, settings) for given, n, settings in parts]
        geometries, slots = zip(*found, strict=True)
        return self.spread(RelaxCarry(geometries, slots, jnp.zeros((), bool)))

    @override
    def spread(self, carry: RelaxCarry) -> RelaxCarry:
        """The carry, with the slots divided among the devices."""
        return self._division.put(carry, carry_layout(self._division, carry))

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

    def _reason(self, bucket: int, outcome: Outcome, row: int, place: int) -> str:
        reasons = Reasons(self._model, self._kernel.lists[bucket].reach, self._highest)
        return reasons.of(self.structures.given[place], outcome, row, self.most_neighbors(bucket))

    # Checkpoints.

    @override
    def saved_sizes(self) -> State:
        return {
            "widths": list(map(int, self.widths)),
            "images": [list(map(int, images)) for images in self.images],
        }

    @override
    def load_sizes(self, saved: State) -> None:
        self.widths = [int(width) for width in saved["widths"]]
        self.images = [as_images(images) for images in saved["images"]]
        n_used = tuple(len(slots.member) for slots in saved["slots"])
        self._division = dataclasses.replace(self._division, n_slots=n_used)

    @override
    def saved_carry(self, carry: RelaxCarry) -> State:
        """The carry; of its neighbour lists, the data from which they are made again."""
        return saved_form(self._division, carry.params, carry.slots)

    @override
    def loaded_carry(self, saved: State, fresh_samples: bool) -> RelaxCarry:
        """The carry; noise depends on the structures' steps alone, so it always repeats."""
        empty = self._first_carry()
        found = loaded_form(self._division, saved, self._kernel.lists, empty.params, empty.slots)
        return self.spread(RelaxCarry(*found, jnp.zeros((), bool)))

    @property
    @override
    def settings(self) -> dict[str, object]:
        return {
            **super().settings,
            "structures": f"{len(self.state)} structures {fingerprint(self.buckets)}",
            "model": {
                "kind": type(self._model),
                "params": self._model.params,
                **self._model.static,
            },
            "stages": tuple((s.name, s.settings, s.max_steps) for s in self._stages.stages),
            "convergence": tuple(hook.rule for hook in self._stages.all_hooks),
            **self._asked,
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
            check_committee(self._model, [callback])
            stages = self._stages.register_hook(callback)
            n_hooks = len(stages.all_hooks)  # an error, if statuses are wrong
            self._hooked.append(callback)
            self._stages = self.state.stages = stages
            with self._precision():
                slots = tuple(with_counters(own, n_hooks) for own in self.carry.slots)
                self.carry = self.spread(self.carry._replace(slots=slots))
                self.rebuild()

    def adapt(self, plugin: Plugin | ConvergenceHook, argument: str) -> AbstractCallback:
        """Register convergence hooks and limits of spread, which act within the compiled step."""
        if isinstance(plugin, SpreadLimit):
            self.register_hook(plugin.hook)
            return plugin
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
            found += int(np.sum(is_running_on_host(slots, len(self._stages))))
            found += max(len(given.place) - int(on_host(slots.next)), 0)
        return found

    @property
    def n_rounds(self) -> int:
        """Largest number of times that any slot is filled."""
        counts = [len(given.place) for given in self._given]
        pairs = zip(counts, self._division.n_slots, strict=True)
        return max(math.ceil(n / slots) for n, slots in pairs)

    def _estimate_one(self, observable: Callable[[Structures], Any], fullsum: bool) -> Any:
        return observable(self.state)
