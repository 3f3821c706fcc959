"""Small runs of `ritz lattice`."""

from ritz.cli.main import main

SMALL = ["system.extent=[4]", "train.n_samples=32", "train.burn_in=2", "progress=false",
         "train.iterations=12", "evaluate.iterations=40", "evaluate.n_samples=32"]  # fmt: skip


def ritz(capsys, *arguments):
    status = main(["lattice", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err
