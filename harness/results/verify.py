"""Check every file of a results folder, and set damaged ones aside so that a run makes them anew."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from eadbench.harness.errors import DamagedResults
from eadbench.harness.parquet import detections, originals, rows
from eadbench.harness.parquet.adversarial import check_images
from eadbench.harness.parquet.notes import check_rows
from eadbench.harness.parquet.stored import DISTANCES
from eadbench.harness.results.cells import stored_cells
from eadbench.harness.results.folder import Results
from eadbench.harness.results.json_files import stored_json
from eadbench.harness.results.lock import LOCK, ROOTS, Lock, Roots
from eadbench.harness.results.model_files import check_model
from eadbench.harness.results.records import Evaluation, Failed
from eadbench.harness.results.row_weights import other_weights
from eadbench.harness.results.snapshot import Snapshot
from eadbench.models import replace_file

__all__ = ["DAMAGED", "Damage", "damages", "set_aside"]

DAMAGED = "damaged"
"""The folder in DIR that damaged files are moved to."""


@dataclass(frozen=True, kw_only=True)
class Damage:
    """A problem of a results folder."""

    problem: str
    """One line that names the file."""
    files: Sequence[Path]
    """The files that a run must write anew."""


def damages(results: Results) -> Iterator[Damage]:
    """Read every file of a sweep, and yield what is damaged.

    Raises
    ------
    UserError
        The folder has no results, or results of another format.
    """
    results.spec()
    found = [*_parts(results), *_models(results), *_records(results)]
    yield from found
    if not found:
        found = [Damage(problem=str(error), files=error.files) for error in other_weights(results)]
        yield from found
    if not found and (damage := _contradiction(results)) is not None:
        yield damage


def set_aside(results: Results, damage: Damage) -> bool:
    """Move the files of a damage to ``DIR/damaged``. Return whether there were any."""
    files = [file for file in damage.files if file.is_file()]
    for file in files:
        replace_file(results.root / DAMAGED / file.relative_to(results.root), file.read_bytes())
        file.unlink()
    return bool(files)


def _parts(results: Results) -> Iterator[Damage]:
    for part in _listed(results.examples, "*.parquet"):
        yield from _checked([part], partial(check_rows, part, rows.WHAT, rows.SCHEMA, rows.LATER))
    for part in _listed(results.images, "*.parquet"):
        yield from _checked([part], partial(check_images, part))
    for part in _listed(results.rounded, "*.parquet"):  # written with the rows alone
        yield from _checked([part, results.part(part.stem)], partial(check_images, part))
    for part in _listed(results.detections, "*.parquet"):
        yield from _checked([part], partial(check_rows, part, detections.WHAT, detections.SCHEMA))


def _models(results: Results) -> Iterator[Damage]:
    for folder in sorted({path.parent for path in (results.root / "models").glob("*/recipe.json")}):
        files = [folder / "recipe.json", folder / "weights.safetensors", *folder.glob("evaluation-*.json")]
        yield from _checked(files, partial(check_model, folder))
        for file in sorted(folder.glob("evaluation-*.json")):
            yield from _checked([file], partial(stored_json, file, Evaluation))


def _records(results: Results) -> Iterator[Damage]:
    """Check the files of JSON. A shard's record is written with its rows, so both go."""
    for file in _listed(results.shards, "*.json"):
        yield from _checked([file, results.part(file.stem)], partial(results.shard_record, file.stem))
    for file in _listed(results.failures, "*.json"):
        yield from _checked([file], partial(stored_json, file, Failed))
    yield from _checked([results.root / "victims.json"], results.image_shape)
    if results.originals.is_file():
        check = partial(check_rows, results.originals, originals.WHAT, originals.SCHEMA)
        yield from _checked([results.originals], check)
    for name, kind in ((LOCK, Lock), (ROOTS, Roots)):
        if (file := results.root / name).is_file():
            yield from _checked([file], partial(stored_json, file, kind))
    yield from _checked([results.root / "cells.json"], partial(stored_cells, results.root))
    yield from _checked([results.root / "tested.json"], results.tested)


def _contradiction(results: Results) -> Damage | None:
    """Return two parts whose rows of one example differ by more than rounding, or one with values that no row has."""
    snapshot = Snapshot(results)
    try:
        for _ in snapshot.stored_rows.batches(["success", *DISTANCES], at_most=2**21):
            pass
    except DamagedResults as error:
        return Damage(problem=str(error), files=error.files)
    return None


def _listed(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(f"[!.]{pattern}"))


def _checked(files: Sequence[Path], check: Callable[[], object]) -> Iterator[Damage]:
    """Yield the damage that a check of files finds."""
    try:
        check()
    except DamagedResults as error:
        yield Damage(problem=str(error), files=files)
