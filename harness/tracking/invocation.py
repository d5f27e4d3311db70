"""Store a record of each invocation of `eadbench run`, and write the records to MLflow, now or later.

::

    DIR/invocations/<id>.json         the record, texts included
    DIR/invocations/<id>/             copies of the figures and, written last, of the report
    DIR/invocations/<id>.logged       an empty file: a run has logged it all
"""

import json
import math
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from importlib import metadata
from pathlib import Path
from uuid import uuid4

from eadbench.harness import spec as specs
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.analysis.trust import raised_names
from eadbench.harness.execution.sweep import Done
from eadbench.harness.labels import choice_text
from eadbench.harness.messages import redact
from eadbench.harness.paper.coverage import Places, places
from eadbench.harness.reporting import figures
from eadbench.harness.results.folder import Results
from eadbench.harness.results.json_files import stored_json, write_text
from eadbench.harness.results.lock import LOCK, read_lock, spec_hash
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.storage import checked_name, is_local
from eadbench.harness.tracking import describe, log_sweep
from eadbench.harness.tracking.curves import curves
from eadbench.harness.tracking.detection import detection_metrics
from eadbench.harness.tracking.optimality import optimality_metrics
from eadbench.harness.tracking.records import CellRecord, Logged, SweepRecord, VictimRecord
from eadbench.models import digest_of, replace_file

REPORT = "report.html"
MOST_FIGURES = 4
"""Limit of figures for each quantity over each axis; a figure takes a third of a second of a core."""


def keep(
    snapshot: Snapshot,
    done: Done | None,
    summary: Summary,
    texts: Mapping[str, str],
    started: datetime,
    seconds: float,
    *,
    scale: str | None = None,
) -> str:
    """Write the MLflow record of an invocation to ``DIR/invocations``, and return its id.

    Parameters
    ----------
    done
        What the invocation did; None for one that ended early: if it wrote its record, that one stays.
    """
    if done is None and (unfinished := _without_files(snapshot.folder)):
        return unfinished[-1].stem
    spec, victims, dataset = summary.spec, summary.victims, snapshot.dataset
    unique = uuid4().hex[:8]
    identity = f"{started:%Y%m%d-%H%M%S}-{unique}"
    tables = places(summary.lines, victims) if spec.targeted else Places(cells={}, sweep=())
    tags = _tags(snapshot.folder, dataset, scale)
    defenses = dict.fromkeys(summary.labels.defense[victim.digest] for victim in victims)
    keys = describe.victim_keys(summary.labels)
    record = SweepRecord(
        experiment=spec.name,
        invocation=identity,
        name=f"{started:%Y-%m-%d %H:%M:%S} {unique[:4]}",
        tags=tags
        | {"eadbench.defense": "; ".join(defenses), "eadbench.state": _state(done, summary)}
        | _root_tag(snapshot.folder)
        | _indicator_tag(name for cell in summary.findings for name in raised_names(summary.findings, cell))
        | _table_tag(tables.sweep),
        artifacts={"spec.yaml": specs.dump(spec), **texts},
        params={
            "seed": spec.seed,
            "images": spec.images.limit or "all",
            "targets": ", ".join(choice_text(each.target_choice) for each in spec.by_targets()),
            "dataset": dataset,
        },
        metrics=(_metrics(done, seconds) if done else {})
        | {f"{keys[victim.digest]}/accuracy": describe.percent(victim.accuracy) for victim in victims},
        cells=list(_cells(snapshot, summary, tags, tables)),
        finished=True,
        curves=curves(summary.lines, victims),
        victims=list(_victims(snapshot, summary, tags, snapshot.folder.image_shape())),
        covered=_covered(snapshot.folder),
    )
    write_text(snapshot.folder.invocations / f"{identity}.json", json.dumps(asdict(record)))
    return identity


def owed(results: Results) -> bool:
    """Return whether a run ended before it wrote the record of its rows, or the record's files."""
    return any(_part_names(results)) and not any(_has_files(path) for path in _records_of(results))


def _without_files(results: Results) -> list[Path]:
    """Return the records of the present rows whose files are missing."""
    return [path for path in _records_of(results) if not _has_files(path)]


def unlogged(results: Results) -> list[Path]:
    """Return the files of the records that no run has logged to its end."""
    logged = {path.stem for path in results.invocations.glob("[!.]*.logged")}
    return [path for path in results.invocations.glob("[!.]*.json") if path.stem not in logged]


def mark_logged(results: Results) -> None:
    """Note that MLflow has every record."""
    for record in unlogged(results):
        write_text(record.with_suffix(".logged"), "")


def _records_of(results: Results) -> list[Path]:
    """Return the files of the records of the present rows under the present spec."""
    covered = _covered(results)
    return [path for path, record in invocation_records(results).items() if record.covered == covered]


def _has_files(record: Path) -> bool:
    return (record.with_suffix("") / REPORT).is_file()


def _covered(results: Results) -> str:
    """Return a digest of what figures follow from: the names of all parts, and the spec."""
    return digest_of([*_part_names(results), spec_hash(results.spec())])


def _part_names(results: Results) -> list[str]:
    return sorted(path.name for path in results.examples.glob("[!.]*.parquet"))


def _state(done: Done | None, summary: Summary) -> str:
    """Return how complete the results are after an invocation: ``complete``, ``partial``, or ``failed`` in part."""
    if done is not None and done.failures:
        return "failed"
    return "partial" if summary.missing or summary.lines.empty else "complete"


def _tags(results: Results, dataset: str, scale: str | None) -> dict[str, str]:
    """Return the tags that all runs of an invocation share."""
    root = results.root.resolve() if is_local(results.root) else results.root
    tags = {
        "eadbench.version": metadata.version("eadbench"),
        "eadbench.dataset": dataset,
        "eadbench.results": redact(str(root)),
    }
    revision = git_revision()
    tags |= {} if revision is None else {"mlflow.source.git.commit": revision}
    return tags | ({} if scale is None else {"eadbench.scale": scale})


def _indicator_tag(names: Iterable[str]) -> dict[str, str]:
    """Return the tag that names the indicators that are raised: ``spent; few_images``, or ``none``."""
    return {"eadbench.indicators": "; ".join(dict.fromkeys(names)) or "none"}


def _root_tag(results: Results) -> dict[str, str]:
    """Return the tag with the Merkle root of the rows; nothing before there is a lock."""
    path = results.root / LOCK
    return {"eadbench.root": read_lock(path).root} if path.is_file() else {}


def _table_tag(tables: Sequence[int]) -> dict[str, str]:
    """Return the tag that names tables of the paper, or nothing without tables."""
    return {"eadbench.paper_table": ", ".join(map(str, tables))} if tables else {}


def _metrics(done: Done, seconds: float) -> dict[str, float | None]:
    """Return the metrics of the parent run: what the invocation did, and how fast."""
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


def _cells(snapshot: Snapshot, summary: Summary, tags: Mapping[str, str], tables: Places) -> Iterator[CellRecord]:
    """Yield the records of the cells with rows."""
    victims = {victim.digest: victim for victim in summary.victims}
    optimality, detected = optimality_metrics(snapshot), detection_metrics(summary)
    for digest, lines in summary.lines.groupby("cell", sort=False):
        cell = snapshot.cells[str(digest)]
        cell_tags = {**tags, **_table_tag(tables.cells.get(cell.digest, ()))}
        cell_tags |= _indicator_tag(raised_names(summary.findings, cell.digest))
        record = describe.cell_record(cell, victims[cell.victim], lines, cell_tags, summary.labels)
        further = {**optimality.get(cell.digest, {}), **detected.get(cell.digest, {})}
        yield replace(record, metrics={**record.metrics, **further})


def _victims(
    snapshot: Snapshot, summary: Summary, tags: Mapping[str, str], image_shape: Sequence[int]
) -> Iterator[VictimRecord]:
    """Yield the records of the victims with a model in the results."""
    for victim in summary.victims:
        if victim.digest in snapshot.recipes:
            yield describe.victim_record(
                victim,
                snapshot.recipes[victim.digest],
                summary.own[summary.own["model"] == victim.digest],
                tags,
                summary.labels,
                dataset=snapshot.dataset,
                split=summary.spec.images.split,
                image_shape=image_shape,
            )


def keep_files(results: Results, summary: Summary, identity: str) -> None:
    """Draw the curves of a sweep into ``DIR/report``, and copy them and the report to ``DIR/invocations/<id>``.

    The next invocation overwrites the files in ``DIR/report``.
    """
    paths = figures.save(figures.draw(summary.lines, summary.victims, at_most=MOST_FIGURES), results.report)
    for file in [*paths, results.report / REPORT]:
        if file.suffix != ".svg" and file.is_file():
            replace_file(results.invocations / identity / file.name, file.read_bytes())


def log(
    results: Results,
    tracking_uri: str,
    *,
    seconds: float = math.inf,
    waiting: Callable[[str], None] = lambda _: None,
) -> list[Logged]:
    """Write to MLflow what it lacks of every stored invocation.

    Parameters
    ----------
    seconds
        After how many seconds to stop.
    waiting
        Called with a text if another process holds the lock on the store for long.

    Raises
    ------
    TrackingFault
        The store cannot be written to in time; the records stay in the results.
    UserError
        A record is damaged.
    """
    deadline = time.monotonic() + seconds
    return [
        log_sweep(
            replace(record, files=_files(path.with_suffix(""))),
            tracking_uri,
            results.root,
            deadline=deadline,
            waiting=waiting,
        )
        for path, record in invocation_records(results).items()
    ]


def invocation_records(results: Results) -> dict[Path, SweepRecord]:
    """Return the record of each invocation by its file, in the order of the invocations.

    Raises
    ------
    UserError
        A record is damaged.
    """
    remedy = "delete it, if MLflow has that run"
    records = {path: stored_json(path, SweepRecord, remedy) for path in sorted(results.invocations.glob("[!.]*.json"))}
    for path, record in records.items():
        for part in (part for name in record.artifacts for part in name.split("/")):
            checked_name(part, f"{path}: artifacts")
    return records


def _files(folder: Path) -> dict[str, Path]:
    """Return the copies of an invocation's files by the names of their artifacts."""
    return {_artifact(file.name): file for file in sorted(folder.glob("[!.]*"))}


def _artifact(file: str) -> str:
    return file if file == REPORT else f"figures/{file}"


def git_revision() -> str | None:
    """Return the commit of the checkout that runs, or None outside a checkout."""
    try:
        process = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return process.stdout.strip()
