"""Cells that differ in one hyperparameter alone keep their own figures and labels, wherever figures are shown.

One sweep has EAD with 2 and with 40 iterations, and FGM with two grids of ε, on one victim and transferred to another.
"""

import io
import re
from collections.abc import Mapping
from typing import Any

import pandas as pd
import pytest
from rich.console import Console

import eadbench
from eadbench.harness.analysis import compare, transfer
from eadbench.harness.numbers import rate_text
from eadbench.harness.reporting import figures, report
from eadbench.harness.reporting.gallery import choose
from tests.command import eadbench as command

TRAINING = {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3}
EAD = {"name": "ead", "kappa": [0, 5], "initial_const": 1, "binary_search_steps": 1}
FGM = {"name": "fgm", "norm": "linf"}
CONTENT = {
    "name": "variants",
    "dataset": {"name": "tests.harness.commands.test_cli:as_mnist"},
    "images": {"count": 4},
    "evaluated": "all",
    "victims": [
        {"name": "first", "arch": "digits", "training": TRAINING, "evaluated_on": ["second"]},
        {"name": "second", "arch": "digits", "training": {**TRAINING, "seed": 1}, "attacked": False},
    ],
    "attacks": [
        {**EAD, "max_iterations": 2},
        {**EAD, "max_iterations": 40},
        {**FGM, "epsilons": [0.02]},
        {**FGM, "epsilons": [0.5, 1]},
    ],
}
VARIANTS = {
    ("ead", "en"): ["EAD (EN), max_iterations 2", "EAD (EN), max_iterations 40"],
    ("ead", "l1"): ["EAD (L1), max_iterations 2", "EAD (L1), max_iterations 40"],
    ("fgm", ""): ["FGM-Linf, epsilons [0.02]", "FGM-Linf, epsilons [0.5, 1.0]"],
}
"""The labels of the variants of each attack and decision rule, the weaker variant first."""
CELLS = 2 * (2 * 2) + 2


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> eadbench.Results:
    folder = tmp_path_factory.mktemp("identities")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        return eadbench.run(CONTENT, executor="serial", results=str(folder / "variants"))


@pytest.fixture(scope="module")
def cells(results: eadbench.Results) -> pd.DataFrame:
    """Return each cell's label, and figures computed from its rows.

    `asr` and `transferred` are over all targets, on its own victim and on the other; `best` is the best case's ASR.
    """
    rows, lines = results.rows(), []
    own = rows["model"] == rows["evaluated_on"]
    for cell, part in rows[own].groupby("cell"):
        first = part.iloc[0]
        rule = "" if pd.isna(first["decision_rule"]) else first["decision_rule"]
        weak = '"max_iterations":2,' in first["parameters"] or '"epsilons":[0.02]' in first["parameters"]
        line = {"cell": cell, "label": VARIANTS[first["attack"], rule][0 if weak else 1], "weak": weak}
        line |= {"attack": first["attack"], "rule": rule, "kappa": first["kappa"]}
        line["asr"] = 100 * part["success"].mean()
        line["best"] = 100 * part.groupby("image")["success"].any().mean()
        line["transferred"] = 100 * rows.loc[~own & (rows["cell"] == cell), "success"].mean()
        lines.append(line)
    return pd.DataFrame(lines).set_index("cell")


def by_name(cells: pd.DataFrame, figure: str) -> dict[tuple[str, float], float]:
    """Return a figure by label and κ."""
    return dict(zip(zip(cells["label"], cells["kappa"], strict=True), cells[figure], strict=True))


def test_the_variants_differ(cells: pd.DataFrame) -> None:
    """Otherwise nothing below would show that figures are mixed up."""
    assert len(cells) == CELLS and len(by_name(cells, "asr")) == CELLS
    for _, pair in cells.groupby(["attack", "rule", "kappa"]):
        weak, strong = pair.sort_values("weak", ascending=False).to_dict("records")
        assert weak["asr"] < strong["asr"]
    assert cells["transferred"].nunique() > 1


def test_the_table_has_a_line_for_each(results: eadbench.Results, cells: pd.DataFrame) -> None:
    for case, figure in (("all_targets", "asr"), ("best", "best")):
        table = results.table(case=case)  # type: ignore[arg-type]
        own = table[table["victim"] == table["tested_on"]].set_index("cell")
        assert own["attack"].to_dict() == cells["label"].to_dict()
        assert own["asr"].to_dict() == pytest.approx(cells[figure].to_dict())
    csv = pd.read_csv(io.StringIO(eadbench.report(results, "csv")))
    own = csv[(csv["model"] == csv["evaluated_on"]) & (csv["case"] == "best")].set_index("cell")
    assert own["label"].to_dict() == cells["label"].to_dict()
    assert own["asr"].to_dict() == pytest.approx(cells["best"].to_dict())


PATTERNS = {
    "markdown": r"^\| {label} \| {iterations} \| [\de-]* \| {kappa} \| ([\d.]+) \|",
    "latex": r"^{label} & {iterations} & \S* & {kappa} & ([\d.]+) &",
    "table": r"^{label} +{iterations} +(?:1e-3 +)?{kappa} +([\d.]+) ",
}
"""A value that varies has a column, a list of values stays in the label."""


@pytest.mark.parametrize("format", PATTERNS)
def test_printed_tables_have_a_line_for_each(results: eadbench.Results, cells: pd.DataFrame, format: str) -> None:
    if format == "table":
        console = Console(width=200, file=io.StringIO(), record=True)
        console.print(report.terminal(results.summary, width=200))
        text = console.export_text().partition("ASR over every target")[0]
    else:
        text = eadbench.report(results, format).partition("crafted on")[0]  # type: ignore[arg-type]
    for (label, kappa), best in by_name(cells, "best").items():
        label, _, iterations = label.partition(", max_iterations ")
        shown = re.escape(label.replace("[", r"\[") if format == "markdown" else label)
        if format == "latex":
            shown = shown.replace("_", r"\\_").replace(r"\(L1\)", r"\(\$L_1\$\)").replace(r"Linf", r"\$L_\\infty\$")
        printed = re.findall(
            PATTERNS[format].format(label=shown, iterations=iterations, kappa=f"{kappa:g}"), text, re.MULTILINE
        )
        assert printed == [rate_text(best)], (label, kappa)


def test_the_transfer_matrix_has_a_line_for_each(results: eadbench.Results, cells: pd.DataFrame) -> None:
    frame = results.transfer().set_index("cell")
    assert frame["attack"].to_dict() == cells["label"].to_dict()
    assert frame["second"].to_dict() == pytest.approx(cells["transferred"].to_dict())
    assert frame["first"].to_dict() == pytest.approx(cells["asr"].to_dict())

    file = pd.read_csv(results.folder / "report" / "transfer.csv").set_index("cell")
    second = next(victim.digest for victim in results.summary.victims if victim.name == "second")
    assert file["label"].to_dict() == cells["label"].to_dict()
    assert file[second].to_dict() == pytest.approx(cells["transferred"].to_dict())

    summary = results.summary
    console = Console(width=160, file=io.StringIO(), record=True)
    console.print(transfer.terminal(summary.lines, summary.victims, summary.labels, summary.spec))
    text = console.export_text()
    for (label, kappa), rate in by_name(cells, "transferred").items():
        printed = re.findall(rf"{re.escape(label)} +(?:1e-3 +)?{kappa:g} +[\d.]+ +([\d.]+)", text)
        assert printed == [rate_text(rate)], (label, kappa)


def points(axes: Any) -> dict[str, dict[float, float]]:
    """Return the points of every series of a panel, by its label."""
    lines = axes.get_lines()
    assert len({line.get_label() for line in lines}) == len(lines)
    return {
        str(line.get_label()): dict(zip(map(float, line.get_xdata()), map(float, line.get_ydata()), strict=True))
        for line in lines
    }


def average(results: eadbench.Results, cells: pd.DataFrame, *, own: bool) -> dict[str, dict[float, float]]:
    """Return the ASR of the average case by label and κ."""
    lines = results.summary.lines
    lines = lines[(lines["case"] == "average") & ((lines["model"] == lines["evaluated_on"]) == own)]
    asr: dict[str, dict[float, float]] = {}
    for line in lines.to_dict("records"):
        asr.setdefault(cells.at[line["cell"], "label"], {})[line["kappa"]] = line["asr"]
    return asr


def test_curves_are_drawn_for_each(results: eadbench.Results, cells: pd.DataFrame) -> None:
    drawn = figures.draw(results.summary.lines, results.summary.victims)
    here, there = (average(results, cells, own=own) for own in (True, False))
    over_kappa = points(drawn["asr_over_kappa-mnist"].axes[0])
    assert over_kappa == {label: asr for label, asr in here.items() if len(asr) > 1}
    assert len(over_kappa) == 4
    assert points(drawn["transfer_asr_over_kappa-mnist"].axes[0]) == there


def test_galleries_are_written_for_each(results: eadbench.Results, cells: pd.DataFrame) -> None:
    assert command("report", results.folder, "--figures", "--allow-code").code == 0
    files = list((results.folder / "report").glob("gallery-*.svg"))
    assert len(files) == len(cells)
    rows = results.rows()
    for cell, label in cells["label"].items():
        [file] = [file for file in files if file.stem.endswith(f"-{str(cell)[:6]}")]
        assert figures.slug(label) in file.name
        own = rows[(rows["cell"] == cell) & (rows["model"] == rows["evaluated_on"])]
        chosen = choose(own)
        pictures = len(chosen) + own.loc[own["image"].isin(chosen), "success"].sum()
        assert file.read_text().count("<image ") == pictures


def curve_histories(client: Any, run: Any) -> Mapping[str, dict[int, float]]:
    """Return the points of a run's curves of the average case's ASR over κ, by the name of the setting."""
    prefix = "first/asr κ "
    curves = {}
    for name in run.data.metrics:
        if name.startswith(prefix):
            history = client.get_metric_history(run.info.run_id, name)
            assert len({metric.step for metric in history}) == len(history)
            curves[name.removeprefix(prefix)] = {metric.step: metric.value for metric in history}
    return curves


def test_mlflow_has_a_run_and_a_curve_for_each(results: eadbench.Results, cells: pd.DataFrame) -> None:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{results.folder.parent / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("variants")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    of_cells = {run.data.tags["eadbench.cell"]: run for run in runs if "eadbench.cell" in run.data.tags}
    assert of_cells.keys() == set(cells.index)
    assert len({run.info.run_name for run in of_cells.values()}) == len(cells)
    for cell, run in of_cells.items():
        line = cells.loc[cell]
        label = line["label"].replace("(", "").replace(")", "")
        assert run.info.run_name.startswith(f"{label} ") and run.info.run_name.endswith(f"κ={line['kappa']:g} · first")
        parameter, weak, strong = {"ead": ("max_iterations", "2", "40"), "fgm": ("epsilons", "[0.02]", "[0.5, 1.0]")}[
            line["attack"]
        ]
        assert run.data.params[parameter] == (weak if line["weak"] else strong)
        assert run.data.metrics["all_targets.asr"] == pytest.approx(line["asr"])
        assert run.data.metrics["second/all_targets.asr"] == pytest.approx(line["transferred"])

    [parent] = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
    curves = curve_histories(client, parent)
    expected = {label: asr for label, asr in average(results, cells, own=True).items() if len(asr) > 1}
    assert len(curves) == len(expected) == 4
    for label, asr in expected.items():
        words = re.sub(r"[^\w.-]+", " ", label)
        assert curves[f"{words} β 1e-3"] == pytest.approx(asr)

    first = next(victim.digest for victim in results.summary.victims if victim.name == "first")
    [victim] = [run for run in runs if run.data.tags.get("eadbench.victim") == first]
    for label, group in cells.groupby("label"):
        key = re.sub(r"[^\w.-]+", " ", str(label)).strip()
        assert victim.data.metrics[f"{key}.asr"] == pytest.approx(group["asr"].max())


def test_claims_are_not_checked_on_a_mixture(results: eadbench.Results, cells: pd.DataFrame) -> None:
    text = command("claims", results.folder, "--format", "markdown").out
    both = sorted(cells.index[(cells["rule"] == "en") & (cells["kappa"] == 0)])
    assert f"EAD (EN) is there with different hyperparameters (cells {', '.join(both)})" in text
    assert "Holds" not in text and "Fails" not in text


def test_comparisons_are_of_the_same_hyperparameters(results: eadbench.Results, cells: pd.DataFrame) -> None:
    stored, victims = results.snapshot.stored_rows, results.summary.victims
    matched = compare.match(stored.lines, victims, stored.lines, victims)
    assert len(matched.pairs) == 2 * len(cells) and (matched.alone, matched.unclear) == (0, 0)
    assert all(pair.before == pair.after for pair in matched.pairs)
    assert len({(pair.setting, pair.tested) for pair in matched.pairs}) == len(matched.pairs)
    table = compare.table(list(compare.compare(matched.pairs, stored, stored)))
    for pair, line in zip(matched.pairs, table.to_dict("records"), strict=True):
        own = cells.loc[stored.lines.at[pair.before, "cell"]]
        assert pair.setting.startswith(f"{own['label']}, ")
        here = stored.lines.at[pair.before, "model"] == stored.lines.at[pair.before, "evaluated_on"]
        assert line["asr_before"] == pytest.approx(own["asr" if here else "transferred"])


def test_the_papers_figures_stand_beside_each(results: eadbench.Results, cells: pd.DataFrame) -> None:
    text = command("report", results.folder, "--compare", "paper", "--format", "csv").out
    table = pd.read_csv(io.StringIO(text)).query("case == 'best'")
    beside = table[table["model"] == table["evaluated_on"]].set_index("cell")
    assert set(beside.index) == set(cells.index[cells["kappa"] == 0])
    assert beside["label"].to_dict() == cells.loc[beside.index, "label"].to_dict()
    assert beside["asr_ours"].to_dict() == pytest.approx(cells.loc[beside.index, "best"].to_dict())
    markdown = command("report", results.folder, "--compare", "paper", "--format", "markdown").out
    for label in set(beside["label"]):
        assert f"| {label} | " in markdown


def test_an_example_is_shown_by_each(results: eadbench.Results, cells: pd.DataFrame) -> None:
    first = results.rows().iloc[0]
    text = command("show", results.folder, "--example", f"{first['image']}:{first['target']}").out
    for cell, label in cells["label"].items():
        shown = [line for line in text.splitlines() if line.startswith(str(cell)[:6])]
        assert shown and label in shown[0]
