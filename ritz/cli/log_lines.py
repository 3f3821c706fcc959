"""Log messages on lines of their own, also while a progress bar is drawn."""

import logging

from typing_extensions import override


class LinesAroundBars(logging.StreamHandler):
    """A handler that clears the progress bars of its stream, writes, and draws them again."""

    @override
    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        with tqdm.external_write_mode(file=self.stream):
            super().emit(record)
