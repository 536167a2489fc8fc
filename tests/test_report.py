"""Results: tables, JSON, CSV, DataFrames, HTML, figures; all say the same."""

import csv
import io
import json
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from rich.console import Console

import eie
from eie.plots.result import energy_by_unit, latency, pe_cycles, pe_occupancy
from eie.show.cells import cells_of


def columns(result):
    return cells_of(result.sections()[0].grids[0])


@pytest.fixture(scope="module")
def result():
    return eie.simulate(eie.compile(eie.load("lenet-300-100")))


@pytest.fixture(scope="module")
def single():
    layer = eie.Layer.from_weights("one", np.eye(128))
    return eie.simulate(eie.compile(layer), np.ones(128))


def test_table_shows_what_the_result_says(result):
    table = {column.heading: column for column in columns(result)}
    first = result.layers[0]
    assert table["out x in"].cells[0] == "300 x 784"
    assert table["weights %"].cells[0] == "8.0"
    assert table["cycles"].cells[0] == f"{first.cycles:,.0f}"
    assert float(table["latency us"].cells[0]) == pytest.approx(first.latency_us, rel=1e-3)
    assert float(table["p99 us"].cells[0]) == pytest.approx(first.latency.p99, rel=1e-3)
    assert float(table["effic. %"].cells[0]) == pytest.approx(100 * first.efficiency, abs=0.05)
    assert float(table["nJ by activity"].total) == pytest.approx(result.energy("activity").total_nj, rel=1e-3)
    assert table["speedup"].total == f"{result.dense_us / result.latency_us:.4g}x"
    assert table["fits"].cells == ("yes",) * 3
    text = str(result)
    for column in table.values():
        assert column.heading in text
        assert all(cell in text for cell in column.cells)


def test_a_single_sample_has_no_percentiles(single):
    assert "p50 us" not in str(single)
    assert "1 sample; one layer" in str(single)


def test_totals_are_sums_and_samples_add_up(result):
    assert result.latency_us == pytest.approx(sum(layer.latency_us for layer in result.layers))
    assert result.sample_us.shape == (256,)
    assert result.energy("published-power").samples_nj.shape == (256,)


@pytest.mark.parametrize("width", [60, 80, 120, 250])
def test_on_a_terminal_of_any_width_no_cell_is_cut(result, width):
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    result.show(console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for column in columns(result):
        assert all(cell in text for cell in column.cells)
    assert "…" not in text


def test_dense_equivalent(result):
    """ceil(300 / 64) rows in the fullest PE x (784 inputs and the bias) cycles."""
    assert result.layers[0].dense_us == pytest.approx(5 * 785 / 800)


def test_the_most_even_layer_is_perfectly_efficient():
    layer = eie.Layer.from_weights("full", np.ones((6400, 64)))
    # 100 sums a PE: with the paper's accumulators in one pass.
    row = eie.simulate(layer, np.ones(64), spec=eie.EIE_64PE.replace(residency="ideal")).layers[0]
    assert row.imbalance == 1
    assert row.efficiency == pytest.approx(6400 / (6400 + 8), abs=1e-3)
    assert row.speedup_over_dense < 1


def test_json_carries_everything(result):
    value = json.loads(result.to_json())
    assert (value["schema"], value["schema_version"]) == ("eie-result", 2)
    assert value["spec"] == result.spec.model_dump()
    assert value["program_hash"] == result.program.content_hash
    assert value["versions"]["eie"] == eie.__version__
    assert value["accuracy"]["samples"] == 256
    other = eie.simulate(result.program, result.program.trace.head(3))
    assert len(value["inputs"]["sha256"]) == 64
    assert json.loads(other.to_json())["inputs"]["sha256"] != value["inputs"]["sha256"]
    assert {method: entry["table"] for method, entry in value["energy"].items()} == {
        "published-power": "eie-isca2016", "activity": "eie-isca2016"
    }  # fmt: skip
    layer = value["layers"][0]
    assert layer["latency_us"] == pytest.approx(result.layers[0].latency_us)
    per_pe = np.sum([layer["per_pe"][name] for name in ("issue", "empty_column", "starved", "drain")], axis=0)
    assert per_pe == pytest.approx(layer["cycles"])


def test_csv_and_pandas_agree(result, tmp_path):
    text = result.to_csv(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == text
    rows = list(csv.DictReader(io.StringIO(text)))
    frame = result.to_pandas()
    assert [row["layer"] for row in rows] == frame["layer"].tolist() == ["ip1", "ip2", "ip3"]
    assert [float(row["latency_us"]) for row in rows] == pytest.approx(frame["latency_us"].tolist())
    assert [float(row["energy_activity_nj"]) for row in rows] == pytest.approx(frame["energy_activity_nj"].tolist())
    assert all(name.endswith(("_us", "_nj")) for name in frame if "latency" in name or name.startswith("energy"))


def test_html_is_well_formed_and_escaped():
    layer = eie.Layer.from_weights("a<b>&c", np.eye(4))
    html = eie.simulate(eie.compile(layer), np.ones(4))._repr_html_()
    assert "a&lt;b&gt;&amp;c" in html
    assert "<b>&c" not in html
    opened = []

    class Balance(HTMLParser):
        def handle_starttag(self, tag, attrs):
            opened.append(tag)

        def handle_endtag(self, tag):
            assert opened.pop() == tag

    Balance().feed(html)
    assert not opened


def test_notes_tell_what_to_know():
    drawn = eie.simulate(eie.compile(eie.load("eie-benchmark")), threads=1)
    notes = "\n".join(drawn.notes())
    assert "synthetic weights (random masks are more even than real pruned layers): Alex-6" in notes
    assert "synthetic inputs: synthetic activations, seed 0" in notes
    assert "25,089 column pointers a PE, room for 16,384" in notes
    assert "NT-Wd: weights do not fit: 138 outputs a PE, room for 64" in notes


def test_an_energy_that_does_not_exist_is_a_note_not_a_failure():
    layer = eie.Layer.from_weights("one", np.eye(8))
    result = eie.simulate(eie.compile(layer, eie.EIE_64PE.replace(spmat_row_bits=8)), np.ones(8))
    assert "nJ by activity" not in str(result)
    assert any(note.startswith("no energy by activity: no CACTI row") for note in result.notes())
    json.loads(result.to_json())


class TestFigures:
    def test_where_cycles_go_adds_up(self, result):
        figure = pe_cycles(result.layers[0])
        (axes,) = figure.axes
        stairs = [patch for patch in axes.patches if hasattr(patch, "get_data")]
        # By the names of shares, those that are none left out.
        layer = result.layers[0]
        assert len(stairs) == sum(cycles.any() for cycles in layer.pe_cycles.values())
        top = stairs[-1].get_data().values
        assert top == pytest.approx(np.full(64, result.layers[0].cycles))
        assert axes.get_xlabel() == "processing element"
        assert axes.get_ylabel() == "cycles"

    def test_occupancy_is_what_the_images_hold(self):
        weights = np.zeros((80, 4))
        weights[[0, 79]] = 1  # 40 local rows in each of 2 PEs; the last one costs PE 1 two padding entries a column
        row = eie.simulate(
            eie.compile(eie.Layer.from_weights("tall", weights), eie.EIE_64PE.replace(n_pe=2)), np.ones(4)
        )
        (axes,) = pe_occupancy(row.layers[0]).axes
        stairs = [patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")]
        assert stairs[0].values.tolist() == [4, 4]
        assert stairs[1].values.tolist() == [4, 12]
        assert "fullest PE 12 entries, room for 65,535 a PE" in axes.get_title()

    def test_latency_and_energy_show_the_numbers(self, result):
        bars = latency(result).axes[0].containers
        assert [bar.get_height() for bar in bars[1]] == pytest.approx([layer.latency_us for layer in result.layers])
        figure = energy_by_unit(result)
        assert [axes.get_title() for axes in figure.axes] == ["published-power, eie-isca2016", "activity, eie-isca2016"]
        height = sum(bar.get_height() for container in figure.axes[1].containers for bar in container)
        assert height == pytest.approx(result.energy("activity").total_nj)

    def test_files_are_whole_and_the_same_every_time(self, single, tmp_path):
        before = dict(mpl.rcParams)
        first, second = (single.plot(tmp_path / name) for name in "ab")
        assert [path.name for path in first] == [
            f"{name}.{suffix}"
            for name in ("latency", "energy", "shares", "pe-cycles-1-one", "pe-occupancy-1-one", "pe-time-1-one")
            for suffix in ("png", "svg")
        ]  # fmt: skip
        for one, two in zip(first, second, strict=True):
            assert one.read_bytes() == two.read_bytes()
            if one.suffix == ".svg":
                ET.parse(one)
            else:
                assert one.read_bytes().startswith(b"\x89PNG")
        assert dict(mpl.rcParams) == before

    def test_a_file_in_the_way(self, single, tmp_path):
        (tmp_path / "taken").write_text("x")
        with pytest.raises(eie.EieError, match="cannot be made a folder"):
            single.plot(tmp_path / "taken")
