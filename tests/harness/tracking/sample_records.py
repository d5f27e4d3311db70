"""Records of small sweeps, how they are logged, and what MLflow's client finds of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from eadbench.harness import tracking
from eadbench.harness.tracking.records import CellRecord, Logged, SweepRecord, VictimRecord
from eadbench.models import Recipe, Training, build, save, seeded

BETAS = (0.001, 0.01, 0.1)
KAPPAS = (0, 20)


def a_cell(beta: float, kappa: int, **changes: Any) -> CellRecord:
    cell = CellRecord(
        digest=f"{round(beta * 1000):08x}{kappa:08x}",
        name=f"EAD-EN beta={beta} kappa={kappa}",
        params={"attack": "ead", "beta": beta, "kappa": kappa, "temperature": None},
        metrics={
            "best.asr": 100.0,
            "average.l1": 10 * beta + kappa,
            "average.l2": 1.5,
            "worst.l1": float("nan"),
        },
        dataset="MNIST",
        dataset_digest="0123456789abcdef",
    )
    return replace(cell, **changes)


def a_sweep(experiment: str, **changes: Any) -> SweepRecord:
    sweep = SweepRecord(
        experiment=experiment,
        invocation=f"{experiment}-1",
        name="first",
        tags={"mlflow.source.git.commit": "f" * 40},
        artifacts={"spec.yaml": "name: x\n", "table.csv": "beta,asr\n", "table.md": "| beta |\n"},
        params={"executor": "serial"},
        metrics={"shards": 7.0, "seconds": 1.25},
        cells=[a_cell(beta, kappa) for beta in BETAS for kappa in KAPPAS],
        finished=True,
    )
    return replace(sweep, **changes)


def a_victim(folder: Path, *, seed: int = 0, arch: str = "digits", **metrics: float) -> VictimRecord:
    """A victim that is stored in `folder`, untrained."""
    training = Training(epochs=1, seed=seed)
    recipe = Recipe(
        arch=arch, parameters={}, num_classes=10, trained_on="MNIST", defense={"name": "none"}, training=training
    )
    with seeded(seed):
        save(folder / "models" / recipe.digest, recipe, build(arch, num_classes=10), {})
    return VictimRecord(
        digest=recipe.digest,
        name=f"{arch.partition(':')[2] or arch}, no defence, seed {seed}",
        params={"model": recipe.digest, "training.epochs": 1},
        metrics={"accuracy": 0.5, "strongest.asr": 100.0, **metrics},
        tags={"eadbench.defense": "none"},
        dataset="MNIST",
        dataset_digest="0123456789abcdef",
        image_shape=(1, 8, 8),
        classes=10,
    )


def log_sweep(sweep: SweepRecord, uri: str, folder: Path = Path("no results")) -> Logged:
    return tracking.log_sweep(sweep, uri, folder)


def client(uri: str) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def children(uri: str, logged: Logged) -> list[Any]:
    """The runs of cells."""
    found = client(uri).search_runs([logged.experiment_id], f"tags.`mlflow.parentRunId` = '{logged.run_id}'")
    return [run for run in found if "eadbench.cell" in run.data.tags]


def models_of(uri: str, logged: Logged, **order: Any) -> list[Any]:
    return list(client(uri).search_logged_models([logged.experiment_id], **order))


def artifact_folder(uri: str) -> Path:
    """Where a local store keeps artifacts."""
    return Path(uri.removeprefix("file://"))


def runs_of(uri: str, logged: Logged) -> int:
    return len(client(uri).search_runs([logged.experiment_id]))
