"""Compare the seconds that `plan --time` predicts for each attack with those of the run.

    uv run python -m benchmarks.estimates [SPEC] [KEY=VALUE ...]

The run is serial, in a temporary folder. By default, a dozen attacks on the digits. Nothing is trained when the
prediction is made.
"""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from eadbench import plan, run
from eadbench.harness import spec as specs
from eadbench.harness.execution.estimate import estimate
from eadbench.harness.execution.pace import records_of
from eadbench.harness.results.folder import Results
from eadbench.harness.spec import Spec

ATTACKS = [
    *({"name": name, "max_iterations": 100} for name in ("cw", "ead")),
    {"name": "fgm", "norm": "linf"},
    *({"name": "ifgm", "norm": norm} for norm in ("l1", "linf")),
    *({"name": name} for name in ("ddn", "sigma_zero", "jsma")),
    *({"name": name, "norm": "l2"} for name in ("fmn", "alma")),
    {"name": "pdpgd", "norm": "l1"},
    {"name": "hopskipjump", "norm": "l2", "steps": 10},
    {"name": "apgd", "norm": "linf"},
]
DIGITS = {
    "name": "estimates",
    "dataset": {"name": "digits"},
    "images": {"count": 20},
    "targets": {"random": 3},
    "victims": [{"arch": "digits", "training": {"epochs": 30, "batch_size": 32, "learning_rate": 3e-3}}],
    "attacks": ATTACKS,
}


def compared(spec: Spec, folder: Path) -> Mapping[str, tuple[float, float]]:
    """Return the predicted and the measured seconds of each attack, training and test in a spec."""
    parts = estimate(spec, plan(spec, results=folder, executor="serial"), workers=1).parts
    predicted = Counter[str]()
    for part in parts:
        predicted[part.what] += part.seconds.likely  # type: ignore[assignment]
    run(spec, results=folder, executor="serial")
    measured = Counter[str]()
    for record in records_of(Results(folder), most=sys.maxsize):
        measured[record.attack] += record.seconds  # type: ignore[assignment]
    return {what: (predicted[what], measured[what]) for what in measured}


def main(arguments: Sequence[str]) -> None:
    """Print the table."""
    named = bool(arguments) and "=" not in arguments[0]
    overrides = arguments[named:]
    spec = specs.load(Path(arguments[0]), overrides) if named else specs.parse(DIGITS, overrides)
    print("| attack | predicted, s | measured, s | ratio |\n| --- | ---: | ---: | ---: |")
    with TemporaryDirectory() as folder:
        for what, (predicted, measured) in compared(spec, Path(folder) / "results").items():
            print(f"| `{what}` | {predicted:.1f} | {measured:.1f} | {predicted / measured:.2f} |")


if __name__ == "__main__":
    main(sys.argv[1:])
