"""Checkpoints, from which runs are resumed bit for bit."""

from ritz.checkpoint.checkpoint import Checkpoint as Checkpoint
from ritz.checkpoint.folder import CheckpointError as CheckpointError
from ritz.checkpoint.resume import load as load
from ritz.checkpoint.slurm import SlurmRequeue as SlurmRequeue
from ritz.folders.lock import FolderInUseError as FolderInUseError
