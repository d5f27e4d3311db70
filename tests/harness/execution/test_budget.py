"""A budget in a spec holds for every row of a sweep, and its trace is stored."""

from pathlib import Path

import numpy as np

from eadbench.harness.results.folder import Results
from tests.command import eadbench
from tests.sweeps import rows, run, small

VICTIM = {"arch": "digits", "training": {"epochs": 4, "batch_size": 32, "learning_rate": 3e-3}}
ATTACKS = [
    {"name": "ead", "beta": [1e-3, 1e-2], "max_iterations": 30, "initial_const": 1, "published": True},
    {"name": "fmn", "norm": "l1", "best_queried": True},
    {"name": "ifgm", "norm": "linf", "budget": 64},
]


def test_every_row_keeps_its_budget(tmp_path: Path) -> None:
    spec = small(
        images={"count": 2},
        attacks=ATTACKS,
        targets="untargeted",
        budget=90,
        victims=[
            {**VICTIM, "name": "first", "evaluated_on": ["second"]},
            {**VICTIM, "name": "second", "attacked": False, "training": {**VICTIM["training"], "epochs": 5}},
        ],
    )
    run(spec, tmp_path)
    table = rows(tmp_path)
    own = table[table["model"] == table["evaluated_on"]]
    budget = own["attack"].map({"ead": 90, "fmn": 90, "ifgm": 64})
    assert len(own) == 2 * (4 + 1 + 1) and (own["iterations"] + own["forward_passes"] <= budget).all()
    assert (own["iterations"] + own["forward_passes"] == budget).any()
    traces = np.array(own["trace"].tolist(), dtype=float)
    assert traces.shape == (len(own), 6)
    falling = np.diff(np.nan_to_num(traces, nan=1e9))
    assert (falling <= 0).all()
    fmn = own["attack"] == "fmn"
    np.testing.assert_allclose(traces[fmn, -1], own["l1"][fmn].astype(float), rtol=1e-5)
    transferred = table[table["model"] != table["evaluated_on"]]
    assert len(transferred) == len(own) and transferred["trace"].isna().all()
    assert eadbench("verify", tmp_path).code == 0
    assert "1 of the budget" in eadbench("show", tmp_path).out
    assert Results(tmp_path).examples.is_dir()
