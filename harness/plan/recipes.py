"""From a spec's victims to recipes, and to the tasks that make them ready.

A recipe may need others first: a student its teacher, an adversarially trained network the examples crafted on the
undefended one. :func:`next_tasks` gives whatever can be done now, from what is stored; done and asked again until it
gives nothing, it makes every victim ready, each wave on all workers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from eadbench.defenses import DEFENSES, AdversarialTraining, Defense
from eadbench.harness.analysis.aggregate import attack_name, rule_name
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.plan import grid
from eadbench.harness.plan.grid import Shard
from eadbench.harness.plan.tasks import VictimTask
from eadbench.harness.results.folder import Results
from eadbench.harness.results.model_files import check_recipe, check_weights, weights_file
from eadbench.harness.spec.parameters import look_up
from eadbench.harness.spec.resolve import combinations
from eadbench.harness.spec.schema import Images, Spec
from eadbench.models import Recipe, Training, is_stored, sha256_of_file


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A victim of a spec."""

    recipe: Recipe
    where: str
    """The path of its entry in the spec."""
    weights: str | None
    attacked: bool
    evaluated_on: Sequence[str]
    """Digests of the victims that its examples are tested on too."""


def planned(spec: Spec, data: DataSet) -> list[Planned]:
    """The victims of a spec: one for every value of a defence's axes. Reads the users' weights files, to name them.

    Raises
    ------
    UserError
        A weights file that is not there, or two entries that are one victim.
    """
    made = [_recipes(spec, i, data) for i in range(len(spec.victims))]
    every = [recipe.digest for recipes in made for recipe in recipes]
    by_name = {victim.name: [recipe.digest for recipe in made[i]] for i, victim in enumerate(spec.victims)}
    found: dict[str, Planned] = {}
    for i, victim in enumerate(spec.victims):
        onto = every if victim.evaluated_on == "all" else [d for name in victim.evaluated_on for d in by_name[name]]
        for recipe in made[i]:
            if recipe.digest in found:
                raise UserError(f"victims[{i}]: is the same as another victim ({recipe.digest}); leave one out")
            found[recipe.digest] = Planned(
                recipe=recipe,
                where=f"victims[{i}]",
                weights=victim.weights,
                attacked=victim.attacked,
                evaluated_on=[digest for digest in dict.fromkeys(onto) if digest != recipe.digest],
            )
    return list(found.values())


def _recipes(spec: Spec, i: int, data: DataSet) -> list[Recipe]:
    """The recipes of the i-th victim of a spec."""
    victim = spec.victims[i]
    weights = None if victim.weights is None else weights_file(victim.weights, f"victims[{i}].weights")
    assert isinstance(victim.defense, dict)  # as resolved
    [(name, parameters)] = victim.defense.items()
    return [
        Recipe(
            arch=victim.arch,
            parameters=victim.parameters,
            num_classes=data.classes,
            trained_on=data.identity,
            defense={"name": name, **values},
            training=None if victim.training is None else Training(**victim.training),
            weights=None if weights is None else sha256_of_file(weights),
        )
        for values in combinations(parameters)
    ]


def ready(entries: Sequence[Planned], spec: Spec, data: DataSet, results: Results) -> list[grid.Victim]:
    """The victims of a spec with the images that it draws for each; of one that is not tested, as if it were right."""
    wrong = [_wrong(entry.recipe, spec, data, results) for entry in entries]
    if spec.images.correct_on == "all":
        wrong = [sorted({image for images in wrong for image in images})] * len(wrong)
    return [
        as_victim(entry.recipe, spec, data, results, without=images, attacked=entry.attacked)
        for entry, images in zip(entries, wrong, strict=True)
    ]


def as_victim(
    recipe: Recipe, spec: Spec, data: DataSet, results: Results, *, without: Sequence[int], attacked: bool = True
) -> grid.Victim:
    """What rows say of a model, and the images that a spec draws for it, `without` some."""
    split = getattr(data, spec.images.split)
    tested = results.evaluation(recipe.digest, data.identity, spec.images.split)
    images = grid.drawn_images(spec, len(split), without) if attacked else []
    return grid.Victim(
        digest=recipe.digest,
        arch=recipe.arch,
        defense=label(recipe.defense),
        temperature=recipe.defense.get("temperature"),
        trained_on=recipe.trained_on,
        accuracy=tested.accuracy if tested else None,
        images=images,
        labels=split.labels[images].tolist(),
        attacked=attacked,
    )


def _wrong(recipe: Recipe, spec: Spec, data: DataSet, results: Results) -> Sequence[int]:
    tested = results.evaluation(recipe.digest, data.identity, spec.images.split)
    return tested.wrong if tested else ()


def label(defense: Mapping[str, Any]) -> str:
    """What rows and tables call a recipe's defence: ``adversarial_training: EAD-L1 + C&W``.

    A temperature is not part of it: it has a column of its own.
    """
    name = str(defense["name"])
    if name == "adversarial_training":
        parts = [
            "-".join(filter(None, (attack_name(entry["name"], norm), rule_name(entry["name"], rule))))
            for entry in defense["attacks"]
            for norm in entry.get("norm", [None])
            for rule in entry.get("decision_rules", [None])
        ]
        return f"{name}: {' + '.join(parts)}"
    said = [f"{key} {value}" for key, value in defense.items() if key not in ("name", "temperature") and value]
    return f"{name}: {', '.join(said)}" if said else name


def defense_of(recipe: Recipe) -> Defense:
    """The defence that a recipe names, with its parameters."""
    parameters = {name: value for name, value in recipe.defense.items() if name != "name"}
    defense: Defense = look_up(recipe.defense["name"], DEFENSES, "defence")(**parameters)
    return defense


def needs_of(recipe: Recipe) -> Mapping[str, Recipe]:
    """The models that a recipe's is trained from, by the part that they play; none where it is not trained."""
    return {} if recipe.training is None else defense_of(recipe).needs(recipe)


def unmade(entries: Sequence[Planned], results: Results) -> list[Recipe]:
    """The models that are not stored yet, each after those that it needs."""
    found: dict[str, Recipe] = {}

    def add(recipe: Recipe) -> None:
        if recipe.digest in found or is_stored(results.model(recipe.digest)):
            return
        for needed in needs_of(recipe).values():
            add(needed)
        found[recipe.digest] = recipe

    for entry in entries:
        add(entry.recipe)
    return list(found.values())


def next_tasks(entries: Sequence[Planned], spec: Spec, data: DataSet, results: Results) -> list[VictimTask | Shard]:
    """What can be done now towards the victims that are not ready; nothing when all are.

    Raises
    ------
    UserError
        A weights file that does not fit its architecture; adversarial training on more images than the undefended
        network classifies correctly.
    """
    found: dict[str, VictimTask | Shard] = {}
    for entry in entries:
        if is_stored(folder := results.model(entry.recipe.digest)):
            check_recipe(folder / "recipe.json")
        elif entry.weights is not None:
            check_weights(entry.recipe, entry.weights, entry.where)
        for task in _towards(entry.recipe, spec.images.split, spec, data, results, weights=entry.weights):
            digest = task.digest if isinstance(task, Shard) else task.recipe.digest
            asked = found.get(digest)
            if isinstance(task, VictimTask) and isinstance(asked, VictimTask):
                task = replace(task, tested_on=sorted({*task.tested_on, *asked.tested_on}))
            found[digest] = task
    return list(found.values())


def _towards(
    recipe: Recipe, split: str | None, spec: Spec, data: DataSet, results: Results, *, weights: str | None = None
) -> list[VictimTask | Shard]:
    """What can be done now towards a model that is stored and tested on a split; nothing if it is."""
    stored = is_stored(results.model(recipe.digest))
    if stored and (split is None or results.evaluation(recipe.digest, data.identity, split) is not None):
        return []
    examples: list[Shard] = []
    if not stored and recipe.training is not None:
        defense = defense_of(recipe)
        crafts = isinstance(defense, AdversarialTraining)
        needs = needs_of(recipe)
        tested_on = "train" if crafts else None
        first = [task for needed in needs.values() for task in _towards(needed, tested_on, spec, data, results)]
        if first:
            return first
        if isinstance(defense, AdversarialTraining):
            examples = _examples(defense, needs["undefended"], spec, data, results)
            if missing := [shard for shard in examples if not results.is_done(shard)]:
                return [*missing]
    return [
        VictimTask(
            recipe=recipe,
            weights=weights,
            tested_on=[] if split is None else [split],
            examples=[shard.digest for shard in examples],
        )
    ]


def _examples(
    defense: AdversarialTraining, undefended: Recipe, spec: Spec, data: DataSet, results: Results
) -> list[Shard]:
    """The shards of the sweep that crafts what adversarial training learns from."""
    crafted = spec.model_copy(
        update={
            "seed": defense.seed,
            "images": Images(count=defense.images, split="train"),
            "targets": "all",
            "attacks": defense.attacks,
            "save_images": "successes",
        }
    )
    victim = as_victim(undefended, crafted, data, results, without=_wrong(undefended, crafted, data, results))
    if len(victim.images) < defense.images:
        raise UserError(
            f"victims: adversarial_training.images: {defense.images} asked for, but the undefended network classifies "
            f"only {len(victim.images)} images of the train split correctly"
        )
    return list(grid.shards(crafted, data.identity, data.classes, [victim]))
