"""Kronecker-factored approximate curvature (KFAC)."""

from ritz.updates.kfac.blocks import DIAGONAL as DIAGONAL
from ritz.updates.kfac.blocks import KRONECKER as KRONECKER
from ritz.updates.kfac.blocks import Block as Block
from ritz.updates.kfac.blocks import Blocks as Blocks
from ritz.updates.kfac.blocks import divided as divided
from ritz.updates.kfac.blocks import parts_of as parts_of
from ritz.updates.kfac.blocks import whole_of as whole_of
from ritz.updates.kfac.curvature import Curvature as Curvature
from ritz.updates.kfac.preconditioner import KfacState as KfacState
from ritz.updates.kfac.preconditioner import Preconditioner as Preconditioner
from ritz.updates.kfac.rule import KFAC as KFAC
from ritz.updates.kfac.rule import SHARING as SHARING
