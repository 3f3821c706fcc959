"""Numbers of accepted moves of samplers on the host."""

from netket.sampler import SamplerState


def moves(sampler_state: SamplerState) -> tuple[int, int]:
    """Numbers of accepted and of all moves, as counted by the state of a sampler on the host."""
    accepted = getattr(sampler_state, "n_accepted", None)
    made = getattr(sampler_state, "n_steps", None)
    return (0, 0) if accepted is None or made is None else (int(accepted), int(made))


def moves_since(before: tuple[int, int], sampler_state: SamplerState) -> tuple[int, int] | None:
    """The counts of one step, also if the sampler accumulates them; None without moves."""
    accepted, made = moves(sampler_state)
    if made > before[1]:
        accepted, made = accepted - before[0], made - before[1]
    return (accepted, made) if made else None
