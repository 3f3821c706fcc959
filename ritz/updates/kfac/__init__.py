"""Kronecker-factored approximate curvature (KFAC)."""

from ritz.updates.kfac.blocks import Block as Block
from ritz.updates.kfac.blocks import Blocks as Blocks
from ritz.updates.kfac.rule import KFAC as KFAC
