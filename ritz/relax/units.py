"""Units in terms of eV, Angstrom and amu: those of ASE, from CODATA 2014."""

FEMTOSECOND = 0.09822694788464063
"""In Angstrom sqrt(amu/eV): ASE's `units.fs`."""

BOLTZMANN = 8.617330337217213e-05
"""In eV/K: ASE's `units.kB`."""

GIGAPASCAL = 0.006241509125883258
"""In eV/Angstrom^3: ASE's `units.GPa`."""
