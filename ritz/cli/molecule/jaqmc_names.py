"""Settings of JaQMC, and what to write for them in `ritz molecule`."""

from collections.abc import Mapping

OF_JAQMC: Mapping[str, str] = {
    "workflow.save_path": "write folder=runs/lih.",
    "workflow.source_path": "write folder=runs/lih, the folder of the training.",
    "workflow.restore_path": "copy the run folder, and train on with folder=COPY.",
    "workflow.batch_size": "write train.n_walkers=512; pretrain and evaluate have n_walkers too.",
    "workflow.seed": "write seed=1.",
    "workflow": "its settings are folder, seed and train.n_walkers.",
    "system.module": "write system=Li for an atom or molecule of the library, or system.atoms "
    "or system.file.",
    "system.symbol": "write system=Li.",
    "system.formula": "write system=LiH.",
    "system.bond_length": "write system.atoms='[[Li, [0, 0, 0]], [H, [0, 0, 3.015]]]' "
    "system.unit=bohr.",
    "system.s_z": "write system.spin=1, which is n_up - n_down, twice S_z.",
    "system.total_charge": "write system.charge=1.",
    "system.pp": "write system.ecp=ccecp.",
    "wf.module": "write preset=psiformer, or small, ferminet or lapnet; network=Psiformer has "
    "its arguments.",
    "wf": "write network=FermiNet with its arguments, such as network.n_determinants=8.",
    "train.run": "its settings are those of train: train.iterations, train.burn_in, "
    "train.stop_on_nan, train.save_step_interval.",
    "train.optim": "write train.update=KFAC, or train.update=Gradient train.optimizer=adam.",
    "train.writers": "write train.loggers='[CSVLog, HDF5Log]'.",
    "pretrain.run": "its settings are those of pretrain: pretrain.iterations, pretrain.burn_in.",
    "pretrain.optim": "write pretrain.optimizer=adam.",
    "run": "its settings are those of evaluate: evaluate.iterations, evaluate.burn_in.",
    "estimators": "write evaluate.estimators='[SpinSquared]'.",
    "yml": "write --config FILE.",
}
"""Name, or the group of names that begin so -> what to write, as the end of a sentence."""
