"""Which models a sweep has yet to make, and in what order.

A recipe may need others first: a student needs its teacher, and an adversarially trained network needs the examples
crafted on the undefended one. :meth:`VictimPlanner.next_tasks` returns all tasks that can run now, from what is stored.
Call it again after they have run, until it returns none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from eadbench.defenses.defense import Crafting
from eadbench.harness.datasets import DataSet
from eadbench.harness.errors import UserError
from eadbench.harness.numbers import counted
from eadbench.harness.plan import grid
from eadbench.harness.plan.accuracies import usual_accuracy
from eadbench.harness.plan.grid import Shard, Victim
from eadbench.harness.plan.recipes import Planned, defense_of, needs_of, planned
from eadbench.harness.plan.target_rows import chosen_images, given_targets
from eadbench.harness.plan.tasks import VictimTask
from eadbench.harness.results.folder import Results
from eadbench.harness.results.records import Evaluation
from eadbench.harness.spec import Images, Spec
from eadbench.harness.spec.resolve import resolved_attack
from eadbench.models import Recipe, is_stored

__all__ = ["NextTasks", "VictimPlanner"]


@dataclass(frozen=True, kw_only=True)
class NextTasks:
    """Tasks that can run now, on all workers at once."""

    models: dict[str, VictimTask] = field(default_factory=dict)
    """By digest; the same holds for `shards`."""
    shards: dict[str, Shard] = field(default_factory=dict)
    """The shards that craft examples to train on."""

    def all(self) -> list[VictimTask | Shard]:
        """Return every task."""
        return [*self.models.values(), *self.shards.values()]


class VictimPlanner:
    """Plan how the victims of a spec are made, from what the results folder has.

    Parameters
    ----------
    victims
        The victims, if they are not those of the spec.

    Attributes
    ----------
    planned
        The victims.
    """

    def __init__(self, spec: Spec, data: DataSet, results: Results, victims: Sequence[Planned] | None = None) -> None:
        self._spec, self._data, self._results = spec, data, results
        self.planned = planned(spec, data) if victims is None else victims
        self._given = {each.recipe.digest: each for victim in self.planned for each in (*victim.members, victim)}
        self._targets: Mapping[int, Sequence[int]] = (
            given_targets(spec.target_file, getattr(data, spec.images.split), data.class_names)
            if spec.target_file
            else {}
        )
        self._chosen = chosen_images(spec.images.indices, getattr(data, spec.images.split))

    def victims(self) -> list[Victim]:
        """Return the victims with the images that the spec draws for each.

        A victim that has not been tested yet counts as one that classifies every image correctly.
        """
        wrong = [self._wrong(victim.recipe, self._spec.images.split) for victim in self.planned]
        if self._spec.images.correct_on == "all":
            wrong = [sorted({image for images in wrong for image in images})] * len(wrong)
        return [
            replace(
                self._victim(victim.recipe, self._spec, excluded=images, name=victim.name, attacked=victim.attacked),
                evaluated_on=victim.evaluated_on,
                detectors=victim.detectors,
            )
            for victim, images in zip(self.planned, wrong, strict=True)
        ]

    def others(self) -> dict[str, Sequence[str]]:
        """Return the victims on which the examples of each victim are tested, by digest."""
        return {victim.recipe.digest: victim.evaluated_on for victim in self.planned}

    def unmade(self) -> list[Recipe]:
        """Return the models that are not stored yet, each after those that it needs."""
        recipes: dict[str, Recipe] = {}

        def add(recipe: Recipe) -> None:
            if recipe.digest in recipes or is_stored(self._results.model(recipe.digest)):
                return
            for needed in needs_of(recipe).values():
                add(needed)
            recipes[recipe.digest] = recipe

        for victim in self.planned:
            add(victim.recipe)
        return list(recipes.values())

    def next_tasks(self) -> NextTasks:
        """Return the tasks that can run now; none once every victim is ready.

        Raises
        ------
        UserError
            A defence asks for examples of more images than the network that they are crafted on classifies correctly.
        """
        tasks = NextTasks()
        for victim in self.planned:
            self._plan(tasks, victim.recipe, self._spec.images.split)
        return tasks

    def _plan(self, tasks: NextTasks, recipe: Recipe, split: str | None) -> bool:
        """Add the tasks that can run now towards a model that is tested on a split. Return whether it is ready."""
        stored = is_stored(self._results.model(recipe.digest))
        if stored and (split is None or self._results.evaluation(recipe.digest, self._data.identity, split)):
            return True
        examples: list[Shard] = []
        if not stored and (recipe.training is not None or recipe.members is not None):
            crafting = None if recipe.training is None else defense_of(recipe).crafts()
            needs = needs_of(recipe)
            tested_on = {crafting.on: "train"} if crafting else {}
            ready = [self._plan(tasks, needed, tested_on.get(part)) for part, needed in needs.items()]
            if not all(ready):
                return False
            if crafting is not None:
                examples = self._crafting_shards(recipe, crafting, needs[crafting.on])
                done = self._results.done(with_images=True)
                if missing := {shard.digest: shard for shard in examples if shard.digest not in done}:
                    tasks.shards.update(missing)
                    return False
        splits = {split} if split is not None else set()
        if (other := tasks.models.get(recipe.digest)) is not None:
            splits |= {*other.tested_on}
        given = self._given.get(recipe.digest)
        tasks.models[recipe.digest] = VictimTask(
            recipe=recipe,
            weights=given.weights if given else None,
            strict=given.strict if given else True,
            tested_on=sorted(splits),
            examples=[shard.digest for shard in examples],
        )
        return False

    def crafting_specs(self) -> list[tuple[Recipe, Spec]]:
        """Return the models that are not stored and learn from adversarial examples, with the sweeps that craft them.

        Raises
        ------
        UserError
            One asks for more images than the train split has.
        """
        specs = []
        for recipe in self.unmade():
            crafting = None if recipe.training is None else defense_of(recipe).crafts()
            if crafting is None:
                continue
            if crafting.images > len(self._data.train):
                raise UserError(
                    f"victims: {recipe.defense['name']}.images: {crafting.images} asked for, but the train split has "
                    f"only {len(self._data.train)} images"
                )
            specs.append((recipe, self._crafting_spec(crafting)))
        return specs

    def _crafting_spec(self, crafting: Crafting) -> Spec:
        """Return the sweep that crafts the examples that a defence asks for."""
        return replace(
            self._spec,
            seed=crafting.seed,
            images=Images(count=crafting.images, split="train"),
            targets=["all"],
            attacks=[resolved_attack(entry, "attacks") for entry in crafting.attacks],
            save_images="successes",
        )

    def _crafting_shards(self, recipe: Recipe, crafting: Crafting, source: Recipe) -> list[Shard]:
        """Return the shards of the sweep that crafts the examples that a recipe is trained on."""
        spec = self._crafting_spec(crafting)
        victim = self._victim(source, spec, excluded=self._wrong(source, "train"))
        if len(victim.images) < crafting.images:
            raise UserError(
                f"victims: {recipe.defense['name']}.images: {crafting.images} asked for, but the {crafting.on} network "
                f"classifies only {counted(len(victim.images), 'image')} of the train split correctly"
            )
        return list(grid.shards(spec, self._data.identity, self._data.target_classes, [victim]))

    def _victim(
        self, recipe: Recipe, spec: Spec, *, excluded: Sequence[int], name: str | None = None, attacked: bool = True
    ) -> Victim:
        """Return what rows say of a model, and the images that a spec draws for it."""
        split = getattr(self._data, spec.images.split)
        evaluation = self._results.evaluation(recipe.digest, self._data.identity, spec.images.split)
        targets = self._targets if spec.target_file else None
        chosen = self._chosen if spec.images.indices is not None else None
        images = grid.drawn_images(spec, len(split), excluded, candidates=targets, chosen=chosen) if attacked else []
        return Victim(
            digest=recipe.digest,
            name=name,
            arch=recipe.arch,
            defense=recipe.defense["name"],
            defense_parameters=recipe.defense_parameters,
            training={} if recipe.training is None else asdict(recipe.training),
            siblings=_without_seed(recipe),
            trained_on=recipe.trained_on,
            accuracy=evaluation.accuracy if evaluation else None,
            images=images,
            labels=split.labels[images].tolist(),
            targets=[targets[image] for image in images] if targets else (),
            attacked=attacked,
            warnings=_suspicions(evaluation, recipe, self._data.name) if evaluation else (),
            examples=evaluation.examples if evaluation else (),
            held_out=evaluation.held_out if evaluation else {},
            figures=evaluation.figures if evaluation else {},
        )

    def _wrong(self, recipe: Recipe, split: str) -> Sequence[int]:
        """Return the images of a split that a model classifies wrongly; none for a model that is not tested yet."""
        evaluation = self._results.evaluation(recipe.digest, self._data.identity, split)
        return evaluation.wrong if evaluation else ()


def _without_seed(recipe: Recipe) -> str:
    """Return what a recipe shares with those that differ in the seed of their training alone."""
    if recipe.training is None:
        return ""
    return replace(recipe, training=replace(recipe.training, seed=0)).digest


def _suspicions(evaluation: Evaluation, recipe: Recipe, dataset: str) -> list[str]:
    """Return what is suspicious about a victim after its evaluation."""
    suspicions = list(evaluation.warnings)
    accuracy = f"its accuracy is {100 * evaluation.accuracy:.1f} %"
    usual = usual_accuracy(dataset)
    if evaluation.accuracy < usual and recipe.training is None:
        suspicions.insert(
            0,
            f"{accuracy}: if its weights are sound, it was trained on other inputs: check mean and std, the size and "
            "the channels of the images, and class_map",
        )
    elif evaluation.accuracy < usual:
        suspicions.insert(0, f"{accuracy}, below the usual {100 * usual:.0f} %: train it longer")
    if evaluation.nonfinite:
        share = f"its logits are not finite on {evaluation.nonfinite:,} of {evaluation.size:,} images"
        suspicions.insert(0, f"{share}, which count as misclassified; look for a division or a logarithm of 0")
    return suspicions
