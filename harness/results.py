"""The results folder: what every report, dashboard and notebook reads.

::

    DIR/spec.yaml                     the spec as resolved
    DIR/victims.json                  the victims, their accuracy, and the images drawn for each
    DIR/tested.json                   the victims that `eadbench transfer` tested on
    DIR/models/<recipe>/              weights.safetensors, recipe.json, evaluation-<split>.json
    DIR/examples/<shard>.parquet      one row per example and decision rule
    DIR/examples/<shard>-<victim>.parquet   the same examples, tested on another victim
    DIR/images/<shard>.parquet        the adversarial images of a shard, where the spec saves them
    DIR/shards/<shard>.json           when and where the shard ran, and what it cost
    DIR/failures/<task>.json          the error of a task that was given up, where it failed, and its examples
    DIR/invocations/<id>.json         what MLflow is told of a run, with its files in the folder of that name
    DIR/report/                       the tables and figures

A file is written under a temporary name and renamed; a shard is done when its part stands in `examples` (and in
`images`). The examples that adversarial training learns from are shards like others, of the training split.
"""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from harness import spec as specs
from harness.errors import UserError
from harness.grid import Shard, Victim, blocks
from harness.missing import Missing
from harness.model_files import read_recipe
from harness.parquet import rows as parquet
from harness.parquet.stored import StoredRows, Wanted
from harness.records import SweepRecord
from harness.shard_records import Failed, ShardRecord
from harness.spec import Spec
from harness.tasks import Transfer
from models import Recipe, replace_file


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a victim does on a split of a data set."""

    dataset: str
    """The data set's identity."""
    size: int
    wrong: Sequence[int]
    """The images that it does not give their own label."""

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return 1 - len(self.wrong) / self.size


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """What `victims.json` holds."""

    dataset: str
    victims: Sequence[Victim]


class Results:
    """The folder at `root`; made when something is first written to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.examples = root / "examples"
        self.images = root / "images"
        self.shards = root / "shards"
        self.failures = root / "failures"
        self.invocations = root / "invocations"
        self.report = root / "report"

    def model(self, digest: str) -> Path:
        """Where the victim of that recipe is stored."""
        return self.root / "models" / digest

    def recipe(self, digest: str) -> Recipe:
        """How that victim was made.

        Raises
        ------
        UserError
            It is not stored, or its recipe is not as a sweep wrote it.
        """
        return read_recipe(self.model(digest) / "recipe.json")

    def begin(self, spec: Spec) -> None:
        """Write the spec that the rows will answer."""
        write_text(self.root / "spec.yaml", specs.dump(spec))

    def spec(self) -> Spec:
        """The spec that the folder answers.

        Raises
        ------
        UserError
            The folder is not one of results.
        """
        if not (self.root / "spec.yaml").is_file():
            raise UserError(f"{self.root}: no spec.yaml there; give the folder that `eadbench run` wrote")
        return specs.load(self.root / "spec.yaml")

    def evaluation(self, digest: str, dataset: str, split: str) -> Evaluation | None:
        """How that victim does on a split, if it has been tested there."""
        path = self.model(digest) / f"evaluation-{split}.json"
        if not path.is_file():
            return None
        evaluation: Evaluation = _stored(path, Evaluation)
        return evaluation if evaluation.dataset == dataset else None

    def write_evaluation(self, digest: str, split: str, evaluation: Evaluation) -> None:
        """Store how that victim does on a split."""
        write_text(self.model(digest) / f"evaluation-{split}.json", json.dumps(asdict(evaluation)))

    def write_victims(self, dataset: str, victims: Sequence[Victim]) -> None:
        """Store the victims of the spec and the images drawn for each, of the data set of that identity."""
        write_text(self.root / "victims.json", json.dumps(asdict(_Ready(dataset=dataset, victims=victims))))

    def add_tested(self, victims: Sequence[Victim]) -> None:
        """Store further victims that the examples are tested on."""
        known = {victim.digest: victim for victim in self._tested()}
        known |= {victim.digest: replace(victim, attacked=False, images=[], labels=[]) for victim in victims}
        write_text(self.root / "tested.json", json.dumps([asdict(victim) for victim in known.values()]))

    def victims(self) -> tuple[str, list[Victim]]:
        """The data set's identity, and the victims, attacked or tested on; none before a sweep has made them ready.

        Raises
        ------
        UserError
            The files that say so are not as a sweep wrote them.
        """
        path = self.root / "victims.json"
        if not path.is_file():
            return "", []
        stored: _Ready = _stored(path, _Ready)
        digests = {victim.digest for victim in stored.victims}
        return stored.dataset, [*stored.victims, *(v for v in self._tested() if v.digest not in digests)]

    def _tested(self) -> list[Victim]:
        path = self.root / "tested.json"
        return list(_stored(path, list[Victim])) if path.is_file() else []

    def part(self, shard: str, onto: str | None = None) -> Path:
        """Where the rows of a shard are, tested on its own victim or on another."""
        return self.examples / (f"{shard}.parquet" if onto is None else f"{shard}-{onto}.parquet")

    def image_part(self, shard: str) -> Path:
        """Where the adversarial images of a shard are."""
        return self.images / f"{shard}.parquet"

    def write_failure(self, task: str, failed: Failed) -> None:
        """Store why a task was given up."""
        write_text(self.failures / f"{task}.json", json.dumps(asdict(failed)))

    def failure_records(self) -> list[Failed]:
        """Why tasks were given up, the last first."""
        found: list[Failed] = [_stored(path, Failed) for path in self.failures.glob("[!.]*.json")]
        return sorted(found, key=lambda failed: failed.ended, reverse=True)

    def failed(self) -> set[str]:
        """The tasks that were given up."""
        return {path.stem for path in self.failures.glob("[!.]*.json")}

    def invocation_records(self) -> dict[Path, SweepRecord]:
        """What MLflow is told of each invocation, by the file that says so, in their order.

        Raises
        ------
        UserError
            A record is not as a run wrote it.
        """
        remedy = "delete it, if MLflow has that run"
        return {path: _stored(path, SweepRecord, remedy) for path in sorted(self.invocations.glob("[!.]*.json"))}

    def forget_failure(self, task: str) -> None:
        """A task that was given up has been done since."""
        (self.failures / f"{task}.json").unlink(missing_ok=True)

    def commit(self, shard: Shard, rows: Sequence[dict[str, Any]], record: ShardRecord) -> None:
        """Store a shard's record, and then its rows, which make it done."""
        write_text(self.shards / f"{shard.digest}.json", json.dumps(asdict(record)))
        parquet.write_rows(self.part(shard.digest), rows)

    def shard_record(self, shard: str) -> ShardRecord:
        """What a shard that is done took.

        Raises
        ------
        UserError
            The record is not as a worker wrote it.
        """
        part = self.part(shard)
        remedy = f"delete it and {part}, and run again, which makes both anew"
        record: ShardRecord = _stored(self.shards / f"{shard}.json", ShardRecord, remedy)
        return record

    def is_done(self, shard: Shard) -> bool:
        """Whether the shard itself has its rows, and its images if it saves them."""
        return self.part(shard.digest).exists() and (not shard.save_images or self.image_part(shard.digest).exists())

    def missing(self, planned: Callable[[], Iterable[Shard]], *, with_images: bool) -> Missing:
        """Which of the shards that `planned` gives are not done: those without a part of rows, or one of images."""
        done = {path.stem for path in self.examples.glob("[!.]*.parquet") if "-" not in path.stem}
        if with_images:
            done &= {path.stem for path in self.images.glob("[!.]*.parquet")}
        return Missing(planned, done, self._held)

    def _held(self, shards: Collection[str], cells: Collection[str]) -> set[parquet.Key]:
        """The examples of `cells` of which `shards` have rows."""
        parts = [self.part(digest) for digest in sorted(shards)]
        return set(parquet.keys_of(parquet.read_rows(parts, columns=["cell", "image", "target"], cells=cells)))

    def untested(self, onto: Mapping[str, Sequence[str]], split: str) -> list[Transfer]:
        """The shards of a split whose images have yet to be tested on other victims.

        Parameters
        ----------
        onto
            For each victim the others that its examples are to be tested on, by their digests.
        """
        found: list[Transfer] = []
        if not any(onto.values()):
            return found
        for path in sorted(self.images.glob("[!.]*.parquet")):
            shard = path.stem
            if not self.part(shard).exists():
                continue
            record = self.shard_record(shard)
            others = onto.get(record.victim, ()) if record.split == split else ()
            found += [Transfer(shard=shard, onto=other) for other in others if not self.part(shard, other).exists()]
        return found

    def stored(self) -> StoredRows:
        """The rows that answer the spec: of its cells, of the images that it draws, and of its victims."""
        dataset, victims = self.victims()
        cells = {cell.digest: cell.victim for block in blocks(self.spec(), dataset, victims) for cell in block.cells()}
        wanted = Wanted(cells=cells, drawn={victim.digest: victim.images for victim in victims})
        return StoredRows(sorted(self.examples.glob("[!.]*.parquet")), wanted)

    def rows(self, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Those rows, all of them, with all columns or some."""
        names = parquet.SCHEMA.names if columns is None else columns
        return self.stored().read(names).drop(columns="line")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all, making its folder."""
    replace_file(path, text.encode())


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Building one takes longer than reading a file by it."""
    return TypeAdapter(kind)


def _stored(path: Path, kind: Any, remedy: str = "delete it and run again, which does no work twice") -> Any:
    """The `kind` of thing that a file of JSON holds."""
    try:
        return _adapter(kind).validate_json(path.read_bytes())
    except ValidationError as error:
        problem = error.errors()[0]
        reason = ": ".join(filter(None, (".".join(map(str, problem["loc"])), problem["msg"])))
        raise UserError(f"{path}: not as a sweep wrote it ({reason}); {remedy}") from error
