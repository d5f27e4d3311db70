"""A cluster of several Ray nodes on this machine, whose GPUs are not real."""

import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from rich.console import Console
from torch import Tensor, nn

import eadbench
from eadbench.attacks import FGM, AttackResult
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.execution import sweep
from eadbench.harness.execution.executor import Executor
from eadbench.harness.execution.progress import Progress
from eadbench.harness.execution.ray import RayExecutor
from eadbench.harness.execution.ray.actor import ReadyReport, RemoteWorker
from eadbench.harness.execution.user_code import code_for
from eadbench.harness.plan.tasks import Setup
from eadbench.harness.results.folder import Results
from eadbench.harness.results.owner import Owner
from eadbench.harness.spec import Spec
from tests.sweeps import rows, run, small


@dataclass(frozen=True, kw_only=True)
class Meeting:
    """An attack that waits until a number of workers run it, and notes where each of them is."""

    place: str
    workers: int
    targeted: bool = True
    most_passes = 3

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int) -> AttackResult:
        import ray

        node = ray.get_runtime_context().get_node_id() if ray.is_initialized() else "here"
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        Path(self.place).mkdir(exist_ok=True)
        (Path(self.place) / f"{node}.{devices}.{os.getpid()}").touch()
        while len(list(Path(self.place).iterdir())) < self.workers:
            time.sleep(0.05)
        return FGM(norm="linf", epsilons=[0.5])(model, images, targets, batch_size=batch_size)


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An attack that always fails."""

    targeted: bool = True
    most_passes = 3

    def __call__(self, model: nn.Module, images: Tensor, targets: Tensor, *, batch_size: int) -> AttackResult:
        raise RuntimeError("it is broken")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A head without a GPU, and a node with two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "num_gpus": 0})
        nodes.add_node(num_cpus=8, num_gpus=2)
        yield nodes
        nodes.shutdown()


def on(
    cluster: Any,
    what: Spec,
    folder: Path,
    on_ready: Callable[[int], None] = lambda _: None,
    on_warning: Callable[[str], None] = lambda _: None,
) -> sweep.Done:
    """Run a sweep on a cluster. `on_ready` is called with the number of workers that are ready."""

    class Observed(Progress):
        def workers_ready(self, count: int) -> None:
            on_ready(count)

        def warn(self, text: str) -> None:
            on_warning(text)

    def executor(setup: Setup, data: DataSet, progress: Progress) -> Executor:
        return RayExecutor(setup, data, progress, address=cluster.address, spec=what)

    with Observed(Console(quiet=True)) as progress, Owner(folder, on_warning) as owner:
        return sweep.run(what, Results(folder), executor, progress, owner=owner)


def meeting(place: Path, workers: int, **changes: Any) -> Spec:
    """Return a sweep of nine shards. The first ones wait until that number of workers runs them."""
    attack = {"name": "tests.harness.execution.ray.test_cluster:Meeting", "place": str(place), "workers": workers}
    return small(attacks=[attack], shard_size=3, **changes)


def where(place: Path) -> Counter[tuple[str, str]]:
    """Count the workers by node and visible devices."""
    names = [] if not place.exists() else [path.name.split(".")[:2] for path in place.iterdir()]
    return Counter((node, devices) for node, devices in names)


@pytest.mark.cluster
def test_workers_come_and_go_with_nodes_each_on_its_own_gpu(cluster: Any, tmp_path: Path) -> None:
    """Two workers wait in their shards for others. Nodes join and leave until six workers have been there."""
    [first] = cluster.list_all_nodes()[1:]
    place, folder = tmp_path / "together", tmp_path / "sweep"
    counts: list[int] = []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(on, cluster, meeting(place, 6), folder, counts.append)
        awaited(lambda: len(where(place)) == 2, running)
        cluster.add_node(num_cpus=8, num_gpus=2)
        awaited(lambda: len(where(place)) == 4, running)
        cluster.remove_node(first)
        cluster.add_node(num_cpus=8, num_gpus=2)
        done = running.result()
    assert not done.failures and done.shards == 9
    assert max(counts) == 4
    assert set(where(place).values()) == {1}
    assert sorted(devices for _, devices in where(place)) == ["0", "0", "0", "1", "1", "1"]
    records = [json.loads(path.read_text()) for path in (folder / "shards").iterdir()]
    assert {record["visible_devices"] for record in records} == {"0", "1"}
    run(meeting(place, 6), tmp_path / "here")
    pd.testing.assert_frame_equal(rows(folder), rows(tmp_path / "here"), check_exact=True)


@pytest.mark.cluster
def test_a_fraction_shares_a_gpu(cluster: Any, tmp_path: Path) -> None:
    cluster.remove_node(cluster.list_all_nodes()[-1])
    place = tmp_path / "halves"
    what = meeting(place, 4, resources={"gpus": 0.5, "cpus": 1, "memory": "200MiB"})
    warnings: list[str] = []
    done = on(cluster, what, tmp_path / "sweep", on_warning=warnings.append)
    assert done.shards == 9
    assert ["a GPU that torch cannot use" in text for text in warnings] == [True], "these GPUs are not real"
    assert sorted(devices for _, devices in where(place)) == ["0", "1"] and set(where(place).values()) == {2}


class Few(RemoteWorker):
    """A worker that ends before it is ready if there are two others."""

    def report_ready(self, markers: Sequence[Path]) -> ReadyReport:
        place = self._worker.results.root.parent / "born"
        place.mkdir(exist_ok=True)
        (place / str(os.getpid())).touch()
        if len(list(place.iterdir())) > 2:
            os._exit(1)
        return super().report_ready(markers)


@pytest.mark.cluster
def test_a_sweep_goes_on_without_workers_that_cannot_start(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    place, warnings = tmp_path / "met", list[str]()
    monkeypatch.setattr(
        "eadbench.harness.execution.ray.worker_pool.REMOTE", ray.remote(concurrency_groups={"progress": 1})(Few)
    )

    def on_warning(text: str) -> None:
        warnings.append(text)
        (place / "warned").touch()  # the two workers have waited for this as for a third

    what = meeting(place, 3, resources={"gpus": 0, "workers": 4})
    done = on(cluster, what, tmp_path / "sweep", on_warning=on_warning)
    assert done.shards == 9 and not done.failures
    [warning] = warnings
    assert warning.startswith("2 workers at most on these nodes, as others end before they are ready: ")


@pytest.mark.cluster
def test_a_shard_that_fails_three_times_is_given_up_and_recorded(cluster: Any, tmp_path: Path) -> None:
    attacks = [
        {"name": "tests.harness.execution.ray.test_cluster:Broken"},
        {"name": "fgm", "norm": "linf", "epsilons": [0.5]},
    ]
    what = small(attacks=attacks, images={"count": 1}, resources={"workers": 2})
    done = on(cluster, what, tmp_path)
    assert done.shards == 1
    assert [failure.reason for failure in done.failures] == ["RuntimeError: it is broken"]
    [failed] = Results(tmp_path).failures.iterdir()
    content = json.loads(failed.read_text())
    assert len(content["workers"]) == 3 and len(set(content["workers"])) == 2
    assert len(content["examples"]) == 9 and content["examples"][0]["kappa"] == 0
    assert "RuntimeError: it is broken" in content["error"]


@pytest.mark.cluster
def test_a_folder_that_a_node_does_not_see(cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = nullcontext([tmp_path / "elsewhere" / "mark"])
    monkeypatch.setattr("eadbench.harness.execution.ray.executor.marked", lambda _: elsewhere)
    with pytest.raises(EnvironmentFault, match=r"does not see .*elsewhere: with more than one node"):
        on(cluster, small(resources={"workers": 1}), tmp_path / "sweep")


def test_a_users_own_modules_are_sent_and_installed_ones_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_networks.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    victims = [{"arch": "my_networks:small", "training": {"epochs": 1}, "parameters": {"of": "torchvision.models:vgg"}}]
    attacks = [{"name": "tests.harness.execution.ray.test_cluster:Broken"}]
    package, tests = Path(eadbench.__file__).parent, Path(__file__).parents[3]
    sent = [str(path) for path in (package, tmp_path / "my_networks.py", tests)]
    assert code_for(small(victims=victims, attacks=attacks)) == sent


def test_the_standard_library_is_not_sent_and_the_script_that_runs_cannot_be() -> None:
    def naming(arch: str) -> Spec:
        return small(victims=[{"arch": "digits", "training": {"epochs": 1}, "parameters": {"of": arch}}])

    assert code_for(naming("os:getcwd")) == code_for(naming("digits"))
    with pytest.raises(UserError, match="__main__: workers cannot import"):
        code_for(naming("__main__:x"))


def awaited(happened: Callable[[], bool], running: Future[Any]) -> None:
    """Wait until something has happened. Fail if what runs ends before."""
    while not happened():
        assert not running.done(), running.result()
        time.sleep(0.1)
