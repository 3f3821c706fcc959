"""Plots of runs, from any log that Ritz or NetKet writes."""

from ritz.plotting.curves import Curve as Curve
from ritz.plotting.curves import Panel as Panel
from ritz.plotting.curves import RunLog as RunLog
from ritz.plotting.curves import open_runs as open_runs
from ritz.plotting.curves import panels_of as panels_of
from ritz.plotting.curves import panels_of_readable as panels_of_readable
from ritz.plotting.labels import labels_of as labels_of
from ritz.plotting.logs import SeveralRunsError as SeveralRunsError
from ritz.plotting.logs import exact_value as exact_value
from ritz.plotting.logs import find_log as find_log
from ritz.plotting.logs import find_logs as find_logs
from ritz.plotting.logs import read_log as read_log
from ritz.plotting.picture import draw_panels as draw_panels
from ritz.plotting.picture import draw_runs as draw_runs
from ritz.plotting.picture import plot_runs as plot_runs
