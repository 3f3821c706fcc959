# ruff: noqa: D100, D102, E402
# %% [markdown]
# # For users of JaQMC: the hydrogen molecule
#
# What is the energy of two hydrogen nuclei 1.4 bohr apart? Kolos and Wolniewicz's answer is
# -1.174476 hartree ([1968](https://doi.org/10.1063/1.1669836)). In JaQMC this is `jaqmc molecule
# train system.module=diatomic system.formula=H2`, and `ritz molecule train system=H2` here. In
# Python a run is an object that can be called, stopped and looked at.

# %%
import matplotlib.pyplot as plt
import numpy as np

from ritz.callbacks import AbstractCallback, StopRun
from ritz.loggers import RuntimeLog
from ritz.molecule import VMC, Evaluation, FermiNet, Molecule
from ritz.stages import Digest

EXACT = -1.174476

molecule = Molecule([("H", (0, 0, 0)), ("H", (0, 0, 1.4))], unit="bohr")
network = FermiNet(molecule, hidden=((16, 8),) * 2, n_determinants=2)
driver = VMC(molecule, network, n_walkers=256, seed=0)
driver.burn_in(100)
log = RuntimeLog()

# %% [markdown]
# ## Training, with a callback of your own
#
# An exact wave function has the same local energy everywhere, so its variance is zero. This
# callback stops when the variance has been below a bound for some steps in a row. It reads rows
# only, and says so in `is_live`: the steps then run as compiled blocks.


# %%
class SmallVariance(AbstractCallback):
    """Stops when the variance of the energy is small for `patience` steps."""

    def __init__(self, bound, patience=20):
        self.bound, self.patience, self.count = bound, patience, 0

    def is_live(self, step):
        return False

    def before_parameter_update(self, step, log_data, driver):
        self.count = self.count + 1 if log_data["energy"].variance < self.bound else 0
        if self.count >= self.patience:
            raise StopRun(f"variance below {self.bound} for {self.patience} steps")


driver.run(1000, out=log, callback=SmallVariance(1e-3), show_progress=False)
print(driver.step_count, driver.stop_message)

# %%
steps, energy = log["energy"].iters, log["energy"]["Mean"]
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
left.plot(steps, 1e3 * (np.asarray(energy) - EXACT), linewidth=1)
left.axhspan(-1.6, 1.6, color="0.85", label="chemical accuracy")
left.set_ylim(-30, 60)
left.set_xlabel("step")
left.set_ylabel("energy - exact (mHa)")
left.legend(frameon=False)
right.semilogy(steps, log["energy"]["Variance"], linewidth=1)
right.set_xlabel("step")
right.set_ylabel("variance (Ha²)")

# %% [markdown]
# ## Evaluation
#
# Parameters are fixed, and the walkers are those of the training. The digest gives the error bar
# from blocks of the series, and says if the result is not to be trusted.

# %%
evaluation = Evaluation(
    molecule, network, driver.parameters, electrons=driver.state.electrons, n_walkers=256
)
digest = Digest(moments=lambda driver: driver.chain_moments, folder=None)
evaluation.run(200, callback=digest, show_progress=False)
estimate = digest.estimates(evaluation)["energy"]
print(f"{estimate.mean:.6f} ± {estimate.error:.6f} hartree, exact {EXACT}")

# %% [markdown]
# ## Where are the electrons?
#
# Any function of parameters and one configuration is an estimator: here the distance between the
# two electrons.

# %%
import jax.numpy as jnp

own = {"r12": lambda params, electrons: jnp.linalg.norm(electrons[0] - electrons[1])}
evaluation = Evaluation(
    molecule,
    network,
    driver.parameters,
    electrons=driver.state.electrons,
    n_walkers=256,
    estimators=own,
)
evaluation.run(100, out=(rows := RuntimeLog()), show_progress=False)
print(f"mean distance of the electrons: {np.mean(rows['r12']['Mean']):.3f} bohr")

# %% [markdown]
# Next: larger networks, forces, excited states and pseudopotentials in
# [molecules](../molecule.md); names side by side [for users of JaQMC](../jaqmc.md).
