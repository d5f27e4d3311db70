"""Join results folders that share a sweep's work, such as halves of its attacks on two machines, into a new one.

The specs must agree in all that the rows depend on, but for victims and attacks, which are put together. Parts and
models of one name must hold the same.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eadbench.harness import spec as specs
from eadbench.harness.errors import DamagedResults, UserError
from eadbench.harness.messages import shown
from eadbench.harness.parquet.stored import StoredRows, Wanted
from eadbench.harness.plan.cells import Victim
from eadbench.harness.results.cells import stored_cells
from eadbench.harness.results.folder import Results
from eadbench.harness.results.json_files import write_text
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.spec import Spec
from eadbench.models import canonical_json, replace_file

__all__ = ["Merge", "merged"]

_FREE = ("victims", "attacks", "shard_size", "batch_size", "resources")
"""Keys in which the specs may differ: rows of another victim or attack are other rows, and the others are in no
digest of a cell."""
_FOLDERS = ("models", "examples", "images", "quantised", "detections", "shards", "failures", "invocations")


@dataclass(frozen=True, kw_only=True)
class Merge:
    """What the new folder will hold."""

    folders: Sequence[Results]
    spec: Spec
    victims: Sequence[Victim]
    files: dict[Path, Path]
    """Each file of the new folder, relative to it, and where it comes from."""

    def write(self, target: Results) -> None:
        """Write the new folder, the spec last: until then it holds no sweep."""
        for name, source in self.files.items():
            replace_file(target.root / name, source.read_bytes())
        first = self.folders[0]
        target.write_victims(
            first.victims()[0], self.victims, first.image_shape(), first.target_classes(), first.class_names()
        )
        cells = [stored_cells(folder.root) for folder in self.folders]
        write_text(target.root / "cells.json", json.dumps({k: v for each in cells for k, v in each.items()}, indent=1))
        for folder in self.folders:
            target.add_tested(folder.tested())
        target.begin(self.spec)


def merged(folders: Sequence[Results]) -> Merge:
    """Return what joins the sweeps in some folders.

    Raises
    ------
    UserError
        The specs differ in more than their victims and attacks, or a victim, file or row of one folder contradicts
        another.
    DamagedResults
        A file of one folder is damaged.
    """
    snapshots = [Snapshot(folder) for folder in folders]
    spec = _spec(snapshots)
    victims = _victims(snapshots)
    files: dict[Path, Path] = {}
    for folder in folders:
        for name in _names(folder):
            _check_same(name, files.get(name), folder.root / name)
            files.setdefault(name, folder.root / name)
    _check_rows(snapshots)
    return Merge(folders=folders, spec=spec, victims=victims, files=files)


def _spec(snapshots: Sequence[Snapshot]) -> Spec:
    """Return a spec with the victims and attacks of all, in their order, whose other keys agree."""
    written = [specs.written(snapshot.spec) for snapshot in snapshots]
    first, name = written[0], snapshots[0].folder.root
    for other, snapshot in zip(written[1:], snapshots[1:], strict=True):
        keys = [key for key in first if key not in _FREE and first[key] != other[key]]
        if keys:
            key = keys[0]
            raise UserError(
                f"{name} and {snapshot.folder.root}: their specs differ in {key}: {shown(first[key])} and "
                f"{shown(other[key])}; only victims and attacks may differ"
            )
        if snapshot.dataset != snapshots[0].dataset:
            raise UserError(f"{name} and {snapshot.folder.root}: their data sets differ in content")
    content = {key: _union(each[key] for each in written) for key in ("victims", "attacks")}
    return specs.parse(first | content, code=False)


def _union(lists: Iterable[Sequence[Any]]) -> list[Any]:
    """Return the items of all lists, each once, in their order."""
    items = {canonical_json(item): item for each in lists for item in each}
    return list(items.values())


def _victims(snapshots: Sequence[Snapshot]) -> list[Victim]:
    """Return the victims of all folders; one that several have must have the same images."""
    victims: dict[str, Victim] = {}
    places: dict[str, Path] = {}
    for snapshot in snapshots:
        root, tested = snapshot.folder.root, {victim.digest for victim in snapshot.folder.tested()}
        if not snapshot.victims:
            raise UserError(f"{root}: its victims are not ready; run its spec there first")
        for victim in snapshot.victims:
            known = victims.setdefault(victim.digest, victim)
            place = places.setdefault(victim.digest, root)
            if known.attacked and victim.attacked and list(known.images) != list(victim.images):
                raise UserError(f"{place} and {root}: the victim {victim.digest} is attacked on other images")
            if victim.digest in tested and not victim.attacked:
                continue
            others = dict.fromkeys([*known.evaluated_on, *victim.evaluated_on])
            richer = victim if victim.attacked else known
            victims[victim.digest] = replace(richer, evaluated_on=list(others))
    return list(victims.values())


def _names(folder: Results) -> list[Path]:
    """Return the files of a folder that a new one takes over, relative to it."""
    paths = [path for name in _FOLDERS for path in sorted((folder.root / name).rglob("*"))]
    kept = [path for path in paths if path.is_file() and not path.name.startswith(".") and path.suffix != ".lock"]
    return [Path(str(path.relative_to(folder.root))) for path in kept]


def _check_same(name: Path, known: Path | None, file: Path) -> None:
    """Refuse a model whose weights are not those of the other folder. Rows are compared by their values."""
    if known is None or name.parts[0] != "models" or name.name not in ("recipe.json", "weights.safetensors"):
        return
    if name.name == "recipe.json":
        same = json.loads(known.read_bytes()).get("sha256") == json.loads(file.read_bytes()).get("sha256")
    else:
        same = known.read_bytes() == file.read_bytes()
    if not same:
        raise UserError(f"{known} and {file}: are two trainings of one model; rows of both cannot stand in one folder")


def _check_rows(snapshots: Sequence[Snapshot]) -> None:
    """Refuse rows of one example that differ by more than rounding; the message names both files."""
    parts = [part for snapshot in snapshots for part in sorted(snapshot.folder.examples.glob("[!.]*.parquet"))]
    cells = {digest: cell.victim for snapshot in snapshots for digest, cell in snapshot.cells.items()}
    drawn = {victim.digest: victim.images for snapshot in snapshots for victim in snapshot.victims}
    try:
        for _ in StoredRows(parts, Wanted(cells=cells, drawn=drawn)).batches(["success"], at_most=2**21):
            pass
    except DamagedResults as error:
        if len({file.parent for file in error.files}) < 2:
            raise
        raise UserError(f"{str(error).partition(';')[0]}; leave out one of the folders") from error
