"""An attack of another library, run as one of ours: on the same examples and victim, counted, and tested afterwards.

Shapes: N examples, G examples of one call of the library, C × H × W values of an image.
"""

import dataclasses
import inspect
import re
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from eadbench.attacks.adapters.matching import Matched, UnmatchedError
from eadbench.attacks.attack import BATCH_SIZE, Attack
from eadbench.attacks.distances import NORMS
from eadbench.attacks.engine.checks import check_choice, check_not_negative
from eadbench.attacks.engine.confirm import confirmed
from eadbench.attacks.engine.inputs import ULPS, Call, attacked
from eadbench.attacks.engine.ledger import Spent
from eadbench.attacks.result import AttackResult

__all__ = ["Peer", "PeerWarning", "norm_in", "peer_class"]

MARGINS = ("kappa", "confidence")
"""What libraries call the margin."""
MANY = 10**9
"""The bound of passes of an attack that does not tell one."""


class PeerWarning(UserWarning):
    """A library failed, or returned images that do not hold; their rows are failures."""


class Peer(Attack):
    """An attack of another library.

    The class of each attack has the attack's own hyperparameters, and these fields:

    Parameters
    ----------
    norm : "l0", "l1", "l2" or "linf"
        The norm by which its images are judged; handed on, if the attack takes one.
    kappa : float
        κ ≥ 0, the margin (in logits) of a success; handed on, if the attack takes one.
    targeted : bool
        Whether labels are classes to reach, or true classes to leave.
    """

    LIBRARY: ClassVar[str]
    NAME: ClassVar[str]
    MAKER: ClassVar[Callable[..., Any]]
    """The library's class or function."""
    OWN: ClassVar[tuple[str, ...]] = ()
    """The hyperparameters that the library takes."""

    norm: str
    kappa: float

    def __post_init__(self) -> None:
        check_choice("norm", self.norm, self.NORMS)
        check_not_negative("kappa", self.kappa)
        if self.targeted and not self.TARGETED:
            raise ValueError(f"{self.LIBRARY}'s {self.NAME} is untargeted only; set targeted to false")

    @property
    def most_passes(self) -> int:
        """A bound that no attack reaches: libraries do not tell theirs."""
        return MANY

    @property
    def options(self) -> dict[str, Any]:
        """The hyperparameters that the library is given."""
        return {name: getattr(self, name) for name in self.OWN}

    @abstractmethod
    def run(self, victim: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Call the library; return its images (G, C, H, W)."""

    def __call__(
        self, model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = BATCH_SIZE
    ) -> AttackResult:
        """Attack `images` (N, C, H, W) in [0, 1] with `labels` (N,), at most `batch_size` rows at a time.

        Examples that the library fails on are failed rows, with a PeerWarning of one line.
        """
        with attacked(model, images, labels, batch_size, targeted=self.targeted, kappa=self.kappa) as call:
            runs = Runs(self, call)
            for examples in groups(call.images, batch_size):
                runs.attack(examples)
            kept = confirmed(
                call.victim,
                call.images,
                call.labels,
                runs.claimed & runs.inside,
                runs.candidates,
                kappa=call.kappa,
                targeted=self.targeted,
                batch_size=batch_size,
            )
        changed = (runs.candidates != call.images).flatten(1).any(1) | ~runs.inside
        unconfirmed = runs.claimed & ~kept.success & changed
        if unconfirmed.any():
            outside = int((runs.claimed & ~runs.inside).sum())
            text = f"{int(unconfirmed.sum())} of {len(call.images)} images that it returned fail the test"
            self.warn(text + (f", {outside} of them outside of [0, 1]" if outside else ""))
        return AttackResult(
            kept={self.norm: dataclasses.replace(kept, unconfirmed=unconfirmed)},
            iterations=runs.backwards,
            forward_passes=runs.forwards + 1,
            computed=int(runs.backwards.sum()),
        )

    def warn(self, text: str) -> None:
        """Warn in one line."""
        warnings.warn(f"{self.LIBRARY}'s {self.NAME}: {' '.join(text.split())}", PeerWarning, stacklevel=3)


class Runs:
    """The calls of a library, and what it returned for each example."""

    def __init__(self, peer: Peer, call: Call) -> None:
        self.peer, self.call = peer, call
        self.candidates = call.images.clone()
        self.claimed, self.inside = (torch.zeros_like(call.labels, dtype=torch.bool) for _ in range(2))
        self.forwards, self.backwards = torch.zeros_like(call.labels), torch.zeros_like(call.labels)

    def attack(self, examples: Tensor) -> None:
        """Call the library on examples (G,); if its rows cannot be matched to them, on one at a time."""
        victim = Matched(self.call, examples)
        ledger = self.call.ledger
        if ledger is not None:
            ledger.one_by_one = len(examples) == 1
        try:
            with warnings.catch_warnings(), torch.enable_grad():
                warnings.simplefilter("ignore")
                images = self.peer.run(victim, self.call.images[examples].clone(), self.call.labels[examples].clone())
            self.keep(examples, images)
        except UnmatchedError:
            self.call.forget(examples)
            for one in torch.split(examples, 1):
                self.attack(one)
            return
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # a library may raise anything, or wrap what the victim raises
            if not is_spent(error):
                self.peer.warn(f"failed on {len(examples)} examples: {type(error).__name__}: {error}")
            if ledger is not None:
                self.candidates[examples] = ledger.nearest[examples, 0]
                self.claimed[examples] = self.inside[examples] = ledger.least[examples, 0].isfinite()
        self.forwards[examples] += victim.forwards
        self.backwards[examples] += victim.backwards

    def keep(self, examples: Tensor, images: Any) -> None:
        """Keep the images that the library returned.

        Raises
        ------
        TypeError
            They are not one image for each example.
        """
        images = torch.as_tensor(images).detach().to(self.candidates)
        if images.shape != self.candidates[examples].shape:
            raise TypeError(f"it returned images of shape {tuple(images.shape)} for {len(examples)} examples")
        values = images.flatten(1)
        self.claimed[examples] = True
        inside = ((values >= -ULPS) & (values <= 1 + ULPS)).all(1)
        self.inside[examples] = inside
        self.candidates[examples] = torch.where(
            inside[:, None, None, None], images.clamp(0, 1), self.candidates[examples]
        )


def is_spent(error: BaseException | None) -> bool:
    """Return whether the budget was spent: the error, or what caused it, says so."""
    while error is not None:
        if isinstance(error, Spent):
            return True
        error = error.__cause__ or error.__context__
    return False


def groups(images: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Yield the examples (G,) of each call: at most `batch_size`, whose images all differ."""
    if not len(images):
        return
    _, same = torch.unique(images.flatten(1), dim=0, return_inverse=True)
    earlier = (same[:, None] == same).tril(-1).sum(1)
    for count in range(int(earlier.max()) + 1):
        yield from (earlier == count).nonzero().squeeze(1).split(batch_size)


def norm_in(name: str) -> str | None:
    """Return the norm that an attack's name tells: "l1" for L1FMNAttack and EADL1."""
    if re.search(r"ead|elastic", name, re.IGNORECASE) and not re.search(r"L2", name):
        return "l1"
    match = re.search(r"l(inf|[012])(?![0-9])", name, re.IGNORECASE)
    return f"l{match[1].lower()}" if match else None


def peer_class(
    base: type[Any],
    name: str,
    maker: Callable[..., Any],
    *,
    leave_out: Sequence[str],
    norms: Sequence[str],
    targeted: bool = True,
) -> type[Peer]:
    """Return the dataclass of a library's attack; its fields are the parameters of `maker`, with their defaults.

    Parameters
    ----------
    leave_out
        Parameters that are no hyperparameters, such as the model.
    norms
        The norms that it minimises, the usual one first.
    """
    own: list[Any] = []
    for parameter in inspect.signature(maker).parameters.values():
        kinds = (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        skipped = parameter.name in (*leave_out, "norm", "targeted", *MARGINS) or parameter.kind not in kinds
        if not skipped and (parameter.default is None or isinstance(parameter.default, bool | int | float | str)):
            own.append((parameter.name, annotation_of(parameter.default), dataclasses.field(default=parameter.default)))
    fields = [
        *own,
        ("norm", str, dataclasses.field(default=norms[0])),
        ("kappa", float, dataclasses.field(default=0.0)),
        ("targeted", bool, dataclasses.field(default=targeted)),
    ]
    members: dict[str, Any] = {
        "__doc__": (inspect.getdoc(maker) or name).split("\n", 1)[0],
        "LABEL": f"{base.LIBRARY} {name}",
        "NAME": name,
        "MAKER": staticmethod(maker),
        "OWN": tuple(field for field, *_ in own),
        "AXES": ("norm", "kappa") if len(norms) > 1 else ("kappa",),
        "NORMS": tuple(norms),
        "TOLERANCE": torch.inf,
        "TARGETED": targeted,
    }
    made: Any = dataclasses.make_dataclass(name, fields, bases=(base,), frozen=True, kw_only=True, namespace=members)
    return made  # type: ignore[no-any-return]


def annotation_of(default: Any) -> Any:
    """Return the type of a hyperparameter with that default; a whole number may stand for any number."""
    if isinstance(default, bool):
        return bool
    if default is None:
        return Any
    return int | float if isinstance(default, int | float) else str


def takes(maker: Callable[..., Any], parameter: str) -> bool:
    """Return whether a function has a parameter."""
    return parameter in inspect.signature(maker).parameters


def all_norms() -> tuple[str, ...]:
    """The norms of an attack whose name tells none; L2 is the usual one."""
    return ("l2", *(norm for norm in NORMS if norm != "l2"))
