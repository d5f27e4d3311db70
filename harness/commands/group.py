"""The group of commands. A command's module is imported when the command is called, so that help appears at once."""

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup

from eadbench.harness.errors import UserError

__all__ = ["COMMANDS", "CommandGroup"]


class _Entry(NamedTuple):
    """Where a command is: `function` of a module below `eadbench`; and the first line of its docstring."""

    module: str
    summary: str


COMMANDS: Mapping[str, _Entry] = {
    "run": _Entry("harness.commands.running", "Run the remaining work of a sweep, and print its table."),
    "plan": _Entry("harness.commands.planning", "Print what `run` would do, without doing it."),
    "transfer": _Entry(
        "harness.commands.running",
        "Test the stored adversarial images of a sweep on other victims, and print the table.",
    ),
    "log": _Entry("harness.commands.running", "Write to MLflow what it lacks of a sweep."),
    "report": _Entry("harness.commands.reporting", "Print the tables of a sweep."),
    "claims": _Entry(
        "harness.commands.reporting",
        "Test the paper's claims on the results of sweeps: each holds, fails, or lacks data.",
    ),
    "leaderboard": _Entry(
        "harness.commands.ranking",
        "Rank the attacks of sweeps by how near they come to the least distances that any of them finds.",
    ),
    "robust": _Entry(
        "harness.commands.ranking",
        "Print robust accuracy at a fixed ε, by attack and by the worst case of all attacks of some sweeps.",
    ),
    "show": _Entry("harness.commands.showing", "Draw one example, and print the result of every attack on it."),
    "verify": _Entry(
        "harness.commands.verifying",
        "Check every file of a sweep against its checksum, and all rows, victims and the spec against results.lock.",
    ),
    "list": _Entry("harness.commands.inventory", "List the sweeps in a folder: their state, rows, size and age."),
    "export": _Entry(
        "harness.commands.inventory",
        "Write the rows of a sweep as CSV, and its adversarial images as PNG, for other programs.",
    ),
    "merge": _Entry(
        "harness.commands.housekeeping",
        "Join the sweeps of folders, whose specs differ in victims and attacks alone, in a new folder.",
    ),
    "clean": _Entry(
        "harness.commands.housekeeping",
        "Remove the models, parts and leftovers of a folder that its spec does not need; each group is named.",
    ),
    "cancel": _Entry(
        "harness.commands.housekeeping", "Ask the command that works in a folder to stop after its running tasks."
    ),
    "dashboard": _Entry(
        "dashboards.command",
        "Serve a web page of the tables, curves, images and progress of sweeps, and of their differences.",
    ),
    "attacks": _Entry("harness.commands.listing", "List attacks with their hyperparameters."),
    "datasets": _Entry("harness.commands.listing", "List data sets with their parameters."),
    "defenses": _Entry("harness.commands.listing", "List defences with their parameters."),
    "detectors": _Entry("harness.commands.listing", "List detectors with their parameters."),
    "models": _Entry("harness.commands.listing", "List model architectures with their parameters."),
    "check": _Entry("harness.commands.checking", "Check an attack against the contract of all attacks."),
    "schema": _Entry(
        "harness.commands.schema", "Print the JSON Schema of specs. Editors use it to complete and check specs."
    ),
}
"""The commands by name, in the order of the help."""


def _naming_spec(command: Callable[..., None]) -> Callable[..., None]:
    """Return a command that puts the path of its spec, if it takes one, before every error of the user."""
    if "spec_file" not in inspect.signature(command).parameters:
        return command

    @functools.wraps(command)
    def wrapper(spec_file: Path, **options: object) -> None:
        try:
            command(spec_file, **options)
        except UserError as error:
            text = str(error)
            raise UserError(text if text.startswith(f"{spec_file}: ") else f"{spec_file}: {text}") from error

    return wrapper


class DeferredCommand(TyperCommand):
    """A command by its name and its summary, until it is called."""

    def __init__(self, name: str, entry: _Entry) -> None:
        super().__init__(name, help=entry.summary)
        self._module = entry.module

    def loaded(self) -> Any:
        """Return the command with its options."""
        function = getattr(import_module(f"eadbench.{self._module}"), str(self.name))
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(self.name)(_naming_spec(function))
        return typer.main.get_command(app)

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the arguments by the command itself."""
        return self.loaded().make_context(*arguments, **options)


class CommandGroup(TyperGroup):
    """The group of :data:`COMMANDS`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = {name: DeferredCommand(name, entry) for name, entry in COMMANDS.items()}
