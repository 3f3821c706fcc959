"""Networks by name, with sizes that suit."""

import jax.numpy as jnp
import numpy as np

from ritz.molecule.molecule import Molecule
from ritz.molecule.networks.ferminet import FermiNet
from ritz.molecule.networks.lapnet import LapNet
from ritz.molecule.networks.psiformer import Psiformer
from ritz.molecule.networks.slater_network import SlaterNetwork


def preset(name: str, molecule: Molecule, dtype: np.dtype | type = jnp.float32) -> SlaterNetwork:
    """A network by name.

    Args:
        name: "small", a Fermi net for a laptop; "ferminet", that of Pfau et al.; "psiformer", that
            of von Glehn et al.; "lapnet", that of Li et al.
        molecule: The molecule.
        dtype: Type of its numbers.

    Raises:
        KeyError: If there is none of that name.
    """
    makers = {
        "small": lambda: FermiNet(molecule, hidden=((32, 16),) * 3, n_determinants=4, dtype=dtype),
        "ferminet": lambda: FermiNet(molecule, dtype=dtype),
        "psiformer": lambda: Psiformer(molecule, n_determinants=16, dtype=dtype),
        "lapnet": lambda: LapNet(molecule, n_determinants=16, dtype=dtype),
    }
    return makers[name]()
