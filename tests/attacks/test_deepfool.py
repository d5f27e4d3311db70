"""DeepFool and SuperDeepFool on affine classifiers, whose least distances are known, and on a small network."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import DeepFool, SuperDeepFool, distances
from eadbench.attacks.contract.victims import Counting, Linear, small_images, small_net
from eadbench.attacks.deepfool import nearest_step

DUAL = {"l2": 2, "linf": 1}


def affine(classes: int = 12) -> tuple[Linear, Tensor, Tensor]:
    """An affine classifier, images in the middle of the box, and their classes; the boundaries are near."""
    generator = torch.Generator().manual_seed(11)
    weight = torch.randn(classes, 1, 5, 5, generator=generator, dtype=torch.float64)
    images = 0.5 + 0.02 * torch.randn(6, 1, 5, 5, generator=generator, dtype=torch.float64)
    bias = 0.3 * torch.randn(classes, generator=generator, dtype=torch.float64) - 0.5 * weight.flatten(1).sum(1)
    model = Linear(weight, bias)
    with torch.no_grad():
        return model, images, model(images).argmax(1)


def least(model: Linear, images: Tensor, labels: Tensor, norm: str, kappa: float, classes: int = 10) -> Tensor:
    """(N,) the distance to the nearest boundary, among the classes of the greatest logits."""
    with torch.no_grad():
        logits = model(images)
        values = []
        for row, own in enumerate(labels.tolist()):
            others = [k for k in logits[row].argsort(descending=True)[:classes].tolist() if k != own]
            slopes = [(model.weight[k] - model.weight[own]).flatten().norm(p=DUAL[norm]) for k in others]
            gaps = [kappa + logits[row, own] - logits[row, k] for k in others]
            values.append(min(gap / slope for gap, slope in zip(gaps, slopes, strict=True)))
    return torch.stack(values)


@pytest.mark.parametrize("kappa", [0.0, 0.4])
@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize(("overshoot", "overshoot_at"), [(0.02, "end"), (0.1, "end"), (0.02, "steps")])
def test_deepfool_takes_one_step_on_an_affine_classifier(
    norm: Any, kappa: float, overshoot: float, overshoot_at: Any
) -> None:
    model, images, labels = affine()
    attack = DeepFool(norm=norm, kappa=kappa, overshoot=overshoot, overshoot_at=overshoot_at)
    result = attack(model, images, labels)
    expected = least(model, images, labels, norm, kappa) + (1e-4 if overshoot_at == "steps" else 0)
    assert result[norm].success.all() and result.iterations.tolist() == [9] * 6
    torch.testing.assert_close(getattr(result[norm], norm), (1 + overshoot) * expected)


def test_the_overshoot_is_applied_once_whatever_the_steps() -> None:
    """Without it, the last iterate lies on the boundary; with it, exactly as much further from the image."""
    model, images = small_net().double(), small_images().double()
    with torch.no_grad():
        labels = model(images).argmax(1)
    near, far = (DeepFool(norm="l2", overshoot=eta)(model, images, labels) for eta in (0.02, 0.06))
    assert near.iterations.max() > 6 and near["l2"].success.all() and torch.equal(near.iterations, far.iterations)
    inside = (far["l2"].images > 0) & (far["l2"].images < 1) & (near["l2"].images > 0) & (near["l2"].images < 1)
    ratio = (far["l2"].images - images)[inside] / (near["l2"].images - images)[inside]
    torch.testing.assert_close(ratio, torch.full_like(ratio, 1.06 / 1.02))


def test_only_the_most_likely_classes_are_considered() -> None:
    model, images, labels = affine(classes=12)
    for classes in (2, 4, 10, 12, 40):
        result = DeepFool(norm="l2", classes=classes)(model, images, labels)
        assert result.iterations.tolist() == [min(classes, 12) - 1] * 6
        torch.testing.assert_close(result["l2"].l2, 1.02 * least(model, images, labels, "l2", 0.0, classes))


def test_the_nearest_boundary_is_a_class_s() -> None:
    gradients = torch.tensor([[3.0, 4.0], [1.0, 0.0]]).view(1, 2, 1, 1, 2)
    step = nearest_step(torch.tensor([[10.0, 3.0]]), gradients, "l2")
    torch.testing.assert_close(step.flatten(), torch.tensor([1.2, 1.6]))  # 10 / 5 along (0.6, 0.8)
    step = nearest_step(torch.tensor([[14.0, 1.0]]), gradients, "linf")
    torch.testing.assert_close(step.flatten(), torch.tensor([1.0, 0.0]))
    assert not nearest_step(torch.tensor([[1.0, 1.0]]), 0 * gradients, "l2").any()


def test_rows_leave_when_they_arrive_and_others_take_their_place() -> None:
    model, images = small_net(), small_images()
    with torch.no_grad():
        labels = model(images).argmax(1)
    victim = Counting(model)
    result = DeepFool(norm="l2")(victim, images, labels, batch_size=3)
    assert result.iterations.min() < result.iterations.max()
    idle = victim.backwards - int(result.iterations.sum())
    assert idle == result.computed - int(result.iterations.sum()) and idle <= 3 * 2 * len(images)
    alone = [DeepFool(norm="l2")(model, images[i : i + 1], labels[i : i + 1]) for i in range(len(images))]
    assert torch.equal(result.iterations, torch.cat([each.iterations for each in alone]))


def test_superdeepfool_ends_at_the_least_distance_of_an_affine_classifier() -> None:
    model, images, labels = affine()
    kept = SuperDeepFool(search_steps=15)(model, images, labels)["l2"]
    expected = least(model, images, labels, "l2", 0.0)
    assert kept.success.all()
    assert ((kept.l2 >= expected) & (kept.l2 <= 1.0002 * expected)).all()


class Ellipse(nn.Module):
    """Class 1 outside of an ellipse around another point than the image: gradients there do not lead straight out."""

    def forward(self, x: Tensor) -> Tensor:
        first, second = x[:, 0, 0, 0] - 0.5, x[:, 0, 0, 1] - 0.5
        value = first.square() + 4 * second.square() + first * second - 0.06
        return torch.stack([torch.zeros_like(value), value], 1)


def test_superdeepfool_s_perturbation_is_orthogonal_to_the_boundary() -> None:
    """DeepFool ends on the boundary; SuperDeepFool ends where the perturbation is along the gradient there."""
    images, labels = torch.tensor([0.55, 0.52], dtype=torch.float64).view(1, 1, 1, 2), torch.tensor([0])
    angles = torch.arange(0, 2 * torch.pi, 1e-5, dtype=torch.float64)
    ways = torch.stack([angles.cos(), angles.sin()], 1)
    radii = (0.06 / (ways[:, 0] ** 2 + 4 * ways[:, 1] ** 2 + ways[:, 0] * ways[:, 1])).sqrt()
    nearest = (0.5 + radii[:, None] * ways - images.view(1, 2)).norm(dim=1).min()

    simple = DeepFool(norm="l2", overshoot=1e-3)(Ellipse(), images, labels)["l2"]
    super_ = SuperDeepFool(search_steps=20)(Ellipse(), images, labels)["l2"]
    x = super_.images.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Ellipse()(x)[0, 1], x)
    cosine = nn.functional.cosine_similarity((x - images).flatten(), gradient.flatten(), dim=0)
    assert cosine > 0.999 and nearest <= super_.l2[0] <= 1.001 * nearest < simple.l2[0]


def test_the_codes_variant_costs_less_and_ends_no_nearer() -> None:
    model, images = small_net(), small_images()
    with torch.no_grad():
        labels = model(images).argmax(1)
    paper, code = (SuperDeepFool(variant=variant)(model, images, labels) for variant in ("paper", "code"))
    assert paper["l2"].success.all() and code["l2"].success.all()
    assert code.iterations.sum() < paper.iterations.sum()
    assert paper["l2"].l2.mean() < code["l2"].l2.mean()
    assert (distances.l2(paper["l2"].images - images) <= 1.001 * code["l2"].l2).all()


@pytest.mark.parametrize("make", [lambda **kw: DeepFool(norm="l2", **kw), SuperDeepFool])
def test_mistakes_are_one_line(make: Any) -> None:
    for values, message in (
        ({"targeted": True}, "DeepFool is untargeted only; set targeted to false"),
        ({"classes": 1}, "classes must be at least 2, got 1"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"kappa": -1.0}, "kappa must be finite and not negative"),
    ):
        with pytest.raises(ValueError, match=message):
            make(**values)
    with pytest.raises(ValueError, match="norm must be one of l2, linf, got 'l1'"):
        DeepFool(norm="l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="variant must be one of paper, code, got 'both'"):
        SuperDeepFool(variant="both")  # type: ignore[arg-type]
