"""What MLflow is told of a sweep: curves with whole steps, robustness, the paper's tables; and all of a real one."""

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from eadbench.harness.analysis import summary as summaries
from eadbench.harness.analysis.aggregate import COLUMNS, FIGURES, METRICS
from eadbench.harness.labels import AXES, Labels, series_of
from eadbench.harness.paper.coverage import places
from eadbench.harness.paper.published import TITLES, published, same_setting
from eadbench.harness.plan.grid import Victim
from eadbench.harness.reporting import report
from eadbench.harness.results.folder import Results
from eadbench.harness.results.lock import attested, write_lock
from eadbench.harness.results.snapshot import Snapshot
from eadbench.harness.storage import located
from eadbench.harness.tracking import curves as curve_metrics
from eadbench.harness.tracking import invocation
from eadbench.harness.tracking.curves import curves, steps
from eadbench.harness.tracking.describe import robustness
from eadbench.models import canonical_json
from tests import sweeps
from tests.harness.paper.test_comparison import papers_own, victim

PLAIN = victim("a" * 16)
WARM, HOT = (victim(name * 16, "distillation", temperature=t) for name, t in (("b", 10.0), ("c", 100.0)))


@pytest.mark.parametrize(
    ("axis", "values", "unit", "found"),
    [
        ("beta", [5e-5, 1e-3, 0.1], "", [50, 1000, 100_000]),
        ("beta", [0, 1e-7, 0.3], "in billionths", [0, 100, 300_000_000]),
        ("beta", [1e-3, 1.5e-12], None, None),
        ("beta", [1e-3, 1 / 3], None, None),
        ("kappa", [0.0, 40.0], "", [0, 40]),
        ("kappa", [0.0, 0.5], "in thousandths", [0, 500]),
        ("temperature", [1.0, 100.0], "", [1, 100]),
    ],
)
def test_steps_are_whole_or_there_are_none(axis: str, values: list[float], unit: Any, found: Any) -> None:
    assert steps(values, axis) == (None if unit is None else (unit, found))


def summary(*cells: dict[str, Any]) -> pd.DataFrame:
    """The average case's lines of cells of an undefended victim, unless said otherwise; all targets have twice it."""
    lines = []
    for index, given in enumerate(cells):
        line = {"cell": f"{index:016}", **of(PLAIN), "arch": "cw_mnist", "dataset": "mnist"}
        line |= {"attack": "ead", "decision_rule": "l1", "beta": 1e-3, "kappa": 0.0, "parameters": "{}"}
        line |= {"case": "average", "asr": 100.0, **dict.fromkeys(METRICS, float(index))} | given
        line |= {f"all_targets_{figure}": 2 * line[figure] for figure in FIGURES}
        lines.append({"evaluated_on": line["model"], **line})
    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    return frame.assign(series=series_of(frame))


def of(who: Victim) -> dict[str, Any]:
    parameters = canonical_json(who.defense_parameters)
    defense = {"defense": who.defense, "defense_parameters": parameters, "temperature": who.temperature}
    return {"model": who.digest} | defense


class TestCurves:
    def test_of_each_figure_over_kappa(self) -> None:
        found = curves(summary({"kappa": 0.0}, {"kappa": 20.0}, {"kappa": 10.0, "l1": math.nan, "asr": 0.0}), [PLAIN])
        assert len(found) == 2 * 4
        name = "κ EAD L1 β 1e-3"
        assert found[f"no defence/asr {name}"] == [(0, 100.0), (10, 0.0), (20, 100.0)]
        assert found[f"no defence/l1 {name}"] == [(0, 0.0), (20, 1.0)]
        assert found[f"no defence/all l2 {name}"] == [(0, 0.0), (10, 4.0), (20, 2.0)]

    def test_one_target_per_image_has_one_case(self) -> None:
        lines = summary({"kappa": 0.0}, {"kappa": 20.0}).assign(targets_per_image=1)
        assert [*curves(lines, [PLAIN])] == [f"no defence/{name} κ EAD L1 β 1e-3" for name in FIGURES]

    def test_victims_are_told_apart_and_temperature_goes_over_them(self) -> None:
        cells = [{**of(who), "kappa": kappa} for who in (PLAIN, WARM, HOT) for kappa in (0.0, 20.0)]
        found = [name for name in curves(summary(*cells), [PLAIN, WARM, HOT]) if "/l1" in name]
        assert found == [
            "no defence/l1 κ EAD L1 β 1e-3",
            "distillation T 10/l1 κ EAD L1 β 1e-3",
            "distillation T 100/l1 κ EAD L1 β 1e-3",
            "distillation/l1 T EAD L1 β 1e-3",
            "distillation/l1 T EAD L1 β 1e-3 κ 20",
        ]
        alike = victim("d" * 16)
        twins = [{**of(who), "kappa": kappa} for who in (PLAIN, alike) for kappa in (0.0, 20.0)]
        assert "no defence dddddd/l1 κ EAD L1 β 1e-3" in curves(summary(*twins), [PLAIN, alike])

    def test_no_two_cells_share_a_name_and_a_step(self) -> None:
        """MLflow keeps the last of two points: of all that tells victims apart, none may be left out of a name."""
        victims, cells = [], []
        for arch, parameters in product(("cw_mnist", "digits", "cw mnist"), ({}, {"epochs": 5}, {"epochs": 9})):
            for temperature in (10.0, 100.0):
                values = {"temperature": temperature, **parameters}
                digest = f"{len(victims):016}"
                victims.append(replace(victim(digest, "distillation", **values), arch=arch))
                cells += [{**of(victims[-1]), "arch": arch, "beta": beta} for beta in (1e-3, 1e-2)]
        frame = summary(*cells)
        frame["l1"] = frame.index.astype("float64")  # tells the cells apart
        for axis, lines in (("temperature", 2), ("beta", 2)):
            found = [curve for name, curve in curves(frame, victims).items() if f"/l1 {AXES[axis]} " in name]
            assert [len(curve) for curve in found] == [lines] * len(found)
            points = [value for curve in found for _, value in curve]
            assert len(points) == len(set(points)) == min(16 * 2, len(cells))

    def test_cells_that_differ_in_a_hyperparameter_are_two_curves(self) -> None:
        """Neither takes the other's name, nor its steps; however long the hyperparameters are."""
        names = [f"a_hyperparameter_with_a_long_name_{i}" for i in range(20)]
        long = [canonical_json(dict.fromkeys(names, n)) for n in (2, 40)]
        for variants, words in (
            (['{"max_iterations":2}', '{"max_iterations":40}'], ["max_iterations 2", "max_iterations 40"]),
            (long, ["a_hyperparameter_with_a_long_name_0 2", "a_hyperparameter_with_a_long_name_0 40"]),
        ):
            cells = [{"parameters": one, "kappa": kappa} for one in variants for kappa in (0.0, 20.0)]
            found = {name: curve for name, curve in curves(summary(*cells), [PLAIN]).items() if "/l1" in name}
            assert list(found.values()) == [[(0, 0.0), (20, 1.0)], [(0, 2.0), (20, 3.0)]]
            for name, word in zip(found, words, strict=True):
                assert word in name and len(name) <= 250

    def test_labels_that_lose_their_difference_in_a_key_are_told_apart(self) -> None:
        """MLflow takes no '&': an attack that is called CW would otherwise be taken for C&W."""
        cells = [{"attack": name, "decision_rule": None, "kappa": kappa} for name in ("cw", "CW") for kappa in (0, 20)]
        found = [name for name in curves(summary(*cells), [PLAIN]) if "/l1" in name]
        assert len(found) == 2
        for name in found:
            assert re.fullmatch(r"no defence/l1 κ CW β 1e-3 [0-9a-f]+", name)

    def test_two_settings_of_one_name_and_steps_that_are_not_whole_are_no_curve(self) -> None:
        assert not curves(summary({"kappa": 0.0}, {"kappa": 20.0}, {"kappa": 20.0}), [PLAIN])
        assert not curves(summary({"beta": 1e-3}, {"beta": 1 / 3}), [PLAIN])

    def test_of_many_the_first_of_each_attack(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(curve_metrics, "MOST_CURVES", 2)
        cells = [
            {"decision_rule": rule, "beta": beta, "kappa": kappa}
            for rule in ("en", "l1")
            for beta in (1e-3, 1e-2)
            for kappa in (0.0, 20.0)
        ]
        found = [name for name in curves(summary(*cells), [PLAIN]) if "/l1 κ" in name]
        assert found == ["no defence/l1 κ EAD EN β 1e-3", "no defence/l1 κ EAD L1 β 1e-3"]


def test_robustness_is_against_the_strongest_cell() -> None:
    lines = summary(
        {"attack": "cw", "decision_rule": None, "beta": math.nan, "l1": 3.0},
        {"beta": 1e-3, "l1": 2.0, "asr": 90.0},
        {"beta": 1e-2, "l1": 2.5},
        {"beta": 1e-1, "l1": 4.0},
        {"attack": "fgm", "norm": "l1", "decision_rule": None, "beta": math.nan, "l1": math.nan, "asr": 0.0},
    )
    found = robustness(lines, Labels(lines=lines, victims=[PLAIN]))
    assert (found["strongest.asr"], found["strongest.l1"]) == (200.0, 5.0)
    assert (found["CW.l1"], found["EAD L1.l1"]) == (6.0, 5.0)
    assert (found["FGM-L1.asr"], found["FGM-L1.l1"]) == (0.0, None)


def test_cells_and_sweeps_are_placed_in_the_papers_tables() -> None:
    whole, victims = papers_own()
    found = places(whole, victims)
    assert found.sweep == sorted({2, 3, *TITLES})
    paper = published().assign(key=lambda lines: same_setting(lines))
    setting = "mnist||none|||ead||l1|0.001|0|average"
    ours = whole[(whole["model"] == whole["evaluated_on"]) & np.isclose(whole["beta"], 1e-3)]
    query = "dataset == 'mnist' and defense == 'none' and attack == 'ead' and decision_rule == 'l1' and kappa == 0"
    [cell] = ours.query(f"{query} and case == 'average'")["cell"]
    printed = paper[paper["key"] == setting]["table"].item()
    assert ", ".join(map(str, found.cells[cell])) == printed == "2, 3, 6, 8, 14"
    assert 8 not in places(whole[whole["attack"] != "cw"], victims).sweep
    assert places(whole[:0], victims).sweep == []


def test_a_sweep_at_a_uri_is_logged_with_its_figures_curves_tags_and_models(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    named = {
        "name": "digits_as_mnist",
        "dataset": {"name": "tests.harness.commands.test_cli:as_mnist"},
        "shard_size": 60,
    }
    search = {"initial_const": 1, "binary_search_steps": 2, "max_iterations": 30}
    what = sweeps.small(**named, attacks=[{"name": "ead", "beta": [1e-3, 1e-2], **search}])
    results = Results(located(f"memory://{tmp_path.name}/small"))
    done = sweeps.run(what, results.root)
    snapshot = Snapshot(results)
    found = summaries.read(snapshot)
    lock = attested(snapshot)
    texts = {"results.lock": write_lock(results, lock)} | report.write(results, found)
    started = datetime.now(UTC)
    (results.report / "report.html").write_text("<!doctype html>")
    kept = invocation.keep(snapshot, done, found, texts, started, 1.5, scale="tiny")
    invocation.keep_files(results, found, kept)
    (results.report / "report.html").write_text("a later one's")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    [logged] = invocation.log(results, uri)
    assert logged.cells_written == 4
    [again] = invocation.log(results, uri)
    assert (again.run_id, again.cells_found) == (logged.run_id, 4)

    client = MlflowClient(uri)
    parent = client.get_run(logged.run_id)
    artifacts = [entry.path for entry in client.list_artifacts(logged.run_id)]
    tables = [*(f"table.{end}" for end in ("csv", "json", "md", "tex")), "trust.csv", "trust.json"]
    assert artifacts == ["figures", "report.html", "results.lock", "spec.yaml", *tables]
    figures = {Path(entry.path).name for entry in client.list_artifacts(logged.run_id, "figures")}
    assert figures == {path.name for path in results.report.glob("*.png")} and len(figures) == 2
    assert Path(client.download_artifacts(logged.run_id, "report.html")).read_text() == "<!doctype html>"

    tags = {name: value for name, value in parent.data.tags.items() if name.startswith("eadbench")}
    everywhere = {"eadbench.version": "0.1.0", "eadbench.dataset": "mnist", "eadbench.scale": "tiny"}
    everywhere["eadbench.results"] = str(results.root)
    own = {"eadbench.invocation": kept, "eadbench.defense": "no defence", "eadbench.state": "complete"}
    own |= {"eadbench.root": lock.lock.root, "eadbench.indicators": "weak_victim; few_images"}
    assert tags == everywhere | own
    assert parent.info.run_name == f"{started:%Y-%m-%d %H:%M:%S} {kept.rpartition('-')[2][:4]}"
    cells = client.search_runs([logged.experiment_id], "tags.`eadbench.cell` != '' AND params.beta = '0.001'")
    [cell] = [client.get_run(run.info.run_id) for run in cells if run.data.params["decision_rule"] == "l1"]
    assert everywhere.items() < cell.data.tags.items()
    assert cell.info.run_name == "EAD L1 β=1e-3 κ=0 · no defence"
    assert cell.data.tags["eadbench.indicators"] == "weak_victim; few_images"
    assert cell.data.metrics["quantised.asr"] <= cell.data.metrics["all_targets.asr"]
    assert cell.data.tags["eadbench.paper_table"] == "2, 3, 6, 8, 14"

    l1 = "no defence/l1 β EAD L1"
    expected = found.lines[(found.lines["decision_rule"] == "l1") & (found.lines["case"] == "average")]
    points = {metric.step: metric.value for metric in client.get_metric_history(logged.run_id, l1)}
    assert points == pytest.approx(dict(zip((1000, 10_000), expected["l1"], strict=True)))

    [model] = client.search_logged_models([logged.experiment_id])
    assert [entry.model_id for entry in cell.inputs.model_inputs] == [model.model_id]
    assert (model.name, str(model.status)) == ("digits, no defence", "READY")
    assert model.params["training.epochs"] == "4" and model.params["defense.name"] == "none"
    metrics = {metric.key: metric.value for metric in model.metrics}
    assert metrics["accuracy"] == 100 * found.victims[0].accuracy
    assert parent.data.metrics["no defence/accuracy"] == metrics["accuracy"]
    assert (parent.data.params["targets"], cell.data.params["targets"]) == ("all", "all")
    assert (cell.data.metrics["images"], cell.data.metrics["images_missing"]) == (3, 0)
    strong = expected[expected["all_targets_asr"] == expected["all_targets_asr"].max()]
    assert metrics["EAD L1.l1"] == pytest.approx(strong["all_targets_l1"].min())
    assert np.isfinite(metrics["strongest.l2"])

    # One that was kept before there were curves and models.
    record = results.root / "invocations" / f"{kept}.json"
    before = {
        name: value for name, value in json.loads(record.read_text()).items() if name not in ("curves", "victims")
    }
    cells = [{name: cell[name] for name in cell if name not in ("victim", "tags")} for cell in before["cells"]]
    older = record.with_name("20200101-000000-00000000.json")
    older.write_text(json.dumps(before | {"invocation": older.stem, "cells": cells}))
    assert [one.cells_written for one in invocation.log(results, uri)] == [4, 0]
