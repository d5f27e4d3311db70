"""Commands that do work: run, transfer, log."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from eadbench.harness.commands.options import (
    SHARDS_FAILED,
    Address,
    AllowCode,
    Executor,
    ExecutorName,
    Folder,
    ModelStore,
    Overrides,
    ResultsFolder,
    Scale,
    SpecFile,
    err,
    out,
    print_place,
    spec_path,
)

TOLD_FROM = 10.0
"""Seconds of attacks from which on a run says at its end how long it had expected them to take."""

if TYPE_CHECKING:
    from eadbench.harness.api import Ended, Results


def run(
    spec_file: SpecFile,
    results: ResultsFolder = None,
    executor: Executor = ExecutorName.ray,
    address: Address = None,
    models: ModelStore = None,
    scale: Scale = None,
    overrides: Overrides = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of a GPU-hour: also show what the workers cost.")
    ] = None,
) -> None:
    """Run the remaining work of a sweep, and print its table."""
    from eadbench.harness import api, spec

    ended = api.sweep(
        spec.load(spec_file, overrides or (), scale=scale),
        results=results,
        executor=executor.value,
        address=address,
        models=models,
        scale=scale,
        console=err,
        price=price,
        show=_print_table,
    )
    _print_end(ended, price)


def transfer(
    folder: Folder,
    to: Annotated[
        Path | None,
        typer.Option(metavar="SPEC", parser=spec_path, help="Spec with the victims to test on, or a list of victims."),
    ] = None,
    victim: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ARCH:WEIGHTS",
            help="A victim: resnet50:weights.pth, a recipe.json, or the folder of a stored model; repeatable.",
        ),
    ] = None,
    executor: Executor = ExecutorName.ray,
    address: Address = None,
    models: ModelStore = None,
    scale: Scale = None,
    overrides: Overrides = None,
) -> None:
    """Test the stored adversarial images of a sweep on other victims, and print the table."""
    from eadbench.harness import api

    ended = api.transfer(
        folder,
        to,
        victim or (),
        executor=executor.value,
        address=address,
        models=models,
        scale=scale,
        overrides=overrides or (),
        console=err,
        show=_print_table,
    )
    out.print(f"{ended.done.transfers} parts were tested on other victims.")
    _print_end(ended)


def log(folder: Folder, allow_code: AllowCode = False) -> None:
    """Write to MLflow what it lacks of a sweep."""
    from eadbench.harness import api
    from eadbench.harness.execution.progress import Progress
    from eadbench.harness.tracking.uri import default_tracking_uri, page_command

    with Progress(err) as progress, progress.waiting("logging to MLflow"):
        invocations = api.log(folder, allow_code=allow_code)
    written = sum(invocation.cells_written for invocation in invocations)
    complete = sum(invocation.cells_found for invocation in invocations)
    out.print(f"{len(invocations)} invocations, {written} cells written, {complete} were there")
    out.print(escape(f"MLflow   {page_command(default_tracking_uri(folder))}"), soft_wrap=True)


def _print_table(results: "Results") -> None:
    from eadbench.harness.reporting import report

    out.print(report.terminal(results.summary, width=out.width))


def _print_end(ended: "Ended", price: float | None = None) -> None:
    """Print the paths of all outputs, the time, and the failures; exit with `SHARDS_FAILED` if any."""
    from eadbench.harness.tracking.invocation import REPORT
    from eadbench.harness.tracking.uri import default_tracking_uri, page_command

    folder, done = ended.results.snapshot.folder, ended.done
    if done.nothing:
        out.print("Nothing to do: every shard is done.")
    if ended.warning:
        later = f"`eadbench log {escape(str(folder.root))}` writes it later"
        err.print(f"[yellow]warning:[/] {escape(ended.warning)}; {later}", soft_wrap=True)
    print_place("Rows", f"{folder.examples}/*.parquet")
    print_place("Tables", f"{folder.report}/table.csv, .md, .tex")
    if (folder.report / REPORT).is_file():
        print_place("Report", folder.report / REPORT)
    print_place("MLflow", page_command(default_tracking_uri(folder.root)))
    if ended.forecast is not None and ended.forecast.took >= TOLD_FROM:
        print_place("Time", ended.forecast)
    if ended.cost is not None:
        print_place("Cost", f"{ended.cost:.2f} at {price:g} per GPU-hour")
    if done.unconfirmed:
        cause = "did not last on a random victim" if done.random else "failed in float32"
        err.print(f"{done.unconfirmed} successes of a search {cause}: they count as failures")
    if done.failures:
        err.print(
            f"[red]{len(done.failures)} shards failed[/]; {escape(str(folder.failures))}/*.json say why; "
            "run again to retry them"
        )
        raise typer.Exit(SHARDS_FAILED)
