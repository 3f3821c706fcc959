"""Callbacks that watch and steer a run."""

from ritz.callbacks.auto_chunk_size import AutoChunkSize as AutoChunkSize
from ritz.callbacks.best_state import BestState as BestState
from ritz.callbacks.conditions import AllOf as AllOf
from ritz.callbacks.conditions import AnyOf as AnyOf
from ritz.callbacks.conditions import StopCondition as StopCondition
from ritz.callbacks.convergence_stopping import ConvergenceStopping as ConvergenceStopping
from ritz.callbacks.early_stopping import EarlyStopping as EarlyStopping
from ritz.callbacks.hook_timing import HookTiming as HookTiming
from ritz.callbacks.invalid_loss_stopping import InvalidLossStopping as InvalidLossStopping
from ritz.callbacks.lambda_callback import LambdaCallback as LambdaCallback
from ritz.callbacks.live_plot import LivePlot as LivePlot
from ritz.callbacks.monitor import read_monitor as read_monitor
from ritz.callbacks.norm_monitor import NormMonitor as NormMonitor
from ritz.callbacks.observables import Observables as Observables
from ritz.callbacks.parameter_ema import ParameterEMA as ParameterEMA
from ritz.callbacks.plateau_stopping import PlateauStopping as PlateauStopping
from ritz.callbacks.progress_bar import ProgressBar as ProgressBar
from ritz.callbacks.reduce_lr_on_plateau import ReduceLROnPlateau as ReduceLROnPlateau
from ritz.callbacks.timeout import Timeout as Timeout
from ritz.callbacks.trust_region import TrustRegion as TrustRegion
from ritz.driver.callback import AbstractCallback as AbstractCallback
from ritz.driver.callback import CallbackOrder as CallbackOrder
from ritz.driver.callback import never_live as never_live
from ritz.driver.stop import StopRun as StopRun
