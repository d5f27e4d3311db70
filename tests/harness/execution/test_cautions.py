"""What rows say against their own figures: in their columns, in the report, and at the end of a run."""

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from eadbench.attacks import EAD, survival
from eadbench.harness.analysis import trust
from eadbench.harness.errors import UserError
from eadbench.harness.execution.recomputing import recompute
from eadbench.harness.execution.sweep import Done
from eadbench.harness.frames import Results
from eadbench.harness.reporting import report
from tests.sweeps import rows, run, small

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, before=lambda x: x, after=lambda z: z):
        super().__init__()
        self.network = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
        self.before, self.after = before, after

    def forward(self, x):
        return self.after(self.network(self.before(x)))


def sound():
    return Net()


def noisy():
    return Net(after=lambda z: z + 0.5 * torch.randn_like(z))


def rooted():
    return Net(before=torch.sqrt)


def quiet():
    return Net(after=lambda z: 1e-6 * z)


def brittle():
    return Net(before=lambda x: torch.where(16 * x % 1 == 0, x, torch.nan))  # digits have 17 levels
"""
VICTIMS = ("sound", "noisy", "rooted", "quiet", "brittle")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, pd.DataFrame, Done]:
    """A sweep of five victims, four of them doubtful: the results, the rows, and what was done."""
    folder = tmp_path_factory.mktemp("cautions")
    (folder / "cautious_nets.py").write_text(CODE)
    training = {"epochs": 8, "batch_size": 32, "learning_rate": 1e-2}
    victims = {name: {"name": name, "arch": f"cautious_nets:{name}", "training": training} for name in VICTIMS}
    victims["sound"]["evaluated_on"] = ["brittle"]
    victims["brittle"]["attacked"] = False
    what = {
        "victims": list(victims.values()),
        "attacks": [{"name": "ead", "beta": [1e-3, 1e-2], "binary_search_steps": 4, "max_iterations": 30}],
        "targets": {"random": 2},
        "confirmations": 40,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done = run(small(**what), folder / "results", models=folder / "models")
        run(small(**what), folder / "again", models=folder / "models")
    assert not done.failures
    results = Results(folder / "results")
    names = {victim.digest: victim.name for victim in results.snapshot.victims}
    frame = rows(folder / "results")
    return results, frame.assign(victim=frame["evaluated_on"].map(names)), done


def test_a_random_victim_has_the_share_of_its_successes_that_last(swept: tuple[Results, pd.DataFrame, Done]) -> None:
    results, frame, done = swept
    noisy = frame[frame["victim"] == "noisy"]
    assert noisy["success"].any()
    assert (noisy["survival"].notna() == noisy["success"]).all()
    assert noisy["survival"].dropna().between(0.0, 1.0).all() and (noisy["survival"] * 40 % 1).dropna().eq(0).all()
    assert 0 < noisy["survival"].mean() < 1
    assert frame.loc[frame["victim"] != "noisy", "survival"].isna().all()
    [said] = [text for text in report.warnings(results.summary) if "share of the successes" in text]
    first = noisy[(noisy["beta"] == 1e-3) & (noisy["decision_rule"] == "en")]
    share, rate = 100 * first["survival"].mean(), 100 * first["success"].mean()
    assert said.startswith("noisy: it is random")
    figures = re.search(r"EAD \(EN\), β = 1e-3, κ = 0: (\d+) % \(ASR (\d+) %\)", said)
    assert figures and [int(figure) for figure in figures.groups()] == pytest.approx([share, rate], abs=0.51)
    assert done.random and done.unconfirmed


def test_a_random_victim_is_attacked_with_the_same_noise_again(swept: tuple[Results, pd.DataFrame, Done]) -> None:
    results, _, _ = swept
    parts = list((results.folder / "examples").glob("*.parquet"))
    again = results.folder.parent / "again" / "examples"
    assert parts and all(part.read_bytes() == (again / part.name).read_bytes() for part in parts)


def test_rows_of_a_random_victim_are_computed_again_with_their_whole_shard(
    swept: tuple[Results, pd.DataFrame, Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    results, _, _ = swept
    monkeypatch.chdir(results.folder.parent)
    opened = Results(results.folder, allow_code=True)
    again = recompute(opened.snapshot, 12, allow_code=True)
    assert again.sampled == 12 and not again.others
    with pytest.raises(UserError, match=r"cautious_nets:sound is code, .* --allow-code imports it"):
        recompute(results.snapshot, 5)


def test_gradients_that_are_not_finite_are_counted(swept: tuple[Results, pd.DataFrame, Done]) -> None:
    results, frame, _ = swept
    broken = frame["nonfinite"] > 0
    assert broken[frame["victim"] == "rooted"].all() and not broken[~frame["victim"].isin(["rooted", "brittle"])].any()
    [said] = [text for text in report.warnings(results.summary) if "gradients were not finite" in text]
    assert re.match(r"rooted: .*EAD \(EN\), β = 1e-3, κ = 0: 6 of 6; EAD \(EN\), β = 1e-2, κ = 0: 6 of 6$", said)


def test_logits_that_are_not_finite_are_counted_in_a_transfer(swept: tuple[Results, pd.DataFrame, Done]) -> None:
    results, frame, _ = swept
    tested = frame[frame["victim"] == "brittle"]
    crafted = frame[frame["victim"] == "sound"]
    assert crafted["success"].any() and tested["nonfinite"].sum() == crafted["success"].sum()
    assert not tested["success"].any() and tested["margin"].isna().all()
    [said] = [text for text in report.warnings(results.summary) if "on examples of other victims" in text]
    first = crafted[(crafted["beta"] == 1e-3) & (crafted["decision_rule"] == "en")]
    assert said.startswith("brittle: ") and f"EAD (EN), β = 1e-3, κ = 0: {first['success'].sum()} of 6" in said


def test_searches_that_end_at_an_end_of_c_are_counted(swept: tuple[Results, pd.DataFrame, Done]) -> None:
    results, frame, _ = swept
    assert (frame.loc[frame["victim"] == "quiet", "const_end"] == "greatest").all()
    sound = frame[frame["victim"] == "sound"]
    assert (sound["success"] == (sound["const_end"] != "greatest")).all()
    [said] = [text for text in report.warnings(results.summary) if text.startswith("quiet: no c of the search")]
    assert said.endswith("β = 1e-3, κ = 0: 6 of 6; EAD (EN), β = 1e-2, κ = 0: 6 of 6")


def test_indicators_are_raised_on_the_cells_of_doubtful_victims(swept: tuple[Results, pd.DataFrame, Done]) -> None:
    summary = swept[0].summary
    own = summary.own.drop_duplicates("cell").assign(name=lambda lines: lines["model"].map(summary.labels.victim))
    raised = own.groupby("name")["indicators"].agg(lambda texts: set(";".join(texts).split(";")) - {"few_images", ""})
    assert "random" in raised["noisy"] and "nonfinite_gradient" in raised["rooted"] and not raised["sound"]
    assert not summary.lines.loc[summary.lines["model"] != summary.lines["evaluated_on"], "indicators"].any()
    table = trust.table(summary.findings, summary.own, summary.labels)
    assert set(table.loc[table["raised"] & (table["indicator"] == "random"), "victim"]) == {"noisy"}
    assert table["cell"].nunique() == len(own) and table["value"].notna().all()
    warnings = report.warnings(summary)
    [few] = [text for text in warnings if text.startswith("sound: few images (EAD (EN), β = 1e-3, κ = 0: ")]
    assert few.endswith("; raise images.count: a quarter of the width needs 16 times as many")
    assert not [text for text in warnings if text.startswith("noisy: random victim")]  # another warning says it
    said = trust.sentences(summary.findings, summary.own, summary.labels, said=True)
    assert [text for text in said if text.startswith("noisy: random victim (100 %): ")]


class NoisyLead(nn.Module):
    """Class 1 leads by `lead` plus normal noise."""

    def __init__(self, lead: float) -> None:
        super().__init__()
        self.lead = lead

    def forward(self, x: Tensor) -> Tensor:
        lead = self.lead + 1e-3 * x.flatten(1).sum(1)
        return torch.stack([torch.zeros_like(lead), lead + torch.randn_like(lead)], dim=1)


@pytest.mark.filterwarnings("ignore:.* target class already")
@pytest.mark.parametrize(("lead", "kappa", "expected"), [(0.0, 0.0, 0.5), (1.0, 0.0, 0.841), (1.0, 2.0, 0.159)])
def test_survival_is_the_chance_that_a_success_lasts(lead: float, kappa: float, expected: float) -> None:
    images, labels, kappas = torch.rand(20, 1, 2, 2), torch.ones(20, dtype=torch.long), torch.full((20,), kappa)
    attack = EAD(max_iterations=5, binary_search_steps=1, kappa=0.0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        kept = attack(NoisyLead(lead), images, labels)["l1"]
        shares = survival(NoisyLead(lead), kept, labels, kappa=kappas, targeted=True, times=400, batch_size=7)
    assert shares is not None and kept.success.any()
    assert torch.equal(shares.isnan(), ~kept.success)
    assert shares.nanmean().item() == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize(("model", "times"), [(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), 20), (NoisyLead(1), 0)])
def test_a_model_without_noise_has_no_survival(model: nn.Module, times: int) -> None:
    images, labels = torch.rand(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])
    kept = EAD(max_iterations=5, binary_search_steps=1, targeted=False)(model, images, labels)["l1"]
    kappa = torch.zeros(4)
    assert survival(model, kept, labels, kappa=kappa, targeted=False, times=times, batch_size=4) is None


def test_confirmations_do_not_change_what_is_computed(tmp_path: Path) -> None:
    """They enter no digest: cells and shards keep their names."""
    attacks = [{"name": "fgm", "norm": "linf", "epsilons": [0.1, 0.5]}]
    run(small(attacks=attacks), tmp_path)
    assert run(small(attacks=attacks, confirmations=3), tmp_path).nothing
