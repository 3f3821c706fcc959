# ruff: noqa: D100, D102, E402
# %% [markdown]
# # For users of ASE: the best of three hundred clusters
#
# Which arrangement of 13 argon atoms has the lowest energy? With Lennard-Jones forces the answer
# is an icosahedron of -44.326801 epsilon ([Hoare and Pal
# 1971](https://doi.org/10.1080/00018737100101231); [Wales and Doye
# 1997](https://doi.org/10.1021/jp970984n)). Random starts rarely find it: most end in one of many
# other minima. So many starts are relaxed at once.

# %%
import matplotlib.pyplot as plt
import numpy as np
from ase import Atoms
from ase.calculators.lj import LennardJones as OneByOne
from ase.optimize import FIRE

from ritz.relax import LennardJones, relax

random = np.random.default_rng(0)
starts = []
while len(starts) < 300:
    positions = random.uniform(-1.6, 1.6, size=(13, 3))
    atoms = Atoms("Ar13", positions)
    if atoms.get_all_distances()[np.triu_indices(13, 1)].min() > 0.7:
        starts.append(atoms)

# %% [markdown]
# ## One structure in both
#
# In ASE an optimiser drives one `Atoms` through its calculator. Energies are in epsilon and
# lengths in sigma.

# %%
alone = starts[0].copy()
alone.calc = OneByOne(sigma=1.0, epsilon=1.0, rc=100.0, smooth=False)
optimizer = FIRE(alone, logfile=None)
optimizer.run(fmax=0.01, steps=5000)
print("ASE: ", alone.get_potential_energy(), optimizer.nsteps, "steps")

# %% [markdown]
# In Ritz the structures are given to a function, with a potential that is a function of JAX.
# `FIRE` takes the same steps.

# %%
pairs = LennardJones(epsilon=1.0, sigma=1.0, cutoff=100.0)
one = relax(starts[0], pairs, fmax=0.01, optimizer="fire", max_steps=5000)
print("Ritz:", one.energy, one.steps, "steps,", one.status)

# %% [markdown]
# ## All of them
#
# The batch is one compiled program; each structure stops when it has converged, and those that
# fail say why. `LBFGS` suits starts with close pairs: the velocities of FIRE would throw atoms out
# of nearly half of these clusters.

# %%
result = relax(starts, pairs, fmax=0.01, optimizer="lbfgs", max_steps=3000)
energies = np.asarray(result.energy)
status, counts = np.unique(result.status, return_counts=True)
print(dict(zip(status.tolist(), counts.tolist(), strict=True)))
print("lowest:", energies.min(), "published: -44.326801")
print("found by", int((energies < -44.3267).sum()), "of", len(starts), "starts")

# %%
figure, axes = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
axes.hist(energies, bins=np.arange(-44.6, energies.max() + 0.2, 0.2), color="tab:blue")
axes.axvline(-44.326801, color="k", linestyle="--", linewidth=1, label="icosahedron, published")
axes.set_xlabel("energy of the relaxed cluster (epsilon)")
axes.set_ylabel("clusters")
axes.legend(frameon=False)

# %% [markdown]
# ## A callback in place of an observer
#
# What ASE's `optimizer.attach(function, interval)` calls is here a callback: it gets the row of
# the step, with the numbers of all slots, and need not hold up the compiled program.

# %%
from ritz.callbacks import AbstractCallback
from ritz.relax import LBFGS, ConvergenceHook, Relaxation


class Converged(AbstractCallback):
    """Keeps how many structures have converged after each step."""

    def __init__(self):
        self.counts = []

    def is_live(self, step):
        return False  # it reads rows only, so that steps run in blocks

    def on_step_end(self, step, log_data, driver):
        self.counts.append(int(log_data["converged"]))


counter = Converged()
stage = LBFGS(convergence_hook=ConvergenceHook.from_fmax(0.01), max_steps=3000)
driver = Relaxation(starts, pairs, stage)
driver.run(3001, callback=counter, show_progress=False)
print(driver.stop_message)

figure, axes = plt.subplots(figsize=(6.4, 3), layout="constrained")
axes.semilogx(np.arange(1, len(counter.counts) + 1), counter.counts)
axes.set_xlabel("step")
axes.set_ylabel("converged structures")

# %% [markdown]
# Next: dynamics, moving cells and trained potentials in [relaxation and dynamics](../relax.md);
# names side by side [for users of ASE](../ase.md).
