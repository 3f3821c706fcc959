"""How many of its moves a sampler on the host has accepted."""

from typing import Any


def moves(sampler_state: Any) -> tuple[int, int]:
    """How many moves were accepted, and made, as the state of a sampler on the host counts them."""
    accepted = getattr(sampler_state, "n_accepted", None)
    made = getattr(sampler_state, "n_steps", None)
    return (0, 0) if accepted is None or made is None else (int(accepted), int(made))


def moves_since(before: tuple[int, int], sampler_state: Any) -> tuple[int, int] | None:
    """Those of one step, whether or not the sampler counts from zero in each; None of none."""
    accepted, made = moves(sampler_state)
    if made > before[1]:
        accepted, made = accepted - before[0], made - before[1]
    return (accepted, made) if made else None
