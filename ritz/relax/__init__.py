"""Batched relaxation and dynamics of atomic structures, with criteria of convergence."""

from ritz.extras import needs as _needs

with _needs("ritz.relax", "relax"):
    from ritz.potentials.atomic_graph import AtomicGraph as AtomicGraph
    from ritz.potentials.potential import AbstractPotential as AbstractPotential
    from ritz.potentials.potential import Potential as Potential
    from ritz.relax.cell import FrechetCell as FrechetCell
    from ritz.relax.convergence_hook import ConvergenceHook as ConvergenceHook
    from ritz.relax.criteria import Criterion as Criterion
    from ritz.relax.driver import Relaxation as Relaxation
    from ritz.relax.fire import FIRE as FIRE
    from ritz.relax.fire2 import FIRE2 as FIRE2
    from ritz.relax.gradient_descent import GradientDescent as GradientDescent
    from ritz.relax.langevin import NVTLangevin as NVTLangevin
    from ritz.relax.lbfgs import LBFGS as LBFGS
    from ritz.relax.npt import NPT as NPT
    from ritz.relax.nve import NVE as NVE
    from ritz.relax.optimizer import AbstractOptimizer as AbstractOptimizer
    from ritz.relax.pair_potentials import LennardJones as LennardJones
    from ritz.relax.pair_potentials import Morse as Morse
    from ritz.relax.pair_potentials import SoftSphere as SoftSphere
    from ritz.relax.progress import StructureProgress as StructureProgress
    from ritz.relax.relaxing import RelaxResult as RelaxResult
    from ritz.relax.relaxing import relax as relax
    from ritz.relax.stage import AbstractStage as AbstractStage
    from ritz.relax.stage import FusedStage as FusedStage
    from ritz.relax.trajectory import Trajectory as Trajectory
