"""Labels say what a cell is in the paper's words, and two different victims or attacks never carry the same words."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from eadbench.harness.labels import (
    Labels,
    attack_label,
    defense_label,
    distinct,
    family_label,
    family_of,
    series_of,
)
from eadbench.harness.plan.grid import Victim
from eadbench.harness.registry import ATTACKS
from eadbench.models import canonical_json


def line(attack: str = "ead", **columns: Any) -> dict[str, Any]:
    """Return a line of EAD by the EN rule, unless said otherwise; `parameters` as a mapping."""
    rule = "en" if attack in ("ead", "cov") else None
    setting = {"attack": attack, "norm": None, "decision_rule": rule, "beta": 1e-3, "kappa": 0.0} | columns
    return setting | {"parameters": canonical_json(columns.get("parameters", {}))}


def labels_of(*lines: dict[str, Any]) -> list[str]:
    """Return the label of each line; those of two series differ."""
    frame = pd.DataFrame(lines)
    frame["series"] = series_of(frame)
    labels = Labels(lines=frame, victims=()).series
    assert len(set(labels.values())) == len(labels)
    return [labels[series] for series in frame["series"]]


def victim(
    digest: str, name: str | None = None, arch: str = "digits", defense: str = "none", **parameters: Any
) -> Victim:
    return Victim(
        digest=digest * 16,
        name=name,
        arch=arch,
        defense=defense,
        defense_parameters=parameters,
        trained_on="digits",
        accuracy=None,
        images=(),
        labels=(),
    )


def victim_labels(*victims: Victim) -> list[str]:
    return list(Labels.of_victims(victims).victim.values())


def test_an_adaptive_attack_names_its_detector_also_where_it_is_alone() -> None:
    known = {"adaptive": {"name": "mmd"}}
    assert labels_of(line("cw", parameters=known)) == ["C&W, adaptive mmd"]
    assert labels_of(line("cw", parameters=known), line("cw", beta=None)) == ["C&W, adaptive mmd", "C&W"]


@pytest.mark.parametrize(
    ("setting", "label"),
    [
        (("cw", None, None), "C&W"),
        (("ifgm", "linf", None), "I-FGM-Linf"),
        (("fgm", "l1", float("nan")), "FGM-L1"),
        (("ead", None, "l1"), "EAD (L1)"),
        (("cov", pd.NA, "en"), "COV (EN)"),
        (("no_such_attack", None, None), "no such attack"),
        (("no.such.module:MyAttack", "l2", None), "MyAttack-L2"),
        (("tests.harness.test_labels:Mine", None, "l2"), "my own (L2)"),
        (("tests.harness.test_labels:Nameless", None, None), "Nameless"),
        (("tests.harness.test_labels:Unknown", None, None), "Unknown"),
    ],
)
def test_attacks_are_called_as_in_the_paper(setting: tuple[Any, ...], label: str) -> None:
    for thing in (Mine, Nameless):  # as resolving a spec does
        ATTACKS.remember(f"tests.harness.test_labels:{thing.__name__}", thing)
    assert attack_label(*setting) == label


class Mine:
    LABEL = "my own"


class Nameless:
    pass


def test_a_label_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a results folder of others names is printed, and imported by nothing."""
    (tmp_path / "theirs.py").write_text("class Attack: LABEL = 'theirs'")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "theirs", raising=False)
    assert (attack_label("theirs:Attack"), defense_label("theirs:Attack", {})) == ("Attack", "Attack")
    assert "theirs" not in sys.modules


@pytest.mark.parametrize(
    ("defense", "parameters", "label"),
    [
        ("none", {}, "no defence"),
        ("distillation", {"temperature": 100.0}, "distillation T = 100"),
        ("distillation", {"temperature": 0.5}, "distillation T = 0.5"),
        ("pgd_training", {"epsilon": 0.3, "norm": "linf"}, "PGD training: epsilon 0.3, norm linf"),
        (
            "adversarial_training",
            {"attacks": [{"name": "ead", "decision_rules": ["l1", "en"]}, {"name": "cw"}]},
            "adversarial training: EAD-L1 + EAD-EN + C&W",
        ),
        ("adversarial_training", {"attacks": [{"name": "fgm", "norm": ["l2"]}]}, "adversarial training: FGM-L2"),
        ("adversarial_training", {"attacks": [{"name": "a.b:Mine", "norm": "l2"}]}, "adversarial training: Mine-L2"),
    ],
)
def test_defences_are_named_with_their_parameters(defense: str, parameters: dict[str, Any], label: str) -> None:
    assert defense_label(defense, parameters) == label


class TestSeries:
    """A series is an attack with all its hyperparameters but β and κ."""

    def test_beta_and_kappa_are_no_part_of_it(self) -> None:
        assert labels_of(line(), line(beta=1e-2), line(kappa=5.0)) == ["EAD (EN)"] * 3

    def test_what_does_not_vary_is_not_said(self) -> None:
        rules = [line(decision_rule=rule, parameters={"max_iterations": 40}) for rule in ("en", "l1")]
        assert labels_of(*rules) == ["EAD (EN)", "EAD (L1)"]

    def test_what_varies_is_appended(self) -> None:
        settings = [{"max_iterations": 2, "x": 1}, {"max_iterations": 40, "x": 1}]
        assert labels_of(*(line(parameters=one) for one in settings), line("cw", parameters={"max_iterations": 9})) == [
            "EAD (EN), max_iterations 2",
            "EAD (EN), max_iterations 40",
            "C&W",
        ]

    def test_norms_of_one_attack_vary_for_themselves(self) -> None:
        """Their grids of ε differ as a rule, which their names need not say."""
        lines = [
            line("fgm", norm=norm, parameters={"epsilons": grid}) for norm, grid in (("l1", [1, 2]), ("l2", [0.5]))
        ]
        assert labels_of(*lines) == ["FGM-L1", "FGM-L2"]

    @pytest.mark.parametrize(
        ("values", "texts"),
        [
            ([None, True, 3], ["None", "True", "3"]),
            ([0.001, 0.01], ["1e-3", "1e-2"]),
            ([0.30000001, 0.30000002], ["0.30000001", "0.30000002"]),
            ([1, 1.0], ["1", "1"]),
            ([[0.1], [0.1, 0.2]], ["[0.1]", "[0.1, 0.2]"]),
            ([list(range(40)), list(range(41))], ["[…]", "[…, 40]"]),
            ([[*range(40), 7, *range(40)], [*range(40), 8, *range(40)]], ["[…, 7, 0, 1, 2,", "[…, 8, 0, 1, 2,"]),
            (["x" * 40, "x" * 41], ["x" * 23 + "… (", "x" * 23 + "… ("]),
        ],
    )
    def test_values_are_told_apart(self, values: list[Any], texts: list[str]) -> None:
        labels = labels_of(*(line(parameters={"x": value}) for value in values))
        for label, text in zip(labels, texts, strict=True):
            assert label.startswith(f"EAD (EN), x {text}") and len(label) < 60

    def test_two_import_paths_of_one_name(self) -> None:
        labels = labels_of(*(line(f"{module}:Attack") for module in ("mine", "theirs", "mine")))
        assert labels[0] == labels[2] != labels[1]
        assert all(label.startswith("Attack (") for label in labels)

    def test_an_attack_called_as_one_of_ours(self) -> None:
        assert len(set(labels_of(line("cw"), line("some.module:C&W")))) == 2

    def test_a_parameter_that_only_one_has(self) -> None:
        """As where an outsider's class has gained one since the first sweep."""
        assert labels_of(line("a:B", parameters={"x": 1}), line("a:B", parameters={"x": 1, "y": 2})) == ["B", "B, y 2"]

    def test_lines_are_labelled_with_their_beta_and_kappa(self) -> None:
        frame = pd.DataFrame([line(), line("fgm", norm="linf", beta=float("nan"), kappa=5.0)])
        frame["series"] = series_of(frame)
        labels = Labels(lines=frame, victims=())
        assert [labels.setting(one) for one in frame.to_dict("records")] == [
            "EAD (EN), β = 1e-3, κ = 0",
            "FGM-Linf, κ = 5",
        ]

    def test_missing_values_of_any_kind_are_one(self) -> None:
        """Rows have None, frames NaN or NA."""
        series = [series_of(pd.DataFrame([line(norm=none)]))[0] for none in (None, float("nan"), pd.NA)]
        assert len(set(series)) == 1


class TestVictims:
    def test_named_and_unnamed(self) -> None:
        assert victim_labels(
            victim("a", "mine"), victim("b"), victim("c", defense="distillation", temperature=10.0)
        ) == [
            "mine",
            "digits, no defence",
            "digits, distillation T = 10",
        ]

    def test_two_of_one_recipe_but_for_the_seed(self) -> None:
        labels = Labels.of_victims([victim("a"), victim("b"), victim("c", arch="mlp")])
        wanted = ["digits, no defence (aaaaaa)", "digits, no defence (bbbbbb)", "mlp, no defence"]
        assert list(labels.victim.values()) == list(labels.victim_details.values()) == wanted

    def test_digests_that_begin_alike(self) -> None:
        assert distinct({"a" * 6 + "0": "x", "a" * 6 + "1": "x", "b": "y"}) == {
            "a" * 6 + "0": "x (aaaaaa0)",
            "a" * 6 + "1": "x (aaaaaa1)",
            "b": "y",
        }

    def test_parameters_that_a_label_leaves_out(self) -> None:
        """Such as 0 and null: the digests tell the victims apart."""
        zero, null = victim("a", defense="x:D", margin=0), victim("b", defense="x:D", margin=None)
        assert victim_labels(zero, null) == ["digits, D (aaaaaa)", "digits, D (bbbbbb)"]

    def test_details_follow_a_name(self) -> None:
        labels = Labels.of_victims([victim("a", "mine"), victim("b", "yours")])
        assert list(labels.victim_details.values()) == ["mine, digits, no defence", "yours, digits, no defence"]

    def test_lines_name_victims_that_are_not_given(self) -> None:
        """As where a summary is read without its victims."""
        lines = [
            line() | {"model": "b", "arch": "net", "defense": "distillation", "defense_parameters": text}
            for text in ('{"temperature":7}',)
        ]
        assert dict(Labels(lines=pd.DataFrame(lines), victims=[]).victim) == {"b": "net, distillation T = 7"}

    @pytest.mark.parametrize(
        ("victims", "short"),
        [
            ([victim("a"), victim("b", defense="distillation", temperature=9)], ["no defence", "distillation T = 9"]),
            ([victim("a"), victim("b", arch="mlp")], ["digits", "mlp"]),
            ([victim("a"), victim("b")], ["no defence (aaaaaa)", "no defence (bbbbbb)"]),
            ([victim("a", "mine"), victim("b")], ["mine", "digits, no defence"]),
            ([victim("a")], ["digits, no defence"]),
        ],
    )
    def test_short_labels_leave_out_what_all_share(self, victims: Sequence[Victim], short: list[str]) -> None:
        labels = Labels.of_victims(victims)
        assert labels.short_victims([*labels.victim, "unknown"]) == {
            **dict(zip(labels.victim, short, strict=True)),
            "unknown": "unknown",
        }

    def test_families_are_victims_but_for_the_temperature(self) -> None:
        texts = ['{"temperature":1.0}', '{"temperature":100.0}', '{"alpha":2,"temperature":1.0}']
        lines = pd.DataFrame([{"arch": "net", "defense": "distillation", "defense_parameters": text} for text in texts])
        first, second, third = family_of(lines)
        assert first == second != third
        assert [family_label(one) for one in lines.to_dict("records")] == ["distillation"] * 2 + [
            "distillation: alpha 2"
        ]
