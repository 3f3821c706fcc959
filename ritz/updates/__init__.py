"""Update rules, which turn samples and local losses into a direction."""

from ritz.updates.base import AbstractUpdateRule as AbstractUpdateRule
from ritz.updates.gradient import Gradient as Gradient
from ritz.updates.kfac import KFAC as KFAC
from ritz.updates.linear_layers import MatrixProduct as MatrixProduct
from ritz.updates.linear_layers import linear as linear
from ritz.updates.linear_layers import register_layer as register_layer
from ritz.updates.march import MARCH as MARCH
from ritz.updates.minsr import MinSR as MinSR
from ritz.updates.problem import Problem as Problem
from ritz.updates.solvers import CG as CG
from ritz.updates.solvers import Cholesky as Cholesky
from ritz.updates.solvers import PseudoInverse as PseudoInverse
from ritz.updates.spring import SPRING as SPRING
from ritz.updates.sr import SR as SR
from ritz.updates.step_control import StepControl as StepControl
from ritz.updates.stochastic_reconfiguration import (
    stochastic_reconfiguration as stochastic_reconfiguration,
)
