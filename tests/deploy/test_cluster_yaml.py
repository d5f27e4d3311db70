"""cluster.yaml, and what its comments make of it, are such that Ray takes them, and start what they say."""

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

PATH = Path(__file__).parents[2] / "cluster.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(PATH.read_text())
    return content


def said_for(place: str) -> list[tuple[str, Any]]:
    """Key and value of each comment such as ``# Google Cloud: node_config: {…}``, which may go on in the next lines."""
    comments = re.sub(r"\n *#   ", " ", PATH.read_text())
    lines = re.findall(rf"^ *# {place}: (\w+): ([\[{{].*[\]}}])", comments, re.MULTILINE)
    return [(key, yaml.safe_load(value)) for key, value in lines]


def aws(config: dict[str, Any]) -> None:
    """As it stands."""


def google(config: dict[str, Any]) -> None:
    (_, config["provider"]), (_, config["head_setup_commands"]), *nodes = said_for("Google Cloud")
    assert [key for key, _ in nodes] == ["node_config", "node_config"]
    for node, (_, node_config) in zip(config["available_node_types"].values(), nodes, strict=True):
        node["node_config"] = node_config
    assert {"preemptible": True} in config["available_node_types"]["gpu_spot"]["node_config"]["scheduling"]


def own_machines(config: dict[str, Any]) -> None:
    [(_, config["provider"])] = said_for("Your machines")
    for key in ("available_node_types", "head_node_type", "max_workers"):
        del config[key]


@pytest.mark.parametrize("change", [aws, google, own_machines])
def test_ray_takes_it(config: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    change(config)
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    workers = {name: node for name, node in prepared["available_node_types"].items() if name != "head"}
    assert [(node["min_workers"], node["max_workers"]) for node in workers.values()] == [
        (2, 2) if config["provider"]["type"] == "local" else (0, 8)
    ]
    with pytest.raises(Exception, match="head_nod_type"):
        validate_config(prepare_config({**config, "head_nod_type": "head"}))


def test_workers_are_spot_machines_with_a_gpu_that_come_when_asked_for(config: dict[str, Any]) -> None:
    types = config["available_node_types"]
    head = types.pop(config["head_node_type"])
    assert head["resources"].get("GPU", 0) == 0
    for node in types.values():
        assert node["resources"]["GPU"] >= 1
        assert node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
        assert 0 == node["min_workers"] < node["max_workers"] <= config["max_workers"]


def test_only_holders_of_the_token_command_it(config: dict[str, Any]) -> None:
    assert "-e RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    [head] = [line for line in config["head_start_ray_commands"] if "--head" in line]
    assert "--dashboard-host=127.0.0.1" in head


def test_what_it_leaves_out_of_the_copy_is_not_code(config: dict[str, Any]) -> None:
    assert config["file_mounts"]["~/eadbench"] == "."
    assert not {"attacks", "models", "defenses", "harness", "sweeps", "pyproject.toml"} & set(config["rsync_exclude"])
