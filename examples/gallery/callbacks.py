# ruff: noqa: D100, D102, E402
# %% [markdown]
# # One callback in four sciences
#
# How many steps does each problem take to come within a hundredth of its final progress? The
# question is about runs and not about physics, so a single callback answers it for a spin chain,
# an atom, an interatomic potential and a crystal.

# %%
import matplotlib.pyplot as plt
import netket as nk
import numpy as np
from ase.build import bulk

from ritz.callbacks import AbstractCallback, StopRun


class Progress(AbstractCallback):
    """Keeps the smoothed loss of each step, and stops when it has moved little for a while.

    Args:
        tolerance: Fraction of the whole decrease that counts as a move.
        patience: Steps without a move after which the run stops.
    """

    def __init__(self, tolerance=0.01, patience=40):
        self.tolerance, self.patience = tolerance, patience
        self.losses, self.best_step = [], 0

    def is_live(self, step):
        return False  # needs rows only: steps run as compiled blocks

    def before_parameter_update(self, step, log_data, driver):
        loss = log_data[driver.loss_name]
        loss = float(np.real(getattr(loss, "mean", loss)))
        before = self.losses[-1] if self.losses else loss
        self.losses.append(0.9 * before + 0.1 * loss)
        first, last = self.losses[0], self.losses[-1]
        best = min(self.losses[: self.best_step + 1])
        if last < best - self.tolerance * abs(first - best) or step == 0:
            self.best_step = len(self.losses) - 1
        if len(self.losses) - self.best_step > self.patience:
            raise StopRun(f"no move for {self.patience} steps")

    def state_dict(self):
        return {"losses": self.losses, "best_step": self.best_step}

    def load_state_dict(self, state):
        self.losses, self.best_step = list(state["losses"]), state["best_step"]


# %% [markdown]
# `state_dict` makes it part of checkpoints: a run that is resumed counts on where it was. The
# check of `ritz.testing` runs it twice, closes it twice, saves and restores it.

# %%
from ritz.testing import check_callback

check_callback(Progress)

# %% [markdown]
# ## A lattice

# %%
from ritz.lattice import VMC as LatticeVMC
from ritz.lattice import mc_state

hilbert = nk.hilbert.Spin(0.5, 10)
ising = nk.operator.Ising(hilbert, nk.graph.Chain(10), h=1.0)
state = mc_state(nk.models.RBM(alpha=1), hilbert, n_samples=512, seed=0)
lattice = LatticeVMC(ising, 0.05, variational_state=state)

# %% [markdown]
# ## An atom

# %%
from ritz.molecule import VMC, FermiNet, Molecule

helium = Molecule("He")
network = FermiNet(helium, hidden=((16, 8),) * 2, n_determinants=1)
atom = VMC(helium, network, n_walkers=128, seed=0)

# %% [markdown]
# ## An interatomic potential

# %%
from ritz.mlip import Adam, ANNPotential, ChebyshevDescriptor, TrainingConfig, read_structures

descriptor = ChebyshevDescriptor(["Ti", "O"], 6, 5.0, 3, 3.5)
config = TrainingConfig(
    iterations=100,
    method=Adam(mu=0.003, batchsize=8),
    atomic_energies={"Ti": -1604.604515075, "O": -432.503149303},
    checkpoint_dir=None,
)
networks = ANNPotential({"Ti": [(15, "tanh")], "O": [(15, "tanh")]}, descriptor)
potential = networks.driver(read_structures("tio2/*.xsf"), config)

# %% [markdown]
# ## A crystal

# %%
from ritz.relax import FIRE, ConvergenceHook, LennardJones, Relaxation

argon = bulk("Ar", "fcc", a=5.3, cubic=True) * (2, 2, 2)
argon.rattle(0.2, seed=0)
crystal = Relaxation(
    argon,
    LennardJones(epsilon=0.0104, sigma=3.4, cutoff=8.5, onset=7.0),
    FIRE(convergence_hook=ConvergenceHook.from_fmax(0.001)),
)

# %% [markdown]
# ## The same call for all

# %%
drivers = {"Ising chain": lattice, "helium": atom, "TiO₂ potential": potential, "argon": crystal}
figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for name, driver in drivers.items():
    progress = Progress()
    driver.run(300, callback=progress, show_progress=False)
    losses = np.array(progress.losses)
    axes.semilogx(
        np.arange(1, len(losses) + 1),
        (losses - losses.min()) / (losses[0] - losses.min()),
        label=name,
    )
    print(f"{name}: loss is {driver.loss_name}, {driver.step_count} steps, {driver.stop_message}")
axes.set_xlabel("step")
axes.set_ylabel("smoothed loss, first (1) to best (0)")
axes.set_ylim(-0.05, 1.2)
axes.legend(frameon=False)

# %% [markdown]
# Next: which hook is called when, in [the run loop](../run-loop.md); what a callback may declare
# to run in blocks, in [compiled blocks](../blocks.md#live-and-deferred); skeletons in
# [extending](../extending.md#a-callback).
