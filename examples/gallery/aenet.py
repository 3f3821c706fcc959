# ruff: noqa: D100, D102
# %% [markdown]
# # For users of aenet: titanium dioxide, from files to forces
#
# Does a potential that aenet wrote give the same energies here, and does one that is trained here
# go back? The data are 24 structures of titanium dioxide of the set of [Artrith and Urban
# 2016](https://doi.org/10.1016/j.commatsci.2015.11.047), `tests/data/tio2` of the sources, as
# `tio2`.

# %%
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from ritz.mlip import (
    Adam,
    ANNPotential,
    ChebyshevDescriptor,
    EpochCallback,
    TrainingConfig,
    read_structures,
)

structures = read_structures("tio2/*.xsf")
print(len(structures), "structures,", sum(len(s.species) for s in structures), "atoms")

# %% [markdown]
# ## A potential that aenet wrote
#
# `reference.Ti.nn.ascii` and `reference.O.nn.ascii` were written by aenet-python, which predicted
# the energies and forces in `reference.json` with them.

# %%
theirs = ANNPotential.from_aenet_ascii(
    {kind: f"tio2/reference.{kind}.nn.ascii" for kind in ("Ti", "O")}
)
reference = json.loads(Path("tio2/reference.json").read_text())["structures"]
ours = theirs.predict(read_structures([f"tio2/{r['file']}" for r in reference]), eval_forces=True)
for place, r in enumerate(reference):
    energy = abs(ours.total_energy[place] - r["predicted_total_energy_eV"])
    forces = np.abs(ours.forces[place] - np.array(r["predicted_forces_eV_per_A"])).max()
    print(f"{r['file']}: energies differ by {energy:.1e} eV, forces by {forces:.1e} eV/Å")

# %% [markdown]
# ## A training
#
# Names and settings are those of aenet-python, without the prefix `Torch`.

# %%
descriptor = ChebyshevDescriptor(
    ["Ti", "O"], rad_order=6, rad_cutoff=5.0, ang_order=3, ang_cutoff=3.5, min_cutoff=0.5
)
potential = ANNPotential({"Ti": [(15, "tanh")], "O": [(15, "tanh")]}, descriptor)
config = TrainingConfig(
    iterations=300,
    method=Adam(mu=0.003, batchsize=8),
    testpercent=20,
    force_weight=0.3,
    atomic_energies={"Ti": -1604.604515075, "O": -432.503149303},
    seed=0,
    split_seed=0,
    schedule="cosine",
    checkpoint_dir=None,
    show_progress=False,
)
result = potential.train(structures, config)
print(result)

# %%
errors = result.errors
predicted = potential.predict(structures, eval_forces=True)
figure, (left, right) = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
left.semilogy(1e3 * errors["RMSE_train"], label="training")
left.semilogy(1e3 * errors["RMSE_test"], label="validation")
left.set_xlabel("epoch")
left.set_ylabel("RMSE of energies (meV/atom)")
left.legend(frameon=False)
labels = np.concatenate([s.forces.ravel() for s in structures])
forces = np.concatenate([np.asarray(f).ravel() for f in predicted.forces])
right.plot(labels, forces, ".", markersize=3)
right.plot(
    labels[[labels.argmin(), labels.argmax()]],
    labels[[labels.argmin(), labels.argmax()]],
    "k--",
    lw=1,
)
right.set_xlabel("force in the data (eV/Å)")
right.set_ylabel("predicted force (eV/Å)")

# %% [markdown]
# ## Back to aenet
#
# The files that are written give the same energies when they are read.

# %%
files = potential.to_aenet_ascii("aenet", prefix="tio2")
same = ANNPotential.from_aenet_ascii(files)
difference = same.predict(structures).total_energy - predicted.total_energy
print("largest difference:", abs(difference).max(), "eV")

# %% [markdown]
# ## A callback of your own
#
# aenet's trainer has no hooks. Here a callback sees every batch, or every epoch, as this one,
# which stops when both errors of the energies are below a number.


# %%
class BothBelow(EpochCallback):
    """Ends training when training and validation errors are below a bound in eV/atom."""

    def __init__(self, bound):
        self.bound = bound

    def on_epoch_end(self, epoch, log_data, driver):
        if max(log_data["RMSE_train"], log_data["RMSE_test"]) < self.bound:
            from ritz.callbacks import StopRun

            raise StopRun(f"both errors below {1e3 * self.bound:.0f} meV/atom in epoch {epoch}")


again = ANNPotential(potential.arch, descriptor)
print(again.train(structures, config, callback=BothBelow(0.005)).stop_message)

# %% [markdown]
# Next: committees, KFAC and models of your own in [interatomic potentials](../mlip.md); names side
# by side [for users of aenet](../aenet.md).
