"""What is kept of each invocation of `eadbench run`, and written to MLflow, now or later.

::

    DIR/invocations/<id>.json         its record, texts included
    DIR/invocations/<id>/             the figures and the report, as they were at its end
"""

import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from uuid import uuid4

from eadbench.harness.execution.sweep import Done
from eadbench.harness.paper.coverage import Places, places
from eadbench.harness.plan.grid import blocks
from eadbench.harness.records import CellRecord, Logged, SweepRecord, VictimRecord
from eadbench.harness.reporting import figures
from eadbench.harness.reporting.report import Found
from eadbench.harness.results.folder import Results, write_text
from eadbench.harness.spec import schema as specs
from eadbench.harness.tracking import describe as tracked
from eadbench.harness.tracking import log_sweep
from eadbench.harness.tracking.curves import curves
from eadbench.models import is_stored, replace_file

REPORT = "report.html"
MOST_FIGURES = 4
"""Of each quantity over each axis: one takes a third of a second of a core."""


def keep(
    results: Results,
    done: Done,
    found: Found,
    texts: Mapping[str, str],
    started: datetime,
    seconds: float,
    *,
    scale: str | None = None,
) -> str:
    """Store what MLflow is to say of an invocation in ``DIR/invocations``; returns its id."""
    spec, victims = found.spec, found.victims
    dataset, _ = results.victims()
    identity = f"{started:%Y%m%d-%H%M%S}-{uuid4().hex[:8]}"
    placed = places(found.summary, victims) if spec.targeted else Places(cells={}, sweep=())
    tags = _tags(dataset, scale)
    defenses = dict.fromkeys(victim.defense for victim in victims)
    record = SweepRecord(
        experiment=spec.name,
        invocation=identity,
        name=f"{spec.name} {started:%Y-%m-%d %H:%M}",
        tags=tags | {"eadbench.defense": "; ".join(defenses)} | _paper(placed.sweep),
        artifacts={"spec.yaml": specs.dump(spec), **texts},
        params={"seed": spec.seed, "images": spec.images.count, "dataset": dataset},
        metrics=_metrics(done, seconds) | {f"accuracy.{victim.digest}": victim.accuracy for victim in victims},
        cells=list(_cells(dataset, found, tags, placed)),
        finished=True,
        curves=curves(found.summary, victims),
        victims=list(_victims(results, dataset, found, tags, done.image_shape)),
    )
    write_text(results.invocations / f"{identity}.json", json.dumps(asdict(record)))
    return identity


def _tags(dataset: str, scale: str | None) -> dict[str, str]:
    """What the runs of an invocation have in common."""
    tags = {"eadbench.version": metadata.version("eadbench"), "eadbench.dataset": dataset}
    revision = git_revision()
    tags |= {} if revision is None else {"mlflow.source.git.commit": revision}
    return tags | ({} if scale is None else {"eadbench.scale": scale})


def _paper(tables: Sequence[int]) -> dict[str, str]:
    """The tag that names tables of the paper, if there are any."""
    return {"eadbench.paper_table": ", ".join(map(str, tables))} if tables else {}


def _metrics(done: Done, seconds: float) -> dict[str, float | None]:
    rate = done.gradient_evaluations / done.worker_seconds if done.worker_seconds else None
    return {
        "seconds": seconds,
        "shards": done.shards,
        "shards_failed": len(done.failures),
        "examples": done.examples,
        "unconfirmed": done.unconfirmed,
        "gradient_evaluations": done.gradient_evaluations,
        "gradient_evaluations_per_second_per_worker": rate,
    }


def _cells(dataset: str, found: Found, tags: Mapping[str, str], placed: Places) -> Iterator[CellRecord]:
    """Yield the records of the cells that have rows."""
    victims = {victim.digest: victim for victim in found.victims}
    cells = {cell.digest: cell for block in blocks(found.spec, dataset, found.victims) for cell in block.cells()}
    for digest, lines in found.summary.groupby("cell", sort=False):
        cell = cells[str(digest)]
        own = {**tags, **_paper(placed.cells.get(cell.digest, ()))}
        yield tracked.cell_record(cell, victims[cell.victim], lines, own)


def _victims(
    results: Results, dataset: str, found: Found, tags: Mapping[str, str], image_shape: Sequence[int]
) -> Iterator[VictimRecord]:
    """Yield the records of the victims whose models are in the results."""
    own = found.summary[found.summary["model"] == found.summary["evaluated_on"]]
    for victim in found.victims:
        if is_stored(results.model(victim.digest)):
            yield tracked.victim_record(
                victim,
                results.recipe(victim.digest),
                own[own["model"] == victim.digest],
                tags,
                dataset=dataset,
                split=found.spec.images.split,
                image_shape=image_shape,
            )


def keep_files(results: Results, found: Found, identity: str) -> None:
    """Draw the curves of a sweep into ``DIR/report``, and keep copies of them and of the report there.

    A later invocation writes over those in ``DIR/report``.
    """
    drawn = figures.save(figures.draw(found.summary, found.victims, at_most=MOST_FIGURES), results.report)
    for file in [*drawn, results.report / REPORT]:
        if file.suffix != ".svg" and file.is_file():
            replace_file(results.invocations / identity / file.name, file.read_bytes())


def log(results: Results, tracking_uri: str) -> list[Logged]:
    """Write to MLflow what it lacks of every invocation that is kept.

    Raises
    ------
    TrackingFault
        The store cannot be written to; what is kept stays.
    UserError
        A record is not as a run wrote it.
    """
    return [
        log_sweep(replace(record, files=_files(path.with_suffix(""))), tracking_uri, results.root)
        for path, record in results.invocation_records().items()
    ]


def _files(folder: Path) -> dict[str, Path]:
    return {_artifact(file.name): file for file in sorted(folder.glob("[!.]*"))}


def _artifact(file: str) -> str:
    return file if file == REPORT else f"figures/{file}"


def git_revision() -> str | None:
    """The commit of the checkout that runs, or None where it is not one."""
    try:
        found = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return found.stdout.strip()
