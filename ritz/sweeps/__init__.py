"""Many runs: what varies between them, their execution by Dask, and tables of their results.

Nothing here imports JAX: the runs are processes of their own.
"""

from ritz.sweeps.comparison import compare as compare
from ritz.sweeps.plan import Plan as Plan
from ritz.sweeps.plan import PlannedRun as PlannedRun
from ritz.sweeps.running import sweep as sweep
