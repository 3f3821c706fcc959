"""The command line, called in this process."""

import pytest

from ritz.cli.main import main


@pytest.fixture
def ritz(capsys):
    """Calls `ritz`; returns the status, what was printed, and the errors."""

    def run(*arguments):
        status = main(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run
