"""The run loop and the base classes of drivers; without physics, optimisers or file formats."""

from ritz.driver.abstract import AbstractDriver as AbstractDriver
from ritz.driver.compiled import CompiledDriver as CompiledDriver
from ritz.driver.growing import GrowingDriver as GrowingDriver
from ritz.driver.kernel import Kernel as Kernel
from ritz.driver.kernel import Proposal as Proposal
from ritz.driver.loop import StepInfo as StepInfo
from ritz.driver.own_precision import OwnPrecision as OwnPrecision
from ritz.driver.processes.signals import RunInterrupted as RunInterrupted
from ritz.driver.stop import DeferredAccessError as DeferredAccessError
from ritz.driver.stop import StepRejectedError as StepRejectedError
from ritz.driver.stop import StopReason as StopReason
