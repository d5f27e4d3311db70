"""A spec says what it means, and a wrong one is refused in one line that says what would be right."""

from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from eadbench.harness import datasets, spec
from eadbench.harness.errors import UserError
from eadbench.harness.spec.resolved import VictimEntry
from eadbench.models import Training
from tests import sweeps
from tests.sweeps import small

SWEEPS = Path(__file__).parents[3] / "sweeps"

BOMB = ", ".join(f"&{of} [{', '.join([f'*{nine}'] * 9)}]" for nine, of in pairwise("abcdefgh"))

BAD = {
    "unknown key": ("images.cuont=3", "images.cuont: unknown key; did you mean count?"),
    "unknown key at the top": ("imges=3", "imges: unknown key; did you mean images?"),
    "unknown parameter": ("attacks.0.beta=3", "attacks[0].beta: unknown key; known keys: kappa, learning_rate"),
    "unknown attack": ("attacks.0.name=cww", "attacks[0].name: must name a known attack: cw, fgm, ifgm, cov, ead"),
    "unknown import": ("attacks.0.name=no_such:Attack", "attacks[0].name: cannot import 'no_such': No module"),
    "unknown data set": ("dataset.name=mnst", "dataset.name: must name a known data set: mnist, cifar10, digits"),
    "unknown data set parameter": ("dataset.root=x", "dataset.root: unknown key"),
    "unknown defence": ("victims.0.defense=luck", "victims[0].defense: must name a known defence: none, distillation"),
    "two defences": ("victims.0.defense={none: {}, distillation: {}}", "victims[0].defense: must name one defence"),
    "temperature 0": (
        "victims.0.defense={distillation: {temperature: [1, 0]}}",
        "victims[0].defense.distillation.temperature must be above 0 and finite, got 0.0",
    ),
    "unknown attack in adversarial training": (
        "victims.0.defense={adversarial_training: {attacks: [{name: cw}, {name: luck}]}}",
        "victims[0].defense.adversarial_training.attacks[1].name: must name a known attack",
    ),
    "no radius": (
        "victims.0.defense={pgd_training: {steps: 4}}",
        "victims[0].defense.pgd_training.epsilon: is missing",
    ),
    "negative radius": (
        "victims.0.defense={pgd_training: {steps: 4, epsilon: -1}}",
        "victims[0].defense.pgd_training.epsilon must be above 0 and finite, got -1.0",
    ),
    "transfer to nobody": ("victims.0.evaluated_on=[other]", "victims[0].evaluated_on: no victim is called 'other'"),
    "transfer to something": ("victims.0.evaluated_on=3", "victims[0].evaluated_on: must be all, or a list of names"),
    "nobody is attacked": ("victims.0.attacked=false", "victims: at least one must be attacked"),
    "unknown target rule": ("targets=some", "targets: must be all, untargeted, {random: how many"),
    "wrong type": ("attacks.0.max_iterations=many", "attacks[0].max_iterations: must be a"),
    "wrong type in a list": ("attacks.3.beta=[x]", "attacks[3].beta[0]: must be a number"),
    "a truth for a number": (
        "shard_size=true",
        "shard_size: must be a number of examples, at least 1, or auto; got True",
    ),
    "a truth in a list": ("attacks.3.beta=[true]", "attacks[3].beta: must not be true or false; got [True]"),
    "a number for a truth": ("victims.0.attacked=2", "victims[0].attacked: must be a boolean"),
    "a float for an int": ("images.count=2.5", "images.count: must be a"),
    "too small": ("shard_size=0", "shard_size: must be a number of examples, at least 1, or auto; got 0"),
    "no images": ("images.count=0", "images.count: must be a number, at least 1, or all; got 0"),
    "negative": ("attacks.3.beta=[1e-3, -1]", "attacks[3].beta must be finite and not negative, got -1"),
    "not finite": (
        "attacks.0.kappa=.inf",
        "attacks[0].kappa: must be a finite number, and an integer one of at most 64 bits; got inf",
    ),
    "no iterations": ("attacks.0.max_iterations=0", "attacks[0].max_iterations must be at least 1, got 0"),
    "no learning": ("attacks.0.learning_rate=0", "attacks[0].learning_rate must be positive, got 0"),
    "unknown norm": ("attacks.1.norm=l3", "attacks[1].norm[0]: must be 'l1', 'l2' or 'linf'; got 'l3'"),
    "descending grid": ("attacks.1.epsilons=[2, 1]", "attacks[1].epsilons must be positive, finite and ascending"),
    "unknown rule": ("attacks.3.decision_rules=[l3]", "attacks[3].decision_rules: must be a list from en, l1, l2"),
    "rule of an attack without": ("attacks.0.decision_rules=[en]", "attacks[0].decision_rules: must be left out"),
    "no attacks": ("attacks=[]", "attacks: must be a list of at least one attack"),
    "neither attacks nor evaluate": (
        "attacks=null",
        "attacks: is missing; give attacks, or evaluate with a norm and an",
    ),
    "evaluate without ε": ("evaluate={norm: linf}", "evaluate.epsilon: is missing"),
    "evaluate at no ε": ("evaluate=[{norm: linf, epsilon: 0}]", "evaluate[0].epsilon must be above 0, got 0.0"),
    "evaluate by a member of no name": (
        "evaluate={norm: linf, epsilon: 0.1, ensemble: [fab, pgd]}",
        "evaluate.ensemble",
    ),
    "evaluate by a name": (
        "evaluate={name: fgm, norm: linf, epsilon: 0.1}",
        "evaluate.name: unknown key; to evaluate by other attacks, give them as attacks",
    ),
    "evaluate towards targets": (
        "evaluate={norm: linf, epsilon: 0.1}",
        "evaluate.name: autoattack is untargeted only; give the spec targets: untargeted",
    ),
    "empty axis": ("attacks.3.beta=[]", "attacks[3].beta: must not be empty"),
    "no epochs": ("victims.0.training.epochs=0", "victims[0].training.epochs must be at least 1, got 0"),
    "no training": ("victims.0.training=null", "victims[0]: needs training (such as {epochs: 10}) or weights"),
    "training and weights": ("victims.0.weights=w.safetensors", "victims[0]: has training and weights"),
    "missing": ("victims=[{training: {epochs: 1}}]", "victims[0].arch: is missing"),
    "a name that is no folder": ("name=a/b", "name: must be letters, digits, '.', '_' and '-'"),
    "unknown precision": ("precision=half", "precision: must be float32, tf32 or bf16; got 'half'"),
    "no architecture's name": ("victims.0.arch=a b", "victims[0].arch: must be an architecture's name, or package"),
    "a name that is too long": (f"name={'x' * 101}", "name: must be letters, digits, '.', '_' and '-', at most 100"),
    "a date": (
        "images.count=!!timestamp 2024-01-01",
        "images.count: must be a number, text, true, false, null, a list or a mapping",
    ),
    "an integer of 65 bits": ("seed=9223372036854775808", "seed: must be a finite number, and an integer one of at"),
    "text of many digits": (
        f"shard_size='{'9' * 40}'",
        "shard_size: must be a number of examples, at least 1, or auto; got ",
    ),
    "text that is no number": ("attacks.0.kappa='inf'", "attacks[0].kappa: must be a finite number"),
    "more memory than there is": (f"resources.memory='{'9' * 400}'", "resources.memory: must be memory of a worker"),
    "a key that is no text": ("images={1: 2}", "images: a key must be text, got a int: 1"),
    "an escape sequence": (r'victims.0.name="\e[31m"', r"victims[0].name: must not hold control characters, got '\x1b"),
    "an anchor in itself": (
        "attacks.0=&a {name: *a}",
        "attacks[0].name.name.name.name.name.name.name.name.name.name.n",
    ),
    "a bomb of anchors": (f"images.count=[&a [1], {BOMB}]", "images.count["),
    "a list of rules that holds a list": (
        "attacks.3.decision_rules=[[en]]",
        "attacks[3].decision_rules: must be a list",
    ),
    "no dataclass": ("attacks.0.name=builtins:object", "attacks[0].name: builtins:object must be a dataclass of its"),
    "no attack": ("attacks.0.name=builtins:dict", "attacks[0].name: builtins:dict must be a dataclass of its"),
    "no parameters": ("dataset.name=builtins:dict", "dataset.name: dict does not take keyword parameters that"),
    "a cell twice": (
        "attacks.3={name: fgm, norm: [l2, linf]}",
        "attacks[3]: has a cell of attacks[1] again; leave out one of them",
    ),
    "no defence": ("victims.0.defense=math:floor", "victims[0].defense: math:floor must be a dataclass of its"),
    "no function": ("dataset.name=math:pi", "dataset.name: module 'math' has no function 'pi'"),
    "a password": (
        "victims.0.weights=s3://me:hunter2@bucket/w.safetensors",
        "victims[0].weights: must not hold a user, a password or a token, which would be stored with the results, "
        "got 's3://***@bucket/w.safetensors'",
    ),
    "a token in a parameter": (
        "victims.0.parameters={from: ['https://host/x?access_token=hunter2']}",
        "victims[0].parameters.from[0]: must not hold a user, a password or a token",
    ),
    "negative seed": ("seed=-1", "seed: must be greater than or equal to 0; got -1"),
}


@pytest.mark.parametrize(("override", "message"), BAD.values(), ids=BAD.keys())
def test_refused_in_one_line(override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        spec.load(SWEEPS / "digits.yaml", [override])
    text = str(error.value)
    assert f"digits.yaml: {message}" in text
    assert "\n" not in text and "hunter2" not in text


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("images.count", "must be path=value"),
        ("attacks.9.kappa=1", "the spec has no attacks.9.kappa"),
        ("seed.deep.er=1", "the spec has no seed.deep.er"),
        ("seed={", "not valid YAML"),
        ("images.*=3", r"images.\*: unknown key"),
        ("victims.x.arch=digits", "the spec has no victims.x.arch"),
        (f"attacks.{'9' * 5000}.beta=1", "the spec has no attacks.9"),
    ],
)
def test_overrides_that_fit_nowhere(override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        spec.load(SWEEPS / "digits.yaml", [override])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        ("a: [", "not valid YAML"),
        ("- a", "must be a mapping"),
        ("!!python/name:os.system", "YAML"),
        ("name: a\nseed: 1\nname: b", "the key 'name' is given twice"),
        ("seed: !!int x", "not valid YAML: invalid literal"),
        ("seed: !!timestamp 2024-13-01", "not valid YAML: month must be in 1..12"),
        ("seed: !!bool maybe", "not valid YAML"),
        ("seed: !!timestamp x", "not valid YAML"),
        ("seed: " + "9" * 5000, "not valid YAML"),
        ("seed: " + "[" * 5000, "not valid YAML: it is nested too deeply"),
        ("seed: 0x" + "f" * 5000, "seed: must be a finite number, .* got an integer of 20000 bits"),
        ("? 0x" + "f" * 5000 + "\n: 1", "keys: a key must be text, got a int: an integer of 20000 bits"),
    ],
    ids=[
        *[
            "missing",
            "no YAML",
            "a list",
            "a Python object",
            "a key twice",
            "no integer",
            "a month",
            "a boolean",
            "a time",
        ],
        *["an integer in text", "brackets", "a large integer", "a large key"],
    ],
)
def test_files_that_are_no_spec(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        spec.load(path)


@pytest.mark.parametrize("path", sorted(SWEEPS.rglob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_specs_resolve_and_read_back(path: Path) -> None:
    if path.stem == "libraries" and not all(find_spec(name) for name in ("foolbox", "torchattacks", "art")):
        pytest.skip("a library of sweeps/libraries.yaml is not installed")
    for scale in (None, *yaml.safe_load(path.read_text()).get("scales", {})):
        resolved = spec.load(path, scale=scale)
        assert spec.parse(yaml.safe_load(spec.dump(resolved))) == resolved
        assert resolved.name == path.stem


def training_of(victim: VictimEntry) -> Training:
    """The training of a victim whose training has no axes."""
    assert victim.training is not None
    [training] = victim.training.combinations()
    return training


def test_scales_are_overrides(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    text = (SWEEPS / "digits.yaml").read_text()
    path.write_text(text + "scales: {tiny: {images.count: 2, victims.*.training.epochs: 3}, odd: {attacks.9.beta: 1}}")
    assert spec.load(path) == spec.load(path, scale="full")
    assert spec.load(path).images.count == 20
    tiny = spec.load(path, ["images.count=5"], scale="tiny")
    assert tiny.images.count == 5
    assert [training_of(victim).epochs for victim in tiny.victims] == [3]
    for scale, message in (
        ("huge", "--scale huge: the spec has full, tiny, odd"),
        ("odd", "scales.odd: the spec has no att"),
    ):
        with pytest.raises(UserError, match=message):
            spec.load(path, scale=scale)
    path.write_text(text + "scales: [tiny]")
    with pytest.raises(UserError, match="scales: must be a mapping"):
        spec.load(path)


def unannotated(path, few=3):  # type: ignore[no-untyped-def]
    return path


def test_a_data_set_of_ones_own_needs_no_annotations() -> None:
    given = {"name": f"{__name__}:unannotated", "path": "x"}
    resolved = spec.load(SWEEPS / "digits.yaml", [f"dataset={given}"]).dataset
    assert resolved.written() == {**given, "few": 3}
    message = r"dataset: .*:unannotated must return an eadbench\.harness\.datasets\.DataSet, got str"
    with pytest.raises(UserError, match=message):
        datasets.load(resolved.name, **resolved.parameters)


def test_a_value_for_every_item_is_each_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text((SWEEPS / "digits.yaml").read_text() + "  - &fifth {name: cw, kappa: 3}\n  - *fifth\n")
    resolved = spec.load(path, ["attacks.4.kappa=5"])
    assert [attack.axes["kappa"] for attack in resolved.attacks[4:]] == [[5], [3]]
    two = "victims=[{arch: digits}, {arch: digits}]"
    each = ["attacks.4.kappa=5", two, "victims.*.training={epochs: 3}", "victims.1.training.seed=1"]
    resolved = spec.load(path, each)
    assert [training_of(victim).seed for victim in resolved.victims] == [0, 1]


def test_images_are_saved_where_they_are_needed() -> None:
    def saved(*overrides: str) -> str | None:
        return spec.load(SWEEPS / "digits.yaml", overrides).save_images

    assert saved() == "none"
    assert saved("save_images=successes") == "successes"
    assert saved("victims.0.evaluated_on=all") == "successes"
    with pytest.raises(UserError, match=r"save_images: must be successes, as victims\[0\] has evaluated_on; got none"):
        saved("victims.0.evaluated_on=all", "save_images=none")


def test_overrides_and_defaults() -> None:
    resolved = spec.load(SWEEPS / "digits.yaml", ["images.count=7", "attacks.3.beta=1e-1", "targets={random: 2}"])
    assert resolved.images.count == 7
    assert resolved.attacks[3].axes["beta"] == [0.1]
    assert resolved.attacks[3].decision_rules == ["en", "l1"]
    assert resolved.attacks[3].parameters["initial_const"] == 1e-3
    assert resolved.targets == [spec.RandomTargets(random=2)]
    assert training_of(resolved.victims[0]).optimizer == "adam"


def test_evaluate_is_short_for_the_cascade_without_targets() -> None:
    content = yaml.safe_load(sweeps.SMALL)
    short = {key: value for key, value in content.items() if key not in ("attacks", "targets")}
    evaluation = {"norm": "Linf", "epsilon": "8/255", "ensemble": "plus"}
    resolved = spec.parse(short | {"evaluate": evaluation})
    assert resolved == spec.parse(short | {"targets": "untargeted", "attacks": [{"name": "autoattack", **evaluation}]})
    assert resolved.targets == ["untargeted"] and resolved.attacks[0].axes["epsilon"] == [8 / 255]
    several = spec.parse(
        content | {"targets": ["all", "untargeted"], "evaluate": [evaluation, {"norm": 2, "epsilon": 1}]}
    )
    assert [attack.name for attack in several.attacks[-2:]] == ["autoattack"] * 2
    chosen = spec.parse(short | {"evaluate": evaluation | {"ensemble": ["fab-t", "square"]}})
    assert chosen.attacks[0].parameters["ensemble"] == ["fab-t", "square"]
    assert spec.parse(spec.written(several)) == several


def test_a_budget_enters_digests_only_where_it_is_given() -> None:
    attacks = [{"name": "ead"}, {"name": "fmn", "norm": "l1"}, {"name": "ead", "budget": 500, "best_queried": True}]
    plain, shared = small(attacks=attacks[:2]), small(attacks=attacks, budget=2000)
    names = {"budget", "best_queried"}
    assert not any(names & entry.parameters.keys() for entry in plain.attacks)
    assert [entry.parameters["budget"] for entry in shared.attacks] == [2000, 2000, 500]
    assert [entry.parameters.get("best_queried") for entry in shared.attacks] == [None, None, True]
    assert [entry.parameters.get("steps") for entry in shared.attacks] == [1000, 1000, 250]
    assert small(attacks=attacks[1:2], budget=500).attacks[0].parameters["steps"] == 250
    assert small(attacks=[{**attacks[1], "steps": 7}], budget=500).attacks[0].parameters["steps"] == 7
    assert spec.parse(spec.written(shared)) == shared
    off = small(attacks=[{"name": "ead", "best_queried": False}], best_queried=True)
    assert "best_queried" not in off.attacks[0].parameters
    with pytest.raises(UserError, match=r"^attacks\[0\].budget: must be greater than or equal to 32; got 31$"):
        small(attacks=[{"name": "ead", "budget": 31}])


def test_ead_and_cw_on_a_budget_have_searches_made_for_it() -> None:
    ead, cw, published = small(
        targets="untargeted",
        budget=2000,
        attacks=[{"name": "ead", "norm": ["l1", "l2"]}, {"name": "cw"}, {"name": "ead", "published": True}],
    ).attacks
    assert ead.axes["norm"] == ["l1", "l2"] and ead.parameters["steps"] == 1000 and "searches" in cw.parameters
    assert published.parameters["binary_search_steps"] == 9 and published.parameters["published"]
    for entry, right in (
        ({"name": "ead", "budget": 64, "max_iterations": 9}, r"^attacks\[0\].max_iterations: unknown key"),
        ({"name": "ead", "published": True}, r"^attacks\[0\].published: must be left out but with ead or cw on a"),
        ({"name": "fgm", "norm": "l2", "budget": 64, "published": True}, r"^attacks\[0\].published: must be left"),
        ({"name": "ead", "budget": 64, "decision_rules": ["l1"]}, r"^attacks\[0\].decision_rules: must be left out on"),
    ):
        with pytest.raises(UserError, match=right):
            small(attacks=[entry])


def test_fields_that_came_later_leave_digests_alone() -> None:
    plain, given, other = (
        small(attacks=[{"name": "ead", **more}]).attacks[0].parameters
        for more in ({}, {"l2_gradient": "always"}, {"l2_gradient": "while_failing"})
    )
    assert plain == given and "l2_gradient" not in plain and other["l2_gradient"] == "while_failing"
