"""The spec as a user writes it: one model for each mapping of the YAML file, with its checks and defaults.

`eadbench schema` prints these models as JSON Schema. :mod:`eadbench.harness.spec.resolved` has the spec after
every name in it has been looked up.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ByteSize, ConfigDict, Field, field_validator

from eadbench.attacks.engine.ledger import LEAST_BUDGET
from eadbench.attacks.engine.precision import Precision
from eadbench.harness.spec.parameters import Right, Strict

__all__ = ["Accounting", "FileTargets", "Images", "RandomTargets", "Resources", "SpecFile", "Targets", "VictimFields"]


def _short(amount: object) -> object:
    """Refuse a long text of digits; pydantic fails to make a number of it."""
    if isinstance(amount, str) and len(amount) > 40:
        raise ValueError("too long")
    return amount


class _Documented(Strict):
    """Take the docstrings of attributes for the descriptions of fields.

    Pydantic looks for the source of such a class, which takes seconds for one that is made at run time.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)


class Images(_Documented):
    """The images that are attacked: the first `count` of a seeded order that are classified correctly."""

    count: Annotated[Annotated[int, Field(ge=1)] | Literal["all"] | None, Right("a number, at least 1, or all")] = None
    """How many images are attacked on each victim: the first in a seeded order that are classified correctly; `all` for
    every one of the split. It may be left out where `indices` or a file of `targets` choose them."""
    indices: Annotated[
        Annotated[list[int | str], Field(min_length=1)] | str | None,
        Right("a list of indices, or of the names of files, or a text file with one on each line"),
    ] = None
    """Chosen images, attacked in this order: their indices in the split or, in a data set of image files, the files'
    names; or a text file with one on each line. Those that are misclassified are left out, and counted."""
    split: Literal["test", "train"] = "test"
    """The split that they are drawn from."""
    correct_on: Literal["each", "all"] = "each"
    """Which victims must classify an image correctly: the attacked one (`each`, as in the paper), or every victim of
    the sweep (`all`), so that all of them attack the same images."""

    @property
    def limit(self) -> int | None:
        """The most images of each victim; None for all that may be attacked."""
        return None if self.count == "all" else self.count


class RandomTargets(_Documented):
    """A number of incorrect classes for each image, drawn from the spec's seed."""

    random: int = Field(ge=1)
    """How many."""


class FileTargets(_Documented):
    """The target classes of images, from a file. Other images are not attacked."""

    file: str = Field(min_length=1)
    """A CSV or Parquet file with the columns `image` and `target`, and a row for each target of an image. An image is
    given by its index in the split or, in a data set of image files, by its file's name; a target by the class's name
    or number."""
    rows: list[str] | None = Field(default=None, min_length=1)
    """The rows of the file. The spec in a results folder has them, so that the file is not needed again."""


Targets = Literal["all", "untargeted"] | RandomTargets | FileTargets
"""How the target classes of an image are chosen."""


class Normalise(_Documented):
    """The normalisation of a network's input."""

    mean: list[float] = Field(min_length=1)
    """The mean of each channel, for pixels in [0, 1]."""
    std: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    """The standard deviation of each channel."""


class VictimFields(_Documented):
    """A victim: trained by `training`, or given by a file of `weights`.

    A list for a parameter of its defence or its training, such as a temperature or a seed, makes a victim of each.
    """

    name: str | None = None
    """What `evaluated_on` and the tables call it."""
    ensemble: Annotated[
        Annotated[list[str | dict[str, Any]], Field(min_length=1)] | None,
        Right("a list of victims, by their names or as entries of their own"),
    ] = None
    """In place of an architecture: the members of an ensemble, whose probabilities are the mean of theirs. A name
    stands for all victims of its entry."""
    arch: Annotated[
        Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]+(:[A-Za-z0-9_.:/@~+ -]+)?$", max_length=400)] | None,
        Right("an architecture's name, or package.module:function"),
    ] = None
    """Needed unless it is an ensemble. The architecture: a name that `eadbench models` lists, a classification model of
    torchvision, a model of a hub (`timm:…`, `hf:…`, `robustbench:…`, `onnx:…`, `torchhub:…`), or an import path
    package.module:function."""
    parameters: dict[str, Any] = Field(default={})
    """Keyword parameters of the architecture."""
    defense: Annotated[
        str | dict[str, Any], Right("a defence's name, or {name: {parameter: value}} with its parameters")
    ] = "none"
    """How the victim is hardened: a name that `eadbench defenses` lists or an import path, alone or as
    {name: {parameter: value}}."""
    training: dict[str, Any] | None = None
    """How the weights are found, such as {epochs: 10}; left out for given weights. Any field may be a list, such as
    {seed: [0, 1, 2]}: a victim of each."""
    weights: str | None = None
    """A file of weights: safetensors, or a state dict as torch.save writes it. It may hold the state dict under a key
    such as `state_dict`, and its names may begin with `module.`."""
    strict: bool = True
    """Whether weights that the architecture lacks are refused; false ignores them."""
    outputs: Annotated[Literal["logits", "probabilities"], Right("logits or probabilities")] = "logits"
    """What the network returns. The logarithm of probabilities is taken, because attacks need logits."""
    normalise: Normalise | None = None
    """What is done to images before a network that does not do it itself: subtract a mean, divide by a standard
    deviation."""
    class_map: Annotated[
        list[int] | dict[str, int] | str | None,
        Right("a list of the network's classes, a mapping {class name: class of the network}, or a file of them"),
    ] = None
    """The network's class for each class of the data set, if the network has more: a list, a mapping by class name, or
    a file of one. In a text file, each line has a class name and a number, or a number alone."""
    network_classes: int | None = Field(default=None, ge=2)
    """Classes of the network, if `class_map` picks some; unless given, those of published weights."""
    detectors: Annotated[list[str | dict[str, Any]], Right("a list of detectors, by their names or as {name: …}")] = (
        Field(default=[])
    )
    """Tests that may reject its inputs: names that `eadbench detectors` lists or import paths, alone or as {name: …}
    with parameters. Each scores every example that the victim's attacks find, and its original; the report shows what
    it rejects. They change no row of an attack that does not know them (`adaptive`)."""
    attacked: bool = True
    """Whether it is attacked; false for a victim on which examples are only tested."""
    evaluated_on: Annotated[Literal["all"] | list[str], Right("all, or a list of names of victims")] = Field(default=[])
    """The other victims on which the examples crafted on this one are tested."""


class Accounting(_Documented):
    """Keys that every attack may have, beside its hyperparameters."""

    budget: int | None = Field(default=None, ge=LEAST_BUDGET)
    """The most passes of an example, forward and backward each counted; unless given, the sweep's `budget`."""
    best_queried: bool | None = None
    """Whether the nearest adversarial image that was queried is reported, instead of the one that the attack returns;
    unless given, the sweep's `best_queried`."""
    adaptive: Annotated[
        str | dict[str, Any] | None, Right("a detector of every attacked victim, by its name or as {name: …}")
    ] = None
    """With `ead`, `cw` or `cov`, and without a budget: a detector that the attack knows. Its loss f becomes
    f + `adaptive_weight` · max(score - threshold, 0), and a success fools the victim and is not rejected. The columns
    about 8 bits look at the victim alone. A bare name stands for the victims' detector of that name."""
    adaptive_weight: float | None = Field(default=None, gt=0)
    """The weight of the detector in an adaptive attack's loss; unless given, 1."""
    published: bool = False
    """On a budget: run `ead` or `cw` as published, cut where the budget ends, and not by the search made for a
    budget."""
    quantised: bool | None = None
    """Whether a rounding to 8 bits that succeeds is searched for where the nearest one fails; unless given, the sweep's
    `quantised`."""


class Resources(_Documented):
    """What the workers take. Rows do not depend on the number of workers."""

    workers: int | None = Field(default=None, ge=1)
    """The most workers; unless given, as many as the cluster has room for."""
    gpus: Annotated[float | None, Right("GPUs of a worker: a fraction such as 0.5, or 0, 1, 2 …")] = Field(
        default=None, ge=0
    )
    """GPUs of each worker; a fraction shares one. Unless given, 1 where the cluster has any, else 0."""
    cpus: float | None = Field(default=None, gt=0)
    """Cores of each worker; unless given, 1 beside a GPU, else as many as `threads`."""
    memory: Annotated[ByteSize | None, BeforeValidator(_short), Right("memory of a worker, such as 8GiB")] = Field(
        default=None, gt=0
    )
    """Memory of each worker, such as 8GiB; Ray places workers by it."""
    threads: int = Field(default=1, ge=1)
    """Torch's threads in a worker on CPU cores. The spec sets it because rounding depends on it."""
    timeout: float | None = Field(default=None, gt=0)
    """Seconds that a shard may take, or a training without progress, before its worker is replaced and the task counts
    one failure. Unless given, 20 times what the slowest shard of the same attack and victim took, and at least an hour;
    a day before one has ended. Only Ray's workers can be replaced."""

    @field_validator("gpus")
    @classmethod
    def _whole_beyond_one(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and not gpus.is_integer():
            raise ValueError("a worker's GPUs beyond one must be whole")
        return gpus


class SpecFile(_Documented):
    """One sweep."""

    name: Annotated[str, Right("letters, digits, '.', '_' and '-', at most 100 of them")] = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100
    )
    """The sweep's name, which names its results folder and its MLflow experiment."""
    seed: int = Field(default=0, ge=0)
    """The seed of the order of images and of random targets."""
    dataset: dict[str, Any]
    """The data set: {name: …} with its parameters; `eadbench datasets` lists names."""
    images: Images = Images()
    """The images that are attacked."""
    targets: Annotated[
        Targets | Annotated[list[Targets], Field(min_length=1)],
        Right("all, untargeted, {random: how many, at least 1}, {file: a CSV or Parquet file}, or a list of them"),
    ] = "all"
    """The target classes of each image: every incorrect class, some drawn at random, those that a file gives, or
    none. Of a list, such as `[untargeted, {random: 3}]`, the grid has cells of each, with the attacks that can run so.
    Beside a file, all of them attack the file's images."""
    evaluated: Annotated[Literal["both_correct", "all"], Right("both_correct or all")] = "both_correct"
    """Which images count in a transfer: those that both victims classify correctly, or all. On an image that the second
    victim gets wrong anyway, a success says nothing of the attack."""
    victims: list[VictimFields] = Field(min_length=1)
    """The models that are attacked, or that examples are tested on."""
    attacks: Annotated[
        Annotated[list[dict[str, Any]], Field(min_length=1)] | None, Right("a list of at least one attack")
    ] = None
    """The attacks: {name: …} with hyperparameters; `eadbench attacks` lists names. Any single value, such as
    beta, norm or steps, may be a list: an axis of the grid. `decision_rules` picks the iterates that are kept. They may
    be left out beside `evaluate`."""
    evaluate: Annotated[
        dict[str, Any] | Annotated[list[dict[str, Any]], Field(min_length=1)] | None,
        Right("a mapping such as {norm: linf, epsilon: 8/255, ensemble: standard}, or a list of them"),
    ] = None
    """Robust accuracy at a fixed ε: {norm: linf, epsilon: 8/255}, or a list of these. Short for the attack
    `autoattack` with the same hyperparameters, such as `ensemble: plus`, and for `targets: untargeted`."""
    budget: int | None = Field(default=None, ge=LEAST_BUDGET)
    """The most passes of an example, forward and backward each counted, of every attack without a `budget` of its own.
    Not counted are the float32 tests of what an attack returns. Attacks with a number of steps default to as many as
    the budget pays for."""
    best_queried: bool = False
    """Whether every attack reports the nearest adversarial image that it queried, instead of the one that it
    returns."""
    quantised: bool = False
    """Whether tables show the success after rounding to 8 bits too, with a search for a rounding that succeeds where
    the nearest one fails. The rows have the column `quantised` in any case, without the search."""
    save_images: Annotated[Literal["none", "successes"] | None, Right("none or successes")] = None
    """Which adversarial images are stored; unless given, `successes` if examples are tested on other victims."""
    shard_size: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto"], Right("a number of examples, at least 1, or auto")
    ] = "auto"
    """Examples in a shard: the unit of scheduling, retry and commit. With auto, 200, or fewer where an attack has under
    1,600 examples on a victim, so that several workers have work and an interrupted run loses little."""
    batch_size: Annotated[
        Annotated[int, Field(ge=1)] | Literal["auto"], Right("a number of examples, at least 1, or auto")
    ] = 128
    """Examples attacked at a time. With auto, each worker finds the fastest size: its rows then agree with those of
    other workers to rounding, not to the bit."""
    precision: Annotated[Precision, Right("float32, tf32 or bf16")] = "float32"
    """The precision of the gradients of a search. Every success is confirmed in float32, or counts as a failure."""
    confirmations: int = Field(default=20, ge=0, le=10_000)
    """How often each success on a random victim is tested again, on a fresh draw of its noise. The share that holds
    stands in the column `survival` and in the report."""
    resources: Resources = Resources()
    """What each worker takes of the machines."""
