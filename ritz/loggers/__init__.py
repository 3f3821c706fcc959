"""Loggers, which write the rows of a run."""

from ritz.loggers.base import AbstractLogger as AbstractLogger
from ritz.loggers.checksums import RowsLostError as RowsLostError
from ritz.loggers.console_log import ConsoleLog as ConsoleLog
from ritz.loggers.csv_log import CSVLog as CSVLog
from ritz.loggers.hdf5_log import HDF5Log as HDF5Log
from ritz.loggers.history import History as History
from ritz.loggers.history import HistoryDict as HistoryDict
from ritz.loggers.json_log import JsonLog as JsonLog
from ritz.loggers.mlflow_log import MLflowLog as MLflowLog
from ritz.loggers.runtime_log import RuntimeLog as RuntimeLog
from ritz.loggers.tensorboard_log import TensorBoardLog as TensorBoardLog
from ritz.loggers.wandb_log import WandbLog as WandbLog
from ritz.loggers.writer import Writer as Writer
from ritz.loggers.writer import configurable_dataclass as configurable_dataclass
