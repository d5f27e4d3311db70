"""Leaderboards: attacks ranked by optimality, from the rows of one or several sweeps.

A board ranks the attacks of one data set, in one norm, at one margin κ, targeted or not. Its lower envelope is over all
attacks there, those too that minimise another norm. On each victim, the examples count that all ranked attacks have.

Shape letters:
    A  ranked attacks
    E  examples of a victim that count: (image, target class)
    V  victims
    S  shares of a budget: 1/32, 1/16 … 1
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from eadbench.harness.analysis.attack_rows import EXAMPLE, NORMS, WITHIN, AttackRows
from eadbench.harness.analysis.intervals import rate_interval, ratio_interval
from eadbench.harness.analysis.optimality import Optimality, VictimDistances, envelope, local_optimality, optimality
from eadbench.harness.analysis.summary import AT_ONCE
from eadbench.harness.errors import UserError
from eadbench.harness.labels import dataset_label, norm_label
from eadbench.harness.numbers import parameter_text
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["NORMS", "Board", "OnVictim", "boards", "compared"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class OnVictim(VictimDistances):
    """The ranked attacks on one victim."""

    digest: str
    name: str
    cells: Sequence[str | None]
    """(A)"""
    passes: Floats
    """(A, E): forward and backward passes; NaN for an attack that was not run."""
    seconds: Floats
    """(A, E)"""
    traces: Floats
    """(S, A, E): the distances within each share of an attack's budget; NaN without a budget, or if the attack
    minimises another distance."""
    left_out: int
    """Examples that some attack has no row of."""

    def within_budget(self, attack: int) -> Floats:
        """Return the local optimality (S,) within each share of an attack's budget; NaN without one."""
        trace = self.traces[:, attack]
        return np.where(np.isnan(trace).all(axis=-1), np.nan, local_optimality(trace, self.best))


@dataclass(frozen=True, kw_only=True, eq=False)
class Board:
    """A ranking of attacks."""

    norm: str
    dataset: str
    split: str
    targeted: bool
    kappa: float
    attacks: pd.DataFrame
    """(A): `label`, and the settings of each attack."""
    victims: Sequence[OnVictim]
    """In the order of the sweeps."""

    @property
    def title(self) -> str:
        """What the board is about: ``MNIST, L1, targeted, κ = 40``."""
        margin = [f"κ = {parameter_text(self.kappa)}"] if self.kappa else []
        mode = "targeted" if self.targeted else "untargeted"
        return ", ".join([dataset_label(self.dataset), norm_label(self.norm), mode, *margin])

    @cached_property
    def scores(self) -> Optimality:
        """The optimality of the attacks."""
        return optimality(self.victims)

    @cached_property
    def lines(self) -> pd.DataFrame:
        """A line per attack, best first.

        Columns: `rank`; `label` and the settings; `go` with the ends `go_lo` and `go_hi` of its 95 % interval; for each
        victim `lo_DIGEST`, likewise; `asr` in percent and `distance`, the mean over successes, with their intervals;
        `passes` and `seconds`, the means of an example; and `images`. An attack that was not run on every victim has no
        global optimality and rank 0, and stands last. The index is the attack's position in :attr:`attacks`.
        """
        scores = self.scores
        figures = {"go": (scores.overall, *scores.overall_interval)}
        for at, victim in enumerate(self.victims):
            figures[f"lo_{victim.digest}"] = (scores.local[:, at], *scores.local_interval[:, :, at])
        columns = {
            name + end: values
            for name, each in figures.items()
            for end, values in zip(("", "_lo", "_hi"), each, strict=True)
        }
        others = pd.DataFrame([self._other_figures(at) for at in range(len(self.attacks))])
        lines = pd.concat([self.attacks.reset_index(drop=True), pd.DataFrame(columns), others], axis=1)
        lines.insert(0, "rank", scores.rank)
        return lines.sort_values("go", ascending=False, na_position="last", kind="stable")

    def _other_figures(self, attack: int) -> dict[str, float]:
        """Return the figures of an attack that are no optimality, over all examples of all victims."""
        run = [victim for victim in self.victims if not np.isnan(victim.distances[attack]).all()]
        distances, passes, seconds = (
            np.concatenate([getattr(victim, name)[attack] for victim in run])
            for name in ("distances", "passes", "seconds")
        )
        _, image = np.unique(np.concatenate([victim.images for victim in run]), return_inverse=True)
        success = np.isfinite(distances)
        trials, successes, sums = (
            np.bincount(image, weights=each).astype(np.float64)
            for each in (np.ones(len(image)), success, np.where(success, distances, 0.0))
        )
        low, high = 100.0 * rate_interval(successes, trials)
        least, most = ratio_interval(sums, successes)
        return {
            "asr": 100.0 * float(success.mean()),
            "asr_lo": float(low),
            "asr_hi": float(high),
            "distance": float(distances[success].mean()) if success.any() else np.nan,
            "distance_lo": float(least),
            "distance_hi": float(most),
            "passes": float(passes.mean()),
            "seconds": float(seconds.mean()),
            "images": len(trials),
        }


def boards(snapshots: Sequence[Snapshot], *, norms: Sequence[str] = (), all_attacks: bool = False) -> list[Board]:
    """Return the boards of sweeps.

    Parameters
    ----------
    snapshots
        Sweeps; attacks of several sweeps on the same victim meet in one board.
    norms
        The norms to rank in; those that the attacks minimise unless given.
    all_attacks
        Rank attacks that minimise another norm too. Attacks whose norm is not known are always ranked.

    Raises
    ------
    UserError
        The sweeps have no rows, no attack minimises one of the norms, or attacks share no example of a victim.
    """
    pool = AttackRows.of(snapshots)
    wanted = list(norms) or [norm for norm in NORMS if any(norm in each for each in pool.attacks["norms"])]
    found = []
    for key, attacks in pool.groups():
        for norm in wanted:
            ranked = attacks[[all_attacks or not each or norm in each for each in attacks["norms"]]]
            if len(ranked):
                victims = [*_victims(pool, attacks.index, ranked, norm)]
                found.append(Board(norm=norm, attacks=ranked, victims=victims, **key))
    if not found:
        raise UserError(
            f"norm: no attack of the sweeps minimises {' or '.join(map(norm_label, wanted)) or 'a norm'}; "
            "rank every attack by --all-attacks"
        )
    return found


def compared(snapshot: Snapshot) -> list[Board]:
    """Return the boards of one sweep that have an attack to compare with.

    There are none while attacks share no example, and in sweeps of more than ``AT_ONCE`` rows.
    """
    if snapshot.stored_rows.lines["rows"].sum() > AT_ONCE:
        return []
    with suppress(UserError):
        return [board for board in boards([snapshot]) if len(board.attacks) > 1]
    return []


def _victims(pool: AttackRows, attacks: pd.Index, ranked: pd.DataFrame, norm: str) -> Iterator[OnVictim]:
    """Yield the victims of a board, whose envelope is over `attacks`."""
    rows = pool.rows[pool.rows["attack"].isin(attacks)]
    for digest, name in pool.victims.items():
        on_victim = rows[rows["victim"] == digest]
        run = ranked.index[ranked.index.isin(on_victim["attack"])]
        if not len(run):
            continue
        tables: Mapping[str, pd.DataFrame] = {
            column: on_victim.pivot(index=EXAMPLE, columns="attack", values=column)
            for column in (norm, "passes", "seconds", *WITHIN)
        }
        counted = tables[norm][run].notna().all(axis=1).to_numpy()
        if not counted.any():
            counts = tables[norm][run].count().to_numpy()
            fewest = ranked.loc[run, "label"].tolist()[counts.argmin()]
            raise UserError(f"{name}: no example has rows of every attack; {fewest} has the fewest, {counts.min()}")
        traced = np.array([norms == (norm,) for norms in ranked["norms"]])
        distances, passes, seconds, *traces = (
            table.reindex(columns=ranked.index)[counted].to_numpy(dtype=np.float64).T for table in tables.values()
        )
        yield OnVictim(
            digest=digest,
            name=name,
            cells=[pool.cells.get((attack, digest)) for attack in ranked.index],
            distances=distances,
            best=envelope(tables[norm][counted].to_numpy(dtype=np.float64).T),
            images=tables[norm].index.get_level_values("image")[counted].to_numpy(dtype=np.int64),
            passes=passes,
            seconds=seconds,
            traces=np.where(traced[:, None], np.stack(traces), np.nan),
            left_out=int((~counted).sum()),
        )
