# ruff: noqa: D100, D102, D103
# %% [markdown]
# # For users of NetKet: the same run, watched more closely
#
# How well does a restricted Boltzmann machine know the ground state of a critical Ising chain: its
# energy, and the correlations that decay slowly? The chain has 12 spins, so that exact answers are
# at hand.

# %%
import matplotlib.pyplot as plt
import netket as nk
import numpy as np
import optax

from ritz.callbacks import AbstractCallback, BestState, Observables, PlateauStopping
from ritz.lattice import VMC, as_netket
from ritz.loggers import RuntimeLog
from ritz.updates import SR

N = 12
hilbert = nk.hilbert.Spin(0.5, N)
hamiltonian = nk.operator.Ising(hilbert, nk.graph.Chain(N), h=1.0)
energies, vectors = nk.exact.lanczos_ed(hamiltonian, k=1, compute_eigenvectors=True)
exact = float(energies[0])


def new_state():
    sampler = nk.sampler.MetropolisLocal(hilbert, n_chains=32)
    return nk.vqs.MCState(sampler, nk.models.RBM(alpha=1), n_samples=1024, seed=1, sampler_seed=2)


# %% [markdown]
# ## Both, from the same seeds
#
# `update=SR(...)` takes the place of the driver `VMC_SR`. The rest of a script stays as it is.

# %%
theirs, ours = nk.logging.RuntimeLog(), RuntimeLog()
peer = nk.driver.VMC_SR(
    hamiltonian, optax.sgd(0.05), diag_shift=1e-2, variational_state=new_state()
)
peer.run(100, out=theirs, show_progress=False)

driver = VMC(hamiltonian, optax.sgd(0.05), variational_state=new_state(), update=SR(1e-2))
driver.run(100, out=ours, show_progress=False)

both = [np.real(log.data["Energy"]["Mean"]) for log in (theirs, ours)]
print("largest difference of the energies of a step:", np.abs(both[0] - both[1]).max())

# %% [markdown]
# ## Stop when there is nothing left to gain
#
# `PlateauStopping` compares the means of two windows with their error bars, `BestState` keeps the
# parameters with the best bound, and `Observables` measures on the samples of the step.

# %%
sites = range(1, N // 2 + 1)
z = [nk.operator.spin.sigmaz(hilbert, i) for i in range(N)]
correlations = {
    f"C{d}": sum((z[i] @ z[(i + d) % N] for i in range(N)), 0 * z[0] @ z[1]) * (1 / N)
    for d in sites
}

state = new_state()
driver = VMC(hamiltonian, optax.sgd(0.05), variational_state=state, update=SR(1e-2))
log = RuntimeLog()
callbacks = [
    PlateauStopping(window=60),
    BestState("Energy", restore=True),
    Observables({"C3": correlations["C3"]}, interval=20),
]
driver.run(400, out=log, callback=callbacks, show_progress=False)
print(driver.step_count, driver.stop_message)

# %%
full = nk.vqs.FullSumState(hilbert, state.model, variables=state.variables)
psi = vectors[:, 0]
known = [float(psi @ (correlations[f"C{d}"].to_sparse() @ psi)) for d in sites]
found = [float(full.expect(correlations[f"C{d}"]).mean.real) for d in sites]
energy = float(full.expect(hamiltonian).mean.real)
print(f"energy {energy:.5f}, exact {exact:.5f}, relative error {energy / exact - 1:.1e}")

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
mean = np.real(log.data["Energy"]["Mean"])
left.semilogy(np.abs(mean / exact - 1), linewidth=1)
left.set_xlabel("step")
left.set_ylabel("relative error of the energy")
right.plot(sites, known, "k_", markersize=14, label="exact")
right.plot(sites, found, "o", label="RBM")
right.set_xlabel("distance")
right.set_ylabel("⟨σᶻ σᶻ⟩")
right.legend(frameon=False)

# %% [markdown]
# ## A callback of your own, in both
#
# Hooks have the names of NetKet's. This callback logs how far the samples are from the exact
# energy in error bars; `as_netket` hands it to a driver of NetKet.


# %%
class Pull(AbstractCallback):
    """Logs the distance from the exact energy, in standard errors."""

    def is_live(self, step):
        return False

    def before_parameter_update(self, step, log_data, driver):
        energy = log_data["Energy"]
        log_data["pull"] = float((np.real(energy.mean) - exact) / energy.error_of_mean)


driver.run(20, out=log, callback=Pull(), show_progress=False)
peer.run(20, out=theirs, callback=as_netket(Pull()), show_progress=False)
print(np.round(log.data["pull"].values[-3:], 1), np.round(theirs.data["pull"].values[-3:], 1))

# %% [markdown]
# Next: what differs and why in [differences from NetKet](../netket.md); wave functions with
# symmetries in [wave functions](../wave-functions.md).
