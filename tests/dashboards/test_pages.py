"""The explorer's pages without a browser: their contents, filters and downloads."""

import re
from pathlib import Path

import pytest

from eadbench.dashboards.rendering import as_text
from eadbench.harness.analysis.aggregate import FIGURES
from eadbench.harness.analysis.overview import overview
from eadbench.harness.analysis.transfer import entry_text
from eadbench.harness.numbers import NO_VALUE, figure_text, rate_text
from eadbench.harness.results.folder import Results
from eadbench.harness.results.snapshot import Snapshot
from tests.dashboards.explorer import LONG, SHORT, Visit, charts, html, layers, messages, table_rows
from tests.dashboards.reading import summary_of


def test_the_table_has_the_figures_of_the_summary(visit: Visit, folders: Path) -> None:
    own = summary_of(folders / "first").own.set_index("case")
    test = visit(["first"])
    test.toggle(key="paper").set_value(False).run()
    expected = [
        [rate_text(line["asr"]), *(figure_text(line[name]) for name in FIGURES[1:])]
        for line in own.loc["worst"].to_dict("records")
    ]
    rows = table_rows(test)
    assert [row[-4:] for row in rows] == expected
    labels = [["C&W", "", "0"], ["C&W", "", "2"]]
    labels += [[series, beta, "0"] for beta in ("1e-3", "1e-2") for series in (LONG, SHORT)]
    assert [row[:3] for row in rows] == 2 * labels
    titles = [row[0] for row in html(test).tables["Table of attacks"] if len(row) == 1]
    assert [title.partition(", accuracy")[0] for title in titles] == [
        "MNIST: digits, distillation T = 10",
        "MNIST: digits, distillation T = 100",
    ]
    assert [button.label for button in test.download_button] == ["CSV", "Markdown", "LaTeX"]


def test_filters_and_cases_change_the_table(visit: Visit) -> None:
    test = visit(["first"])
    assert len(table_rows(test)[0]) == 3 + 3 * 4
    test.multiselect(key="attack").set_value(["EAD"]).run()
    assert len(table_rows(test)) == 8
    test.multiselect(key="victim").set_value(["digits, distillation T = 10"]).run()
    assert len(table_rows(test)) == 4
    test.multiselect(key="beta").set_value(["1e-2"]).run()
    assert [row[:2] for row in table_rows(test)] == [[LONG, "1e-2"], [SHORT, "1e-2"]]
    test.pills(key="case").set_value(["best", "all_targets"]).run()
    assert len(table_rows(test)[0]) == 3 + 2 * 4
    test.multiselect(key="tested").set_value([]).run()
    assert [row[3] for row in table_rows(test)] == 2 * ["the attacked victim"] + 2 * ["digits, distillation T = 100"]
    assert "interval" not in {element.get("class") for element in html(test).all("span")}
    test.toggle(key="intervals").set_value(True).run()
    assert "[" in table_rows(test)[0][4]
    test.pills(key="case").set_value([]).run()
    assert "No line is left" in messages(test)


def test_an_address_shows_what_its_choices_show(visit: Visit) -> None:
    chosen = visit(["first", "second"])
    chosen.selectbox(key="dir").set_value("second").run()
    chosen.multiselect(key="attack").set_value(["EAD"]).run()
    chosen.toggle(key="paper").set_value(False).run()
    opened = visit(["first", "second"], dir="second", attack="EAD", paper="false")
    assert table_rows(opened) == table_rows(chosen)
    assert len(table_rows(opened)) == 8


def test_the_papers_figures_stand_beside_ours(visit: Visit) -> None:
    test = visit(["first"], victim="digits, distillation T = 10")
    first, second, *_ = table_rows(test)
    assert [row[:3] for row in (first, second)] == [["C&W", "", "0"], ["C&W", "", "2"]]
    assert all("(" in text for text in first[7:11]) and "(" not in "".join(second)


def test_curves_are_of_the_chosen_axis_and_attacks(visit: Visit) -> None:
    test = visit(["first"], "curves")
    assert test.header[0].value == "Over β, κ, T"
    assert charts(test)[:4] == [
        f"{figure} over regularisation β, of C&W, {LONG}, {SHORT}"
        for figure in ("ASR, %", "L1 distortion", "L2 distortion", "L∞ distortion")
    ]
    assert charts(test)[4] == f"share of examples broken over L1 distortion, of C&W, {LONG}, {SHORT}"
    assert charts(test)[5].startswith("mean L1 distortion over gradient evaluations")
    test.selectbox(key="over").set_value("κ").run()
    assert charts(test)[0] == "ASR, % over confidence κ, of C&W, " + f"{LONG}, {SHORT}"
    test.pills(key="attacks").set_value(["C&W"]).run()
    assert charts(test)[0] == "ASR, % over confidence κ, of C&W"
    test.selectbox(key="distortion").set_value("L∞").run()
    assert charts(test)[4] == "share of examples broken over L∞ distortion, of C&W"
    test.pills(key="attacks").set_value([]).run()
    assert "Choose an attack." in messages(test) and charts(test) == []


def test_an_attack_without_beta_is_a_horizontal_line(visit: Visit, folders: Path) -> None:
    """C&W over β is one level, at its figure."""
    summary = summary_of(folders / "first")
    first = summary.own[summary.own["model"] == summary.victims[0].digest]
    lines = first[(first["attack"] == "cw") & (first["kappa"] == 0) & (first["case"] == "average")]
    drawn = {layer["mark"]["type"]: layer["values"] for layer in layers(visit(["first"], "curves"), 0)}
    assert [(point["series"], point["asr"]) for point in drawn["rule"]] == [("C&W", lines["asr"].item())]
    assert len(drawn["line"]) == 4 and "C&W" not in {point["series"] for point in drawn["line"]}


def test_curves_of_several_victims_lie_over_each_other(visit: Visit) -> None:
    both = [f"digits, distillation T = {temperature}" for temperature in (10, 100)]
    test = visit(["first"], "curves", victim=both, attacks="C&W", over="κ")
    names = "C&W · distillation T = 10, C&W · distillation T = 100"
    assert charts(test)[0] == f"ASR, % over confidence κ, of {names}"
    assert charts(test)[4] == f"share of examples broken over L1 distortion, of {names}"


def test_curves_over_the_temperature_are_of_all_its_victims(visit: Visit) -> None:
    test = visit(["first"], "curves", over="T", beta="1e-2")
    assert charts(test)[0] == f"ASR, % over temperature T, of C&W, {LONG}, {SHORT}"
    [line] = [layer for layer in layers(test, 0) if layer["mark"]["type"] == "line"]
    assert line["encoding"]["x"]["scale"]["type"] == "log"


def test_over_the_temperature_an_undefended_victim_is_a_level_beside_the_distilled(visit: Visit) -> None:
    """The set of distilled networks has its defence's name, whichever victim is chosen."""
    test = visit(["mixed"], "curves", over="T")
    names = ["distillation", "no defence"]
    assert charts(test)[0] == "ASR, % over temperature T, of " + ", ".join(f"FGM-Linf · {name}" for name in names[::-1])
    drawn = {layer["mark"]["type"]: layer["values"] for layer in layers(test, 0)}
    assert {point["series"] for point in drawn["line"]} == {"FGM-Linf · distillation"}
    assert {point["series"] for point in drawn["rule"]} == {"FGM-Linf · no defence"}


def test_an_untargeted_sweep_has_one_case(visit: Visit) -> None:
    test = visit(["mixed"], "curves", over="T")
    assert "case" not in [box.key for box in test.selectbox]
    assert any(caption.value.startswith("Untargeted, 95 % intervals.") for caption in test.caption)
    study = html(visit(["mixed"]))
    assert "Mean distance" in study.text and "average case" not in study.text


def test_the_overview_of_several_victims_stands_first(visit: Visit, folders: Path) -> None:
    summary = summary_of(folders / "first")
    entries = overview(summary)
    test = visit(["first"])
    assert test.expander[0].label == "Overview"
    rates, distances = (html(test).tables[f"Overview: {name}"] for name in ("ASR, %", "Mean distance"))
    assert rates[0] == ["victim", "C&W", LONG, SHORT]
    for index, (victim, of_victim) in enumerate(entries.groupby("victim", sort=False)):
        assert rates[1 + index] == [victim, *map(rate_text, of_victim["asr"])]
        assert distances[1 + index] == [victim, *map(figure_text, of_victim["distance"])]


@pytest.mark.parametrize(("label", "most"), [(LONG, 15), (SHORT, 3), ("C&W", 15)])
def test_transfer_has_the_rates_of_each_attack(visit: Visit, folders: Path, label: str, most: int) -> None:
    summary = summary_of(folders / "first")
    lines = summary.lines[(summary.lines["case"] == "best") & (summary.lines["kappa"] == 0)]
    lines = lines[lines["attack"] == ("cw" if label == "C&W" else "ead")]
    lines = lines[lines["parameters"].str.contains(f'"max_iterations":{most},')]
    if label != "C&W":
        lines = lines[lines["beta"] == 1e-2]
    figures = lines.set_index(["model", "evaluated_on"])[["all_targets_asr", "all_images_asr"]]
    rates = {pair: entry_text(*both) for pair, both in zip(figures.index, figures.to_numpy(), strict=True)}
    first, second = (victim.digest for victim in summary.victims)
    test = visit(["first"], "transfer", attack=label, beta="1e-2")
    assert html(test).tables[f"{label}, κ = 0: ASR in percent"][2:] == [
        ["distillation T = 10", rates[first, first], rates[first, second]],
        ["distillation T = 100", rates[second, first], rates[second, second]],
    ]
    assert [heading.value for heading in test.subheader] == (["κ = 0", "κ = 2"] if label == "C&W" else ["κ = 0"])
    assert [button.label for button in test.download_button] == ["CSV"]


def test_the_grid_has_the_images_of_the_chosen_cell(visit: Visit, folders: Path) -> None:
    summary = summary_of(folders / "first")
    for label, most in ((f"{LONG}, β = 1e-2, κ = 0", 15), (f"{SHORT}, β = 1e-2, κ = 0", 3)):
        lines = summary.own[(summary.own["case"] == "best") & (summary.own["beta"] == 1e-2)]
        line = lines[lines["parameters"].str.contains(f'"max_iterations":{most},')].iloc[0]
        shown = html(visit(["first"], "images", setting=label))
        adversarial = [image for image in shown.all("img") if "→" in image["alt"]]
        assert len(adversarial) == round(line["all_targets_asr"] / 100 * 2 * 9)
        assert len(shown.all("td")) == 1 + 2 * 10
        assert len(shown.all("a")) == 2 * 9
        [gallery] = shown.tables
        assert gallery == f"Adversarial images: {label}"


def test_an_image_leads_to_its_example(visit: Visit) -> None:
    setting = f"{LONG}, β = 1e-2, κ = 0"
    shown = html(visit(["first"], "images", setting=setting))
    index = next(i for i, image in enumerate(shown.all("img")) if "→" in image["alt"])
    alt = shown.all("img")[index]["alt"]
    image, target = alt.split(", → ")
    test = visit(["first"], "images", setting=setting, view="one example", image=image, target=target)
    page = html(test)
    assert [picture["alt"] for picture in page.all("img")[:3]] == [
        next(picture["alt"] for picture in page.all("img") if picture["alt"].startswith("original of class")),
        f"adversarial image, target {target}",
        "perturbation",
    ]
    own, other = page.tables["Predictions of the victims"][1:]
    assert own[0] == "distillation T = 10" and own[3] == target and float(own[2]) < 0 < float(own[4])
    assert other[0] == "distillation T = 100"
    addresses = [link["href"] for link in page.all("a")]
    assert len(addresses) == 5 and all(f"image={image}&target={target}" in address for address in addresses)
    assert [heading.value for heading in test.subheader] == ["Predictions of the victims", "Under other attacks"]


def test_a_failed_example_has_no_image(visit: Visit, folders: Path) -> None:
    columns = ["model", "evaluated_on", "attack", "kappa", "image", "target", "success"]
    rows = Snapshot(Results(folders / "first")).frame(columns)
    own = rows[(rows["model"] == rows["evaluated_on"]) & (rows["attack"] == "cw") & (rows["kappa"] == 2)]
    row = own[~own["success"]].iloc[0]
    victim = summary_of(folders / "first").labels.victim[row["model"]]
    query = {"victim": victim, "setting": "C&W, κ = 2", "image": str(row["image"]), "target": str(row["target"])}
    page = html(visit(["first"], "images", view="one example", **query))
    assert "The attack failed (target" in page.text
    assert page.all("span")[0]["aria-label"] == "no adversarial image"


def test_a_finished_sweep_says_so(visit: Visit) -> None:
    test = visit(["first"], "sweep")
    assert "Complete." in test.get("progress")[0].proto.text
    values = {metric.label: metric.value for metric in test.metric}
    assert values["Cells done"] == "12 of 12"
    assert values["Workers"] == "1" and values["Rows on other victims"] == "216 of 216"
    workers = test.dataframe[0].value
    assert list(workers["examples"]) == [2 * 2 * 9 * 6]


def test_failures_are_listed_with_their_errors(visit: Visit) -> None:
    test = visit(["failed"], "sweep")
    [box] = test.expander
    assert (box.label, box.code[0].value) == (as_text("shard 1: Kaboom: 1"), "a\nKaboom: 1")


def test_sweeps_are_compared_on_the_examples_that_they_share(visit: Visit) -> None:
    test = visit(["first", "second"], "compare", **{"from": "second"})
    assert test.header[0].value == "first against second"
    rows = html(test).tables["first against second"][1:]
    assert len(rows) == 16 and all("18 examples" in row[0] for row in rows)
    assert {row[0].partition(", β")[0].partition(", κ")[0] for row in rows} == {"C&W", LONG}
    assert any("16 cells are left out" in caption.value for caption in test.caption)
    assert any("→" in row[1] for row in rows) and any("p = " in text for row in rows for text in row)
    assert [button.label for button in test.download_button] == ["CSV"]
    test.multiselect(key="to").set_value([]).run()
    assert "Choose a sweep to compare with." in messages(test)


def test_sweeps_on_other_images_are_compared_by_their_means(visit: Visit, folders: Path) -> None:
    test = visit(["first", "others"], "compare")
    assert "The folders have no example in common" in messages(test)
    rows = html(test).tables["others against first"][1:]
    assert len(rows) == 8 and all("18 and 18 examples, none in common: unpaired" in row[0] for row in rows)
    assert all(re.fullmatch(r".+ \[.+, .+\] → .+ \[.+, .+\].*", row[1]) for row in rows)
    assert "p = " not in "".join(map("".join, rows))


def test_the_same_sweep_has_the_same_figures(visit: Visit) -> None:
    test = visit(["first", "twin"], "compare")
    assert "The same figures in all 24 cells" in messages(test)
    rows = html(test).tables["twin against first"][1:]
    assert len(rows) == 24
    assert all(text.endswith("same") or text == NO_VALUE for row in rows for text in row[1:])


def test_one_sweep_cannot_be_compared(visit: Visit) -> None:
    assert "Give the folders of two sweeps" in messages(visit(["first"], "compare"))
