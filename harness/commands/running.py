"""Commands that do work: run, transfer, plan, log."""

import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from eadbench.harness.analysis import aggregate
from eadbench.harness.commands.options import (
    Address,
    Folder,
    ModelStore,
    Overrides,
    ResultsFolder,
    Runner,
    Scale,
    SpecFile,
    Where,
    err,
    out,
    print_place,
)
from eadbench.harness.commands.reporting import write_page
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import TrackingFault
from eadbench.harness.execution.executor import Executor, SerialExecutor
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.runner import MakeExecutor
from eadbench.harness.labels import defense_text
from eadbench.harness.plan import grid
from eadbench.harness.plan.recipes import label
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from eadbench.harness.spec import schema as spec
from eadbench.harness.storage import located
from eadbench.harness.tracking_uri import default_tracking_uri, page_command
from eadbench.models import Recipe

if TYPE_CHECKING:
    from eadbench.harness.execution.sweep import Done

SHARDS_FAILED = 3
"""Exit code of a sweep that ended without some of its shards."""


def run(
    spec_file: SpecFile,
    results: ResultsFolder = None,
    executor: Runner = Where.ray,
    address: Address = None,
    models: ModelStore = None,
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Run what is missing of a sweep, and print its table."""
    from eadbench.harness.execution import sweep

    what, folder = _open(spec_file, results, overrides, scale)
    started, clock = datetime.now().astimezone(), time.perf_counter()
    with Progress(err) as progress:
        done = sweep.run(what, folder, _workers(what, executor, address), progress, models=models)
    _conclude(folder, done, started, time.perf_counter() - clock, scale)


def transfer(
    folder: Folder,
    to: Annotated[
        Path, typer.Option(metavar="SPEC", parser=located, help="The spec whose victims the examples are tested on.")
    ],
    executor: Runner = Where.ray,
    address: Address = None,
    models: ModelStore = None,
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Test a sweep's stored adversarial images on other victims, and print the table."""
    from eadbench.harness.execution import sweep

    what, results = spec.load(to, overrides or (), scale=scale), Results(folder)
    started, clock = datetime.now().astimezone(), time.perf_counter()
    with Progress(err) as progress:
        done = sweep.transfer(what, results, _workers(what, executor, address), progress, models=models)
    out.print(f"{done.transfers} parts were tested on other victims.")
    _conclude(results, done, started, time.perf_counter() - clock, scale)


def plan(spec_file: SpecFile, results: ResultsFolder = None, scale: Scale = None, overrides: Overrides = None) -> None:
    """Say what `run` would do, and do none of it."""
    from eadbench.harness.execution import sweep

    what, folder = _open(spec_file, results, overrides, scale)
    todo = sweep.plan(what, folder)
    blocks = grid.blocks(what, todo.data.identity, todo.victims)
    out.print(
        f"[bold]{what.name}[/]: {escape(todo.data.name)}, {len(todo.victims)} victims, "
        f"{sum(len(block.cells()) for block in blocks)} cells; results in {escape(str(folder.root))}"
    )
    for recipe in todo.unmade:
        out.print(escape(f"  to make first: {recipe.arch}, {_defense(recipe)} ({recipe.digest})"), highlight=False)
    table = Table("victim", "attack", "cells", "examples", "shards", "gradient evaluations", box=None)
    totals = [0, 0, 0]
    missing = iter(todo.missing)
    shard = next(missing, None)
    for block in blocks:  # shards come in the order of their blocks
        shards = examples = 0
        while shard and (shard.victim.digest, shard.setting) == (block.victim.digest, block.setting):
            shards, examples = shards + 1, examples + len(shard.examples)
            shard = next(missing, None)
        most = examples * block.setting.build(()).most_iterations
        name = aggregate.attack_name(block.setting.attack, block.setting.parameters.get("norm"))
        table.add_row(
            f"{block.victim.arch}, {defense_text(block.victim.defense, block.victim.temperature)}",
            name,
            str(len(block.cells())),
            f"{examples:,}",
            f"{shards:,}",
            f"≤ {most:,}",
        )
        totals = [total + more for total, more in zip(totals, (examples, shards, most), strict=True)]
    table.add_section()
    table.add_row("all", "", "", f"{totals[0]:,}", f"{totals[1]:,}", f"≤ {totals[2]:,}", style="bold")
    for column in table.columns[2:]:
        column.justify = "right"
    out.print(table)


def log(folder: Folder) -> None:
    """Write to MLflow what it lacks of a sweep."""
    from eadbench.harness.tracking import invocation

    uri = default_tracking_uri(folder)
    logged = invocation.log(Results(folder), uri)
    cells = sum(one.cells_written for one in logged)
    out.print(f"{len(logged)} invocations, {cells} cells written, {sum(one.cells_found for one in logged)} were there")
    out.print(escape(f"MLflow   {page_command(uri)}"), soft_wrap=True)


def _workers(what: spec.Spec, executor: Where, address: str | None) -> MakeExecutor:
    """What makes the workers of a sweep."""

    def make(setup: Setup, data: DataSet, progress: Progress) -> Executor:
        if executor is Where.serial:
            return SerialExecutor(setup, data, progress)
        from eadbench.harness.execution.ray import RayExecutor

        return RayExecutor(setup, data, progress, address=address, spec=what)

    return make


def _conclude(results: Results, done: "Done", started: datetime, seconds: float, scale: str | None) -> None:
    """Print the table, write the report, tell MLflow, and say where they are and what failed."""
    from eadbench.harness.tracking import invocation

    found = report.read(results)
    texts = report.write(results, found)
    out.print(report.terminal(found, width=out.width))
    uri = default_tracking_uri(results.root)
    if done.nothing:
        out.print("Nothing to do: every shard had been done before.")
    else:
        identity = invocation.keep(results, done, found, texts, started, seconds, scale=scale)
        write_page(results, found)
        invocation.keep_files(results, found, identity)
        try:
            with err.status("logging to MLflow"):
                invocation.log(results, uri)
        except TrackingFault as fault:
            err.print(
                f"[yellow]warning:[/] {escape(str(fault))}; `eadbench log {escape(str(results.root))}` writes it later",
                soft_wrap=True,
            )
    _print_places(results, page_command(uri))
    _end(done, results)


def _defense(recipe: Recipe) -> str:
    """A recipe's defence in words, and how long it is trained."""
    text = defense_text(label(recipe.defense), recipe.defense.get("temperature"))
    return text if recipe.training is None else f"{text}, {recipe.training.epochs} epochs"


def _end(done: "Done", results: Results) -> None:
    """Say what failed, and leave with the exit code for it."""
    if done.unconfirmed:
        err.print(
            f"{done.unconfirmed} examples that searches had found did not hold in float32: they count as failures"
        )
    if done.failures:
        err.print(
            f"[red]{len(done.failures)} shards failed[/]; {escape(str(results.failures))}/*.json say why; "
            "run again to retry them"
        )
        raise typer.Exit(SHARDS_FAILED)


def _open(
    spec_file: Path, results: Path | None, overrides: list[str] | None, scale: str | None
) -> tuple[spec.Spec, Results]:
    what = spec.load(spec_file, overrides or (), scale=scale)
    return what, Results(results or Path("results") / what.name)


def _print_places(results: Results, page: str) -> None:
    from eadbench.harness.tracking.invocation import REPORT

    print_place("Rows", f"{results.examples}/*.parquet")
    print_place("Tables", f"{results.report}/table.csv, .md, .tex")
    if (results.report / REPORT).is_file():
        print_place("Report", results.report / REPORT)
    print_place("MLflow", page)
