"""cluster.yaml is one that Ray takes, and that starts what it says."""

from pathlib import Path
from typing import Any

import pytest
import yaml

PATH = Path(__file__).parents[1] / "cluster.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(PATH.read_text())
    return content


def test_ray_takes_it(config: dict[str, Any]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(config))
    with pytest.raises(Exception, match="head_nod_type"):
        validate_config(prepare_config({**config, "head_nod_type": "head"}))


def test_workers_are_spot_machines_with_a_gpu_and_the_head_has_none(config: dict[str, Any]) -> None:
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"].get("GPU", 0) == 0
    for node in types.values():
        assert node["resources"]["GPU"] >= 1
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert 0 < node["min_workers"] <= node["max_workers"] <= config["max_workers"]


def test_what_it_leaves_out_of_the_copy_is_not_code(config: dict[str, Any]) -> None:
    [(_, here)] = config["file_mounts"].items()
    assert here == "."
    assert not {"attacks", "models", "defenses", "harness", "sweeps", "pyproject.toml"} & set(config["rsync_exclude"])
