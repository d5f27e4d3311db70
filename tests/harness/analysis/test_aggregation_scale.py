"""A results folder's rows read in batches: what they must be, what they must give, and what is refused."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from eadbench.harness.analysis import aggregate
from eadbench.harness.analysis import summary as summaries
from eadbench.harness.errors import DamagedResults
from eadbench.harness.parquet.rows import SCHEMA, read_rows, write_rows
from eadbench.harness.parquet.stored import SETTING
from eadbench.harness.plan.grid import Victim, blocks, other_parameters
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.spec import Spec
from tests.sweeps import small

ATTACKS = [{"name": "cw", "kappa": [0, 10]}, {"name": "ead", "beta": [1e-3, 1e-2]}]
CLASSES = 4
Row = dict[str, Any]


def victims() -> list[Victim]:
    """Two that are attacked, on six images each, and one that their examples are only tested on."""
    shared: dict[str, Any] = {"name": None, "arch": "digits", "defense_parameters": {}}
    shared |= {"trained_on": "digits", "accuracy": 0.9}
    return [
        Victim(digest="a" * 16, defense="none", images=[3, 1, 4, 15, 9, 2], labels=[0, 1, 2, 3, 0, 1], **shared),
        Victim(digest="b" * 16, defense="other", images=[9, 1, 26, 5, 3, 4], labels=[0, 1, 2, 3, 0, 2], **shared),
        Victim(digest="c" * 16, defense="none", images=[], labels=[], attacked=False, **shared),
    ]


def parts_of(spec: Spec, given: list[Victim], *, seed: int = 0) -> Iterator[list[Row]]:
    """The rows of every part: some rows are missing, and some are in two parts, with 100 iterations in the second."""
    generator = np.random.default_rng(seed)
    for block in blocks(spec, "digits", given):
        setting, victim = block.setting, block.victim
        shared = {"dataset": "digits", "split": "test", "model": victim.digest, "arch": victim.arch}
        shared |= {"defense": victim.defense, "defense_parameters": "{}", "trained_on": "digits"}
        shared |= {"attack": setting.attack, "parameters": other_parameters(setting.parameters)}
        for tested in (victim.digest, "c" * 16):
            rows = []
            for image, label in zip(victim.images, victim.labels, strict=True):
                for (beta, kappa, rule), cell in block.cell_digests.items():
                    for target in range(CLASSES):
                        success = bool(generator.random() < 0.8)
                        distances = dict(zip(aggregate.METRICS, generator.gamma(5, size=3).tolist(), strict=True))
                        row = {"image": image, "label": label, "target": target, "beta": beta, "kappa": kappa}
                        row |= {"decision_rule": rule, "cell": cell, "evaluated_on": tested, "success": success}
                        rows.append(shared | row | (distances if success else {}))
            order = generator.permutation(len(rows))
            shuffled = [rows[i] for i in order[: int(0.95 * len(rows))]]
            again = [row | {"iterations": 100} for row in shuffled[:5]]
            yield from (shuffled[:20], shuffled[20:], again)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results whose folder looks like a pattern and a partition; part of the rows answer another spec."""
    place = tmp_path_factory.mktemp("beta=7") / "a[1]*?"
    results, spec = Results(place), small(attacks=ATTACKS)
    results.begin(spec)
    results.write_victims("digits", victims(), (1, 8, 8), [])  # so that no row counts as missing
    wider = small(attacks=[*ATTACKS, {"name": "fgm", "norm": "l1"}])
    given = victims()
    more = [Victim(**(vars(given[0]) | {"images": [0, *given[0].images], "labels": [0, *given[0].labels]})), *given[1:]]
    for number, rows in enumerate(parts_of(wider, more)):
        elsewhere = [row | {"evaluated_on": "d" * 16} for row in rows[:3]]
        write_rows(results.part(f"{number:016x}"), [row | {"shard": f"{number:016x}"} for row in rows + elsewhere])
    return place


def snapshot(place: Path) -> Snapshot:
    return Snapshot(Results(place))


def expected(place: Path) -> pd.DataFrame:
    """The rows that answer the spec, row by row from part after part, the first of each example."""
    given = {victim.digest: victim.images for victim in victims()}
    cells = {cell.digest for block in blocks(small(attacks=ATTACKS), "digits", victims()) for cell in block.cells()}
    kept: dict[tuple[Any, ...], Row] = {}
    for path in sorted((place / "examples").iterdir()):
        for row in pq.read_table(path, partitioning=None).to_pylist():
            ours = row["cell"] in cells and row["evaluated_on"] in given and row["image"] in given[row["model"]]
            if ours:
                kept.setdefault((row["cell"], row["evaluated_on"], row["image"], row["target"]), row)
    table = pa.Table.from_pylist(list(kept.values()), schema=SCHEMA)
    frame: pd.DataFrame = table.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return frame


class TestRows:
    def test_are_those_that_answer_the_spec_in_the_order_of_the_parts(self, folder: Path) -> None:
        found, wanted = snapshot(folder).frame(), expected(folder)
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)
        everything = read_rows(sorted((folder / "examples").iterdir()))
        assert (
            len(found) < len(everything)
            and not (found["iterations"] == 100).any()
            and (everything["iterations"] == 100).any()
        )

    def test_some_columns(self, folder: Path) -> None:
        names = ["l2", "cell"]
        pd.testing.assert_frame_equal(snapshot(folder).frame(names), expected(folder)[names], check_exact=True)

    def test_of_a_line(self, folder: Path) -> None:
        stored, wanted = snapshot(folder).stored_rows, expected(folder).assign(targets="all")
        assert len(stored.lines) == len(wanted.groupby(["cell", "evaluated_on"]))
        for line, setting in stored.lines.iterrows():
            of_line = (wanted["cell"] == setting["cell"]) & (wanted["evaluated_on"] == setting["evaluated_on"])
            found = stored.read([*SETTING, "image", "l1"], [line])
            rows = wanted.loc[of_line, [*SETTING, "image", "l1"]].reset_index(drop=True)
            pd.testing.assert_frame_equal(found.drop(columns="line"), rows, check_exact=True)
            assert [setting[name] for name in SETTING if not pd.isna(setting[name])] == list(
                rows.loc[0, list(SETTING)].dropna()
            )
            assert len(found) <= setting["rows"]

    def test_from_several_threads(self, folder: Path) -> None:
        stored = snapshot(folder).stored_rows
        once = stored.read(["l1"])
        with ThreadPoolExecutor(4) as pool:
            for again in pool.map(lambda _: stored.read(["l1"]), range(8)):
                pd.testing.assert_frame_equal(again, once)

    def test_of_no_parts(self, tmp_path: Path) -> None:
        results = Results(tmp_path)
        results.begin(small())
        of_none = Snapshot(results)
        assert of_none.frame().empty and list(of_none.frame()) == SCHEMA.names
        assert of_none.frame(["l1"]).dtypes.to_dict() == {"l1": np.float32}
        assert summaries.read(of_none).lines.empty


class TestBatches:
    @pytest.mark.parametrize("at_most", [1, 100, 333, 10**9])
    def test_of_any_size_give_the_same_summary(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, at_most: int
    ) -> None:
        monkeypatch.setattr(summaries, "AT_ONCE", at_most)
        found = summaries.read(snapshot(folder)).lines.assign(indicators="")
        wanted = aggregate.summarise(expected(folder).assign(targets="all"), seed=0).assign(table="small")
        pd.testing.assert_frame_equal(found, wanted, check_exact=True)

    def test_are_bounded(self, folder: Path) -> None:
        stored = snapshot(folder).stored_rows
        batches = list(stored.batches(["l1"], at_most=300))
        assert len(batches) > 2
        assert all(len(batch) <= 300 for batch in batches)
        assert [line for batch in batches for line in sorted(batch["line"].unique())] == stored.lines.index.tolist()


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damaged(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:4] + b"\xff" * 2000 + content[2004:])


def foreign(path: Path) -> None:
    pq.write_table(pa.table({"price": [1.5]}), path)


def without_l1(path: Path) -> None:
    pq.write_table(pq.read_table(path, partitioning=None).drop_columns(["l1"]), path)


def words_for_l1(path: Path) -> None:
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.set_column(SCHEMA.get_field_index("l1"), "l1", pa.array(["far"] * len(table))), path)


@pytest.mark.parametrize("which", [0, -1], ids=["first", "last"])
@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncated, "magic bytes"),
        (lambda path: path.write_bytes(b""), "0 bytes"),
        (damaged, ""),
        (foreign, "it has no column dataset"),
        (without_l1, "it has no column l1"),
        (words_for_l1, "its column l1 is string, not float"),
        (lambda path: path.unlink(), "there is no such file"),
    ],
    ids=["truncated", "empty", "damaged", "foreign", "without l1", "words for l1", "gone"],
)
def test_a_part_that_is_none_is_named(
    folder: Path, tmp_path: Path, which: int, spoil: Callable[[Path], object], reason: str
) -> None:
    """In one line; wherever it stands among the good ones."""
    parts = [tmp_path / path.name for path in sorted((folder / "examples").iterdir())[:5]]
    for path in parts:
        path.write_bytes((folder / "examples" / path.name).read_bytes())
    spoil(parts[which])
    with pytest.raises(DamagedResults) as refusal:
        read_rows(parts)
    message = str(refusal.value)
    assert message.startswith(f"{parts[which]}: not the rows of a sweep: ")
    assert reason in message and "\n" not in message


def test_a_report_names_a_part_that_is_none(folder: Path, tmp_path: Path) -> None:
    results = Results(tmp_path)
    results.begin(small(attacks=ATTACKS))
    results.write_victims("digits", victims(), (1, 8, 8), [])  # so that no row counts as missing
    results.examples.mkdir()
    for path in (folder / "examples").iterdir():
        (results.examples / path.name).write_bytes(path.read_bytes())
    part = sorted(results.examples.iterdir())[3]
    truncated(part)
    with pytest.raises(DamagedResults, match=f"^{part}: not the rows of a sweep"):
        summaries.read(Snapshot(results))
