"""Work stages: training, evaluation and others, each resumable, one after the other."""

from ritz.stages.base import RunContext as RunContext
from ritz.stages.base import StageAbort as StageAbort
from ritz.stages.base import WorkStage as WorkStage
from ritz.stages.base import WorkStageConfig as WorkStageConfig
from ritz.stages.config import Config as Config
from ritz.stages.digest import Digest as Digest
from ritz.stages.digest import Estimate as Estimate
from ritz.stages.digest import read_digest as read_digest
from ritz.stages.evaluation import EvalStageBuilder as EvalStageBuilder
from ritz.stages.evaluation import EvaluationWorkStage as EvaluationWorkStage
from ritz.stages.evaluation import EvaluationWorkStageConfig as EvaluationWorkStageConfig
from ritz.stages.pipeline import Pipeline as Pipeline
from ritz.stages.sampling import AbstractWavefunction as AbstractWavefunction
from ritz.stages.sampling import SamplingStageBuilder as SamplingStageBuilder
from ritz.stages.sampling import SamplingState as SamplingState
from ritz.stages.sampling import StageParts as StageParts
from ritz.stages.statistics import SeriesStatistics as SeriesStatistics
from ritz.stages.statistics import autocorrelation_time as autocorrelation_time
from ritz.stages.statistics import blocking_error as blocking_error
from ritz.stages.statistics import r_hat as r_hat
from ritz.stages.statistics import series_statistics as series_statistics
from ritz.stages.vmc import VMCStageBuilder as VMCStageBuilder
from ritz.stages.vmc import VMCState as VMCState
from ritz.stages.vmc import VMCWorkStage as VMCWorkStage
from ritz.stages.vmc import VMCWorkStageConfig as VMCWorkStageConfig
