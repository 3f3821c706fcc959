"""Small runs of `ritz mlip`."""

SMALL = [
    "mlip", "train", "progress=false", "train.force_weight=0", "train.warmup_epochs=0",
    "train.checkpoint_interval=1", "potential.rad_order=2", "potential.rad_cutoff=3.0",
    "potential.ang_order=1", "potential.ang_cutoff=2.5", "potential.hidden=[[2,tanh]]",
]  # fmt: skip
