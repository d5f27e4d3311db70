"""The substitute: augmentation by hand, labels of the victim alone, and examples that are judged on the victim."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import FGM, Substitute
from eadbench.attacks.contract.victims import Counting, small_net
from eadbench.attacks.substitute import ARCHITECTURES, augmented
from eadbench.harness import frames
from eadbench.harness.analysis.summary import read
from eadbench.harness.reporting.report import learnt_texts
from eadbench.harness.results.learnt import learnt_by_attacks
from tests.sweeps import rows, run, small

IMAGES = torch.rand(60, 1, 4, 4, generator=torch.Generator().manual_seed(1))
SMALL: dict[str, Any] = {"arch": "dense", "seeds": 20, "augmentations": 2, "epochs": 20}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_an_augmentation_moves_each_image_by_the_sign_of_its_row_of_the_jacobian(arch: str) -> None:
    torch.manual_seed(0)
    substitute, given = ARCHITECTURES[arch]((1, 4, 4), 4).double(), IMAGES[:3].double()
    moved = augmented(substitute, given, torch.tensor([2, 0, 3]), 0.1)
    for x, label, after in zip(given, [2, 0, 3], moved, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda image: substitute(image[None])[0], x)
        torch.testing.assert_close(after, (x + 0.1 * jacobian[label].sign()).clamp(0, 1))


def test_the_victim_answers_each_image_once() -> None:
    victim, asked = Counting(small_net()), Substitute(**SMALL, held_out=0)
    learnt = asked.learn(victim, IMAGES)
    assert learnt["queries"] == 20 * 2**2 and learnt["agreement"].isnan()
    assert victim.forwards == 20 * 2**2 + 1 and victim.backwards == 0  # one look at the number of classes


def test_it_learns_the_classes_of_the_victim_and_agrees_with_it_where_it_was_not_trained() -> None:
    model = small_net()
    images = torch.rand(600, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    learnt = Substitute(arch="dense", seeds=100, augmentations=3, held_out=500).learn(model, images)
    substitute = ARCHITECTURES["dense"]((1, 4, 4), 4)
    substitute.load_state_dict({name: values for name, values in learnt.items() if values.ndim})
    with torch.no_grad():
        same = (model(images[100:]).argmax(1) == substitute(images[100:]).argmax(1)).double().mean()
        commonest = model(images[100:]).argmax(1).bincount().max() / 500
    assert learnt["agreement"] == same > commonest + 0.15


@pytest.mark.parametrize("targeted", [True, False])
def test_it_sends_what_fools_the_substitute_and_is_judged_on_the_victim(targeted: bool) -> None:
    model, attacked = small_net(), IMAGES[20:]
    with torch.no_grad():
        labels = (model(attacked).argmax(1) + 2 * targeted) % 4  # the net gives two classes, 1 and 3
    attack = Substitute(**SMALL, attack={"name": "fgm", "epsilons": [0.5]}, targeted=targeted)
    learnt = attack.learn(model, IMAGES[:20])
    substitute = ARCHITECTURES["dense"]((1, 4, 4), 4)
    substitute.load_state_dict({name: values for name, values in learnt.items() if values.ndim})
    crafted = FGM(norm="linf", epsilons=(0.5,), targeted=targeted)(substitute, attacked, labels)["linf"].images
    kept = attack.adding(learnt)(model, attacked, labels)["linf"]
    with torch.no_grad():
        fooled = (model(crafted).argmax(1) == labels) == targeted
    assert torch.equal(kept.success, fooled) and fooled.any()
    assert torch.equal(kept.images[fooled], crafted[fooled])


@pytest.mark.parametrize(
    ("norm", "entry"), [("l1", {"name": "ead", "max_iterations": 20}), ("l2", {"name": "cw", "max_iterations": 20})]
)
def test_other_attacks_may_craft(norm: Any, entry: dict[str, Any]) -> None:
    model = small_net()
    attack = Substitute(
        **SMALL,
        norm=norm,
        attack=entry | {"initial_const": 10.0, "binary_search_steps": 2, "kappa": 2.0},
        targeted=False,
    )
    with torch.no_grad():
        labels = model(IMAGES[40:]).argmax(1)
    assert attack.adding(attack.learn(model, IMAGES[:40]))(model, IMAGES[40:], labels)[norm].success.any()


def test_a_sweep_trains_it_once_and_reports_its_agreement(tmp_path: Path) -> None:
    entry: dict[str, Any] = {"name": "substitute", **SMALL, "augmentations": [0, 2], "held_out": 100}
    run(small(attacks=[entry], targets="untargeted", images={"count": 12}, shard_size=5), tmp_path)
    table, learnt = rows(tmp_path), learnt_by_attacks(frames.Results(tmp_path).folder)
    assert len(table) == 24 and (table["forward_passes"] <= 2).all() and (table["iterations"] == 0).all()
    assert sorted(each.figures["queries"] for each in learnt) == [20, 80]
    assert all(0 < each.figures["agreement"] <= 1 for each in learnt)
    texts = learnt_texts(read(frames.Results(tmp_path).snapshot))
    assert len(texts) == 2 and "queries 80" in "".join(texts)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"arch": "vgg"}, "arch must be one of conv, dense, got 'vgg'"),
        ({"seeds": 0}, "seeds must be at least 1, got 0"),
        ({"step": 0.0}, r"step must be in \(0, 1\], got 0.0"),
        ({"attack": {"name": "zoo"}}, "attack.name must be one of fgm, ifgm, .*, got 'zoo'"),
        ({"attack": {"name": "cw"}}, "norm must be one that cw minimises, l2, got 'linf'"),
        (
            {"attack": {"name": "fgm", "epsilons": [0.3, 0.1]}},
            "attack: epsilons must be positive, finite and ascending",
        ),
        ({"attack": {"name": "fgm", "steps": 3}}, "attack: .*unexpected keyword argument 'steps'"),
    ],
)
def test_mistakes(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Substitute(**wrong)


def test_it_must_have_learnt() -> None:
    labels: Tensor = torch.tensor([0])
    model: nn.Module = small_net()
    with pytest.raises(ValueError, match="a substitute is trained first"):
        Substitute()(model, IMAGES[:1], labels)
