"""Log messages beside progress bars."""

import io
import logging

from tqdm import tqdm

from ritz.cli.log_lines import LinesAroundBars


def test_messages_have_lines_of_their_own():
    stream = io.StringIO()
    handler = LinesAroundBars(stream)
    with tqdm(total=2, file=stream, mininterval=0) as bar:
        bar.update()
        handler.emit(logging.makeLogRecord({"msg": "compiled"}))
    before, _, after = stream.getvalue().partition("compiled\n")
    assert before.endswith("\r")  # what the bar showed is cleared
    assert "1/2" in before and "1/2" in after
