"""The command, as a person types it."""

import io
import re
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from eadbench.harness import cli, datasets
from eadbench.harness.commands import options, running
from eadbench.harness.execution import progress
from eadbench.harness.reporting.tables import CSV_COLUMNS
from tests.sweeps import SMALL

PAPER_COLUMNS = [
    *["table", "victim", "label", "dataset", "arch", "defense", "defense_parameters", "temperature"],
    *["attack", "norm", "decision_rule", "beta", "kappa", "parameters", "case", "asr", "l1", "l2", "linf"],
]


class Run:
    """What a command printed, and how it ended."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
        monkeypatch.setattr(sys, "argv", ["eadbench", *arguments])
        monkeypatch.setattr(options.out, "file", io.StringIO())
        monkeypatch.setattr(options.err, "file", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            cli.main()
        self.code = ended.value.code or 0
        captured = capsys.readouterr()
        self.out = options.out.file.getvalue() + captured.out  # type: ignore[attr-defined]
        self.err = options.err.file.getvalue() + captured.err  # type: ignore[attr-defined]


@pytest.fixture
def eadbench(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    for console in (options.out, options.err):  # a worker of pytest-xdist has fixed their width to 80 by now
        monkeypatch.setattr(console, "width", 160)
    return lambda *arguments: Run(capsys, monkeypatch, *arguments)


@pytest.fixture
def spec_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL)
    return path


def test_a_sweep_from_plan_to_report(eadbench, spec_file: Path, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    planned = eadbench("plan", str(spec_file))
    assert planned.code == 0
    assert re.search(r"to make first: digits, no defence, 4 epochs \([0-9a-f]{16}\)\n", planned.out)
    assert re.search(r"EAD\s+4\s+54\s+3\s+≤ 19,764", planned.out)
    assert not Path("results").exists()

    monkeypatch.setattr(running, "TOLD_FROM", 0.0)
    monkeypatch.setattr(progress, "WARM_UP", 0.0)
    first = eadbench("run", str(spec_file), "--executor", "serial", "--price", "2.5")
    assert first.code == 0
    assert re.search(r"Time +\d+ s for the attacks; after \d+ s, \d+ s were expected", first.out)
    assert re.search(r"Cost +\d\.\d\d at 2\.5 per GPU-hour", first.out)
    report = Path("results/small/report/report.html")
    for place in ("results/small/examples", "results/small/report/table.csv", "mlflow ui --backend-store-uri"):
        assert place in first.out
    assert "EAD (L1)" in first.out and f"Report   {report}" in first.out
    assert 'id="tables"' in report.read_text() and 'id="images"' not in report.read_text()

    again = eadbench("run", str(spec_file), "--executor", "serial")
    assert again.code == 0 and "Nothing to do" in again.out and f"Report   {report}" in again.out
    assert re.search(r"all\s+0\s+0\s+≤ 0", eadbench("plan", str(spec_file)).out)

    tidy = pd.read_csv(io.StringIO(eadbench("report", "results/small", "--format", "csv").out))
    assert list(tidy.columns) == list(CSV_COLUMNS)
    assert list(tidy.columns[: len(PAPER_COLUMNS) + 3]) == [*PAPER_COLUMNS, "targets", "targets_per_image", "images"]
    assert set(tidy["attack"]) == {"cw", "fgm", "ifgm", "ead"}
    assert set(tidy["label"]) == {"C&W", "FGM-L1", "FGM-Linf", "I-FGM-L2", "EAD (EN)", "EAD (L1)"}
    assert set(tidy["images"]) == {3} and len(tidy) == 3 * 8
    assert (tidy["asr_lo"] <= tidy["asr"]).all() and (tidy["asr"] <= tidy["asr_hi"]).all()
    assert "that the attacked victim classifies correctly" in " ".join(eadbench("report", "results/small").out.split())
    for format, wanted in {"markdown": "| EAD (L1) |", "latex": r"\toprule", "table": "average"}.items():
        assert wanted in eadbench("report", "results/small", "--format", format).out
    report.unlink()
    assert eadbench("report", "results/small", "--format", "html", "--compare", "paper").out == f"Report   {report}\n"
    assert report.is_file()

    runs = _runs(tmp_path)
    by_beta = runs[runs["params.decision_rule"] == "l1"].groupby("params.beta")["metrics.average.l1"].mean().dropna()
    expected = tidy[(tidy["decision_rule"] == "l1") & (tidy["case"] == "average")].set_index("beta")["l1"].dropna()
    assert {float(beta): value for beta, value in by_beta.items()} == pytest.approx(expected.to_dict())
    assert len(runs) == 1 + 1 + 8
    logged = eadbench("log", "results/small")
    assert "0 cells written, 8 were there" in logged.out
    assert len(_runs(tmp_path)) == 1 + 1 + 8


def as_mnist() -> datasets.DataSet:
    """The digits under MNIST's name, so that the paper has figures to compare with."""
    return replace(datasets.load("digits"), name="mnist", identity="mnist")


STUDY = """
name: study
dataset: {name: "tests.harness.commands.test_cli:as_mnist"}
images: {count: 3}
victims:
  - {arch: digits, training: {epochs: 3, batch_size: 32, learning_rate: 3e-3}, evaluated_on: all}
  - arch: digits
    training: {epochs: 3, batch_size: 32, learning_rate: 3e-3}
    defense: {distillation: {temperature: 100}}
attacks:
  - {name: ead, kappa: [0, 10], binary_search_steps: 3, max_iterations: 20, initial_const: 0.1}
"""


def test_a_study_from_run_to_claims(eadbench, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "study.yaml").write_text(STUDY)
    planned = eadbench("plan", "study.yaml").out
    for made in (
        "no defence, 3 epochs",
        "no defence, 1 epoch (",
        "distillation teacher T = 100",
        "distillation T = 100",
    ):
        assert f"to make first: digits, {made}" in planned
    first = eadbench("run", "study.yaml", "--executor", "serial", "--models", "store")
    assert first.code == 0
    assert "ASR over every target, by victim tested on" in first.out
    assert len(list(Path("store").glob("*/recipe.json"))) == 4
    assert Path("results/study/report/transfer.csv").read_text().count("\n") == 1 + 4

    drawn = eadbench("report", "results/study", "--figures", "--allow-code")
    names = {path.name for path in Path("results/study/report").glob("*.svg")}
    assert drawn.code == 0, drawn.err
    assert "transfer_asr_over_kappa-mnist.svg" in names
    assert sum(name.startswith("gallery") for name in names) == 2 * 2 * 2

    beside = pd.read_csv(io.StringIO(eadbench("report", "results/study", "--compare", "paper", "--format", "csv").out))
    assert set(zip(beside["defense"], beside["kappa"], strict=True)) >= {("none", 0), ("distillation", 0)}
    assert set(zip(beside["crafted_on"].fillna(""), beside["defense"], strict=True)) == {
        ("", "none"),
        ("", "distillation"),
        ("none", "distillation"),
    }
    own = beside["crafted_on"].isna()
    paper = beside[own & (beside["defense"] == "distillation") & (beside["case"] == "average")]
    assert set(paper["l1_paper"].round(3)) == {22.74, 18.44}
    for format in ("markdown", "table"):
        assert "paper" in eadbench("report", "results/study", "--compare", "paper", "--format", format).out

    checked = eadbench("claims", "results/study")
    assert checked.code == 0 and "not enough data" in checked.out
    assert "**Not enough data.**" in eadbench("claims", "results/study", "--format", "markdown").out

    (tmp_path / "other.yaml").write_text(STUDY.replace("epochs: 3", "epochs: 2"))
    later = eadbench("transfer", "results/study", "--to", "other.yaml", "--executor", "serial")
    assert later.code == 0 and "4 parts were tested on other victims" in later.out
    assert "2 invocations, 0 cells written" in eadbench("log", "results/study").out
    refused = eadbench("report", "results/study", "--compare", "paper", "--format", "latex")
    assert refused.code == 2 and "must be table, markdown or csv" in refused.err


def _runs(folder: Path) -> pd.DataFrame:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/results/mlflow.db")
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    return pd.DataFrame(
        [
            {f"params.{name}": value for name, value in run.data.params.items()}
            | {f"metrics.{name}": value for name, value in run.data.metrics.items()}
            for run in client.search_runs([experiment.experiment_id])
        ]
    )


def test_a_plan_tells_settings_of_one_attack_apart(eadbench, spec_file: Path) -> None:  # type: ignore[no-untyped-def]
    """By the hyperparameters in which they differ, and by their grids."""
    variants = [
        "{name: ead, max_iterations: 20, beta: [1e-3, 1e-2]}",
        "{name: ead, max_iterations: 30, beta: [1e-3]}",
        "{name: fgm, norm: [l1, linf]}",
    ]
    planned = eadbench("plan", str(spec_file), "--set", f"attacks=[{', '.join(variants)}]").out
    for label, cells in (
        ("EAD, max_iterations 20, β 1e-3, 1e-2", 4),
        ("EAD, max_iterations 30, β 1e-3", 2),
        ("FGM-L1", 1),
        ("FGM-Linf", 1),
    ):
        assert re.search(rf"{label} +{cells} +", planned), planned


def test_a_tracking_server_that_is_away_costs_a_warning(eadbench, spec_file: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    away = eadbench(
        "run", str(spec_file), "--executor", "serial", "--set", "attacks=[{name: fgm, norm: l2, epsilons: [1]}]"
    )
    assert away.code == 0
    assert "warning: cannot log to MLflow" in away.err and "`eadbench log results/small` writes it later" in away.err
    assert "secret" not in away.err + away.out
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert "1 invocations, 1 cells written, 0 were there" in eadbench("log", "results/small").out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no.yaml"], "error: no.yaml: cannot be read"),
        (["run", "SPEC", "--set", "images.count=0"], "images.count: must be a number, at least 1, or all; got 0"),
        (["run", "SPEC", "--executor", "serial", "--set", "images.count=401"], "classifies only"),
        (
            ["plan", "SPEC", "--set", "victims.0={arch: digits, weights: no.safetensors}"],
            "there is no file no.safetensors",
        ),
        (["run", "SPEC", "--set", "resources.threads=1000"], "do not fit on this machine"),
        (["report", "nowhere"], "nowhere: no spec.yaml there"),
        (["run", "SPEC", "--set", "victims.0.arch=resnet1"], "resnet1"),
    ],
    ids=["no file", "bad value", "too many images", "no weights", "too many threads", "no results", "no such arch"],
)
def test_mistakes_take_one_line(eadbench, spec_file: Path, arguments: list[str], message: str) -> None:  # type: ignore[no-untyped-def]
    ended = eadbench(*[str(spec_file) if argument == "SPEC" else argument for argument in arguments])
    assert ended.code == 2
    assert message in ended.err
    lines = [line for line in ended.err.splitlines() if not line.startswith("still ")]  # what a slow start waits for
    assert len(lines) == 1


@pytest.mark.parametrize("table", ["attacks", "datasets", "defenses", "detectors", "models"])
def test_lists_what_a_spec_can_name(eadbench, table: str) -> None:  # type: ignore[no-untyped-def]
    listed = eadbench(table)
    assert listed.code == 0
    expected = {
        "attacks": "cov",
        "datasets": "parquet",
        "defenses": "distillation",
        "detectors": "safetynet",
        "models": "cw_cifar10",
    }
    assert expected[table] in listed.out
