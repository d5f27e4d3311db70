"""The spec, and the commands that give a sweep's results anew."""

import base64
from shlex import quote

from eadbench.dashboards.page.evidence import Evidence
from eadbench.dashboards.page.markup import Section, paragraph, plain, preformatted
from eadbench.harness.reporting.report import Found
from eadbench.harness.results.folder import Results
from eadbench.harness.spec import schema as specs
from eadbench.harness.tracking_uri import redact

__all__ = ["commands", "spec"]


def spec(found: Found) -> Section:
    """The spec, with every default filled in."""
    text, file = specs.dump(found.spec), f"{found.spec.name}.yaml"
    address = f"data:application/yaml;base64,{base64.b64encode(text.encode()).decode()}"
    link = f'<p><a download="{plain(file)}" href="{address}">Save it as {plain(file)}</a></p>'
    body = paragraph("As resolved: every default is filled in.") + preformatted(text, "Spec") + link
    return Section(anchor="spec", title="Spec", body=body)


def commands(results: Results, found: Found, evidence: Evidence) -> Section:
    """The commands that give these results anew, and this page of them."""
    name, revision = found.spec.name, next(reversed(evidence.revisions), None)
    command = "uv run eadbench" if revision else "eadbench"
    lines = [f"git checkout {revision}"] if revision else []
    lines += [f"{command} run {name}.yaml", f"{command} report results/{name} --format html"]
    again = f"{command} report {quote(redact(str(results.root)))} --format html"
    data = results.victims()[0] or found.spec.dataset["name"]
    parts = [
        paragraph(
            f"Save the spec above as {name}.yaml, and have the data set ({data}) where it says, as well as any weights "
            "and code that it names. Then"
        ),
        preformatted("\n".join(lines), "Commands"),
        paragraph(f"trains the victims, attacks them, and writes this page of the new results. {_rows_text(found)}"),
    ]
    if (results.root / "tested.json").is_file():
        parts.append(paragraph("What `eadbench transfer` tested on is of another spec, which is not stored here."))
    parts += [paragraph("This page, of these results, is written anew by"), preformatted(again, "Command")]
    return Section(anchor="reproduce", title="How to reproduce", body="".join(parts))


def _rows_text(found: Found) -> str:
    """How far rows are the same when they are computed again."""
    if found.spec.batch_size == "auto":
        return "Its rows agree with these to rounding: the spec leaves the batch size to each worker."
    return (
        "However many workers compute them, its rows are the same to the bit on the same kind of device, and agree to "
        "rounding on another."
    )
