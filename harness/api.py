"""Sweeps from a notebook or a script; the commands are thin over these functions.

::

    from eadbench import Results, plan, report, run

    results = run("sweeps/digits.yaml", executor="serial")
    results.table(case="average")          # a DataFrame: a line per attack, β, κ and decision rule
    report(results, "markdown")            # the same as text
    Results("results/digits").rows()       # a DataFrame: a row per example and decision rule

Errors are those of :mod:`eadbench.harness.errors`.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd
from rich.console import Console

from eadbench.harness import spec as specs
from eadbench.harness.concluding import Ended, Show, conclude, pay, write_page
from eadbench.harness.errors import UserError
from eadbench.harness.frames import Results
from eadbench.harness.reporting import report as reports
from eadbench.harness.results.folder import Results as ResultsFolder
from eadbench.harness.results.owner import PATIENCE, Owner
from eadbench.harness.spec import Spec
from eadbench.harness.storage import located, writable
from eadbench.harness.tracking.uri import default_tracking_uri

if TYPE_CHECKING:
    from eadbench.harness.execution.sweep import Plan

__all__ = [
    "Ended",
    "Executor",
    "Results",
    "leaderboard",
    "log",
    "plan",
    "report",
    "robust",
    "run",
    "sweep",
    "transfer",
    "write_page",
    "write_report",
]

Executor = Literal["ray", "serial"]
"""What runs shards: a Ray cluster, or this process."""
AnySpec = str | Path | Mapping[str, Any] | Spec
"""A spec's file, its content, or the resolved spec."""


def run(
    spec: AnySpec,
    *,
    results: str | Path | None = None,
    executor: Executor = "ray",
    address: str | None = None,
    models: str | Path | None = None,
    scale: str | None = None,
    overrides: Sequence[str] = (),
) -> Results:
    """Run what is left of a sweep, write its report, and tell MLflow.

    Parameters
    ----------
    spec
        A file, a mapping as YAML has it, or a resolved spec.
    results
        The folder or URI of the results; ``results/NAME`` unless given.
    executor, address
        "ray": on the cluster at `address`, or on one that is started here; "serial": in this process.
    models
        A store of trained models that sweeps share.
    scale, overrides
        As for :func:`eadbench.harness.spec.load`.

    Raises
    ------
    UserError
        The spec asks for what cannot be.
    EnvironmentFault
        The cluster, the storage or the machine failed; what is done stays.
    """
    ended = sweep(
        _spec(spec, overrides, scale),
        results=results,
        executor=executor,
        address=address,
        models=models,
        scale=scale,
        console=Console(stderr=True),
    )
    return ended.results


def plan(
    spec: AnySpec,
    *,
    results: str | Path | None = None,
    executor: Executor = "ray",
    address: str | None = None,
    models: str | Path | None = None,
    scale: str | None = None,
    overrides: Sequence[str] = (),
) -> "Plan":
    """Return what :func:`run` would do, and do none of it; refuse what it would refuse before any work.

    The parameters are those of :func:`run`.
    """
    from eadbench.harness.execution import sweep as sweeps
    from eadbench.harness.execution.choice import check_workers

    resolved = _spec(spec, overrides, scale)
    return sweeps.plan(
        resolved,
        _folder(resolved, results),
        models=_place(models),
        check_workers=partial(check_workers, resolved, executor, address),
    )


def report(results: Results | str | Path, format: Literal["csv", "markdown", "latex", "html"] = "markdown") -> str:
    """Return the tables of a sweep as text; for "html", write the whole report as one file and return its path."""
    opened = results if isinstance(results, Results) else Results(results)
    if format == "html":
        return str(write_report(opened))
    return reports.text(opened.summary, format)


def leaderboard(
    results: Sequence[Results | str | Path], *, norms: Sequence[str] = (), all_attacks: bool = False
) -> pd.DataFrame:
    """Rank the attacks of sweeps by optimality, as ``eadbench leaderboard`` does.

    Parameters
    ----------
    results
        One sweep or several; attacks on the same victim meet in one ranking.
    norms
        Of "l0", "l1", "l2" and "linf", those to rank in; those that the attacks minimise unless given.
    all_attacks
        Rank attacks that minimise another norm too.

    Returns
    -------
    DataFrame with a line per ranking (`ranked_by` is its norm), attack and victim, best first: local and global
    optimality (`lo`, `go`), `asr` in percent, mean `distance` of successes, each with the ends of its 95 % interval,
    and the means of `passes` and `seconds` of an example.

    Raises
    ------
    UserError
        There are no rows, or none to rank in these norms.
    """
    from eadbench.harness.analysis.leaderboard import boards
    from eadbench.harness.reporting.leaderboard import frame

    opened = [each if isinstance(each, Results) else Results(each) for each in results]
    return frame(boards([each.snapshot for each in opened], norms=norms, all_attacks=all_attacks))


def robust(
    results: Sequence[Results | str | Path], *, norm: str | None = None, epsilon: float | None = None
) -> pd.DataFrame:
    """Return robust accuracy at a fixed ε, as ``eadbench robust`` does.

    Parameters
    ----------
    results
        One sweep or several; attacks on the same victim meet in one worst case.
    norm, epsilon
        The norm and ε; by default, those of the sweeps' attacks at a fixed ε.

    Returns
    -------
    DataFrame with a line for each norm, ε, victim and attack, the worst case of all attacks last: robust accuracy over
    `all` images, where clean errors count as broken, and over `correct` ones, in percent, each with the ends of its
    95 % interval; `accuracy` without an attack; `images`; and `passes`, the mean of an image.

    Raises
    ------
    UserError
        There are no rows, or none that tell of this norm and ε.
    """
    from eadbench.harness.analysis.robust import robustness
    from eadbench.harness.reporting.robust import frame

    opened = [each if isinstance(each, Results) else Results(each) for each in results]
    return frame(robustness([each.snapshot for each in opened], norm=norm, epsilon=epsilon))


def sweep(
    spec: Spec,
    *,
    results: str | Path | None,
    executor: Executor,
    address: str | None,
    models: str | Path | None,
    scale: str | None,
    console: Console,
    price: float | None = None,
    show: Show | None = None,
) -> Ended:
    """Run what is left of a sweep as :func:`run` does; return what was done too, and what the workers cost."""
    from eadbench.harness.execution import sweep as sweeps
    from eadbench.harness.execution.choice import workers
    from eadbench.harness.execution.forecast import worker_price
    from eadbench.harness.execution.progress import Progress
    from eadbench.harness.execution.room import needs, this_machine

    folder = _folder(spec, results)
    hourly = None if price is None else worker_price(price, needs(spec.resources, [this_machine()])["GPU"])
    started, clock = datetime.now().astimezone(), time.perf_counter()
    with Progress(console, price=hourly) as progress, Owner(folder.root, progress.warn) as owner:
        make = workers(spec, executor, address)
        done = sweeps.run(spec, folder, make, progress, owner=owner, models=_place(models))
        ended = Results(folder, allow_code=True, spec=spec)  # its code ran in this process
        if not owner.held:  # nothing to do, and nothing can be written
            if show is not None:
                with progress.paused():
                    show(ended)
            return Ended(results=ended, done=done, warning="")
        owner.check()
        progress.meter.count(0)  # the workers have ended
        concluded = conclude(ended, done, started, time.perf_counter() - clock, scale, progress, show)
        return replace(concluded, forecast=progress.forecast, cost=progress.meter.cost)


def transfer(
    folder: str | Path,
    to: str | Path | Spec | None = None,
    victims: Sequence[str] = (),
    *,
    executor: Executor,
    address: str | None,
    models: str | Path | None,
    scale: str | None = None,
    overrides: Sequence[str] = (),
    console: Console,
    show: Show | None = None,
) -> Ended:
    """Test the stored images of a finished sweep on other victims.

    Parameters
    ----------
    to
        A spec with the victims, or a file of victims alone.
    victims
        Further victims: ``resnet50:weights.pth``, a recipe.json, or the folder of a stored model.
    """
    from eadbench.harness.execution import sweep as sweeps
    from eadbench.harness.execution.choice import workers
    from eadbench.harness.execution.progress import Progress
    from eadbench.harness.execution.tested_victims import spec_of_victims, stored_victims

    results = ResultsFolder(_located(folder))
    source = results.spec()
    spec = to if isinstance(to, Spec) else spec_of_victims(source, _place(to), victims, overrides, scale)
    stored = stored_victims(victims)
    if spec is source and not stored:
        raise UserError("give the victims to test on: --to SPEC, or --victim ARCHITECTURE:WEIGHTS")
    started, clock = datetime.now().astimezone(), time.perf_counter()
    with Progress(console) as progress, Owner(results.root, progress.warn) as owner:
        make = workers(spec, executor, address)
        target = None if spec is source else spec
        done = sweeps.transfer(target, results, make, progress, owner=owner, models=_place(models), stored=stored)
        owner.check()
        ended = Results(results, allow_code=True)
        return conclude(ended, done, started, time.perf_counter() - clock, scale, progress, show)


def log(folder: str | Path, *, allow_code: bool = False) -> Any:
    """Tell MLflow what it lacks of a sweep; return what was written for each invocation.

    Parameters
    ----------
    allow_code
        As for :class:`Results`.
    """
    from eadbench.harness.tracking import invocation

    results = Results(_located(folder), allow_code=allow_code)
    results.spec  # noqa: B018 - refuses a folder without results, or of another format
    pay(results, patience=PATIENCE)
    return invocation.log(results.snapshot.folder, default_tracking_uri(results.folder))


def write_report(results: Results) -> Path:
    """Write the report of a sweep as one HTML file, and the record that MLflow is owed; return where the report is."""
    pay(results, patience=0.0)
    return write_page(results)


def _spec(spec: AnySpec, overrides: Sequence[str], scale: str | None) -> Spec:
    if isinstance(spec, Spec):
        if overrides or scale:
            raise UserError("overrides and scale: need a spec as a file or a mapping, not a resolved one")
        return spec
    if isinstance(spec, Mapping):
        return specs.parse(spec, overrides, scale=scale)
    if not isinstance(spec, str | Path):
        raise UserError(f"spec: must be a file, a mapping or a resolved spec, got {type(spec).__name__}")
    return specs.load(_located(spec), overrides, scale=scale)


def _folder(spec: Spec, results: str | Path | None) -> ResultsFolder:
    if results is None:
        return ResultsFolder(Path("results") / spec.name)
    return ResultsFolder(writable(results) if isinstance(results, str) else results)


def _place(place: str | Path | None) -> Path | None:
    return None if place is None else _located(place)


def _located(place: str | Path) -> Path:
    return located(place) if isinstance(place, str) else place
