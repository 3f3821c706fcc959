"""The progress bar in terminals of several widths, in log files, and beside messages."""

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from ritz.callbacks import HookTiming, ProgressBar, bar_outputs
from ritz.callbacks.bar_line import Progress, log_line, terminal_line
from ritz.callbacks.bar_outputs import LogLines
from ritz.testing import QuadraticDriver

MODULE = [sys.executable, "-m", "tests.callbacks.bar_run"]
ROOT = Path(__file__).parents[2]
PARTS = ("Energy=-10.123 ± 0.012", "acceptance=0.5", "lowest=-10.2 ± 0.01", "σ²=0.1")
HALF = Progress(250, 500, elapsed=5.0, rate=50.0, parts=PARTS)


def in_terminal(columns, *arguments):
    """What a run writes on a terminal of so many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    process = subprocess.Popen([*MODULE, *arguments], stderr=slave, stdout=slave, cwd=ROOT)
    os.close(slave)
    chunks = []
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # on Linux, the end
            break
        if not chunk:
            break
        chunks.append(chunk)
    os.close(master)
    assert process.wait() == 0
    return b"".join(chunks).decode()


@pytest.mark.medium
@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("handler", [(), ("--handler",)])
def test_a_terminal_has_one_line_that_fits(columns, handler):
    written = in_terminal(columns, *handler)
    lines = written.replace("\r\n", "\n").split("\n")
    assert lines.pop() == ""
    above, last = lines
    assert above.split("\r")[-1] == "the block program was compiled"
    shown = [text for line in lines for text in line.split("\r") if text]
    assert len(shown) > 5 and max(map(len, shown)) < columns
    end = last.split("\r")[-1].rstrip()
    assert "40/40" in end and "loss=1." in end
    assert ("|" in end) is (columns > 40)
    assert ("acceptance=0.5" in end and "lowest=" in end) is (columns == 200)


def test_a_pipe_gets_lines_without_control_characters():
    done = subprocess.run(MODULE, capture_output=True, text=True, cwd=ROOT, check=True)
    message, end = done.stderr.splitlines()
    assert message == "the block program was compiled"
    assert end.startswith("40/40 steps, ") and "acceptance=0.5" in end
    assert "\r" not in done.stderr and "\x1b" not in done.stderr


@pytest.mark.parametrize("width", range(20, 200, 3))
def test_lines_of_any_width(width):
    line = terminal_line(HALF, width)
    assert len(line) <= width and line.startswith("250/500") is ("|" not in line)
    assert line.isprintable()


def test_parts_are_dropped_in_order_of_importance():
    shown = [terminal_line(HALF, width) for width in range(30, 170)]
    order = ["Energy=", "<00:05", "50 steps/s", "|", "acceptance", "lowest", "σ²", "00:05<00:05"]
    first = [next(place for place, line in enumerate(shown) if part in line) for part in order]
    assert first == sorted(first)
    for part, place in zip(order, first, strict=True):
        assert all(part in line for line in shown[place:])


def test_the_line_of_a_log_file():
    assert log_line(HALF) == (
        "250/500 steps, 00:05, 00:05 left, 50 steps/s, Energy=-10.123 ± 0.012, acceptance=0.5, "
        "lowest=-10.2 ± 0.01, σ²=0.1"
    )
    assert log_line(Progress(0, 500, 0.0, None)) == "0/500 steps, 00:00, ? left"


def test_lines_of_a_log_file_become_rare(monkeypatch, capsys):
    clock = [0.0]
    monkeypatch.setattr(bar_outputs.time, "monotonic", lambda: clock[0])
    bar, times = LogLines(total=2000, unit="step", file=sys.stderr), []
    for second in range(2000):
        clock[0] = float(second)
        bar.update()
        bar.refresh()
        if capsys.readouterr().err:
            times.append(second)
    bar.close()
    assert times == [10, 30, 70, 150, 310, 630, 1230, 1830]
    assert capsys.readouterr().err.startswith("2000/2000 steps")


class Full(io.StringIO):
    """A stream into a full disk, or of a terminal that is gone."""

    def __init__(self, is_terminal):
        super().__init__()
        self.isatty = lambda: is_terminal

    def write(self, text):
        raise OSError(28, "No space left on device")

    def flush(self):
        self.write("")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


@pytest.mark.parametrize("stream", [None, closed(), Full(False), Full(True)])
def test_a_run_goes_on_where_nothing_can_be_written(stream, monkeypatch):
    monkeypatch.setattr(bar_outputs, "FIRST_LINE", 0.0)
    monkeypatch.setattr(sys, "stderr", stream)
    driver = QuadraticDriver()
    driver.run(5, callback=[ProgressBar(min_interval=0.0), HookTiming()], show_progress=False)
    assert driver.step_count == 5
