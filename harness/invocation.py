"""What is kept of each invocation of `eadbench run`, and written to MLflow, now or later."""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pandas as pd

from harness import spec as specs
from harness.aggregate import ALL_TARGETS, FIGURES, attack_name, rule_name
from harness.grid import Cell, Victim, blocks
from harness.records import CellRecord, Logged, SweepRecord
from harness.results import Results, write_text
from harness.sweep import Done
from harness.tracking import log_sweep
from harness.words import parameter_text


def keep(
    results: Results,
    done: Done,
    summary: pd.DataFrame,
    tables: Mapping[str, str],
    started: datetime,
    seconds: float,
) -> None:
    """Store what MLflow is to say of an invocation in ``DIR/invocations``."""
    spec = results.spec()
    dataset, victims = results.victims()
    by_digest = {victim.digest: victim for victim in victims}
    cells = {cell.digest: cell for block in blocks(spec, dataset, victims) for cell in block.cells()}
    identity = f"{started:%Y%m%d-%H%M%S}-{uuid4().hex[:8]}"
    rate = done.gradient_evaluations / done.worker_seconds if done.worker_seconds else None
    record = SweepRecord(
        experiment=spec.name,
        invocation=identity,
        name=f"{spec.name} {started:%Y-%m-%d %H:%M}",
        tags={} if (revision := git_revision()) is None else {"mlflow.source.git.commit": revision},
        artifacts={"spec.yaml": specs.dump(spec), **tables},
        params={"seed": spec.seed, "images": spec.images.count, "dataset": dataset},
        metrics={
            "seconds": seconds,
            "shards": done.shards,
            "shards_failed": len(done.failures),
            "examples": done.examples,
            "unconfirmed": done.unconfirmed,
            "gradient_evaluations": done.gradient_evaluations,
            "gradient_evaluations_per_second_per_worker": rate,
            **{f"accuracy.{victim.digest}": victim.accuracy for victim in victims},
        },
        cells=[
            _cell_record(cells[str(digest)], by_digest[cells[str(digest)].victim], lines)
            for digest, lines in summary.groupby("cell", sort=False)
        ],
        finished=True,
    )
    write_text(results.root / "invocations" / f"{identity}.json", json.dumps(asdict(record)))


def _cell_record(cell: Cell, victim: Victim, lines: pd.DataFrame) -> CellRecord:
    """What MLflow is to say of a cell, from its lines of the summary."""
    return CellRecord(
        digest=cell.digest,
        name=_name(cell),
        params={
            "model": victim.digest,
            "arch": victim.arch,
            "defense": victim.defense,
            "temperature": victim.temperature,
            "attack": attack_name(cell.attack, cell.parameters.get("norm")),
            "decision_rule": cell.decision_rule,
            "beta": cell.beta,
            "kappa": cell.kappa,
            **{name: value for name, value in cell.parameters.items() if not isinstance(value, list)},
        },
        metrics=_metrics(lines),
        dataset=cell.dataset,
        dataset_digest=f"{cell.dataset}/{cell.split}",
    )


def log(results: Results, tracking_uri: str) -> list[Logged]:
    """Write to MLflow what it lacks of every invocation that is kept.

    Raises
    ------
    TrackingFault
        The store cannot be written to; what is kept stays.
    """
    return [log_sweep(_read(path), tracking_uri) for path in sorted((results.root / "invocations").glob("[!.]*.json"))]


def _read(path: Path) -> SweepRecord:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return SweepRecord(**content | {"cells": [CellRecord(**cell) for cell in content["cells"]]})


def _name(cell: Cell) -> str:
    """Such as ``EAD EN β=1e-3 κ=0``."""
    parts = [
        attack_name(cell.attack, cell.parameters.get("norm")),
        rule_name(cell.attack, cell.decision_rule),
    ]
    parts += [] if cell.beta is None else [f"β={parameter_text(cell.beta)}"]
    return " ".join([*filter(None, parts), f"κ={parameter_text(cell.kappa)}"])


def _metrics(lines: pd.DataFrame) -> dict[str, float | None]:
    """Such as ``average.l1``, of one cell's lines of the summary; None for what is not known.

    What it achieves on another victim is called ``on.<victim>.average.asr``.
    """
    found: dict[str, float | None] = {}
    for (model, tested), part in lines.groupby(["model", "evaluated_on"], sort=False):
        cases, where = part.set_index("case"), "" if model == tested else f"on.{tested}."
        figures: dict[str, Any] = {f"{case}.{name}": cases.at[case, name] for case in cases.index for name in FIGURES}
        figures |= {name.replace("all_targets_", "all_targets."): part[name].iloc[0] for name in ALL_TARGETS}
        found |= {where + name: None if pd.isna(value) else float(value) for name, value in figures.items()}
    return found


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
