"""What a sweep checks before its first worker works, so that `plan` refuses what `run` would refuse."""

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import EnvironmentFault, UserError
from eadbench.harness.execution.victim_checks import check_victims
from eadbench.harness.execution.victims import VictimPlanner
from eadbench.harness.labels import Labels
from eadbench.harness.messages import one_line
from eadbench.harness.numbers import counted
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Example, Victim
from eadbench.harness.results.folder import Results
from eadbench.harness.spec import Spec
from eadbench.harness.storage import is_local

__all__ = ["check_image_counts", "check_same_images", "check_sweep", "check_writable", "suspicions_of"]


def check_sweep(spec: Spec, data: DataSet, planner: VictimPlanner, results: Results) -> list[str]:
    """Check the data, the attacks and the victims of a sweep. Return what is suspicious about the victims.

    Raises
    ------
    UserError
        They cannot give what the spec asks for.
    """
    split = getattr(data, spec.images.split)
    if not len(split):
        raise UserError(f"images.split: the data set has no {spec.images.split} split")
    if spec.targeted and len(data.target_classes) < 2:
        [name] = (data.class_names[label] for label in data.target_classes)
        raise UserError(f"targets: every image is of the class {name}, so there is no other class to aim at")
    _check_settings(spec)
    suspicions = [*data.notes, *check_victims(planner.planned, data, results, split, spec.resources.timeout)]
    for recipe, crafting in planner.crafting_specs():
        _check_settings(crafting, f"victims: {recipe.defense['name']}.attacks")
    planner.next_tasks()  # refuses what the victims that are stored cannot give
    return suspicions


def _check_settings(spec: Spec, where: str = "attacks") -> None:
    """Build every attack with every combination of its axes; each value alone was tried when the spec was read."""
    for setting in grid.settings(spec):
        try:
            setting.build([Example(0, 0, None, beta, kappa) for beta, kappa in product(setting.betas, setting.kappas)])
        except Exception as error:  # an outsider's class may raise anything
            values = one_line(str(dict(setting.parameters)))[:200]
            raise UserError(f"{where}: {setting.attack} does not take {values}: {one_line(error)}") from error


def suspicions_of(spec: Spec, victims: Sequence[Victim]) -> list[str]:
    """Return what is suspicious about the victims that are ready, each sentence with the victim's label."""
    labels = Labels.of_victims(victims).victim
    texts = [f"{labels[victim.digest]}: {text}" for victim in victims for text in victim.warnings]
    chosen = len(spec.images.indices or ())
    if chosen and spec.images.limit is None and not spec.target_file:
        texts += [
            f"{labels[victim.digest]}: {left_out} of the {chosen} chosen images are misclassified, and not attacked"
            for victim in victims
            if victim.attacked and (left_out := chosen - len(victim.images))
        ]
    return texts


def check_image_counts(spec: Spec, victims: Sequence[Victim]) -> None:
    """Refuse a victim that classifies fewer images correctly than the spec asks for.

    Raises
    ------
    UserError
        There are too few.
    """
    for victim in victims:
        if victim.attacked and len(victim.images) < (spec.images.limit or 1):
            right = "every victim classifies" if spec.images.correct_on == "all" else f"{victim.arch} classifies"
            where = f"of the {spec.images.split} split"
            if spec.target_file:
                where += f" in {spec.target_file.file}"
            if spec.images.indices is not None:
                where += " in images.indices"
            only = counted(len(victim.images), "image")
            raise UserError(
                f"images.count: {spec.images.limit or 1} asked for, but {right} only {only} {where} correctly "
                f"(victim {victim.digest})"
            )


def check_same_images(data: DataSet, source: DataSet, results: Results) -> None:
    """Refuse a data set whose images or classes are not those of the sweep in the results.

    Raises
    ------
    UserError
        They differ.
    """
    for name, ours, theirs in (
        ("classes", data.classes, source.classes),
        ("image shape", data.shape, source.shape),
    ):
        if ours != theirs:
            raise UserError(f"dataset: its {name}, {ours}, must be that of {results.root}: {theirs}")


def check_writable(root: Path) -> None:
    """Check that a results folder can be written to, if it is on this machine.

    Raises
    ------
    EnvironmentFault
        It cannot.
    """
    if not is_local(root):
        return
    existing = next((path for path in (root, *root.absolute().parents) if path.exists()), root)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise EnvironmentFault(f"{root}: nothing can be written to {existing}; give another --results")
