"""Wave functions on lattices, as modules of flax: configurations -> log psi."""

from ritz.lattice.models.autoregressive import FixedSumARNN as FixedSumARNN
from ritz.lattice.models.cell_module import CellModule as CellModule
from ritz.lattice.models.default_model import default_model as default_model
from ritz.lattice.models.growing import grown as grown
from ritz.lattice.models.jastrow_rbm import JastrowRBM as JastrowRBM
from ritz.lattice.models.lattice_conv import LatticeConv as LatticeConv
from ritz.lattice.models.marshall_sign import MarshallSign as MarshallSign
from ritz.lattice.models.mean_field import free_orbitals as free_orbitals
from ritz.lattice.models.mean_field import hartree_fock_orbitals as hartree_fock_orbitals
from ritz.lattice.models.pfaffian import Pfaffian as Pfaffian
from ritz.lattice.models.pfaffians import log_pfaffian as log_pfaffian
from ritz.lattice.models.resnet import ResNet as ResNet
from ritz.lattice.models.slater_backflow import SlaterBackflow as SlaterBackflow
from ritz.lattice.models.symmetrized import Symmetrized as Symmetrized
from ritz.lattice.models.transformer import ViT as ViT
