"""Estimators: values of samples, their statistics, and what is logged; free of side effects."""

from ritz.estimators.base import AbstractEstimator as AbstractEstimator
from ritz.estimators.base import Function as Function
from ritz.estimators.base import evaluate_all as evaluate_all
from ritz.estimators.chain_moments import ChainMoments as ChainMoments
from ritz.estimators.clipping import LossAndGrad as LossAndGrad
from ritz.estimators.evaluation import EstimatingKernel as EstimatingKernel
from ritz.estimators.evaluation import EvaluationKernel as EvaluationKernel
from ritz.estimators.statistics import Stats as Stats
from ritz.estimators.statistics import statistics as statistics
