"""Attacks of other libraries: rows are matched, passes counted, and what does not hold is a failure."""

import itertools
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import Budgeted
from eadbench.attacks.adapters import LIBRARIES, library_attack
from eadbench.attacks.adapters.function import function_attack
from eadbench.attacks.adapters.matching import aligned
from eadbench.attacks.adapters.peer import PeerWarning, groups, norm_in
from eadbench.attacks.contract.victims import Counting, Linear, labels_to_attack, small_images, small_net
from eadbench.harness.errors import UserError
from eadbench.harness.registry import ATTACKS
from tests.attacks.adapters import misbehaving

HERE = "tests.attacks.adapters.misbehaving"


def attacked(
    function: Any, *, victim: nn.Module | None = None, count: int = 6, batch_size: int = 4, **fields: Any
) -> Any:
    """What a function's attack gives on the small net, with its warnings."""
    model, images = small_net(), small_images(count)
    attack = function_attack(function)(**{"targeted": False, "norm": "linf", **fields})
    labels = labels_to_attack(model, images, targeted=attack.targeted)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = attack(victim or model, images, labels, batch_size=batch_size)
    return result, [str(each.message) for each in caught if each.category is PeerWarning], images


@pytest.mark.parametrize("targeted", [True, False])
def test_an_honest_function_is_run_and_counted(targeted: bool) -> None:
    victim = Counting(small_net())
    result, _, images = attacked(misbehaving.honest, victim=victim, targeted=targeted, steps=15, batch_size=3)
    assert result.iterations.tolist() == [15] * 6 and result.forward_passes.tolist() == [16] * 6
    assert victim.backwards == 15 * 6 and result["linf"].success.any()
    labels = labels_to_attack(small_net(), images, targeted=targeted)
    expected = misbehaving.honest(small_net(), images, labels, targeted, steps=15)
    held = result["linf"].success
    torch.testing.assert_close(result["linf"].images[held], expected[held])


def test_rows_that_a_library_drops_are_matched_to_their_examples() -> None:
    batched, lines, _ = attacked(misbehaving.dropping, batch_size=6)
    alone, _, _ = attacked(misbehaving.dropping, batch_size=1)
    assert not lines and len(set(batched.iterations.tolist())) > 1
    assert torch.equal(batched.iterations, alone.iterations)
    assert torch.equal(batched.forward_passes, alone.forward_passes)


def test_the_alignment_is_the_least_of_all_that_keep_the_order() -> None:
    generator = torch.Generator().manual_seed(0)
    for rows, columns in ((1, 4), (3, 5), (4, 7), (5, 5)):
        cost = torch.rand(rows, columns, generator=generator)
        best = min(
            itertools.combinations(range(columns), rows),
            key=lambda chosen: sum(cost[row, column].item() for row, column in enumerate(chosen)),
        )
        assert aligned(cost).tolist() == list(best)


def test_a_query_of_more_rows_than_examples_is_run_one_at_a_time() -> None:
    result, lines, _ = attacked(misbehaving.repeating)
    assert not lines and result["linf"].success.any()
    assert result.iterations.tolist() == [20] * 6 and result.forward_passes.tolist() == [23] * 6


def test_the_images_of_one_call_differ() -> None:
    images = torch.tensor([0.0, 1.0, 0.0, 0.0, 2.0]).view(5, 1, 1, 1)
    assert [part.tolist() for part in groups(images, 2)] == [[0, 1], [4], [2], [3]]
    assert not list(groups(images[:0], 2))


@pytest.mark.parametrize(
    ("function", "line"),
    [
        (misbehaving.outside, "6 of 6 images that it returned fail the test, 6 of them outside of [0, 1]"),
        (misbehaving.aborting, "failed on 6 examples: RuntimeError: shape mismatch in a stack of lines"),
        (misbehaving.wrong_shape, "failed on 6 examples: TypeError: it returned images of shape (5, 1, 4, 4) for 6"),
    ],
)
def test_failures_of_a_library_are_failed_rows_and_one_line(function: Any, line: str) -> None:
    result, lines, images = attacked(function, batch_size=6)
    [text] = lines
    assert line in text and "\n" not in text
    kept = result["linf"]
    assert not kept.success.any() and kept.l1.isnan().all() and torch.equal(kept.images, images)


def test_failures_returned_as_images_are_counted() -> None:
    result, [line], images = attacked(misbehaving.black, targeted=True)
    kept, failed = result["linf"], ~result["linf"].success
    assert failed.any() and torch.equal(kept.unconfirmed, failed) and torch.equal(kept.images[failed], images[failed])
    assert f"{int(failed.sum())} of 6 images that it returned fail the test" in line


def test_a_margin_that_is_ignored_is_caught() -> None:
    plain, _, _ = attacked(misbehaving.dropping)
    strict, [line], _ = attacked(misbehaving.dropping, kappa=2.0)
    assert plain["linf"].success.all() and not strict["linf"].success.any()
    assert strict["linf"].unconfirmed.all() and "6 of 6" in line


@pytest.mark.parametrize("batch_size", [1, 4, 8])
def test_a_library_never_overspends(batch_size: int) -> None:
    model, images = Counting(small_net()), small_images()
    labels = labels_to_attack(small_net(), images, targeted=False)
    attack = function_attack(misbehaving.spending)(norm="linf", targeted=False)
    result = Budgeted(attack=attack, budget=40)(model, images, labels, batch_size=batch_size)
    assert (result.iterations + result.forward_passes == 40).all()
    assert model.backwards == 20 * 8 and model.forwards <= (20 + 3) * 8
    assert result["linf"].success.any()  # the nearest image that it queried


def test_a_gradient_at_the_border_of_the_box_is_the_model_s() -> None:
    """torch's clamp would give 0 there, so that pixels of exactly 0 and 1 would never move."""
    weight = torch.tensor([[0.0, 0.0], [1.0, -1.0]]).view(2, 1, 1, 2)
    images, gradients = torch.tensor([0.0, 1.0]).view(1, 1, 1, 2), []

    def look(model: Any, inputs: Tensor, labels: Tensor) -> Tensor:
        x = inputs.clone().requires_grad_()
        gradients.append(torch.autograd.grad(model(x)[:, 1].sum(), x)[0])
        return inputs

    function_attack(look)()(Linear(weight, torch.tensor([0.5, 0.0])), images, torch.tensor([0]))
    assert torch.equal(gradients[0], weight[1:])


def test_a_spec_names_a_function_by_its_import_path() -> None:
    attack: Any = ATTACKS.look_up(f"{HERE}:honest")
    assert attack(steps=3, targeted=True).options == {"steps": 3, "size": 0.05}
    with pytest.raises(TypeError, match="stepz"):
        attack(stepz=3)
    with pytest.raises(ValueError, match="outside is untargeted only"):
        ATTACKS.look_up(f"{HERE}:outside")(targeted=True)
    with pytest.raises(UserError, match=r"torchattacks has no attack 'EADL9'|torchattacks:EADL9 needs torchattacks"):
        ATTACKS.look_up("torchattacks:EADL9")


def test_a_library_that_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "adv_lib", None)
    with pytest.raises(
        ValueError, match=r"advlib:pdpgd needs adv-lib, which cannot be imported .*; install it"
    ) as caught:
        library_attack("advlib:pdpgd")
    assert "\n" not in str(caught.value)
    assert library_attack("mine:Attack") is None


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        *((name, "l1") for name in ("L1FMNAttack", "EADL1", "EADEN", "ElasticNet")),
        *((name, "l2") for name in ("CarliniL2Method", "PGDL2")),
        ("LInfFMNAttack", "linf"),
        ("L0BrendelBethgeAttack", "l0"),
        ("pdpgd", None),
    ],
)
def test_norms_are_read_from_names(name: str, norm: str | None) -> None:
    assert norm_in(name) == norm


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("foolbox:L1FMNAttack", {"steps": 60}),
        ("foolbox:EADAttack", {"steps": 40, "binary_search_steps": 2, "initial_const": 1.0}),
        ("torchattacks:EADL1", {"max_iterations": 40, "binary_search_steps": 2, "initial_const": 1.0}),
        ("art:ElasticNet", {"max_iter": 10, "binary_search_steps": 2, "initial_const": 1.0}),
        ("advlib:pdpgd", {"norm": "l1", "num_steps": 60}),
    ],
)
@pytest.mark.parametrize("targeted", [True, False])
@pytest.mark.filterwarnings("ignore")
def test_attacks_of_real_libraries(name: str, fields: dict[str, Any], targeted: bool) -> None:
    try:
        attack: Any = library_attack(name)
    except ValueError as error:
        pytest.skip(f"{LIBRARIES[name.split(':')[0]]} is not installed: {error}")
    model, images = Counting(small_net()), small_images()
    labels = labels_to_attack(small_net(), images, targeted=targeted)
    result = Budgeted(attack=attack(targeted=targeted, **fields), budget=100, best_queried=True)(model, images, labels)
    kept = result["l1"]
    assert kept.success.sum() >= 2 and (result.iterations + result.forward_passes <= 100).all()
    assert model.backwards >= result.iterations.sum() > 0
    delta = kept.images - images
    torch.testing.assert_close(kept.l1[kept.success], delta.abs().flatten(1).sum(1)[kept.success])
