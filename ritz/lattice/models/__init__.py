"""Wave functions on lattices, as modules of flax."""

from ritz.lattice.models.jastrow_rbm import JastrowRBM as JastrowRBM
from ritz.lattice.models.lattice_conv import LatticeConv as LatticeConv
from ritz.lattice.models.marshall_sign import MarshallSign as MarshallSign
from ritz.lattice.models.resnet import ResNet as ResNet
from ritz.lattice.models.symmetrized import Symmetrized as Symmetrized
from ritz.lattice.models.transformer import ViT as ViT
