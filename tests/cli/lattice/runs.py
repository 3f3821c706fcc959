"""Small runs of `ritz lattice`."""

import csv

import numpy as np

from ritz.cli.main import main

SMALL = ["system.extent=[4]", "train.n_samples=32", "train.burn_in=2", "progress=false",
         "train.iterations=12", "evaluate.iterations=40", "evaluate.n_samples=32"]  # fmt: skip


def ritz(capsys, *arguments):
    status = main(["lattice", *arguments])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def column(folder, name, action="train"):
    """A column of the rows of a run, as an array; empty if there is none."""
    with open(f"{folder}/{action}.csv") as file:
        rows = list(csv.DictReader(file))
    return np.array([row[name] for row in rows if name in row], float)
