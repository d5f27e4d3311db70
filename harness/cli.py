"""The command `eadbench`."""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from attacks import ATTACKS
from harness import aggregate, grid, spec, tables
from harness.datasets import DATASETS
from harness.entries import parameters_of
from harness.errors import EadbenchError, TrackingFault
from harness.executor import Executor, SerialExecutor
from harness.progress import Progress
from harness.results import Results, write_text
from harness.tracking_uri import default_tracking_uri, page_command
from harness.worker import Setup
from models import MODELS

app = typer.Typer(
    help="Benchmark of adversarial attacks on image classifiers: EAD, C&W, FGM and I-FGM.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out = Console()
err = Console(stderr=True)

SHARDS_FAILED = 3
"""Exit code of a sweep that ended without some of its shards."""


class Where(StrEnum):
    """What runs shards."""

    ray = "ray"
    serial = "serial"


class Format(StrEnum):
    """How a table is written."""

    table = "table"
    markdown = "markdown"
    csv = "csv"
    latex = "latex"


SpecFile = Annotated[Path, typer.Argument(metavar="SPEC", help="The YAML file that describes the sweep.")]
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The results folder of a sweep.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change the spec: images.count=10.")
]
ResultsFolder = Annotated[
    Path | None,
    typer.Option("--results", metavar="DIR", help="Where the results go; results/NAME unless given."),
]


@app.command()
def run(
    spec_file: SpecFile,
    results: ResultsFolder = None,
    executor: Annotated[Where, typer.Option(help="On a Ray cluster, or in this process.")] = Where.ray,
    address: Annotated[
        str | None,
        typer.Option(help="Of a running Ray cluster; one is started on this machine unless given."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run what is missing of a sweep, and print its table."""
    from harness import invocation, sweep

    what, folder = _open(spec_file, results, overrides)
    started, clock = datetime.now().astimezone(), time.perf_counter()

    def workers(setup: Setup, progress: Progress) -> Executor:
        if executor is Where.serial:
            return SerialExecutor(setup, progress.report)
        from harness.cluster import RayExecutor

        return RayExecutor(setup, progress.report, address=address, workers=what.resources.workers)

    with Progress(err) as progress:
        done = sweep.run(what, folder, workers, progress)
    summary = aggregate.summarise(folder.rows(), seed=what.seed)
    texts = _write_tables(folder, what.name, summary)
    _print_table(summary)

    uri = default_tracking_uri(folder.root)
    if done.nothing:
        out.print("Nothing to do: every shard had been done before.")
    else:
        invocation.keep(folder, done, summary, texts, started, time.perf_counter() - clock)
        try:
            with err.status("logging to MLflow"):
                invocation.log(folder, uri)
        except TrackingFault as fault:
            err.print(f"[yellow]warning:[/] {fault}; `eadbench log {folder.root}` writes it later", soft_wrap=True)
    _print_places(folder, page_command(uri))
    if done.failures:
        err.print(
            f"[red]{len(done.failures)} shards failed[/]; {folder.shards}/*.error say why; run again to retry them"
        )
        raise typer.Exit(SHARDS_FAILED)


@app.command()
def plan(spec_file: SpecFile, results: ResultsFolder = None, overrides: Overrides = None) -> None:
    """Say what `run` would do, and do none of it."""
    from harness import sweep

    what, folder = _open(spec_file, results, overrides)
    todo = sweep.plan(what, folder)
    blocks = grid.blocks(what, todo.data.identity, todo.victims)
    out.print(
        f"[bold]{what.name}[/]: {todo.data.name}, {len(todo.victims)} victims, "
        f"{sum(len(block.cells()) for block in blocks)} cells; results in {folder.root}"
    )
    for task in todo.unready:
        out.print(
            f"  to train or load: {task.recipe.arch}, defence {task.recipe.defense['name']} ({task.recipe.digest})"
        )
    table = Table("victim", "attack", "cells", "examples", "shards", "gradient evaluations", box=None)
    totals = [0, 0, 0]
    for block in blocks:
        shards = [shard for shard in todo.missing if (shard.victim, shard.setting) == (block.victim, block.setting)]
        examples = sum(len(shard.examples) for shard in shards)
        most = examples * block.setting.build(()).most_iterations
        name = aggregate.attack_name(block.setting.attack, block.setting.parameters.get("norm"))
        table.add_row(
            block.victim.arch,
            name,
            str(len(block.cells())),
            f"{examples:,}",
            f"{len(shards):,}",
            f"≤ {most:,}",
        )
        totals = [total + more for total, more in zip(totals, (examples, len(shards), most), strict=True)]
    table.add_section()
    table.add_row("all", "", "", f"{totals[0]:,}", f"{totals[1]:,}", f"≤ {totals[2]:,}", style="bold")
    for column in table.columns[2:]:
        column.justify = "right"
    out.print(table)


@app.command()
def report(
    folder: Folder,
    format: Annotated[Format, typer.Option(help="For the terminal, or as text.")] = Format.table,
) -> None:
    """Print the tables of a sweep, from its rows."""
    results = Results(folder)
    what = results.spec()
    summary = aggregate.summarise(results.rows(), seed=what.seed)
    if format is Format.table:
        _print_table(summary)
    else:
        sys.stdout.write(tables.render(summary.assign(table=what.name), format.value))


@app.command()
def log(folder: Folder) -> None:
    """Write to MLflow what it lacks of a sweep."""
    from harness import invocation

    uri = default_tracking_uri(folder)
    logged = invocation.log(Results(folder), uri)
    cells = sum(one.cells_written for one in logged)
    out.print(f"{len(logged)} invocations, {cells} cells written, {sum(one.cells_found for one in logged)} were there")
    out.print(f"MLflow   {page_command(uri)}", soft_wrap=True)


@app.command()
def attacks() -> None:
    """List the attacks that a spec can name, with their parameters."""
    _print_entries(ATTACKS, leave_out=("targeted",))


@app.command()
def datasets() -> None:
    """List the data sets that a spec can name, with their parameters."""
    _print_entries(DATASETS)


@app.command()
def models() -> None:
    """List the architectures that a spec can name."""
    _print_entries(MODELS, leave_out=("num_classes",))
    out.print("Also any classification model of torchvision by its name (resnet18, inception_v3, …), and any function")
    out.print("package.module:function that returns a torch.nn.Module.")


def main() -> None:
    """Run the command; a mistake or a fault ends it with one line and its exit code."""
    try:
        app()
    except EadbenchError as error:
        err.print(f"[red]error:[/] {error}", soft_wrap=True, highlight=False)
        sys.exit(error.exit_code)


def _open(spec_file: Path, results: Path | None, overrides: list[str] | None) -> tuple[spec.Spec, Results]:
    what = spec.load(spec_file, overrides or ())
    return what, Results(results or Path("results") / what.name)


def _write_tables(results: Results, name: str, summary: pd.DataFrame) -> dict[str, str]:
    """Write the tables into the results folder; returns file name to text."""
    endings = {"table.csv": "csv", "table.md": "markdown", "table.tex": "latex"}
    texts = {file: tables.render(summary.assign(table=name), format) for file, format in endings.items()}
    for file, text in texts.items():
        write_text(results.report / file, text)
    return texts


def _print_table(summary: pd.DataFrame) -> None:
    out.print(tables.terminal(summary, width=out.width))


def _print_places(results: Results, page: str) -> None:
    out.print(f"Rows     {results.examples}/*.parquet", soft_wrap=True, highlight=False)
    out.print(f"Tables   {results.report}/table.csv, .md, .tex", soft_wrap=True, highlight=False)
    out.print(f"MLflow   {page}", soft_wrap=True, highlight=False)


def _print_entries(table: Mapping[str, Callable[..., Any]], leave_out: Sequence[str] = ()) -> None:
    """Name after name, what it is and which parameters it takes, with their defaults."""
    for name, thing in table.items():
        out.print(f"[bold]{name}[/]  {(thing.__doc__ or '').strip().splitlines()[0]}", highlight=False)
        for parameter, field in parameters_of(thing, leave_out=leave_out).model_fields.items():
            default = "needed" if field.is_required() else repr(field.default)
            out.print(f"    {parameter}: {default}", highlight=False)
