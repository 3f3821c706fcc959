"""Which frames of a file have a self-consistent field that did not converge."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ase import Atoms

from ritz.mlip.data.units import to_float

_FLAGS = ("converged", "scf_converged", "electronic_converged")
"""Where frames tell it themselves."""

_NO = {"f", "false", ".false.", "no", "n", "0"}

_ITERATION = re.compile(r"Iteration\s+\d+\(\s*(\d+)\s*\)")

_CHANGE = re.compile(r"energy-change.*:\s*(\S+)\s*\(")

_LIMITS = {
    "NELM": re.compile(r"NELM\s*=\s*(\d+)"),
    "EDIFF": re.compile(r"EDIFF\s*=\s*(\S+)"),
}


def unconverged_frames(path: Path, format: str | None) -> Sequence[bool]:
    """Frame by frame, whether a file of VASP tells that its electrons did not converge.

    ASE reads energies and forces of such frames as of any others. A frame did not converge if its
    loop ended after NELM iterations with an energy that still changed by more than EDIFF, or, in an
    OUTCAR, without saying that EDIFF is reached.

    Args:
        path: The file.
        format: ASE's name of the format; None tells it from the name of the file.

    Returns:
        For each frame of the file; empty if it is no file of VASP, or broken.
    """
    name = path.name.lower()
    if format == "vasp-out" or (format is None and "outcar" in name):
        return _outcar_failures(path)
    if format == "vasp-xml" or (format is None and "vasprun" in name and ".xml" in name):
        return _vasprun_failures(path)
    return ()


def says_unconverged(atoms: Atoms) -> bool:
    """Whether a frame has a flag such as `converged=F`."""
    results = {} if atoms.calc is None else atoms.calc.results
    found = [getattr(atoms.calc, "converged", None)]
    found += [where[flag] for where in (results, atoms.info) for flag in _FLAGS if flag in where]
    return any(map(_means_no, found))


def _means_no(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _NO
    return isinstance(value, bool | int | np.bool_ | np.integer) and not bool(value)


class _Loop(NamedTuple):
    """The electronic loop of a frame."""

    count: int = 0
    """Iterations; 0 for frames of a force field."""
    change: float = np.inf
    """Of the energy in the last iteration, in eV."""
    said: bool = False
    """Whether the program says that it converged."""

    def failed(self, limits: Mapping[str, float]) -> bool:
        """Whether it did not converge, given NELM and EDIFF where they are known."""
        if not self.count or not self.said:
            return self.count > 0
        most = limits.get("NELM", np.inf)
        if self.count < most or most <= 1:
            return False
        return abs(self.change) > limits.get("EDIFF", 0.0)  # VASP 5 says "is reached" even so


def _outcar_failures(path: Path) -> list[bool]:
    limits: dict[str, float] = {}
    loop, found = _Loop(), []
    with path.open(errors="replace") as file:
        for line in file:
            for name, pattern in _LIMITS.items():
                if name in line and name not in limits and (limit := pattern.search(line)):
                    limits[name] = to_float(limit[1])
            if "Iteration" in line and (iteration := _ITERATION.search(line)):
                loop = loop._replace(count=int(iteration[1]))
            elif "energy-change" in line and (change := _CHANGE.search(line)):
                loop = loop._replace(change=to_float(change[1]))
            elif "aborting loop" in line:
                loop = loop._replace(said="EDIFF" in line and "not reached" not in line)
            elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
                found.append(loop)
                loop = _Loop()
    return [loop.failed(limits) for loop in found]


def _vasprun_failures(path: Path) -> list[bool]:
    limits: dict[str, float] = {}
    found = []
    try:
        for _, element in ET.iterparse(path):
            if element.tag == "i" and element.get("name") in _LIMITS:
                limits.setdefault(str(element.get("name")), to_float(element.text or ""))
            elif element.tag == "calculation":
                way = [i.text for i in element.findall("scstep/energy/i[@name='e_fr_energy']")]
                last = [to_float(text or "nan") for text in way[-2:]]
                found.append(
                    _Loop(
                        len(element.findall("scstep")),
                        last[1] - last[0] if len(last) == 2 else np.inf,
                        True,
                    )
                )
                element.clear()
    except (ET.ParseError, ValueError):  # it is ASE that tells what is wrong, frame by frame
        pass
    return [loop.failed(limits) for loop in found]
