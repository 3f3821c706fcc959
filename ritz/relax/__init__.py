"""Batched relaxation and dynamics of atomic structures, with criteria of convergence."""

from ritz.extras import needs as _needs

with _needs("ritz.relax", "relax"):
    from ritz.potentials.atomic_graph import AtomicGraph as AtomicGraph
    from ritz.potentials.committee import AbstractCommittee as AbstractCommittee
    from ritz.potentials.committee import Spread as Spread
    from ritz.potentials.pair_potentials import LennardJones as LennardJones
    from ritz.potentials.pair_potentials import Morse as Morse
    from ritz.potentials.pair_potentials import SoftSphere as SoftSphere
    from ritz.potentials.potential import AbstractPotential as AbstractPotential
    from ritz.potentials.potential import Potential as Potential
    from ritz.potentials.sum_potential import SumPotential as SumPotential
    from ritz.potentials.zbl import ZBL as ZBL
    from ritz.relax.algorithms.cell import FrechetCell as FrechetCell
    from ritz.relax.algorithms.fire import FIRE as FIRE
    from ritz.relax.algorithms.fire2 import FIRE2 as FIRE2
    from ritz.relax.algorithms.gradient_descent import GradientDescent as GradientDescent
    from ritz.relax.algorithms.langevin import NVTLangevin as NVTLangevin
    from ritz.relax.algorithms.lbfgs import LBFGS as LBFGS
    from ritz.relax.algorithms.npt import NPT as NPT
    from ritz.relax.algorithms.nve import NVE as NVE
    from ritz.relax.algorithms.optimizer import AbstractOptimizer as AbstractOptimizer
    from ritz.relax.algorithms.stage import AbstractStage as AbstractStage
    from ritz.relax.algorithms.stage import FusedStage as FusedStage
    from ritz.relax.convergence.convergence_hook import ConvergenceHook as ConvergenceHook
    from ritz.relax.convergence.criteria import Criterion as Criterion
    from ritz.relax.driver import Relaxation as Relaxation
    from ritz.relax.observation.spread_limit import SpreadLimit as SpreadLimit
    from ritz.relax.progress import StructureProgress as StructureProgress
    from ritz.relax.relaxing import RelaxResult as RelaxResult
    from ritz.relax.relaxing import relax as relax
    from ritz.relax.trajectory import Trajectory as Trajectory
