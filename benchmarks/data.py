"""Where data sets for benchmarks are: the folder in the environment variable RITZ_DATA.

It holds `tio2/xsf/*.xsf` with `tio2/reference_output/energies.test`, from
github.com/atomisticnet/aenet-PyTorch, and `mlearn/{Si,Li}-{train,test}.extxyz`, from
github.com/materialsvirtuallab/mlearn in extended XYZ.
"""

import os
from pathlib import Path

TIO2_ATOMS = {"O": -432.503149303, "Ti": -1604.604515075}
"""The energies of the atoms in `tio2`, in eV."""


def has_data() -> bool:
    """Whether there is such a folder."""
    return bool(os.environ.get("RITZ_DATA")) and folder().is_dir()


def folder() -> Path:
    """The folder.

    Raises:
        SystemExit: If it is not said where it is.
    """
    if not os.environ.get("RITZ_DATA"):
        raise SystemExit(f"this benchmark needs data.\n{__doc__}")
    return Path(os.environ["RITZ_DATA"])
