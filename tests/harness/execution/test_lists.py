"""Any single value of an attack, a defence or a training may be a list, in the order of the spec."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from eadbench.dashboards import page
from eadbench.harness import spec
from eadbench.harness.analysis.seeds import over_seeds
from eadbench.harness.datasets import load
from eadbench.harness.errors import UserError
from eadbench.harness.frames import Results
from eadbench.harness.labels import Labels
from eadbench.harness.plan import grid
from eadbench.harness.plan.recipes import planned
from eadbench.harness.reporting import report
from tests.command import eadbench
from tests.sweeps import run, small

TRAINING = {"epochs": 2, "batch_size": 32, "learning_rate": 3e-3}


def attacked(**parameters: Any) -> spec.Spec:
    return small(attacks=[{"name": "ead", "beta": [1e-3, 1e-2], **parameters}])


def test_an_attack_s_lists_are_axes_in_their_order() -> None:
    """Each combination is the cell that a spec with single values has."""
    several = grid.settings(attacked(max_iterations=[100, 20], abort_early=[True, False]))
    alone = [
        grid.settings(attacked(max_iterations=number, abort_early=abort))[0]
        for number in (100, 20)
        for abort in (True, False)
    ]
    assert several == alone
    again = spec.parse(spec.written(attacked(max_iterations=[100, 20])))
    assert again == attacked(max_iterations=[100, 20])


def test_a_list_of_one_value_is_that_value() -> None:
    assert grid.settings(attacked(max_iterations=[20])) == grid.settings(attacked(max_iterations=20))


def test_a_parameter_that_is_a_list_stays_one() -> None:
    sweep = small(attacks=[{"name": "fgm", "norm": "l2", "epsilons": [0.1, 0.2]}])
    assert [setting.parameters["epsilons"] for setting in grid.settings(sweep)] == [[0.1, 0.2]]


@pytest.mark.parametrize(
    ("victim", "names"),
    [
        ({"training": {**TRAINING, "seed": [0, 2, 1]}}, ["net, seed 0", "net, seed 2", "net, seed 1"]),
        (
            {"training": TRAINING, "defense": {"pgd_training": {"epsilon": 0.3, "steps": [7, 3]}}},
            ["net, steps 7", "net, steps 3"],
        ),
        (
            {"training": {**TRAINING, "seed": [0, 1]}, "defense": {"distillation": {"temperature": [10, 100]}}},
            [f"net, temperature {t}, seed {seed}" for t in (10, 100) for seed in (0, 1)],
        ),
    ],
)
def test_a_victim_s_lists_make_victims(victim: dict[str, Any], names: list[str]) -> None:
    sweep = small(victims=[{"arch": "digits", "name": "net", **victim}])
    victims = planned(sweep, load("digits"))
    assert [each.name for each in victims] == names
    assert spec.parse(spec.written(sweep)) == sweep
    last = victim["training"] | ({"seed": victim["training"]["seed"][-1]} if "seed" in victim["training"] else {})
    defense = {
        name: {key: value[-1] if isinstance(value, list) else value for key, value in parameters.items()}
        for name, parameters in victim.get("defense", {"none": {}}).items()
    }
    alone = planned(small(victims=[{"arch": "digits", "training": last, "defense": defense}]), load("digits"))
    assert victims[-1].recipe == alone[0].recipe


@pytest.mark.parametrize(
    ("norm", "names", "recipes"),
    [
        ({}, ["net"], [{}]),
        ({"norm": ["linf"]}, ["net"], [{}]),
        ({"norm": ["l2", "linf"]}, ["net, norm l2", "net, norm linf"], [{"norm": "l2"}, {}]),
    ],
)
def test_recipes_leave_out_what_earlier_versions_lacked(
    norm: dict[str, Any], names: list[str], recipes: list[dict[str, Any]]
) -> None:
    """TRADES had no norm: a recipe without it keeps its digest."""
    defense = {"trades": {"epsilon": 0.3, **norm}}
    sweep = small(victims=[{"arch": "digits", "name": "net", "training": TRAINING, "defense": defense}])
    victims = planned(sweep, load("digits"))
    earlier = {"name": "trades", "epsilon": 0.3, "steps": 10, "step_size": None, "beta": 6.0}
    assert [each.name for each in victims] == names
    assert [each.recipe.defense for each in victims] == [{**earlier, **recipe} for recipe in recipes]
    assert spec.parse(spec.written(sweep)) == sweep


def test_transfer_to_a_name_is_to_all_its_victims() -> None:
    net = {"arch": "digits", "name": "net", "training": {**TRAINING, "seed": [0, 1]}, "attacked": False}
    source = {"arch": "digits", "training": {**TRAINING, "seed": 5}, "evaluated_on": ["net"]}
    victims = planned(small(victims=[source, net]), load("digits"))
    assert list(victims[0].evaluated_on) == [victim.recipe.digest for victim in victims[1:]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attacks": [{"name": "ead", "max_iterations": []}]}, r"attacks\[0\].max_iterations: must not be empty"),
        ({"attacks": [{"name": "ead", "max_iterations": [5, 5]}]}, "max_iterations: has the value 5 twice; leave out"),
        ({"attacks": [{"name": "ead", "max_iterations": [5, 0]}]}, "max_iterations must be at least 1, got 0"),
        (
            {"attacks": [{"name": "ead", "max_iterations": [5, 7]}, {"name": "ead", "max_iterations": 7}]},
            r"attacks\[1\]: has a cell of attacks\[0\] again; leave out one of them",
        ),
        (
            {"victims": [{"arch": "digits", "training": {"epochs": [2, 0]}}]},
            r"victims\[0\].training.epochs must be at least 1, got 0",
        ),
        (
            {"victims": [{"arch": "digits", "training": {"epochs": 2, "optimizer": ["sgd", "adm"]}}]},
            r"victims\[0\].training.optimizer\[1\]: must be 'adam' or 'sgd'; got 'adm'",
        ),
    ],
)
def test_mistakes(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        small(**changes)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lists") / "small"
    sweep = small(
        victims=[{"arch": "digits", "training": {**TRAINING, "seed": [2, 0, 1]}}],
        attacks=[{"name": "ifgm", "norm": "l2", "steps": [6, 3], "epsilons": [0.5, 1, 2]}],
        targets={"random": 2},
    )
    run(sweep, folder)
    return folder


def test_columns_appear_when_they_vary(done: Path) -> None:
    summary = Results(done).summary
    table = pd.read_csv(io.StringIO(report.text(summary, "csv")))
    assert table["training.seed"].drop_duplicates().tolist() == [2, 0, 1]
    assert table["steps"].drop_duplicates().tolist() == [6, 3]
    assert [json.loads(text)["steps"] for text in table["parameters"]] == table["steps"].tolist()
    assert "| attack | steps | κ |" in report.text(summary, "markdown")
    assert r"Attack & steps & $\kappa$ &" in report.text(summary, "latex")
    labels = list(Labels.of_victims(summary.victims).victim.values())
    assert labels == [f"digits, no defence, seed {seed}" for seed in (2, 0, 1)]


def test_mean_and_interval_over_seeds(done: Path) -> None:
    """Against SciPy's interval of a mean, on the figures of the single victims."""
    summary = Results(done).summary
    lines = over_seeds(summary.lines, summary.victims)
    assert len(lines) == 2 * 3 and set(lines["seeds"]) == {3}
    for line in lines.to_dict("records"):
        single = summary.own[(summary.own["series"] == line["series"]) & (summary.own["case"] == line["case"])]
        for figure, most in (("asr", 100.0), ("l2", np.inf)):
            values = single[figure].to_numpy()
            if np.isnan(values).any() or np.ptp(values) == 0:
                continue
            low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
            ours = [line[figure], line[f"{figure}_lo"], line[f"{figure}_hi"]]
            np.testing.assert_allclose(ours, [values.mean(), max(low, 0), min(high, most)])
    assert "seeds.csv" in report.write(Results(done).snapshot.folder, summary)
    shown = eadbench("report", str(done)).out
    assert "Over 3 training seeds, average case: digits, no defence" in shown
    assert "by Student's t over the seeds. The intervals of single victims are over images." in shown
    assert "Over 3 training seeds" in report.text(summary, "latex")
    html = page.write(Results(done).snapshot, summary).read_text()
    assert "<h3>Over 3 training seeds, average case: digits, no defence</h3>" in html


def test_one_seed_has_no_such_table(done: Path) -> None:
    summary = Results(done).summary
    assert over_seeds(summary.lines, summary.victims[:1]).empty
    assert "training seeds" not in report.text(
        summary.__class__(spec=summary.spec, victims=summary.victims[:1], lines=summary.lines), "markdown"
    )
