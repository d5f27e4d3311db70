"""The results folder, which every report, dashboard and notebook reads.

::

    DIR/format.json                   the version of this layout, and facts of the code that the spec names
    DIR/owner.json                    the command that writes here now; see :mod:`eadbench.harness.results.owner`
    DIR/spec.yaml                     the spec as resolved
    DIR/victims.json                  the victims, their accuracy, and the images drawn for each
    DIR/originals.parquet             the class and the file of each image that is attacked
    DIR/cells.json                    what each cell stands for: its victim, attack and parameters
    DIR/tested.json                   the victims that `eadbench transfer` tested on
    DIR/models/<recipe>/              weights.safetensors, recipe.json, evaluation-<split>.json
    DIR/learnt/<digest>.safetensors   what an attack or a detector has learnt of a victim, with its recipe
    DIR/examples/<shard>.parquet      one row per example and decision rule
    DIR/examples/<shard>-<victim>.parquet   the same examples, tested on another victim
    DIR/images/<shard>.parquet        the adversarial images of a shard, if the spec saves them
    DIR/quantised/<shard>.parquet     the same, rounded to 8 bits by a search, if the spec asks for one
    DIR/detections/<shard>-<detector>.parquet   what a detector says of the shard's examples and of their originals
    DIR/shards/<shard>.json           when and where the shard ran, and what it cost
    DIR/failures/<task>.json          the error of an abandoned task, its workers and its examples
    DIR/invocations/<id>.json         the MLflow record of an invocation; its files are in the folder of that name
    DIR/invocations/<id>.logged       an empty file: a run has logged that invocation to MLflow
    DIR/report/                       the tables and figures
    DIR/results.lock, roots.json      hashes of the rows; see :mod:`eadbench.harness.results.lock`

Each file is written under a temporary name and then renamed. A shard is done when its part is in `examples` (and in
`images`, if the spec saves images). Adversarial training learns from shards of the training split, stored likewise.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from eadbench.harness import spec as specs
from eadbench.harness.errors import UserError
from eadbench.harness.messages import shown
from eadbench.harness.parquet import rows as parquet
from eadbench.harness.parquet.notes import Note, read_notes
from eadbench.harness.plan.cells import FORMAT, Victim
from eadbench.harness.plan.grid import Shard
from eadbench.harness.registry import Facts
from eadbench.harness.results.json_files import stored_json, write_text
from eadbench.harness.results.model_files import read_recipe
from eadbench.harness.results.records import Evaluation, Failed, ShardRecord
from eadbench.harness.spec import Spec
from eadbench.harness.spec.stored import facts_named_in, remember_facts
from eadbench.harness.storage import checked_name, is_web, refuse_links_out
from eadbench.models import Recipe


@dataclass(frozen=True, kw_only=True)
class _VictimsFile:
    """Content of `victims.json`."""

    dataset: str
    victims: Sequence[Victim]
    image_shape: Sequence[int] = ()
    target_classes: Sequence[int] = ()
    class_names: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class _FormatFile:
    """Content of `format.json`: with the facts of the code that the spec names, so that readers do not import it."""

    format: int
    attacks: Mapping[str, Facts] = field(default_factory=dict)
    defenses: Mapping[str, Facts] = field(default_factory=dict)
    detectors: Mapping[str, Facts] = field(default_factory=dict)


class Results:
    """The results folder at `root`. The first write creates it.

    Raises
    ------
    UserError
        `root` is on a web server, which lists no folder and serves no parts of files.
    """

    def __init__(self, root: Path) -> None:
        if is_web(root):
            raise UserError(f"{root}: results are kept in a folder or an object store; copy them to a folder first")
        self.root = root
        self.examples = root / "examples"
        self.images = root / "images"
        self.rounded = root / "quantised"
        self.detections = root / "detections"
        self.shards = root / "shards"
        self.failures = root / "failures"
        self.invocations = root / "invocations"
        self.report = root / "report"
        self.originals = root / "originals.parquet"
        self._has_own_files_alone = False

    def refuse_links_out(self) -> None:
        """Check once that nothing in the folder leads out of it; raise a UserError otherwise."""
        if not self._has_own_files_alone:
            refuse_links_out(self.root)
            self._has_own_files_alone = True

    def model(self, digest: str) -> Path:
        """Return the folder of a model, given the digest of its recipe."""
        return self.root / "models" / checked_name(digest, f"{self.root}: a victim's digest")

    def recipe(self, digest: str) -> Recipe:
        """Read the recipe of a stored model.

        Raises
        ------
        UserError
            The model is not stored, or its recipe is damaged.
        """
        return read_recipe(self.model(digest) / "recipe.json")

    def check(self, spec: Spec) -> None:
        """Check that the folder can take a sweep: it is new, or has an earlier spec of the same name.

        Raises
        ------
        UserError
            The folder has results of another format, or of a sweep of another name.
        """
        self.refuse_links_out()
        self._check_format()
        name = specs.name_of(self.root / "spec.yaml")
        if name is not None and name != spec.name:
            raise UserError(
                f"{self.root}: holds the sweep {shown(name)}, not {shown(spec.name)}; give this one a folder of its "
                "own with --results, or the same name"
            )

    def answers(self, spec: Spec) -> bool:
        """Return whether the folder's spec is this one."""
        path = self.root / "spec.yaml"
        return path.is_file() and path.read_bytes() == specs.dump(spec).encode()

    def begin(self, spec: Spec) -> None:
        """Write the spec of the sweep and the format of the folder."""
        content = _FormatFile(format=FORMAT, **facts_named_in(specs.written(spec)))
        filled = {name: value for name, value in asdict(content).items() if value}
        write_text(self.root / "format.json", json.dumps(filled))
        write_text(self.root / "spec.yaml", specs.dump(spec))

    def spec(self, *, allow_code: bool = False) -> Spec:
        """Read the spec of the sweep. Its code is not imported, unless `allow_code`.

        Raises
        ------
        UserError
            The folder has no results, or results of another format, or something in it leads out of it.
        """
        self.refuse_links_out()
        if not (self.root / "spec.yaml").is_file():
            raise UserError(f"{self.root}: no spec.yaml there; give the folder that `eadbench run` wrote")
        self._check_format()
        if not allow_code:
            stored = stored_json(self.root / "format.json", _FormatFile)
            remember_facts({"attacks": stored.attacks, "defenses": stored.defenses, "detectors": stored.detectors})
        return specs.load(self.root / "spec.yaml", code=allow_code)

    def _check_format(self) -> None:
        """Refuse results of another format; a new folder has none."""
        if not (self.root / "spec.yaml").is_file():
            return
        path = self.root / "format.json"
        remedy = f'if this version wrote these results, write {{"format": {FORMAT}}} there'
        # The first format had no such file.
        version = stored_json(path, _FormatFile, remedy).format if path.is_file() else 1
        origin = f"eadbench wrote these results (format {version}, not {FORMAT})"
        if version < FORMAT:
            raise UserError(
                f"{self.root}: an earlier {origin}; run its spec into a new folder, which trains nothing again: "
                f"eadbench run {self.root}/spec.yaml --results NEW --models {self.root}/models"
            )
        if version > FORMAT:
            raise UserError(f"{self.root}: a later {origin}; use that version")

    def evaluation(self, digest: str, dataset: str, split: str) -> Evaluation | None:
        """Return the evaluation of a model on a split; None before there is one for this data set."""
        path = self.model(digest) / f"evaluation-{split}.json"
        if not path.is_file():
            return None
        evaluation: Evaluation = stored_json(path, Evaluation)
        return evaluation if evaluation.dataset == dataset else None

    def write_evaluation(self, digest: str, split: str, evaluation: Evaluation) -> None:
        """Store the evaluation of a model on a split."""
        write_text(self.model(digest) / f"evaluation-{split}.json", json.dumps(asdict(evaluation)))

    def write_victims(
        self,
        dataset: str,
        victims: Sequence[Victim],
        image_shape: Sequence[int],
        target_classes: Sequence[int],
        class_names: Sequence[str] = (),
    ) -> None:
        """Store facts of the data set (identity, image shape (C, H, W), classes), and the spec's victims."""
        content = _VictimsFile(
            dataset=dataset,
            victims=victims,
            image_shape=image_shape,
            target_classes=list(target_classes),
            class_names=class_names,
        )
        write_text(self.root / "victims.json", json.dumps(asdict(content)))

    def add_tested(self, victims: Sequence[Victim]) -> None:
        """Store further victims to test the examples on."""
        known = {victim.digest: victim for victim in self.tested()}
        known |= {
            victim.digest: replace(victim, attacked=False, images=[], labels=[], evaluated_on=[]) for victim in victims
        }
        write_text(self.root / "tested.json", json.dumps([asdict(victim) for victim in known.values()]))

    def victims(self) -> tuple[str, list[Victim]]:
        """Return the identity of the data set, and the victims attacked or tested on; none before they are ready.

        Raises
        ------
        UserError
            A file of the victims is damaged.
        """
        stored = self._victims_file()
        digests = {victim.digest for victim in stored.victims}
        return stored.dataset, [*stored.victims, *(v for v in self.tested() if v.digest not in digests)]

    def tests(self) -> dict[str, list[str]]:
        """Return the victims that the examples of each attacked victim are tested on: itself first, then others."""
        everywhere = [victim.digest for victim in self.tested()]
        return {
            victim.digest: list(dict.fromkeys([victim.digest, *victim.evaluated_on, *everywhere]))
            for victim in self._victims_file().victims
            if victim.attacked
        }

    def image_shape(self) -> Sequence[int]:
        """Return (C, H, W) of the data set's images; empty before the victims are ready."""
        return self._victims_file().image_shape

    def target_classes(self) -> Sequence[int]:
        """Return the classes that examples may be aimed at; empty before the victims are ready."""
        return self._victims_file().target_classes

    def class_names(self) -> Sequence[str]:
        """Return the name of each class; empty before the victims are ready."""
        return self._victims_file().class_names

    def _victims_file(self) -> _VictimsFile:
        path = self.root / "victims.json"
        stored: _VictimsFile = (
            stored_json(path, _VictimsFile) if path.is_file() else _VictimsFile(dataset="", victims=[])
        )
        return stored

    def tested(self) -> list[Victim]:
        """Return the victims that `eadbench transfer` tests the examples of every victim on."""
        path = self.root / "tested.json"
        return list(stored_json(path, list[Victim])) if path.is_file() else []

    def part(self, shard: str, victim: str | None = None) -> Path:
        """Return the file of a shard's rows: tested on its own victim, or on another if given."""
        name = shard if victim is None else f"{shard}-{victim}"
        return self.examples / f"{checked_name(name, f'{self.root}: a shard')}.parquet"

    def image_part(self, shard: str) -> Path:
        """Return the file of a shard's adversarial images."""
        return self.images / f"{checked_name(shard, f'{self.root}: the shard of a row')}.parquet"

    def rounded_part(self, shard: str) -> Path:
        """Return the file of a shard's adversarial images rounded to 8 bits by a search."""
        return self.rounded / f"{checked_name(shard, f'{self.root}: the shard of a row')}.parquet"

    def detection_part(self, shard: str, detector: str) -> Path:
        """Return the file of what a detector says of a shard's examples."""
        return self.detections / f"{checked_name(f'{shard}-{detector}', f'{self.root}: a shard')}.parquet"

    def write_failure(self, task: str, failed: Failed) -> None:
        """Store the failure of an abandoned task."""
        write_text(self.failures / f"{task}.json", json.dumps(asdict(failed)))

    def failure_records(self) -> list[Failed]:
        """Read the failures of abandoned tasks, the latest first."""
        records: list[Failed] = [stored_json(path, Failed) for path in self.failures.glob("[!.]*.json")]
        return sorted(records, key=lambda failed: failed.ended, reverse=True)

    def failed(self) -> set[str]:
        """Return the digests of the abandoned tasks."""
        return {path.stem for path in self.failures.glob("[!.]*.json")}

    def forget_failure(self, task: str) -> None:
        """Delete the failure of a task that has succeeded since."""
        (self.failures / f"{task}.json").unlink(missing_ok=True)

    def commit(
        self,
        shard: Shard,
        rows: Sequence[dict[str, Any]],
        record: ShardRecord,
        weights: Mapping[str, str] = MappingProxyType({}),
        code: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Store a shard's record, and then its rows. With its rows stored, the shard is done.

        Parameters
        ----------
        weights
            The SHA-256 of the attacked weights, by the victim's digest.
        code
            The SHA-256 of the files of the user's own code that computed the rows, by the module's name.
        """
        write_text(self.shards / f"{shard.digest}.json", json.dumps(asdict(record)))
        computed = {name: getattr(record, name) for name in ("torch", "cuda", "device", "threads", "batch_size")}
        parquet.write_rows(self.part(shard.digest), rows, computed, weights, code)

    def notes(self) -> dict[Path, Note]:
        """Return the note of every part of rows, by its file; check that the part has as many rows as were written.

        Raises
        ------
        DamagedResults
            A part has not, or is no part.
        """
        parts = sorted(self.examples.glob("[!.]*.parquet"))
        return dict(zip(parts, read_notes(parts, parquet.WHAT), strict=True))

    def shard_record(self, shard: str) -> ShardRecord:
        """Read the record of a finished shard.

        Raises
        ------
        UserError
            The record is damaged.
        """
        remedy = f"delete it and {self.part(shard)}, and run again to write both"
        record: ShardRecord = stored_json(self.shards / f"{shard}.json", ShardRecord, remedy)
        return record

    def done(self, *, with_images: bool) -> set[str]:
        """Return the digests of the finished shards: their rows are stored, and their images if `with_images`.

        Raises
        ------
        UserError
            The folder has results of another format.
        """
        self._check_format()
        digests = {path.stem for path in self.examples.glob("[!.]*.parquet") if "-" not in path.stem}
        return digests & {path.stem for path in self.images.glob("[!.]*.parquet")} if with_images else digests

    def judged(self) -> set[tuple[str, str]]:
        """Return the digests of the shards and detectors of which detections are stored."""
        stems = (path.stem.partition("-") for path in self.detections.glob("[!.]*.parquet"))
        return {(shard, detector) for shard, _, detector in stems}
