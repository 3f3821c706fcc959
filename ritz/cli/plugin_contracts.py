"""What configurations take of each kind of plug-ins, and the names that they find in Ritz."""

import dataclasses

from ritz.cli import domains
from ritz.extras import MissingExtra
from ritz.stages import contracts
from ritz.stages.contract import Contract
from ritz.stages.parts import find

_CONTRACTS = {
    "callbacks": [contracts.CALLBACK],
    "loggers": [contracts.WRITER],
    "updates": [contracts.UPDATE],
    "samplers": [contracts.SAMPLER, contracts.LATTICE_SAMPLER],
}


def contracts_of(kind: str) -> list[Contract]:
    """What configurations take of a kind; of domains whose packages are missing nothing is known.

    Args:
        kind: One of `ritz.plugins.KINDS`, but no domain.
    """
    if kind != "models":
        return _CONTRACTS[kind]
    found = []
    for name in domains.DOMAINS:
        try:
            known = domains.load(name).kind.contracts
        except MissingExtra:
            continue
        found += [contract for contract in known.values() if contract.plugins == kind]
    return found


def is_of_ritz(kind: str, name: str) -> bool:
    """Whether configurations, or the command line, find something of Ritz under a name first.

    Args:
        kind: One of `ritz.plugins.KINDS`.
        name: The name of a plug-in.
    """
    if kind == "domains":
        from ritz.cli.main import COMMANDS

        return name in COMMANDS or name in domains.DOMAINS
    for contract in contracts_of(kind):
        try:
            find(kind, name, dataclasses.replace(contract, plugins=""))
        except ValueError:  # there is none
            continue
        return True
    return False
