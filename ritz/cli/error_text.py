"""Messages of jsonargparse in the words of the command line."""

import dataclasses
import re
from collections.abc import Collection, Sequence

from ritz.cli.settings.suggestions import Configuration, close_to, nearest, owner


@dataclasses.dataclass(frozen=True)
class Command:
    """A command as far as it was given, and what can follow.

    Args:
        name: Such as "ritz lattice train".
        options: What it takes, such as "--fmax".
        choices: The commands that can follow; none where it is complete.
        kind: The `Configuration` of which it takes settings, or None.
        dashed: The settings that were given with leading dashes, and are spoken of so too.
    """

    name: str
    options: Sequence[str] = ()
    choices: Sequence[str] = ()
    kind: type[Configuration] | None = None
    dashed: Collection[str] = ()

    def explained(self, message: str) -> str:
        """A message as one line that names key, value and what is allowed."""
        text = " ".join(message.split())
        if re.search(r'expected "[\w.]*subcommand" to be one of', text):
            return f"give a command: {', '.join(self.choices)}"
        wrong = re.search(r"argument subcommand: invalid choice: '(.*?)' \(choose", text)
        if wrong:
            return self._no_command(wrong[1])
        missing = re.search(r"the following arguments are required: (.*)", text)
        if missing:
            return self._missing(missing[1].split(", "))
        unknown = re.search(r"unrecognized arguments: (\S+)", text)
        if unknown:
            return self._unknown(unknown[1].partition("=")[0])
        return _of_value(text)

    def _no_command(self, word: str) -> str:
        near = close_to(word, self.choices)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(self.choices)}."
        return f"{word}: there is no such command; {hint}"

    def _missing(self, names: Sequence[str]) -> str:
        words = [name.rpartition(".")[2] for name in names]
        written = [f"--{word}" if f"--{word}" in self.options else word for word in words]
        return f"{' and '.join(written)} must be given"

    @property
    def _such_as(self) -> str:
        """The end of a sentence, with a setting of a group."""
        examples = {} if self.kind is None else self.kind.examples
        known = [f"{group}.{one}" for group, one in examples.items() if "=" in one]
        return "".join(f", such as {one}" for one in known[:1])

    def _unknown(self, token: str) -> str:
        name = token.lstrip("-")
        if self.kind is not None and token not in self.dashed:
            if token == name:
                return f"{token!r} was given, but settings are written as NAME=VALUE{self._such_as}"
            others = [option for option in self.options if owner(option[2:], self.kind) is None]
            near = nearest(name, self.kind, others)
            return f"{name}: there is no such setting{near}"
        if token == name:
            return f"{token!r} was given, but nothing is needed there"
        word, dot, argument = name.partition(".")
        near = close_to(word, [option.lstrip("-") for option in self.options])
        hint = (
            f"did you mean --{near[0]}{dot}{argument}?"
            if near
            else f"there are: {', '.join(self.options)}."
        )
        return f"{token}: there is no such option; {hint}"


def _of_value(text: str) -> str:
    """The message about the value of a setting."""
    found = re.search(r'Parser key "(?P<key>[^"]+)": (?P<what>.*)', text)
    if not found:
        return text
    key, what = found["key"], found["what"]
    nested = re.search(r"NestedArg\(key='([^']*)'", what)
    if nested:
        return f"{key}.{nested[1]}: {key} takes a value without arguments"
    union = re.search(r"Union subtypes Subtypes: \[(.*?)\] Errors: .*Given value: (.*)", what)
    if union:
        return f"{key}: {union[2]!r} was given, but {_kinds(union[1])} is needed"
    wanted = re.search(r"Expected an? <class '(\w+)'>\. Got value: (.*)", what)
    if wanted:
        whole = re.fullmatch(r"-?(\d+)\.0", wanted[2]) if wanted[1] == "int" else None
        hint = f"; write {wanted[2][:-2]}" if whole else ""
        if wanted[1] == "list":
            hint = f"; write {key}='[{wanted[2]}]'"
        return f"{key}: {wanted[2]!r} was given, but {wanted[1]} is needed{hint}"
    choice = re.search(r"Expected a typing\.Literal\[(.*?)\]\. Got value: (.*)", what)
    if choice:
        return f"{key}: {choice[2]!r} was given, but it must be one of: {choice[1]}"
    part = re.search(r"Not of type Part: (.*)", what)
    return f"{key}: {part[1] if part else what}"


def _kinds(subtypes: str) -> str:
    """The types of a union in the words of YAML."""
    names = [
        re.sub(r"<class '([\w.]+)'>", lambda m: m[1].split(".")[-1], text).strip()
        for text in re.split(r", (?![^\[]*\])", subtypes)
    ]
    words = ["null" if name == "NoneType" else name for name in names]
    return " or ".join(words)
