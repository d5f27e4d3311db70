"""Whatever stands in a spec's file, it is planned or refused in one line that says where."""

import copy
import datetime
import functools
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from eadbench.harness import datasets
from eadbench.harness.datasets import builtin
from eadbench.harness.spec import SpecFile
from tests.command import eadbench, refusal
from tests.sweeps import SMALL

SWEEPS = Path(__file__).parents[3] / "sweeps"

STUDY = """
name: study
dataset: {name: digits}
images: {count: 3, split: test, correct_on: all}
targets: {random: 2}
victims:
  - {arch: digits, training: {epochs: 3, optimizer: sgd, learning_rate: 3e-3}, evaluated_on: [other]}
  - {name: other, arch: digits, training: {epochs: 3, seed: 1}, attacked: false}
  - {arch: digits, training: {epochs: 3}, defense: {distillation: {temperature: [1, 10]}}, evaluated_on: all}
  - {arch: digits, training: {epochs: 3}, defense: {pgd_training: {norm: l2, epsilon: [0.1, 1], steps: 4}}}
  - arch: digits
    training: {epochs: 3}
    defense: {adversarial_training: {images: 20, attacks: [{name: ead, decision_rules: [l1]}, {name: cw, kappa: 5}]}}
attacks:
  - {name: ead, beta: [1e-3, 1e-2], kappa: [0, 10], decision_rules: [en, l1], max_iterations: 20}
  - {name: ifgm, norm: [l1, linf], epsilons: [0.1, 0.3]}
save_images: successes
precision: bf16
batch_size: auto
shard_size: 50
resources: {workers: 2, gpus: 0.5, cpus: 1, memory: 2GiB, threads: 2}
scales: {tiny: {images.count: 1, victims.*.training.epochs: 2}}
"""

TEXTS = [
    re.sub(r"cw_mnist|cw_cifar10|sweeps\.related\.networks:\w+", "digits", text)
    for text in (SMALL, STUDY, *(path.read_text() for path in sorted(SWEEPS.rglob("*.yaml"))))
]
STRANGE = [b"[", b"}", b":", b"- ", b"&a ", b"*a", b"!!bool ", b"!!timestamp ", b"0x_", b"\t", b"\n- ", b"<<: ", b"\0"]
DOCUMENTS = [yaml.safe_load(text) | {"dataset": {"name": "digits"}} for text in TEXTS]

ODD: list[Any] = [
    *[None, True, False, 0, 1, -1, 3, 10**9, -(10**9), 2**63, 10**30, -(10**400)],
    *[0.0, -0.0, 0.5, 1e-300, 1e308, math.inf, -math.inf, math.nan],
    *["", " ", "x", "all", "none", "auto", "l2", "en", "ead", "3e-3", "1.5", "9" * 400, "8GiB", "x" * 5000, "κ∞\u2028"],
    *["\x1b[31m", "a\nb", "\ud800", "[/bold]", "{}", "..", "~nobody/x", "/", "a/b", "s3://user:secret@bucket/x"],
    *["no_such:thing", ":", "x:", ":y", "..a:b", "math:pi", "math:floor", "builtins:object", "os.path:join"],
    *[[], [[]], [None], [0, 0], ["x"] * 1000, [{}], {}, {"name": None}, {"": 1}, {"random": 10**9}],
    *[{"none": {}}, {"distillation": {}}, {"distillation": {"temperature": []}}, {"adversarial_training": 3}],
    *[datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 1, 12), b"bytes", {"a", "b"}],
    functools.reduce(lambda inner, _: [inner], range(40), []),
    functools.reduce(lambda inner, _: [inner, inner], range(40), []),
]
KEYS: list[Any] = [
    *["name", "imges", "weights", "random", "", "a b", "κ", "x" * 5000, "a\nb", "\x1b[31m", "0", "[0]", "images.count"],
    *[True, False, None, 0, 1.5, datetime.date(2024, 1, 1), (1, 2)],
]


@functools.cache
def few_digits() -> datasets.DataSet:
    """The digits with 20 test images: as many as are planned for."""
    whole = builtin.digits()
    return replace(whole, test=datasets.Split(whole.test.labels[:20], whole.test.images))


@pytest.fixture(autouse=True)
def digits_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(datasets.DATASETS.table, "digits", few_digits)  # type: ignore[arg-type]


def places(node: Any, seen: set[int]) -> Iterator[tuple[Any, Any]]:
    """Every (container, key or index) in a document."""
    if id(node) in seen or not isinstance(node, dict | list):
        return
    seen.add(id(node))
    for place in list(node) if isinstance(node, dict) else range(len(node)):
        yield node, place
        yield from places(node[place], seen)


def insert(container: Any, key: Any, value: Any) -> None:
    """Another key of a mapping, or another item of a list."""
    if isinstance(container, dict):
        container[key] = value
    else:
        container.append(value)


def mutated(rng: random.Random) -> bytes:
    """A valid spec with one or two things in it that are not as they were."""
    document = copy.deepcopy(rng.choice(DOCUMENTS))
    for _ in range(rng.choice([1, 1, 2])):
        found = list(places(document, set()))
        if not found:
            break
        (container, place), (other, there) = rng.choice(found), rng.choice(found)
        match rng.choice(["replace", "replace", "replace", "delete", "rename", "insert", "copy", "share"]):
            case "replace":
                container[place] = copy.deepcopy(rng.choice(ODD))
            case "delete":
                del container[place]
            case "rename":
                insert(container, rng.choice(KEYS), container.pop(place))
            case "insert":
                insert(container, rng.choice(KEYS), copy.deepcopy(rng.choice(ODD)))
            case "copy":
                insert(container, place, copy.deepcopy(other[there]))
            case "share":  # by an anchor, perhaps with what it stands in itself
                insert(container, place, other)
    return yaml.safe_dump(document, sort_keys=False).encode()


def garbled(rng: random.Random) -> bytes:
    """A valid spec's text, cut off or with some of its bytes changed."""
    text = re.sub(r"dataset: .*", "dataset: {name: digits}", rng.choice(TEXTS)).encode()
    for _ in range(rng.choice([1, 1, 1, 2])):
        at = rng.randrange(len(text) + 1)
        match rng.choice(["cut", "flip", "put"]):
            case "cut":
                text = rng.choice([text[:at], text[at:]])
            case "flip":
                text = text[:at] + bytes([rng.randrange(32, 256)]) + text[at + 1 :]
            case "put":
                text = text[:at] + rng.choice(STRANGE) + text[at:]
    return text


FIELDS = "|".join([*SpecFile.model_fields, "scales", "keys"])
WHERE = re.compile(
    rf"({FIELDS})[.\[: ]"
    r"|('.*'|[\w.*-]+)(\[\d+\])*: (unknown key|must )"
    r"|--scale tiny: |not valid YAML: |must be a mapping |cannot be read: "
)
"""How a line goes on after the file: a path in the spec, or what the whole file is not."""


def complaint(path: Path, ended: Counter[int]) -> str | None:
    """What is wrong with how a file is planned, or refused: with one line that begins with the file and a path."""
    tiny = re.search(rb"^ *tiny:", path.read_bytes(), re.MULTILINE)
    result = eadbench("plan", path, *(["--scale", "tiny"] if tiny else []))
    ended[result.code] += 1
    if not result.code:
        return None
    line = refusal(result).removeprefix(f"{path}: ")
    fine = WHERE.match(line) and line.isprintable() and len(line) < 2000 and "secret" not in line
    return None if fine and result.code == 2 and f"{path}: " in result.err and not result.out else result.err


@pytest.mark.parametrize(("made", "cases"), [(mutated, 200), (garbled, 60)])
def test_a_bad_spec_is_planned_or_refused_in_one_line(made: Callable[[random.Random], bytes], cases: int) -> None:
    path, ended = Path("spec.yaml"), Counter[int]()

    @settings(max_examples=cases, derandomize=True, deadline=None, database=None)
    @given(st.randoms(use_true_random=False))
    def is_planned_or_refused(rng: random.Random) -> None:
        path.write_bytes(made(rng))
        assert not complaint(path, ended)

    is_planned_or_refused()
    assert min(ended[0], ended[2]) >= cases / 30 and ended.total() >= cases, ended
    assert not Path("results").exists()
