"""Tables of the rows that `benchmarks/optimality.py` has written."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.contenders import counterparts
from eadbench.harness.analysis.optimality import Optimality, VictimDistances, envelope, local_optimality, optimality
from eadbench.harness.numbers import figure_text

__all__ = ["PEER", "TITLES", "Group", "groups", "markdown"]

Floats = NDArray[np.float64]
GROUP = ["norm", "budget", "targeted"]
TITLES = {"l0": "L0", "l1": "L1", "l2": "L2", "linf": "L∞"}
PEER = "adv-lib "
HEAD = """# Leaderboard: attacks at a budget of passes

Made by `benchmarks/optimality.py`, which attacks each image alone through `attackbenchlib` 2.0.2: its count of passes
(forward and backward, on each example), its budget, and the least distance among all queried images that are
adversarial. Peers are adv-lib 0.2.8 at attackbenchlib's settings. Its clamp is replaced by a straight-through one, as
torch 2.15 gives `clamp` a gradient of 0 at its bounds; torch here: {torch}. GO is global optimality, the mean of local
optimality, LO, over victims; [results.md](results.md#leaderboards) defines them. Both were computed by eadbench, and
equal attackbenchlib's to 1e-6. In brackets: 95 % intervals over images. Attacks of one rank (#) cannot be told apart.

Victims, all on MNIST: `undefended`, the C&W network (`cw_mnist`, 3 epochs, batches of 128, learning rate 2e-3,
onecycle, seed 0; accuracy 99.3 %); `ddn` and `trades`, the robust SmallCNNs that
[sigma-zero](https://github.com/sigma0-advx/sigma-zero) publishes. Images are those of the test split from index 1,000
on. A table counts the images that all its attacks have run on. attackbenchlib seeds torch with 42 before each image.
Settings of EAD within the budget were chosen on training images and on other networks. Seconds are those of one busy
core, and not comparable. With as few images as here, LO is coarse: a distance counts at most as the greatest of the
least ones, so the image that this is of counts for no attack.

```
python benchmarks/optimality.py run --victim undefended=results/NAME/models/RECIPE --victim ddn=ddn.pth \\
    --victim trades=trades.pth --data mnist --place ROOT --budget 500 2000
python benchmarks/optimality.py table optimality.jsonl > docs/leaderboard.md
python benchmarks/optimality.py picture optimality.jsonl --to docs/images/optimality.png
```

![The global optimality of each attack, by norm and budget](images/optimality.png)
"""


class Group(NamedTuple):
    """The rows of one norm and budget, on the images that every attack has."""

    norm: str
    budget: int
    targeted: bool
    rows: pd.DataFrame
    attacks: list[str]
    victims: list[str]

    def of(self, victim: str, column: str) -> pd.DataFrame:
        """Return a column of a victim: attacks by images."""
        rows = self.rows[self.rows["victim"] == victim]
        return rows.pivot(index="attack", columns="image", values=column).reindex(self.attacks).astype(float)

    def scores(self, attacks: Sequence[str]) -> Optimality:
        """Score some of the attacks against the envelope of them all."""
        victims = []
        for victim in self.victims:
            distances = self.of(victim, "distance").loc[list(attacks)]
            values = distances.to_numpy()
            victims.append(
                VictimDistances(distances=values, best=envelope(values), images=distances.columns.to_numpy())
            )
            _check(values)
        return optimality(victims)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Return a page with the tables of all norms and budgets, as Markdown."""
    parts = [HEAD.format(torch=" and ".join(sorted({row["torch"] for row in rows})))]
    for group in groups(rows):
        images = ", ".join(f"{group.of(victim, 'distance').shape[1]} on {victim}" for victim in group.victims)
        errors = group.rows.loc[group.rows["error"] != "", "attack"].value_counts()
        errors = "".join(f" {name} raised an error on {count}." for name, count in errors.items())
        mode, title = "targeted" if group.targeted else "untargeted", TITLES[group.norm]
        parts.append(f"## {title}, {group.budget:,} passes, {mode}\n\nImages: {images}.{errors}\n")
        parts += [_table(*_leaderboard(group, title)), _table(*_alone(group)), _table(*_same(group))]
    return "\n".join(part for part in parts if part)


def groups(rows: Sequence[dict[str, Any]]) -> Iterator[Group]:
    """Yield the rows of each norm, budget and mode, on the images of each victim that every attack has."""
    frame = pd.DataFrame(rows).drop_duplicates(["victim", *GROUP, "attack", "image"])
    for (norm, budget, targeted), part in frame.groupby(GROUP, sort=True):
        attacks = part["attack"].unique().tolist()
        count = part.groupby(["victim", "image"])["attack"].transform("nunique")
        shared = part.assign(distance=part[norm])[count == len(attacks)]
        if len(shared):
            yield Group(norm, budget, targeted, shared, attacks, shared["victim"].unique().tolist())


def _leaderboard(group: Group, norm: str) -> tuple[str, list[str], Iterator[list[str]]]:
    """Return the lines of all attacks against the envelope of all, best first."""
    scores = group.scores(group.attacks)
    heads = ["#", "attack", "GO", *(f"LO {name}" for name in group.victims), "ASR, %", f"mean {norm}", "passes", "s"]

    def lines() -> Iterator[list[str]]:
        rows = group.rows.assign(passes=group.rows["forwards"] + group.rows["backwards"])
        for at in np.argsort(-scores.overall, kind="stable"):
            own = rows[rows["attack"] == group.attacks[at]]
            broken = own[np.isfinite(own["distance"])]
            low, high = scores.overall_interval[:, at]
            yield [
                str(scores.rank[at]),
                group.attacks[at],
                f"{scores.overall[at]:.3f}" + ("" if np.isnan(low) else f" [{low:.3f}, {high:.3f}]"),
                *(f"{value:.3f}" for value in scores.local[at]),
                f"{100 * len(broken) / len(own):.1f}",
                " / ".join(figure_text(broken[broken["victim"] == name]["distance"].mean()) for name in group.victims),
                f"{own['passes'].mean():,.0f}",
                f"{own['seconds'].mean():.2f}",
            ]

    return "Every attack, against the least distance of all of them:", heads, lines()


def _alone(group: Group) -> tuple[str, list[str], Iterator[list[str]]]:
    """Return a line for each of our attacks alone beside adv-lib's: both against the envelope of these."""
    peers = [name for name in group.attacks if name.startswith(PEER)]

    def lines() -> Iterator[list[str]]:
        for name in group.attacks:
            if name not in peers:
                ours, *theirs = group.scores([name, *peers]).overall
                best = int(np.argmax(theirs))
                yield [name, f"{ours:.3f}", f"{peers[best]} {theirs[best]:.3f}", f"{ours - theirs[best]:+.3f}"]

    return (
        "Each of ours alone beside adv-lib's, against the least distance of these:",
        ["attack", "GO", "best of adv-lib", "difference"],
        lines() if peers else iter(()),
    )


def _same(group: Group) -> tuple[str, list[str], Iterator[list[str]]]:
    """Return a line for each re-implementation and victim: ASR, and the mean distance on the images that both break."""

    def lines() -> Iterator[list[str]]:
        for name, peer in counterparts(group.attacks):
            for victim in group.victims:
                distances, seconds = (group.of(victim, column) for column in ("distance", "seconds"))
                ours, theirs = distances.loc[name], distances.loc[peer]
                both = np.isfinite(ours) & np.isfinite(theirs)
                rates = (f"{100 * np.isfinite(each).mean():.1f}" for each in (ours, theirs))
                change = 100 * (ours[both].mean() / theirs[both].mean() - 1)
                ratio = seconds.loc[name].mean() / seconds.loc[peer].mean()
                yield [name, victim, *rates, f"{change:+.2f} %", f"{ratio:.2f}"]

    heads = ["attack", "victim", "ASR", "ASR of adv-lib's", "mean distance, ours to theirs", "seconds, ours to theirs"]
    return "Our re-implementations beside adv-lib's:", heads, lines()


def _table(caption: str, heads: list[str], lines: Iterator[list[str]]) -> str:
    """Return a table; empty without lines."""
    texts = [f"| {' | '.join(line)} |\n" for line in lines]
    rule = f"| {' | '.join([':--', *['--:'] * (len(heads) - 1)])} |\n"
    return f"{caption}\n\n| {' | '.join(heads)} |\n{rule}{''.join(texts)}" if texts else ""


def _check(distances: Floats) -> None:
    """Refuse an optimality that differs from attackbenchlib's by more than 1e-6, where that is installed."""
    best, judge = envelope(distances), _judge()
    if judge is None:
        return
    theirs = np.array([judge(each, best) for each in distances])
    if not np.allclose(local_optimality(distances, best), theirs, rtol=0.0, atol=1e-6, equal_nan=True):
        raise RuntimeError("local optimality differs from attackbenchlib's")


def _judge() -> Callable[[Floats, Floats], float] | None:
    with contextlib.suppress(ModuleNotFoundError):
        from benchmarks import counted  # noqa: F401 - stands in for wandb

        from attackbench.metrics.distances import eval_optimality  # isort: skip

        judge: Callable[[Floats, Floats], float] = eval_optimality
        return judge
    return None
