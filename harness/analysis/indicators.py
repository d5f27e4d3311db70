"""Indicators: signs in the rows and on the victim that a number cannot be trusted, each with its cause and remedy.

Every indicator is a line of `INDICATORS`: a figure, computed from the :class:`Evidence` on a cell, and the threshold
beyond which it is raised. An indicator that another one explains is not raised beside it.
"""

from collections.abc import Mapping

from eadbench.harness.analysis.evidence import Evidence
from eadbench.harness.analysis.indicator import (
    ROUNDING,
    Finding,
    Indicator,
    beyond_kappa,
    fall,
    foreign_zero_gradient,
    if_budget,
    lacking_accuracy,
    measured,
    noise,
    share,
)

__all__ = ["INDICATORS", "Finding", "Indicator", "findings", "raised"]

INDICATORS: Mapping[str, Indicator] = {
    "training_mode": Indicator(
        title="training mode",
        figure="share of the modules that stay in training mode when the model is put into eval mode",
        compute=measured("training"),
        threshold=0.0,
        cause="dropout and batch normalisation behave as in training, so that another model is attacked than deployed",
        remedy="do not override `train` and `eval`, nor call `train()` in `forward`",
        of_victim=True,
        explains=("random", "batch", "weak_victim"),
    ),
    "random": Indicator(
        title="random victim",
        figure="greatest difference of two runs' logits, relative to the greatest logit; 100 % if successes had to be "
        "tested again",
        compute=noise,
        threshold=ROUNDING,
        said=True,
        cause="a success on one draw of the noise may not last, and one gradient is not the expected one",
        remedy="read the column `survival`, or give the attack the mean over many draws as its victim",
        of_victim=True,
        explains=("batch", "silent", "monotone"),
    ),
    "batch": Indicator(
        title="dependence on the batch",
        figure="greatest difference of an image's logits alone and in a batch, relative to the greatest logit",
        compute=measured("batch"),
        threshold=ROUNDING,
        cause="an image's class depends on what stands beside it, so that a success holds in its batch alone",
        remedy="give batch normalisation running statistics",
        of_victim=True,
        explains=("silent",),
    ),
    "probabilities": Indicator(
        title="probabilities for logits",
        figure="1 if all outputs are not negative and sum to 1",
        compute=measured("probabilities"),
        threshold=0.5,
        said=True,
        cause="a softmax hides gradients and margins from attacks that need logits",
        remedy="return logits, or give the victim `outputs: probabilities`",
        of_victim=True,
        explains=("zero_gradient", "zero_gradient_near", "foreign_zero_gradient", "kappa", "greatest"),
    ),
    "zero_gradient": Indicator(
        title="zero gradients",
        figure="share of images at which the lead of the logits has no gradient",
        compute=measured("zero_gradient"),
        threshold=0.05,
        said=True,
        cause="rounding, a threshold or a detached tensor masks the gradient, so that white-box attacks stand still",
        remedy="attack a differentiable stand-in for that part (BPDA), or attack without gradients",
        of_victim=True,
        explains=(
            *("foreign_zero_gradient", "zero_gradient_near", "greatest", "spent", "incomplete"),
            *("transfer", "black_box"),
        ),
    ),
    "foreign_zero_gradient": Indicator(
        title="zero gradients of the cross-entropy",
        figure="share of images at which the cross-entropy has no gradient in float32; of attacks of other packages",
        compute=foreign_zero_gradient,
        threshold=0.05,
        cause="the softmax rounds to 0 and 1, as after distillation at a high temperature, and the loss is flat",
        remedy="use an attack on logits, such as `cw` or `ead`, or one of ours, whose cross-entropy does not round",
        explains=("spent", "incomplete", "transfer", "black_box", "saturated"),
    ),
    "zero_gradient_near": Indicator(
        title="gradients that vanish near the image",
        figure="share of images with a gradient, but none after a step of 0.03, 0.1 or 0.3 against it",
        compute=measured("zero_gradient_near"),
        threshold=0.2,
        cause="a detector or a switch in front answers changed images with a constant, and the attack does not see it",
        remedy="make the attack adaptive: add the detector's score to its loss, so that both are to be fooled",
        of_victim=True,
        explains=("greatest", "spent", "incomplete", "silent", "transfer", "black_box", "kappa"),
    ),
    "nonfinite_gradient": Indicator(
        title="gradients that are not finite",
        figure="share of examples whose search met a derivative that is not finite",
        compute=share("nonfinite"),
        threshold=0.0,
        said=True,
        cause="a root or a logarithm of 0, or an overflow; such derivatives count as 0",
        remedy="add a small number under the root or the logarithm, or use float32 throughout",
    ),
    "saturated": Indicator(
        title="saturated logits",
        figure="share of images whose logits lead by more than 87.3, the range of a softmax in float32; of attacks of "
        "other packages",
        compute=lambda evidence: evidence.victim.get("saturated") if ":" in evidence.attack else None,
        threshold=0.1,
        cause="the softmax has no normal number for the other classes, and its gradients round",
        remedy="use an attack on logits, or divide the logits by a temperature",
    ),
    "incomplete": Indicator(
        title="incomplete optimisation",
        figure="mean relative fall of the least distance over the last half of the budget",
        compute=if_budget(fall),
        threshold=0.1,
        cause="the search still gains when its budget ends, so that distances are too great",
        remedy="raise the budget until the figure is small",
        explains=("spent",),
    ),
    "spent": Indicator(
        title="budget used up",
        figure="share of examples that failed with their budget spent",
        compute=if_budget(share("spent")),
        threshold=0.05,
        cause="the attack ended before it found anything: failure is no robustness",
        remedy="raise the budget",
    ),
    "kappa": Indicator(
        title="κ out of reach",
        figure="share of examples that failed, if κ exceeds the lead of every measured image",
        compute=beyond_kappa,
        threshold=0.5,
        cause="the victim's logits hardly lead by κ on any image, so the margin is not to be had",
        remedy="lower κ below the victim's usual lead",
        explains=("greatest", "spent", "incomplete", "silent"),
    ),
    "greatest": Indicator(
        title="no c succeeded",
        figure="share of examples whose search over c ended at its greatest c, without a success",
        compute=share("greatest"),
        threshold=0.5,
        said=True,
        cause="too few iterations or steps of the search, or a victim without usable gradients",
        remedy="raise max_iterations, then binary_search_steps or initial_const",
    ),
    "silent": Indicator(
        title="silent success",
        figure="share of examples that failed although an adversarial image was queried",
        compute=if_budget(share("silent")),
        threshold=0.01,
        cause="the attack met an adversarial image and returned another one",
        remedy="`best_queried: true`, and mend the attack: `eadbench check` tests it",
    ),
    "over_budget": Indicator(
        title="budget exceeded",
        figure="share of examples that took more passes than their budget",
        compute=if_budget(share("over_budget")),
        threshold=0.0,
        cause="the attack makes passes that its ledger does not see",
        remedy="call the model that the attack is given, and no other",
    ),
    "over_epsilon": Indicator(
        title="ε exceeded",
        figure="share of examples that succeed beyond their ε",
        compute=lambda evidence: share("over_epsilon")(evidence) if evidence.parameters.get("epsilon") else None,
        threshold=0.0,
        cause="the attack does not project to its ball",
        remedy="project the last iterate, after the box",
    ),
    "outside": Indicator(
        title="outside the box",
        figure="share of examples whose claimed success has a value outside of [0, 1]; they count as failures",
        compute=share("outside"),
        threshold=0.0,
        cause="the attack does not clip its images, and no camera or file can hold them",
        remedy="clip to [0, 1] before the last test: `eadbench check` tests it",
    ),
    "monotone": Indicator(
        title="more that succeeds less",
        figure="by how many points of ASR it falls behind the same attack with a smaller ε, budget or number of steps",
        compute=lambda evidence: None if evidence.drop is None else evidence.drop / 100,
        threshold=0.05,
        cause="with more room or passes an attack finds all that it found with less, unless it is stuck",
        remedy="look for masked gradients, and at the step size",
    ),
    "transfer": Indicator(
        title="transfer beats the attack",
        figure="share of the victim's examples that one crafted on another victim breaks, and no attack on the victim",
        compute=lambda evidence: evidence.transferred,
        threshold=0.05,
        cause="the victim is not robust there: its gradients mislead the attack",
        remedy="start from the transferred examples, or attack without gradients",
        of_victim=True,
    ),
    "black_box": Indicator(
        title="black box beats white box",
        figure="share of examples on which the attack failed, and one without gradients succeeded as near, in its norm",
        compute=lambda evidence: evidence.black_box,
        threshold=0.05,
        cause="an attack with gradients sees more and should find more: the victim's gradients mislead it",
        remedy="look for masked gradients, and take the worst case of all attacks: `eadbench robust`",
    ),
    "weak_victim": Indicator(
        title="weak victim",
        figure="accuracy that the victim lacks to what its architecture, or any network, reaches on the data set",
        compute=lacking_accuracy,
        threshold=0.1,
        said=True,
        cause="the training diverged or ended early, or the inputs are others than those that it learned from",
        remedy="train it longer or at a lower learning rate; check mean, std and class_map",
        of_victim=True,
        explains=("zero_gradient", "zero_gradient_near", "foreign_zero_gradient", "greatest", "saturated"),
    ),
    "few_images": Indicator(
        title="few images",
        figure="width of the 95 % interval of the ASR, in points",
        compute=lambda evidence: evidence.interval / 100,
        threshold=0.25,
        cause="chance alone explains differences of that size",
        remedy="raise images.count: a quarter of the width needs 16 times as many",
        explains=("monotone",),
    ),
}
"""The indicators by name, causes before what they explain."""


def findings(evidence: Evidence) -> list[Finding]:
    """Return the figure of every indicator on a cell, and whether it is raised."""
    figures = {name: indicator.compute(evidence) for name, indicator in INDICATORS.items()}
    beyond = [name for name, figure in figures.items() if figure is not None and figure > INDICATORS[name].threshold]
    explained: set[str] = set()
    for name in beyond:
        if name not in explained:
            explained.update(INDICATORS[name].explains)
    return [Finding(name, figure, name in beyond and name not in explained) for name, figure in figures.items()]


def raised(evidence: Evidence) -> list[str]:
    """Return the names of the indicators that are raised on a cell."""
    return [finding.name for finding in findings(evidence) if finding.raised]
