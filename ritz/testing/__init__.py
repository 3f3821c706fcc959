"""Conformance checks for drivers, callbacks, loggers, samplers, estimators and other plug-ins.

They run on what you wrote too. Each raises AssertionError with the reason if a check fails.
"""

from ritz.testing.callbacks import check_callback as check_callback
from ritz.testing.collectives import Collective as Collective
from ritz.testing.collectives import block_collectives as block_collectives
from ritz.testing.collectives import collectives_in as collectives_in
from ritz.testing.collectives import step_collectives as step_collectives
from ritz.testing.collectives import totals as totals
from ritz.testing.descriptors import check_descriptor as check_descriptor
from ritz.testing.drivers import check_driver as check_driver
from ritz.testing.estimators import check_estimator as check_estimator
from ritz.testing.layers import check_layer as check_layer
from ritz.testing.loggers import check_logger as check_logger
from ritz.testing.potentials import check_potential as check_potential
from ritz.testing.quadratic import QuadraticDriver as QuadraticDriver
from ritz.testing.samplers import check_sampler as check_sampler
from ritz.testing.stages import check_stage as check_stage
from ritz.testing.updates import check_update as check_update
