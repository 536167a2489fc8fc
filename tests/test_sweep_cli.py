"""``eie sweep`` on the command line, and its figures."""

import csv
import io
import json
import signal
import sys

import numpy as np
import pytest
from click.testing import CliRunner

import eie
from eie.cli import main
from eie.errors import SweepError
from eie.plots import sweep as figures
from eie.plots.drawing import save_figures

MODEL = """
name = "pair"
layer = [
    {name = "a", inputs = 120, outputs = 90, weight_density = 0.2, activation_density = 0.5},
    {name = "b", inputs = 90, outputs = 64, weight_density = 0.1, activation_density = 0.4},
]
"""
VARY = {"n_pe": [1, 2, 4, 8], "act_queue_depth": [2, 8], "spmat_row_bits": [32, 64, 128]}


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.toml").write_text(MODEL)
    return str(tmp_path / "model.toml")


@pytest.fixture
def eie_sweep(monkeypatch, capsys, model, tmp_path):
    """Run ``eie sweep MODEL ... -o OUT``; return status, stdout and stderr."""

    def run(*words):
        monkeypatch.setattr("sys.argv", ["eie", "sweep", model, *words, "-o", str(tmp_path / "out")])
        with pytest.raises(SystemExit) as caught:
            main()
        return caught.value.code, *capsys.readouterr()

    return run


def test_files_and_tables(eie_sweep, model, tmp_path):
    words = ("--vary", "n_pe=1:8:x2", "--vary", "act_queue_depth=2,8", "--set", "clock_mhz=400")
    status, out, err = eie_sweep(*words, "--pareto", "latency,area", "--plot")
    assert status == 0
    folder = tmp_path / "out"
    vary = {"n_pe": [1, 2, 4, 8], "act_queue_depth": [2, 8]}
    expected = eie.sweep(model, vary, spec=eie.EIE_64PE.replace(clock_mhz=400)).pareto("latency", "area")
    assert (folder / "points.csv").read_text() == expected.to_csv()
    about = json.loads((folder / "sweep.json").read_text())
    assert (about["points"], about["failed"], about["vary"]) == (8, 0, vary)
    assert about["spec"]["clock_mhz"] == 400
    rows = list(csv.DictReader(io.StringIO(expected.to_csv())))
    assert {row["row"] for row in rows} == {"total", "layer"}
    assert out == str(expected)
    listed = [line.split()[:3] for line in out.splitlines()[3 : 3 + len(expected.front)]]
    assert listed == [["pair", str(row["n_pe"]), str(row["act_queue_depth"])] for row in expected.front]
    assert f"Note: the front of latency, area: {len(expected.front)} of 8 points" in out
    assert err == f"wrote 14 figures to {folder}/figures\nwrote 8 points to {folder}\n"
    assert {file.stem for file in (folder / "figures").iterdir()} == {
        "latency-over-pes",
        "padding-over-pes",
        "balance-over-pes",
        "efficiency-over-depth",
        "energy-over-n_pe",
        "energy-over-act_queue_depth",
        "pareto",
    }


def test_the_same_forms_as_every_command(eie_sweep, tmp_path):
    files = (
        "--json",
        str(tmp_path / "s.json"),
        "--html",
        str(tmp_path / "s.html"),
        "--plot",
        str(tmp_path / "pictures"),
    )
    status, out, _ = eie_sweep("--vary", "n_pe=2,4", *files)
    assert status == 0
    document = eie.read_answer(tmp_path / "s.json", "eie-sweep")
    short = eie.read_answer(tmp_path / "out" / "sweep.json", "eie-sweep")
    assert {key: document.values[key] for key in short.values} == short.values
    assert set(document.values) - set(short.values) == {"rows"}
    assert len(document.records()) == 2 * 3
    assert "pair on EIE_64PE, 2 points over n_pe (2 values)" in out
    assert "<svg" in (tmp_path / "s.html").read_text()
    assert {file.suffix for file in (tmp_path / "pictures").iterdir()} == {".png", ".svg"}


def test_traces_of_a_file(eie_sweep, tmp_path):
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        layers = {
            key: eie.LayerTrace.from_dense(rng.random((4, width)) < 0.5) for key, width in (("a", 120), ("b", 90))
        }
        eie.Trace(layers=layers, source=name).save(tmp_path / f"{name}.npz")
    files = [word for name in ("one", "two") for word in ("--trace", str(tmp_path / f"{name}.npz"))]
    status, _, _ = eie_sweep("--vary", "n_pe=2,4", *files, "--samples", "3")
    assert status == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "points.csv").read_text())))
    assert [(row["trace"], row["n_pe"]) for row in rows if row["row"] == "total"] == [
        (name, n_pe) for name in ("one", "two") for n_pe in ("2", "4")
    ]
    assert {row["samples"] for row in rows} == {"3"}


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["--vary", "n_pes=1"], 2, "vary.n_pes: unknown spec field; did you mean n_pe?"),
        (["--vary", "n_pe=8:1:x2"], 2, "is not a range"),
        (["--vary", "n_pe=0"], 2, "spec.n_pe=0: must be >= 1"),
        (["--vary", "n_pe=2", "--set", "n_pe=4"], 2, "--set n_pe=4: this field is varied"),
        (
            ["--vary", "n_pe=2", "--pareto", "speed"],
            1,
            "objective 'speed': must be latency, energy, energy-delay, area or a numeric",
        ),
        ([], 2, "Missing option '--vary'"),
        (["--vary", "ptr_bits=4", "--set", "stream_kib=0.01", "--set", "n_pe=1"], 1, "every point failed"),
    ],
)
def test_wrong_words_are_one_line(eie_sweep, words, status, text):
    found, out, err = eie_sweep(*words)
    assert found == status
    assert text in err
    assert "Traceback" not in err + out


def test_the_front_alone_is_written(eie_sweep, tmp_path):
    words = ("--vary", "n_pe=1:8:x2", "--vary", "act_queue_depth=2,8")
    assert eie_sweep(*words, "--pareto", "latency,area")[0] == 0
    with (tmp_path / "out" / "points.csv").open() as file:
        marked = [row for row in csv.DictReader(file) if row["pareto"] == "True"]
    status, out, err = eie_sweep(*words, "--front", "latency,area")
    assert status == 0
    with (tmp_path / "out" / "points.csv").open() as file:
        assert list(csv.DictReader(file)) == marked
    assert json.loads((tmp_path / "out" / "sweep.json").read_text())["points"] == 8
    assert "the front of latency, area" in out
    assert f"wrote the front, {sum(row['row'] == 'total' for row in marked)} points" in err
    status, _, err = eie_sweep(*words, "--front", "latency", "--pareto", "area")
    assert (status, "--front is a front already" in err) == (2, True)


def test_a_command_leaves_signals_as_they_were(eie_sweep):
    before = [signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook
    assert eie_sweep("--vary", "n_pe=1")[0] == 0
    assert ([signal.getsignal(name) for name in (signal.SIGINT, signal.SIGTERM)], sys.unraisablehook) == before


def test_failed_points_are_counted(eie_sweep):
    status, out, err = eie_sweep("--vary", "spmat_row_bits=7,64", "--vary", "weight_bits=3,4")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[3:6]] == ["pair"] * 3
    assert "1 points failed (column error; --retry-failed tries again), first: spec.spmat_row_bits=7: must be" in err


def test_help_needs_no_numba():
    import subprocess
    import sys

    code = (
        "import sys; from eie.cli.app import app; print([m for m in ('numba', 'rich', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    from eie.cli.app import app

    assert "--vary" in CliRunner().invoke(app, ["sweep", "--help"]).output


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.toml"
    path.write_text(MODEL)
    return eie.sweep(path, VARY)


@pytest.mark.parametrize(
    ("draw", "column", "field"),
    [
        (figures.latency_over_pes, "latency_us", "n_pe"),
        (figures.efficiency_over_depth, "efficiency", "act_queue_depth"),
        (figures.padding_over_pes, "padding_share", "n_pe"),
        (figures.balance_over_pes, "efficiency", "n_pe"),
        (figures.reads_over_row_width, "spmat_reads", "spmat_row_bits"),
    ],
)
def test_lines_are_the_layers_at_the_base_machine(result, draw, column, field):
    figure = draw(result)
    axes = figure.axes[0]
    still = {"n_pe": 1, "act_queue_depth": 8, "spmat_row_bits": 64}  # 64 PEs are not among the values
    for line, name in zip(axes.lines, ("a", "b"), strict=True):
        rows = [
            row
            for row in result.layers
            if row["layer"] == name and all(row[key] == still[key] for key in still if key != field)
        ]
        assert line.get_label() == name
        assert line.get_xdata().tolist() == [row[field] for row in rows]
        assert line.get_ydata().tolist() == [row[column] for row in rows]
    title = figure.get_suptitle()
    assert all(f"{key} = {value}" in title for key, value in still.items() if key != field)
    assert "random masks" in title
    assert all(one.get_xlabel() and one.get_ylabel() for one in figure.axes)


def test_speedup_is_over_the_fewest_pes(result):
    left, right = figures.latency_over_pes(result).axes
    latency = left.lines[0].get_ydata()
    assert right.lines[0].get_ydata().tolist() == (latency[0] / latency).tolist()


def test_energy_stacks_up_to_the_total(result):
    figure = figures.energy_over(result, "spmat_row_bits")
    bars = figure.axes[0].patches
    tops = {}
    for bar in bars:
        tops[bar.get_x()] = max(tops.get(bar.get_x(), 0), bar.get_y() + bar.get_height())
    totals = [row for row in result.totals if (row["n_pe"], row["act_queue_depth"]) == (1, 8)]
    assert list(tops.values()) == pytest.approx([row["energy_activity_nj"] for row in totals])


def test_front_is_drawn_as_marked(result):
    marked = result.pareto("latency", "energy")
    axes = figures.pareto(marked).axes[0]
    line = next(line for line in axes.lines if "front" in line.get_label())
    drawn = sorted(zip(line.get_xdata().tolist(), line.get_ydata().tolist(), strict=True))
    assert drawn == sorted((row["latency_us"], row["energy_activity_nj"]) for row in marked.front)
    assert line.get_linestyle() == "-"


def test_the_same_figure_gives_the_same_bytes(result, tmp_path):
    marked = result.pareto("latency", "energy")
    for name in ("one", "two"):
        save_figures({name: lambda: figures.pareto(marked)}, tmp_path)
    for suffix in ("png", "svg"):
        assert (tmp_path / f"one.{suffix}").read_bytes() == (tmp_path / f"two.{suffix}").read_bytes()


def test_a_field_that_was_not_varied_has_no_figure(result):
    with pytest.raises(SweepError, match="no figure over clock_mhz: it was not varied"):
        figures.energy_over(result, "clock_mhz")
