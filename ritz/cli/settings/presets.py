"""Presets: configurations in the package that a command line names."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path


def with_preset(
    arguments: Sequence[str], folder: Path | None, shorthands: Mapping[str, str]
) -> list[str]:
    """A command line with `--config FILE` in the place of `preset=NAME`.

    Args:
        arguments: The command line.
        folder: The YAML files of the presets; None where there are none.
        shorthands: Names that stand for longer ones beside a preset, such as `extent` for
            `system.extent`.

    Raises:
        ValueError: If there is no preset of this name: one line with those that there are.
    """
    found: list[str] = []
    is_preset = False
    waiting = list(arguments)
    while waiting:
        token = waiting.pop(0)
        name, equals, value = token.partition("=")
        name = name.removeprefix("--")
        if name == "preset" and folder is not None and (equals or token == "--preset"):
            if not equals:
                if not waiting:
                    raise ValueError("preset: a value is missing; write it as preset=NAME.")
                value = waiting.pop(0)
            found.append(f"--config={_file(value, folder)}")
            is_preset = True
        else:
            found.append(token)
    return [_spelt_out(token, shorthands) for token in found] if is_preset else found


def preset_names(folder: Path) -> list[str]:
    """The names of the presets in a folder, in order."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def _file(name: str, folder: Path) -> Path:
    known = preset_names(folder)
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ValueError(f"preset: there is no {name!r}; {hint}The presets are {', '.join(known)}.")
    return folder / f"{name}.yaml"


def _spelt_out(token: str, shorthands: Mapping[str, str]) -> str:
    name, equals, value = token.partition("=")
    bare = name.removeprefix("--")
    return f"{shorthands[bare]}={value}" if equals and bare in shorthands else token
