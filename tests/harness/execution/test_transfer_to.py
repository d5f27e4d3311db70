"""Ensembles as sources, and every way to name the victims that a finished sweep's images are tested on."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from eadbench import models
from eadbench.harness import spec
from eadbench.harness.datasets import load
from eadbench.harness.errors import UserError
from eadbench.harness.plan.recipes import planned
from eadbench.harness.results.folder import Results
from tests.command import eadbench
from tests.sweeps import rows, run, small

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}
NET: dict[str, Any] = {"name": "net", "arch": "digits", "training": {**TRAINING, "seed": [0, 1]}}
INLINE = {"arch": "digits", "training": {**TRAINING, "seed": 2}}
FAST: dict[str, Any] = {"attacks": [{"name": "fgm", "norm": "l2", "epsilons": [2, 4]}], "targets": "untargeted"}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep whose source is an ensemble of two victims by name and one of its own."""
    folder = tmp_path_factory.mktemp("ensemble") / "small"
    victims = [{**NET, "attacked": False}, {"name": "all", "ensemble": ["net", INLINE], "evaluated_on": ["net"]}]
    run(small(victims=victims, **FAST), folder)
    return folder


def test_an_ensemble_is_a_source(done: Path) -> None:
    victims = {victim.digest: victim for victim in Results(done).victims()[1]}
    [source] = [victim for victim in victims.values() if victim.attacked]
    assert (source.name, source.arch) == ("all", "ensemble")
    table = rows(done)
    assert set(table["model"]) == {source.digest}
    assert set(table["evaluated_on"]) == set(victims) and len(victims) == 3
    network, recipe, _ = models.load(Results(done).model(source.digest))
    images = load("digits").test.images(range(6))
    members = [models.load(Results(done).model(member.digest))[0](images) for member in recipe.member_recipes()]
    mean = sum(logits.softmax(1) for logits in members) / 3
    assert (network(images).softmax(1) - mean).abs().max() < 1e-6


def test_members_and_names_round_trip() -> None:
    sweep = small(victims=[NET, {"ensemble": ["net", INLINE]}], **FAST)
    assert spec.parse(spec.written(sweep)) == sweep
    assert [len(each.members) for each in planned(sweep, load("digits"))] == [0, 0, 3]


@pytest.mark.parametrize(
    ("victim", "message"),
    [
        ({"ensemble": ["who"]}, r"victims\[1\].ensemble\[0\]: no single victim is called 'who'; there are net"),
        ({"name": "e", "ensemble": ["net", "e"]}, r"victims\[1\].ensemble\[1\]: no single victim is called 'e'"),
        ({"ensemble": ["net", {"ensemble": ["net"]}]}, r"ensemble\[1\]: must not be an ensemble itself"),
        ({"ensemble": ["net", {"arch": "digits"}]}, r"victims\[1\].ensemble\[1\]: needs training .* or weights"),
        ({"ensemble": ["net"], "arch": "digits"}, r"victims\[1\].arch: an ensemble has members alone"),
        ({"ensemble": []}, r"victims\[1\].ensemble: must be a list of victims"),
        ({"name": "x"}, r"victims\[1\].arch: is missing"),
    ],
)
def test_mistakes_in_a_spec(victim: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        planned(small(victims=[NET, victim], **FAST), load("digits"))
    assert "\n" not in str(caught.value)


def _model(folder: Path, attacked: bool) -> Path:
    """Return the folder of the source of a sweep, or of another model of it."""
    sources = {victim.digest for victim in Results(folder).victims()[1] if victim.attacked}
    return next(path for path in sorted((folder / "models").iterdir()) if (path.name in sources) == attacked)


@pytest.mark.parametrize("way", ["weights", "folder", "recipe", "list", "mapping"])
def test_ways_to_name_a_victim(done: Path, tmp_path: Path, way: str) -> None:
    """Weights of an architecture, a stored model, and a file of victims each give rows on one more victim."""
    folder = tmp_path / "results"
    _copy(done, folder)
    before = set(rows(folder)["evaluated_on"])
    other = tmp_path / "other"
    run(small(victims=[{"arch": "digits", "training": {**TRAINING, "seed": 9}}], images={"count": 1}, **FAST), other)
    model = _model(other, attacked=True)
    arguments: list[object] = ["--victim", model]
    if way == "weights":
        arguments = ["--victim", f"digits:{model / 'weights.safetensors'}"]
    elif way == "recipe":
        arguments = ["--victim", model / "recipe.json"]
    elif way in ("list", "mapping"):
        entries: Any = [{"arch": "digits", "weights": str(model / "weights.safetensors")}]
        (tmp_path / "victims.yaml").write_text(yaml.safe_dump(entries if way == "list" else {"victims": entries}))
        arguments = ["--to", tmp_path / "victims.yaml"]
    ended = eadbench("transfer", folder, *arguments, "--executor", "serial")
    assert ended.code == 0, ended.err
    after = set(rows(folder)["evaluated_on"])
    [new] = after - before
    if way in ("folder", "recipe"):
        assert new == model.name
    again = eadbench("transfer", folder, *arguments, "--executor", "serial")
    assert again.code == 0 and "0 parts were tested" in again.out


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target, ignore=shutil.ignore_patterns("owner.json", "report", "invocations"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give the victims to test on: --to SPEC, or --victim ARCHITECTURE:WEIGHTS"),
        (["--victim", "digits:nowhere.pt"], "--victim digits:nowhere.pt: there is no file nowhere.pt; give resnet50:"),
        (["--victim", "digits"], "--victim digits: has no weights; give resnet50:weights.pth"),
        (["--to", "nowhere.yaml"], "--to nowhere.yaml: cannot be read: No such file"),
        (["--to", "{tmp}/empty.yaml"], "empty.yaml: must be a spec, or a list of victims such as"),
        (["--victim", "{tmp}/recipe.json"], "recipe.json: is not a stored model's recipe"),
    ],
)
def test_mistakes_on_the_command_line(done: Path, tmp_path: Path, arguments: list[str], message: str) -> None:
    (tmp_path / "empty.yaml").write_text("[]")
    (tmp_path / "recipe.json").write_text("{}")
    ended = eadbench("transfer", done, *(text.format(tmp=tmp_path) for text in arguments), "--executor", "serial")
    assert ended.code == 2 and message in ended.err
