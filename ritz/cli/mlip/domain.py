"""`ritz mlip`: train, evaluate and use interatomic potentials."""

from ritz.cli.domain import Action, Domain
from ritz.cli.mlip.config import MLIPRun
from ritz.cli.mlip.explore import explore
from ritz.cli.mlip.fit import fit
from ritz.cli.mlip.train import train
from ritz.cli.mlip.use import evaluate, export, predict

DOMAIN = Domain(
    MLIPRun,
    {
        "train": Action(
            "Train a potential on structures from files, or go on with it.",
            train,
            takes_saved="data.train",
        ),
        "fit": Action(
            "Fit a potential that is linear in its features, in closed form.",
            fit,
            takes_saved="data.train",
        ),
        "evaluate": Action(
            "Compare a trained potential with structures that have labels.",
            evaluate,
            takes_saved=True,
        ),
        "predict": Action(
            "Predict energies and forces of structures from files.", predict, takes_saved=True
        ),
        "export": Action(
            "Write a trained potential in another format.",
            export,
            takes_saved=True,
            computes=False,
        ),
        "explore": Action(
            "Find structures that a committee does not know, by dynamics, or go on with it.",
            explore,
            takes_saved=True,
            begins_anew=True,
        ),
    },
)
