"""What runs eadbench elsewhere agrees with what it runs: manifests, image, dashboard, and the commands in the docs."""

import io
import json
import os
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml
from pydantic import ByteSize, TypeAdapter

from eadbench.harness import cli, spec
from eadbench.harness.storage import EXTRAS
from tests.command_lines import command_lines, taken

ROOT = Path(__file__).parents[2]
IN_IMAGE = "/home/ray/eadbench"
"""Where the image, and cluster.yaml, put the checkout."""


@pytest.fixture
def rayjob() -> dict[str, Any]:
    *accounts, job = yaml.safe_load_all((ROOT / "deploy/rayjob.yaml").read_text())
    assert {account["kind"] for account in accounts} == {"ServiceAccount"}
    found: dict[str, Any] = job
    return found


@pytest.fixture
def dockerfile() -> list[list[str]]:
    """The instructions, split as a shell would."""
    lines = (ROOT / "deploy/Dockerfile").read_text().splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def documented() -> list[list[str]]:
    """Those of cluster.yaml, docs/cluster.md and rayjob.yaml."""
    blocks = re.findall(r"^```\n(.*?)^```", (ROOT / "docs/cluster.md").read_text(), re.MULTILINE | re.DOTALL)
    header = (ROOT / "cluster.yaml").read_text().partition("\n\n")[0]
    entrypoint = list(yaml.safe_load_all((ROOT / "deploy/rayjob.yaml").read_text()))[-1]["spec"]["entrypoint"]
    return list(command_lines("\n".join([header, *blocks, entrypoint])))


@pytest.mark.parametrize("words", [words for words in documented() if words[0] == "eadbench"], ids=" ".join)
def test_eadbench_takes_the_commands(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eadbench.harness.commands.options.socket.create_connection", lambda *_, **__: io.BytesIO())
    monkeypatch.delenv("EADBENCH_NO_CODE", raising=False)
    name, parameters = taken(typer.main.get_command(cli.app), words)
    path = str(parameters.get("spec_file") or "").replace(IN_IMAGE, str(ROOT))
    if name == "run" and "/" in path:
        found = spec.load(ROOT / path, parameters["overrides"] or (), scale=parameters["scale"])
        assert found.resources.workers is None or found.resources.gpus == 1, "an autoscaler may begin with no GPU"


@pytest.mark.parametrize("words", [words for words in documented() if words[0] == "ray"], ids=" ".join)
def test_ray_takes_the_commands(words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ray.scripts.scripts import cli as ray

    monkeypatch.chdir(ROOT)
    taken(ray, words)


def test_there_are_commands() -> None:
    names = [" ".join(words[:2]) for words in documented()]
    assert {"eadbench run", "eadbench report", "ray up", "ray start", "ray job", "ray down"} <= set(names)
    assert names.count("eadbench run") >= 4


class TestRayJob:
    def test_workers_ask_for_what_their_pods_have(self, rayjob: dict[str, Any]) -> None:
        [group] = rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]
        [container] = group["template"]["spec"]["containers"]
        has = container["resources"]["limits"]
        assert has == container["resources"]["requests"]
        _, parameters = taken(typer.main.get_command(cli.app), shlex.split(rayjob["spec"]["entrypoint"]))
        path = Path(str(parameters["spec_file"]).replace(IN_IMAGE, str(ROOT)))
        asked = spec.load(path, parameters["overrides"]).resources
        assert asked.gpus == float(has["nvidia.com/gpu"]) and asked.workers == group["maxReplicas"]
        assert asked.cpus is not None and asked.cpus <= float(has["cpu"])
        assert asked.memory is not None and asked.memory <= TypeAdapter(ByteSize).validate_python(f"{has['memory']}B")
        assert group["minReplicas"] == group["replicas"] == 0, "GPUs come when the sweep asks for them"
        assert str(parameters["results"]).startswith("s3://") and parameters["address"] == "auto"

    def test_a_failure_is_tried_again_and_the_cluster_goes(self, rayjob: dict[str, Any]) -> None:
        job = rayjob["spec"]
        assert rayjob["apiVersion"] == "ray.io/v1" and rayjob["kind"] == "RayJob"
        assert job["backoffLimit"] >= 1 and job["shutdownAfterJobFinishes"]
        assert job["ttlSecondsAfterFinished"] > job["rayClusterSpec"]["autoscalerOptions"]["idleTimeoutSeconds"]
        assert job["rayClusterSpec"]["enableInTreeAutoscaling"] is True
        assert job["rayClusterSpec"]["authOptions"] == {"mode": "token"}

    def test_pods_are_the_images_user_and_have_accounts(self, rayjob: dict[str, Any]) -> None:
        accounts = list(yaml.safe_load_all((ROOT / "deploy/rayjob.yaml").read_text()))[:-1]
        names = {account["metadata"]["name"] for account in accounts}
        cluster = rayjob["spec"]["rayClusterSpec"]
        groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
        assert {group["template"]["spec"]["serviceAccountName"] for group in groups} == names and len(names) == 2
        for group in groups:
            assert group["template"]["spec"]["securityContext"]["runAsUser"] == 1000
            assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
        images = {container["image"] for group in groups for container in group["template"]["spec"]["containers"]}
        version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
        assert images == {f"REGISTRY/eadbench:{version}"}
        for text in ("deploy/Dockerfile", "docs/cluster.md"):
            assert images == set(re.findall(r"REGISTRY/[\w:.-]*\w", (ROOT / text).read_text()))


class TestDockerfile:
    def test_it_copies_the_project_whole(self, dockerfile: list[list[str]]) -> None:
        copied = {
            source
            for words in dockerfile
            if words[:1] == ["COPY"]
            for source in [word for word in words[1:-1] if not word.startswith("--")]
        }
        assert all((ROOT / source).exists() for source in copied)
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())
        [package] = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
        linked = [path.name for path in (ROOT / package).iterdir() if path.is_symlink()]
        metadata = [project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"]
        assert copied == {package, *linked, *metadata, "sweeps"}

    def test_it_installs_what_storage_takes_as_another_user_than_root(self, dockerfile: list[list[str]]) -> None:
        [install] = [words for words in dockerfile if words[:1] == ["RUN"]]
        extras = list(dict.fromkeys(EXTRAS.values()))
        assert install[-1] == f".[{','.join(extras)}]"
        assert set(extras) <= {
            *tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
        }
        assert dockerfile[-1] == ["USER", "1000"]
        assert ["WORKDIR", IN_IMAGE] in dockerfile

    def test_one_ray_and_one_python(self, dockerfile: list[list[str]], rayjob: dict[str, Any]) -> None:
        [ray] = [words[1].removeprefix("RAY=") for words in dockerfile if words[0] == "ARG" and "=" in words[1]]
        [base] = [words[1].replace("${RAY}", ray) for words in dockerfile if words[0] == "FROM"]
        assert yaml.safe_load((ROOT / "cluster.yaml").read_text())["docker"]["image"] == base
        assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == ray
        minimum = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
        assert f"py{minimum.removeprefix('>=').replace('.', '')}" in base


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "dashboards/grafana/eadbench.json").read_text())
    return found


def targets() -> list[dict[str, str]]:
    """What the dashboard asks of Prometheus, and how it names the answers."""
    return [target for panel in board()["panels"] for target in panel.get("targets", [])]


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:ray|autoscaler)_\w+", expression))


def metrics_drawn() -> set[str]:
    """The metrics that the dashboard draws."""
    return {metric for target in targets() for metric in metrics_in(target["expr"])}


class TestDashboard:
    def ours(self) -> dict[str, set[str]]:
        """The series that the code makes, and their labels."""
        from ray.util.metrics import Counter, Histogram, Metric

        from eadbench.harness.execution.ray.metrics import DriverMeter, WorkerMeter

        suffixes = {Counter: ["_total"], Histogram: ["_bucket", "_sum", "_count"]}
        meters = [metric for meter in (WorkerMeter("worker-1"), DriverMeter()) for metric in vars(meter).values()]
        return {
            f"ray_{metric.info['name']}{suffix}": set(metric.info["tag_keys"])
            for metric in meters
            if isinstance(metric, Metric)
            for suffix in suffixes.get(type(metric), [""])
        }

    def test_it_draws_metrics_that_there_are(self) -> None:
        import ray

        sources = (Path(ray.__file__).parent / "dashboard/modules/metrics/dashboards").glob("*.py")
        rays = {metric for source in sources for metric in metrics_in(source.read_text())}
        assert {metric for metric in metrics_drawn() if "eadbench" not in metric} <= rays
        assert {metric for metric in metrics_drawn() if "eadbench" in metric} <= set(self.ours())
        undrawn = {name.removesuffix("_sum").removesuffix("_count") for name in set(self.ours()) - metrics_drawn()}
        assert undrawn == {"ray_eadbench_shard_seconds"}, "of the histogram, its buckets are drawn"

    def test_its_legends_are_labels(self) -> None:
        ours, shown = self.ours(), set()
        for target in targets():
            expression, labels = target["expr"], set(re.findall(r"{{(\w+)}}", target["legendFormat"]))
            assert all(expression.count(one) == expression.count(other) for one, other in ("()", "{}", "[]"))
            for metric in metrics_in(expression) & set(ours):
                assert labels <= ours[metric], expression
                shown |= labels
        assert {"attack", "worker"} <= shown

    def test_its_panels_stand_apart(self) -> None:
        places = [[panel["gridPos"][key] for key in "xywh"] for panel in board()["panels"]]
        covered = [(i, j) for x, y, w, h in places for i in range(x, x + w) for j in range(y, y + h)]
        assert len(covered) == len(set(covered)) and max(i for i, _ in covered) < 24
        assert len({panel["id"] for panel in board()["panels"]}) == len(board()["panels"])

    def test_its_provider_reads_a_folder(self) -> None:
        provider = yaml.safe_load((ROOT / "dashboards/grafana/provider.yaml").read_text())
        [one] = provider["providers"]
        assert provider["apiVersion"] == 1 and one["type"] == "file" and one["options"]["path"].startswith("$")


STUBS = {
    "scontrol": 'echo "$@" >> calls; echo node-a; echo node-b',
    "srun": 'if [ "$4" = hostname ]; then echo "10.0.0.1 10.0.1.1"; else printf "%s\\n" "$@"; fi',
    "ray": 'echo "$@" >> calls',
}
"""What the script calls, each of them a script that says how it was called."""


def slurm_job(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run the script as Slurm would, with stubs for its commands and Ray's."""
    for name, script in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {"SLURM_JOB_ID": "1234567", "SLURM_JOB_NODELIST": "node-[a-b]", "SLURM_JOB_NUM_NODES": "2"}
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_CPUS_PER_TASK": "8", **slurm}
    command = ["bash", ROOT / "deploy/slurm.sbatch", *words]
    return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)


def test_a_slurm_job_runs_the_sweep_on_its_first_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = slurm_job(tmp_path, "paper/table_08", "--results", "/shared/table 8")
    address = "10.0.0.1:24567"
    assert done.returncode == 0, done.stderr
    start, _, sweep = done.stdout.partition("\n--\n")
    assert start.split("\n") == [
        *("ray", "symmetric-run", "--address", address, "--min-nodes", "2", "--num-cpus", "8", "--num-gpus", "0"),
    ]
    assert (tmp_path / "calls").read_text() == "get-auth-token --generate\nshow hostnames node-[a-b]\n"
    words = sweep.strip().split("\n")
    monkeypatch.setattr("eadbench.harness.commands.options.socket.create_connection", lambda *_, **__: io.BytesIO())
    name, parameters = taken(typer.main.get_command(cli.app), words)
    assert words[0] == "eadbench" and name == "run" and parameters["address"] == address
    assert parameters["spec_file"].name == "table_08.yaml" and str(parameters["results"]) == "/shared/table 8"
    assert (refused := slurm_job(tmp_path)).returncode == 2 and refused.stderr.startswith("give a spec: ")


def test_ray_starts_on_the_nodes_of_a_job() -> None:
    """`ray symmetric-run` passes to `ray start` what the script gives it."""
    from ray.scripts import symmetric_run

    resources = ["--num-cpus", "8", "--num-gpus", "4"]
    words = ["--address", "10.0.0.1:24567", "--min-nodes", "2", *resources]
    assert symmetric_run.curate_and_validate_ray_start_args(words) == resources
