"""What the help says of settings is taken from the library's own docstrings."""

import re
import textwrap

import pytest

from ritz.cli.main import main
from ritz.cli.settings.descriptions import descriptions, docstring

TEXT = """A thing.

    Args:
        a: None for the same
            as b: none.
        bare: Whether True.

    Raises:
        ValueError: If a is None.
    """


@pytest.mark.parametrize("text", [TEXT, textwrap.dedent(TEXT.replace("A thing", "    A thing"))])
def test_descriptions_with_and_without_indentation(text):
    """Python leaves the indentation of docstrings out from 3.13 on."""
    found = descriptions(type("Thing", (), {"__doc__": text}))
    assert found == {"a": "null for the same as b: none.", "bare": "Whether true."}
    again = type("Again", (), {"__doc__": docstring("Another thing.", found)})
    assert descriptions(again) == found and again.__doc__.startswith("Another thing.\n")
    assert descriptions(type("Silent", (), {"__doc__": None})) == {}


def test_the_help_of_mlip_tells_every_setting_of_files_and_training(capsys):
    with pytest.raises(SystemExit):
        main(["mlip", "train", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    for name, text in (
        ("data.train", "Files, patterns, folders or archives to train on."),
        ("data.test", "The same to validate with; none takes train.testpercent of"),
        ("data.energy_key", 'Where the total energy is. null takes "energy", if it is there.'),
        ("data.atomic_energies", 'By species, in eV; "regression" takes those of isolated atoms'),
        ("train.callbacks", "Callbacks of the run."),
        (
            "train.seed",
            "Seeds first parameters, batches, weighted sampling and force subsets",
        ),
    ):
        assert re.search(rf"--{name} \S+ (\S+ \S+ )?{re.escape(text)}", told), name
    assert "None" not in told and "Raises" not in told and "Whether labels are left out" not in told
    settings = re.findall(r" --((?:data|train)\.\w+) ", told[told.index("Where structures are") :])
    assert len(settings) > 60
    for name in settings:
        assert not re.search(rf"--{name} \S+ (\S+ \S+ )?\(type:", told), (
            f"{name} has no description"
        )
