"""The command that previews a sweep: plan."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from eadbench.harness.commands.options import (
    Address,
    Executor,
    ExecutorName,
    ModelStore,
    Overrides,
    ResultsFolder,
    Scale,
    SpecFile,
    err,
    out,
)

__all__ = ["plan"]


def plan(
    spec_file: SpecFile,
    results: ResultsFolder = None,
    executor: Executor = ExecutorName.ray,
    address: Address = None,
    models: ModelStore = None,
    scale: Scale = None,
    overrides: Overrides = None,
    time: Annotated[
        bool, typer.Option("--time", help="Also estimate how long it takes: try each attack and training for seconds.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Workers of the estimate; as many as `run` would start, unless given.")
    ] = None,
    price: Annotated[
        float | None, typer.Option(min=0, help="Price of a GPU-hour: also estimate what the sweep costs.")
    ] = None,
) -> None:
    """Print what `run` would do, without doing it."""
    from eadbench.harness import api, spec
    from eadbench.harness.commands import plan_table, time_table
    from eadbench.harness.execution.estimate import estimate
    from eadbench.harness.numbers import counted
    from eadbench.harness.plan import grid

    resolved = spec.load(spec_file, overrides or (), scale=scale)
    planned = api.plan(resolved, results=results, executor=executor.value, address=address, models=models)
    blocks = grid.blocks(resolved, planned.data.identity, planned.victims)
    victims, cells = len(planned.victims), sum(len(block.cells()) for block in blocks)
    out.print(
        f"[bold]{resolved.name}[/]: {escape(planned.data.name)}, {counted(victims, 'victim')}, "
        f"{counted(cells, 'cell')}; results in {escape(str(planned.folder))}"
    )
    for text in plan_table.unmade(planned):
        out.print(f"  to make first: {escape(text)}", highlight=False, soft_wrap=True)
    for text in plan_table.left_out(resolved):
        out.print(f"  left out: {escape(text)}", highlight=False)
    out.print(plan_table.table(blocks, planned))
    if time or workers is not None or price is not None:
        with err.status("trying each attack and training for some seconds"):
            serial = executor is ExecutorName.serial
            expected = estimate(resolved, planned, workers=1 if serial else workers)
        out.print(time_table.table(expected, planned, price), highlight=False)
    for text in planned.warnings:
        err.print(Text.assemble(("warning:", "yellow"), " ", text), highlight=False, soft_wrap=True)
