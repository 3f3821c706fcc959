"""How structures have ended, in the words of messages and results."""

from ritz.types import Row


def counts_by_outcome(row: Row, exit_name: str) -> dict[str, int]:
    """Numbers of structures that have ended in each way.

    Args:
        row: The row of a step.
        exit_name: The word for those that have left the last stage, see `FusedStage.exit_name`.
    """
    names = {exit_name: "converged"}
    names |= {name: name for name in ("unconverged", "failed", "uncertain") if name in row}
    return {told: row[name] for told, name in names.items()}
