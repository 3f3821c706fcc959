"""The driver that trains a committee."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ritz.mlip.batch_errors import one_by_one
from ritz.mlip.committee_kernel import CommitteeKernel
from ritz.mlip.training import AbstractTraining


class CommitteeTraining(AbstractTraining):
    """Training of several potentials on the same batches, in one program.

    Rows have means over the members, and the values of each under `members`. Members are computed
    side by side, and divided among the devices where there are several; on one CPU, forces are
    computed for one member after another. See `AbstractTraining`.
    """

    _of_each = staticmethod(one_by_one)

    @property
    def n_members(self) -> int:  # type: ignore[override]
        """How many potentials are trained."""
        return len(jax.tree.leaves(self.state.parameters)[0])

    @property
    def kernel(self) -> CommitteeKernel:
        """The kernel; it changes when batches need more room."""
        forces = any(group.supervised for group in self._room)
        in_turn = forces and self.n_devices == 1 and jax.default_backend() == "cpu"
        return CommitteeKernel(self._member, self.n_members, 1 if in_turn else self.n_members)

    @property
    def n_devices(self) -> int:
        """How many devices members are divided among: all that get equally many."""
        if self.config.device is not None:
            return 1
        most = min(jax.local_device_count(), self.n_members)
        return next(n for n in range(most, 0, -1) if self.n_members % n == 0)

    def _spread(self, tree: Any, by_member: bool) -> Any:
        if self.n_devices == 1:
            return tree
        mesh = Mesh(np.array(jax.local_devices()[: self.n_devices]), ("member",))
        spec = PartitionSpec("member") if by_member else PartitionSpec()
        return jax.device_put(tree, NamedSharding(mesh, spec))
