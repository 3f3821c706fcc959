"""Spins, bosons and fermions on lattices, on NetKet's spaces, operators, samplers and states."""

from ritz.extras import needs as _needs

with _needs("ritz.lattice", "lattice"):
    from ritz.estimators import ChainMoments as ChainMoments
    from ritz.lattice.dynamics import TDVP as TDVP
    from ritz.lattice.dynamics import Infidelity as Infidelity
    from ritz.lattice.evaluation import Evaluation as Evaluation
    from ritz.lattice.interop import as_netket as as_netket
    from ritz.lattice.local_update import LocalUpdate as LocalUpdate
    from ritz.lattice.local_update import TwoStates as TwoStates
    from ritz.lattice.local_update import local_update as local_update
    from ritz.lattice.observables.entropy import Renyi2 as Renyi2
    from ritz.lattice.observables.functionals import ConnectedCorrelator as ConnectedCorrelator
    from ritz.lattice.observables.functionals import Functional as Functional
    from ritz.lattice.observables.functionals import Variance as Variance
    from ritz.lattice.operators import local_energies as local_energies
    from ritz.lattice.operators import v_score as v_score
    from ritz.lattice.sampling.autoregressive import ARDirectSampler as ARDirectSampler
    from ritz.lattice.sampling.sweeps import MetropolisExchange as MetropolisExchange
    from ritz.lattice.sampling.sweeps import MetropolisLocal as MetropolisLocal
    from ritz.lattice.sampling.sweeps import SweepSampler as SweepSampler
    from ritz.lattice.states import mc_state as mc_state
    from ritz.lattice.steady_state import SteadyState as SteadyState
    from ritz.lattice.symmetric_layers import register as _register
    from ritz.lattice.vmc import VMC as VMC
    from ritz.lattice.wavefunction import LatticeWavefunction as LatticeWavefunction

_register()
