"""A package that `ritz new` writes: a part of one's own, its tests, and its entry points."""

import dataclasses
import importlib.util
import io
import keyword
import re
import sys
import tokenize
from pathlib import Path

from ritz.cli.plugin_contracts import is_of_ritz


@dataclasses.dataclass(frozen=True)
class Part:
    """A part with which a package may begin.

    Args:
        skeleton: Its module in `ritz.cli.skeletons`.
        original: The name of the class in it.
        suffix: What is put behind the name of a package that has several parts.
        check: How its test checks it; `CLASS` stands for the class.
        imports: What of `ritz.testing` the test needs.
        kind: The kind of plug-ins that it is; empty if it is none.
        use: How it is used, in Python; `CLASS` stands for the class.
    """

    skeleton: str
    original: str
    suffix: str
    check: str
    imports: str
    kind: str
    use: str


_PARTS = {
    "callback": Part(
        "callback",
        "LongestStep",
        "Callback",
        "check_callback(CLASS)",
        "check_callback",
        "callbacks",
        "driver.run(100, callback=CLASS())",
    ),
    "stop-condition": Part(
        "stop_condition",
        "Below",
        "Condition",
        "check_callback(lambda: CLASS(1.1))",
        "check_callback",
        "callbacks",
        "driver.run(100, callback=CLASS(0.0))",
    ),
    "logger": Part(
        "logger",
        "StepsLog",
        "Log",
        'check_logger(CLASS, tmp_path, lambda log: (tmp_path / "run.steps").read_text().split())',
        "check_logger",
        "loggers",
        "driver.run(100, out=CLASS())",
    ),
    "update": Part(
        "update",
        "Normalised",
        "Update",
        "check_update(CLASS())",
        "check_update",
        "updates",
        "VMC(..., update=CLASS())",
    ),
    "driver": Part(
        "driver",
        "Newton",
        "Driver",
        "check_driver(CLASS)",
        "check_driver",
        "",
        "CLASS().run(30)",
    ),
}

KINDS = (*_PARTS, "plugin")
"""What `ritz new` can begin with; the last one has a part of each kind."""

_SETTINGS = {"callbacks": "callbacks: [{}]", "loggers": "loggers: [{}]", "updates": "update: {}"}
"""How a configuration names plug-ins, in the settings of a training."""

_SKELETONS = Path(__file__).parent / "skeletons"


class Package:
    """A package to be written.

    Args:
        kind: One of `KINDS`.
        name: Its name: words in capitals, or with hyphens or underscores.

    Raises:
        ValueError: If it cannot be the name of a package, or is that of another one or of something
            in Ritz, which would hide it.
    """

    def __init__(self, kind: str, name: str):
        words = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", name) or not words:
            raise ValueError(
                f"{name!r} cannot be the name of a package: give letters, figures and hyphens, "
                "such as StopWhenPrecise or stop-when-precise."
            )
        self.kind = kind
        self.module = "_".join(word.lower() for word in words)
        self.title = "".join(word if word.isupper() else word.capitalize() for word in words)
        taken = keyword.iskeyword(self.module) or self.module in sys.stdlib_module_names
        if taken or importlib.util.find_spec(self.module) is not None:
            raise ValueError(
                f"{name!r}: there is a module {self.module} in Python or in an installed package; "
                "give another name."
            )
        hidden = [title for title, part in self.parts.items() if _is_hidden(part, title)]
        if hidden:
            raise ValueError(
                f"{name!r}: configurations would find the {hidden[0]} of Ritz; give another name."
            )

    @property
    def distribution(self) -> str:
        """The name under which it is installed."""
        return self.module.replace("_", "-")

    @property
    def parts(self) -> dict[str, Part]:
        """Its parts by the names of their classes."""
        if self.kind == "plugin":
            return {f"{self.title}{part.suffix}": part for part in _PARTS.values()}
        return {self.title: _PARTS[self.kind]}

    @property
    def is_offered(self) -> bool:
        """Whether anything of it is found as a plug-in."""
        return bool(self._offered())

    def write(self, into: Path) -> Path:
        """Write it into a folder of its name.

        Args:
            into: Where that folder is made.

        Raises:
            ValueError: If it exists.
        """
        folder = into / self.distribution
        if folder.exists():
            raise ValueError(f"{folder} exists; give another name, or --into another folder.")
        source, tests = folder / "src" / self.module, folder / "tests"
        source.mkdir(parents=True)
        tests.mkdir()
        exported = []
        for name, part in self.parts.items():
            text = (_SKELETONS / f"{part.skeleton}.py").read_text()
            (source / f"{part.skeleton}.py").write_text(_renamed(text, part.original, name))
            exported.append(f"from {self.module}.{part.skeleton} import {name} as {name}\n")
            (tests / f"test_{part.skeleton}.py").write_text(self._test(name, part))
        heading = f'"""{self.title}: what it adds to Ritz."""\n\n'
        (source / "__init__.py").write_text(heading + "".join(sorted(exported)))
        (folder / "pyproject.toml").write_text(self._pyproject())
        (folder / "README.md").write_text(self._readme())
        return folder

    def _test(self, name: str, part: Part) -> str:
        argument = "tmp_path" if "tmp_path" in part.check else ""
        return (
            f"from ritz.testing import {part.imports}\n\n"
            f"from {self.module} import {name}\n\n\n"
            f"def test_it_does_what_ritz_expects({argument}):\n"
            f"    {part.check.replace('CLASS', name)}\n"
        )

    def _pyproject(self) -> str:
        lines = [
            "[build-system]",
            'requires = ["setuptools>=64"]',
            'build-backend = "setuptools.build_meta"',
            "",
            "[project]",
            f'name = "{self.distribution}"',
            'version = "0.1.0"',
            f'description = "{self.title} for Ritz"',
            'requires-python = ">=3.11"',
            'dependencies = ["ritz"]',
            "",
            "[project.optional-dependencies]",
            'test = ["pytest"]',
        ]
        for kind, names in self._offered().items():
            lines += ["", f'[project.entry-points."ritz.{kind}"]']
            lines += [f'{name} = "{self.module}:{name}"' for name in names]
        return "\n".join(lines) + "\n"

    def _readme(self) -> str:
        text = f"# {self.distribution}\n\n```sh\npip install -e .\npython -m pytest\n```\n"
        for name, part in self.parts.items():
            use = part.use.replace("CLASS", name)
            text += f"\n```python\nfrom {self.module} import {name}\n\n{use}\n```\n"
        kinds = self._offered()
        if kinds:
            text += "\nIn configurations:\n\n```yaml\ntrain:\n"
            for kind, names in kinds.items():
                text += f"  {_SETTINGS[kind].format(', '.join(names))}\n"
            text += "```\n"
        return text

    def _offered(self) -> dict[str, list[str]]:
        """The classes that are found as plug-ins, by kind."""
        found: dict[str, list[str]] = {}
        for name, part in self.parts.items():
            if part.kind:
                found.setdefault(part.kind, []).append(name)
        return found


def _is_hidden(part: Part, name: str) -> bool:
    return bool(part.kind) and is_of_ritz(part.kind, name)


def _renamed(text: str, old: str, new: str) -> str:
    """A module in which a name is another one; docstrings and comments stay as they are."""
    lines = text.splitlines(keepends=True)
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for token in reversed(tokens):  # so that the places of earlier ones stay
        if token.type == tokenize.NAME and token.string == old:
            row, start = token.start
            lines[row - 1] = lines[row - 1][:start] + new + lines[row - 1][token.end[1] :]
    return "".join(lines)
