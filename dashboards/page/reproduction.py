"""The spec, and the commands that compute a sweep's results again."""

import base64
from shlex import quote

from eadbench.dashboards.page.provenance import git_revisions
from eadbench.dashboards.page.section import Section
from eadbench.dashboards.rendering import render
from eadbench.harness import spec as specs
from eadbench.harness.analysis.summary import Summary
from eadbench.harness.messages import redact
from eadbench.harness.results.snapshot import Snapshot

__all__ = ["commands", "spec"]


def spec(summary: Summary) -> Section:
    """Return the spec, with every default filled in."""
    text = specs.dump(summary.spec)
    content = base64.b64encode(text.encode()).decode()
    body = render("spec.html.j2", text=text, file=f"{summary.spec.name}.yaml", content=content)
    return Section(anchor="spec", title="Spec", body=body)


def commands(snapshot: Snapshot, summary: Summary) -> Section:
    """Return the commands that compute these results again, and those that write this page again."""
    name, revision = summary.spec.name, next(reversed(git_revisions(snapshot)), None)
    command = "uv run eadbench" if revision else "eadbench"
    lines = [f"git checkout {revision}"] if revision else []
    lines += [f"{command} run {name}.yaml", f"{command} report results/{name} --format html"]
    body = render(
        "reproduction.html.j2",
        name=name,
        dataset=snapshot.dataset or summary.spec.dataset.name,
        commands="\n".join(lines),
        again=f"{command} report {quote(redact(str(snapshot.folder.root)))} --format html",
        automatic_batch=summary.spec.batch_size == "auto",
        tested_later=(snapshot.folder.root / "tested.json").is_file(),
    )
    return Section(anchor="reproduce", title="How to reproduce", body=body)
