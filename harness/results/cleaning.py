"""What a results folder holds that its spec does not need: models, parts of rows and images, and leftovers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eadbench.harness.parquet.query import FILES
from eadbench.harness.parquet.rows import files_of
from eadbench.harness.plan.recipes import needs_of
from eadbench.harness.registry import DEFENSES
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.results.verify import DAMAGED

__all__ = ["Unneeded", "unneeded"]

_CELLS = f"SELECT DISTINCT file_index, cell, evaluated_on, image FROM {FILES}"


@dataclass(frozen=True, kw_only=True)
class Unneeded:
    """Files that the spec of a folder does not need, and why."""

    reason: str
    files: Sequence[Path]

    @property
    def size(self) -> int:
        """Bytes of the files."""
        return sum(file.stat().st_size for file in self.files)

    def remove(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.unlink(missing_ok=True)


def unneeded(results: Results) -> list[Unneeded]:
    """Return what may be removed from a folder that no command works in.

    Models and parts are judged only if the victims are ready: before, an unfinished training may need any of them.

    Raises
    ------
    UserError
        The folder has no results.
    """
    snapshot = Snapshot(results)
    groups = [Unneeded(reason="leftovers of interrupted writes", files=sorted(_leftovers(results)))]
    groups.append(
        Unneeded(reason=f"set aside by `eadbench verify`, in {DAMAGED}/", files=_files(results.root / DAMAGED))
    )
    if snapshot.spec and snapshot.victims:
        needed = _needed_models(snapshot)
        groups.append(
            Unneeded(reason="models that no victim of the spec needs", files=sorted(_models(results, needed)))
        )
        groups.append(
            Unneeded(reason="rows and images of cells or images that the spec lacks", files=_parts(snapshot, needed))
        )
    return [group for group in groups if group.files]


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []


def _leftovers(results: Results) -> Iterator[Path]:
    """Yield temporary files and locks, and checkpoints of trainings that have ended."""
    for path in _files(results.root):
        is_lock = path.suffix == ".lock" and path.with_suffix("").is_dir()  # that of a model
        ended = path.name == "checkpoint.safetensors" and (path.parent / "recipe.json").is_file()
        if (path.name.startswith(".") and path.suffix == ".tmp") or is_lock or ended:
            yield path


def _needed_models(snapshot: Snapshot) -> set[str]:
    """Return the digests of the victims, and of all models that they need; every model if code alone knows which."""
    needed: set[str] = set()
    left = [victim.digest for victim in snapshot.victims]
    while left:
        digest = left.pop()
        if digest in needed:
            continue
        needed.add(digest)
        recipe = snapshot.recipes.get(digest)
        if recipe is None:
            continue
        if DEFENSES.is_own(recipe.defense["name"]):
            return {*snapshot.recipes}
        left += [other.digest for other in needs_of(recipe).values()]
    return needed


def _models(results: Results, needed: set[str]) -> Iterator[Path]:
    folder = results.root / "models"
    for model in sorted(folder.iterdir()) if folder.is_dir() else ():
        if model.is_dir() and model.name not in needed:
            yield from _files(model)


def _parts(snapshot: Snapshot, needed: set[str]) -> list[Path]:
    """Return the files of shards that have no row which the spec, or a model that it needs, asks for."""
    results, spec = snapshot.folder, snapshot.spec
    parts = sorted(results.examples.glob("[!.]*.parquet"))
    if not parts:
        return []
    drawn = {victim.digest: set(victim.images) for victim in snapshot.victims}
    tests = {model: set(tested) for model, tested in results.tests().items()}
    wanted: set[int] = set()
    rows = files_of(parts).ask(_CELLS).to_pydict()
    for index, cell, tested, image in zip(*rows.values(), strict=True):
        model = snapshot.cells[cell].victim if cell in snapshot.cells else None
        if model is not None and tested in tests.get(model, ()) and image in drawn[model]:
            wanted.add(index)
    for index, part in enumerate(parts):
        record = results.shards / f"{part.stem.partition('-')[0]}.json"
        if index not in wanted and record.is_file():
            shard = results.shard_record(record.stem)
            if shard.split != spec.images.split and shard.victim in needed:
                wanted.add(index)  # what a defence was trained on
    kept = {part.stem.partition("-")[0] for index, part in enumerate(parts) if index in wanted}
    files = [part for index, part in enumerate(parts) if index not in wanted]
    for folder in (results.images, results.rounded, results.detections, results.shards):
        kinds = ((file, file.stem.partition("-")[0]) for file in _files(folder) if not file.name.startswith("."))
        files += [file for file, shard in kinds if shard not in kept]
    return sorted(files)
