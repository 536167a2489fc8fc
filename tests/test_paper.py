"""The EIE paper reproduced: every table within a stated tolerance, every claim judged, deviations printed."""

import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from rich.cells import cell_len
from rich.console import Console

from eie.errors import ModelError, SpecError
from eie.plots import svgs
from eie.plots.paper import DRAWN, draw
from eie.show.cells import cell
from eie.show.page import section_html
from eie.show.sections import MARKS, Column
from eie.show.terminal import show
from eie.spec import EIE_64PE
from eie.studies.paper.bench import Bench, find_fc8, rounding_interval
from eie.studies.paper.published import GEOMEAN, published
from eie.studies.paper.reproduce import SECTIONS, reproduce
from eie.studies.paper.scaling import _lockstep_efficiency, _reads_anew

FC8 = "alexnet_fc8.npz"
NOT_REPRODUCED = {
    "total energy is least at 64 bits, if a row is held from one column to the next, as we count (cell itrs-lstp)",
    "8-bit fixed point loses much (more than 5 points; printed: 80.3 to 53.0)",
}
# Largest deviation allowed from the printed time with masks of the measured spread; docs/validation.md says why.
THEORETICAL = {
    "Alex-6": 0.03,
    "Alex-7": 0.08,
    "Alex-8": 0.17,
    "VGG-6": 0.24,
    "VGG-7": 0.04,
    "VGG-8": 0.05,
    "NT-We": 0.09,
    "NT-Wd": 0.03,
    "NT-LSTM": 0.05,
}
ACTUAL = {
    "Alex-6": 0.06,
    "Alex-7": 0.08,
    "Alex-8": 0.17,
    "VGG-6": 0.27,
    "VGG-7": 0.05,
    "VGG-8": 0.05,
    "NT-We": 0.06,
    "NT-Wd": 0.04,
    "NT-LSTM": 0.11,
}
# Of each layer, and of the mean over the nine.
RATIO = dict.fromkeys(ACTUAL, 0.06)
MEAN_RATIO = 0.03


@pytest.fixture(scope="module")
def found(root):
    """Everything, with fc8's real data if it is there."""
    file = root.parent / "shared" / "data" / FC8
    return reproduce(fc8=file if file.is_file() else None)


@pytest.fixture(scope="module")
def section(found):
    sections = {one.name: one for one in found.parts}
    return sections.__getitem__


@pytest.fixture(scope="module")
def bench():
    return Bench()


def rows(section, grid=0):
    table = section.grids[grid]
    return {row[table.columns[0].key]: row for row in table.rows}


def within(name, size, bound):
    print(f"{name}: {size:+.1%} (allowed {bound:.0%})")
    assert abs(size) <= bound, name


def test_published_figures_agree_with_each_other():
    printed = published()
    assert len(printed.layers) == 9
    for row, labels in printed.speedups.items():
        times = printed.times_us["eie_actual" if row == "eie" else row.replace("compressed", "sparse") + "_b1"]
        odd = set()
        for layer, us in times.items():
            if abs(printed.times_us["cpu_dense_b1"][layer] / us - labels[layer]) > 0.51:
                odd.add(layer)
        assert odd == ({"NT-We", "NT-LSTM"} if row == "eie" else set()), row
    units = ("act_queue", "ptr_read", "spmat_read", "arithm_unit", "act_rw", "filler_cell")
    assert sum(printed.units_um2[unit] for unit in units) == pytest.approx(printed.units_um2["total"], rel=1e-3)


def test_table2(section):
    units = rows(section("table2"))
    for name, row in units.items():
        within(f"area of {name}", row["area_deviation"], 0.001)
    within("power, mean of nine layers", units["total"]["mean_deviation"], 0.10)
    for name, row in rows(section("table2"), 1).items():
        within(name, row["deviation"], 0.01)
    for name, row in rows(section("table2"), 2).items():
        within(name, row["deviation"], 0.17)


def test_table3(section):
    for row in section("table3").grids[0].rows:
        if row["mask"] == "real":
            continue
        assert row["weights"] == pytest.approx(row["weights_printed"], abs=0.1)
        assert row["acts"] == pytest.approx(row["acts_printed"], abs=0.02)
        assert row["flop"] == pytest.approx(row["flop_printed"], abs=1.05)


def test_table4_times(section):
    grids = section("table4").grids
    for grid, bounds, key in ((0, THEORETICAL, "spread"), (1, ACTUAL, "spread")):
        for name, row in rows(section("table4"), grid).items():
            within(f"{grids[grid].caption}: {name}", row[f"{key}_deviation"], bounds[name])
            assert row["low"] < row[key] < row["high"]
    good = [row for row in rows(section("table4"), 1).values() if abs(row["spread_deviation"]) <= 0.10]
    assert len(good) >= 7
    for name, row in rows(section("table4"), 2).items():
        within(f"actual over theoretical: {name}", row["spread_deviation"], RATIO[name])
    ratios = rows(section("table4"), 2).values()
    within("actual over theoretical, mean", np.mean([abs(row["spread_deviation"]) for row in ratios]), MEAN_RATIO)


def test_measured_spread_agrees_better_than_random_masks_in_the_ratio(section):
    # Times hang on the densities first, which no mask knows: there the masks differ by less than a point either way.
    mean, worst = {}, {}
    for mask in ("random", "spread"):
        ratio, actual = (
            [abs(row[f"{mask}_deviation"]) for row in section("table4").grids[grid].rows] for grid in (2, 1)
        )
        mean[mask], worst[mask] = (np.mean(ratio), np.mean(actual)), max(ratio)
    print(f"ratio and actual time: {mean}; ratio, worst: {worst}")
    assert mean["spread"][0] < mean["random"][0] - 0.003
    assert worst["spread"] < worst["random"] - 0.01
    assert abs(mean["spread"][1] - mean["random"][1]) < 0.01


def words(section, grid=0):
    table = section.grids[grid]
    return {row[table.columns[0].key]: basis for row, basis in zip(table.rows, table.basis, strict=True)}


def test_every_number_says_what_it_is(found):
    for part in found.parts:
        for grid in part.grids:
            for row, basis in zip(grid.rows, grid.basis, strict=True):
                keys = {column.key for column in grid.columns[grid.keys :] if row.get(column.key) is not None}
                assert set(basis) == keys, (part.name, grid.caption)
                assert set(basis.values()) <= set(MARKS)
                assert {basis[key] for key in keys if "printed" in key.split("_")} <= {"printed"}


def test_what_cells_are(section, found):
    real = " real " in found.data and "no real data" not in found.data
    assert words(section("table2"))["arithm_unit"] == {
        "printed_mw": "printed",
        "fc8_mw": "calibrated" if real else "predicted",
        "fc8_deviation": "calibrated" if real else "predicted",
        "mean_mw": "predicted",
        "mean_deviation": "predicted",
        "printed_um2": "printed",
        "ours_um2": "by construction",
        "area_deviation": "by construction",
    }
    assert words(section("table4"))["VGG-6"]["acts_needed"] == "by construction"
    assert words(section("table4"), 2)["VGG-6"]["spread_deviation"] == "predicted"
    assert set(words(section("table4"), 3)["gpu_dense_b1"].values()) == {"printed"}
    assert set(words(section("table4"), 3)["eie_actual (ours)"].values()) == {"predicted"}
    machines = section("table5").grids[0]
    listed = zip(machines.rows, machines.basis, strict=True)
    powers = [basis["spread"] for row, basis in listed if row["what"] == "power, W"]
    assert powers == ["by construction", "calibrated"]
    for name in ("figure8", "figure11", "figure12", "figure13"):
        for grid in section(name).grids:
            assert {word for row in grid.basis for word in row.values()} == {"textual claim only"}
    assert words(section("figure9"), 1)["itrs-lop"]["64"] == "calibrated"
    assert words(section("figure10"))["AlexNet top-5 (printed)"]["int8"] == "printed"


def test_words_stand_in_json_csv_and_as_marks_in_text(found):
    content = json.loads(found.to_json())
    table = next(part for part in content["sections"] if part["name"] == "table3")["tables"][0]
    assert len(table["basis"]) == len(table["rows"])
    assert table["basis"][0]["weights"] == "by construction"
    records = found.records()
    assert all(record["basis"] for record in records)
    assert {record["basis"] for record in records if record["section"] == "figure11"} == {"textual claim only"}
    unit = next(record for record in records if record.get("unit") == "spmat_read")
    assert "printed: printed_mw, printed_um2" in unit["basis"]
    assert "rounding from (p)" in str(found)
    assert "(t) textual claim only" in str(found)
    console = Console(file=io.StringIO(), width=80)
    show(console, found.headline(), found.sections())
    lines = console.file.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= 80
    assert any(line.split()[:2] == ["EIE", "256"] and line.endswith("2.36 (c)") for line in lines)


def test_real_fc8_meets_table4(shared, section):
    for grid, bound in ((0, 0.006), (1, 0.012)):
        row = rows(section("table4"), grid)["Alex-8"]
        within("Alex-8, real data", row["real_deviation"], bound)
    # 7,926 by the contract; 80 to fill the source registers and to write the sums back.
    assert rows(section("table4"), 1)["Alex-8"]["real"] == 8006 / 800
    for name, row in rows(section("table2")).items():
        within(f"power of {name} on fc8", row["fc8_deviation"], 0.001)


def test_table5(section):
    for row in section("table5").grids[0].rows:
        far = row["what"] == "frames/J, by activity"
        within(f"{row['machine']}: {row['what']}", row["spread_deviation"], 0.25 if far else 0.07)


def test_figures_6_and_7_meet_the_headline(section):
    for name, bound in (("figure6", 0.12), ("figure7", 0.10)):
        within(f"{name}, geometric mean", rows(section(name))[GEOMEAN]["measured spread deviation"], bound)


def test_claims(found):
    for statement in found.statements:
        print("pass" if statement.holds else "FAIL", statement.place, statement.claim, "|", statement.found)
    assert len(found.statements) == 18
    judged = {statement.place.replace("abstract", "text").replace(" ", "") for statement in found.statements}
    assert judged >= set(published().claims)
    assert {statement.claim for statement in found.statements if not statement.holds} == NOT_REPRODUCED


def test_every_contradiction_has_two_readings(section):
    table = section("contradictions").grids[0].rows
    assert {row["name"] for row in table} == set(published().contradictions)
    assert len(table) == 2 * len(published().contradictions)


def test_lockstep_and_anew_against_counting(bench):
    layer = "NT-We"
    encoding = bench.encoded(layer, "spread").passes[0]
    active = np.flatnonzero(bench.inputs(layer, "spread").mask[0])
    cycles = reads = entries = 0
    for j in active:
        shares = []
        for pe in range(64):
            begin, end = encoding.pointers[j, pe], encoding.pointers[j + 1, pe]
            shares.append(max(1, end - begin))
            entries += end - begin
            reads += len({at // 8 for at in range(begin, end)})
        cycles += max(shares)
    assert _lockstep_efficiency(bench, layer, "spread") == pytest.approx(entries / (64 * cycles))
    assert _reads_anew(bench, layer, EIE_64PE) == reads


def test_rounding_intervals():
    row = published().layer("VGG-6")
    assert rounding_interval(row) == ((0.035, 0.045), (pytest.approx(0.1825), pytest.approx(0.1835)))
    assert rounding_interval(published().layer("NT-We"))[1] == (1.0, 1.0)


def test_page_is_well_formed_and_stands_alone(found, section):
    page = found.to_html()
    drawings = svgs(found)
    for name in ("table4", "figure9"):
        assert section_html(section(name), drawings[name], sorts=True) in page
    tree = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    anchors = {element.get("href") for element in tree.iter("a")}
    assert anchors == {f"#{name}" for name in SECTIONS}
    assert len(list(tree.iter("{http://www.w3.org/2000/svg}svg"))) == len(DRAWN)
    for outside in ("src=", "<link", 'href="http', "@import"):
        assert outside not in page


def test_figures_have_labelled_axes(found, tmp_path):
    for one in found.parts:
        figure = draw(one)
        assert (figure is not None) == (one.name in DRAWN)
        for axes in figure.axes if figure else ():
            assert axes.get_ylabel()
            assert axes.get_xlabel() or axes.get_xticklabels()[0].get_text() == "Alex-6"
    some = tuple(one for one in found.parts if one.name in ("table4", "table5", "figure11"))
    files = replace(found, parts=some).plot(tmp_path)
    assert [file.name for file in files] == ["table4.png", "table4.svg", "figure11.png", "figure11.svg"]
    assert all(file.stat().st_size > 10_000 for file in files)


def test_text_has_every_section(found):
    text = str(found)
    for one in found.parts:
        assert one.title in text
    assert "16 of 18 hold" in text


@pytest.mark.parametrize(
    ("value", "format", "text"),
    [
        (None, "number", ""),
        (True, "yes", "yes"),
        (0.0514, "deviation", "+5.1 %"),
        (-0.2, "deviation", "-20.0 %"),
        (0.5, "percent", "50.0 %"),
        (12345.6, "number", "12,346"),
        (0.112, "number", "0.112"),
        (28.1, "number", "28.1"),
        (189, "number", "189"),
    ],
)
def test_cells(value, format, text):
    assert cell(value, Column("key", "heading", format)) == text


def test_names_are_understood_or_refused():
    only = reproduce(["Figure 9"])
    assert [one.name for one in only.parts] == ["figure9"]
    assert "no real data" in only.data
    with pytest.raises(SpecError, match=r"paper 'tabel4': no such table or figure; did you mean table4\?"):
        reproduce(["tabel4"])
    with pytest.raises(SpecError, match="known: table2, table3"):
        reproduce(["xyz"])


def test_fc8_file_is_checked(tmp_path, monkeypatch):
    with pytest.raises(ModelError, match="cannot be read"):
        Bench(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", codes=np.ones((2, 2), np.uint8))
    with pytest.raises(ModelError, match="no array codebook, bias_codes, act"):
        Bench(tmp_path / "other.npz")
    small = {"codes": np.ones((2, 3), np.uint8), "codebook": np.arange(2.0), "bias_codes": np.ones(2, np.uint8)}
    np.savez(tmp_path / "small.npz", **small, act=np.ones(3))
    with pytest.raises(ModelError, match="codes are 2 x 3: AlexNet fc8 is 1000 x 4096"):
        Bench(tmp_path / "small.npz")
    with pytest.raises(ModelError, match="only Alex-8 is public"):
        Bench().layer("VGG-6", "real")
    monkeypatch.chdir(tmp_path)
    assert find_fc8() is None
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / FC8).touch()
    assert find_fc8().name == FC8
    monkeypatch.setenv("EIE_FC8", "nowhere.npz")
    with pytest.raises(ModelError, match=r"nowhere.npz: cannot be read"):
        Bench(find_fc8())


@pytest.mark.long
def test_command(root, tmp_path):
    def run(*words, seed):
        env = {
            **os.environ,
            "PYTHONPATH": f"{root}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            "PYTHONHASHSEED": seed,
        }
        command = [sys.executable, "-m", "eie", "paper", *words]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)

    first = run("figure9", "--html", "a.html", "--plot", "plots", "--json", "a.json", seed="1")
    again = run("figure9", "--html", "b.html", seed="2")
    assert (first.returncode, again.returncode) == (0, 0), first.stderr
    assert "Figure 9: " in first.stdout
    assert first.stdout == again.stdout
    # But for the command, which stands at the foot.
    (page, _, foot), (other, _, _) = (
        (tmp_path / name).read_text().partition("<footer") for name in ("a.html", "b.html")
    )
    assert page == other
    assert "eie paper figure9 --html a.html --plot plots --json a.json" in foot
    assert sorted(file.name for file in (tmp_path / "plots").iterdir()) == ["figure9.png", "figure9.svg"]
    value = json.loads((tmp_path / "a.json").read_text())
    assert (value["schema"], value["schema_version"]) == ("eie-paper", 2)
    assert value["sections"][0]["name"] == "figure9"
    row = value["sections"][0]["tables"][0]["rows"][0]
    assert (row["series"], row["64"]) == ("Alex-6", 281.96)
    wrong = run("figur11", seed="0")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert wrong.stderr == "eie: paper 'figur11': no such table or figure; did you mean figure11?\n"
