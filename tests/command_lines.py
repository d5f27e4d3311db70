"""Commands as the docs and manifests have them, read by the command line that would take them."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

_COMMAND = re.compile(r"(?:^|&& |-- )\s*(?:uv run (?:--group \S+ )*)?((?:eadbench|ray) .*)$")


def command_lines(text: str) -> Iterator[list[str]]:
    """The `eadbench` and `ray` commands of a text, one a line, and those that `ray job submit` is given."""
    for line in re.sub(r"\\\n[# ]*", "", text).splitlines():
        command = line.lstrip("# ")
        while match := _COMMAND.search(command):
            words = shlex.split(match[1], comments=True)
            yield words
            command = shlex.join(words[words.index("--") :]) if "--" in words else ""


def taken(command: Any, words: list[str]) -> tuple[str, dict[str, Any]]:
    """The command that takes `words`, and how it reads them; words that it does not know are an error."""
    name, *rest = words
    while hasattr(command, "commands"):
        options, name, *rest = [[], *rest] if not rest[0].startswith("--") else [rest[:1], *rest[1:]]
        command.make_context("", [*options, name])
        command = command.commands[name]
    return name, command.make_context(name, rest).params
