"""Two results, or two sweeps, beside each other: what differs is named, and the changes add up."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_networks import labelled, mlp

import eie
from eie.errors import EieError
from eie.results.accounting import SHARES, apportioned, shares_of
from eie.show.envelope import enveloped

SPEC = eie.EIE_64PE.replace(n_pe=4)


def row(layer, cycles, shares=None, **other):
    """A layer of a result's file, as small as its reader lets it be."""
    record = {
        "layer": layer,
        "outputs": 8,
        "inputs": 6,
        "weight_density": 0.5,
        "activation_density": 0.5,
        "cycles": cycles,
        "total_cycles": cycles,
        "latency_us": cycles / 800,
        "efficiency": 0.5,
        "reload_cycles": 0,
        "energy_activity_nj": 2.0 * cycles,
        **other,
    }
    if shares is not None:
        record |= {f"share_{name}": share for name, share in shares_of(shares).items()}
    return record


def did(**cycles):
    """What PEs did, by name; the rest is 0."""
    return {name: cycles.get(name, 0) for name in SHARES}


def result_file(path, *layers, spec=SPEC, **content):
    path.write_text(enveloped("eie-result", {"network": "net", "spec": spec.model_dump(), "layers": layers, **content}))
    return path


@pytest.fixture
def pair(tmp_path):
    """B has half the PEs, another mask on fc1, and fc3 in place of fc2."""
    shares = did(useful=30, empty_column=50, idle_broadcast=20)
    a = result_file(tmp_path / "a.json", row("fc1", 100, shares), row("fc2", 40, did(useful=40)))
    fewer = row("fc1", 160, did(useful=120, empty_column=40), weight_density=0.25, energy_activity_nj=90.0)
    b = result_file(tmp_path / "b.json", fewer, row("fc3", 10, did(drain=10)), spec=SPEC.replace(n_pe=2))
    return a, b


def test_by_hand(pair):
    found = eie.diff(*pair)
    fc1, fc2, fc3 = found.changes
    assert [change.names["layer"] for change in found.changes] == ["fc1", "fc2", "fc3"]
    assert (fc1.only, fc2.only, fc3.only) == ("", "A", "B")
    assert (fc1.cycles, fc2.cycles, fc3.cycles) == (60, -40, 10)
    assert fc1.parts == did(useful=90, empty_column=-10, idle_broadcast=-20)
    assert fc2.parts == did(useful=-40)
    assert fc3.parts == did(drain=10)
    assert (fc1.energy_nj, fc2.energy_nj, fc3.energy_nj) == (-110, -80, 20)
    assert found.total.cycles == 30
    assert found.total.parts == did(useful=50, empty_column=-10, idle_broadcast=-20, drain=10)
    assert (found.total.a.cycles, found.total.b.cycles) == (140, 170)
    facts = {fact.what: (fact.about, fact.a, fact.b) for fact in found.facts}
    assert facts["n_pe"] == ("machine", "4", "2")
    assert facts["weights that are not zero"] == ("model", "50.00 %", "37.50 %")
    assert set(facts) == {"n_pe", "weights that are not zero"}
    assert found.headline().endswith("(EIE 2 PEs): B takes 1.214x the time and 0.3929x the energy")
    text = str(found)
    assert "Alike: inputs." in text
    assert "Cycles: +30, of which fc1 +60, fc2 -40, fc3 +10." in text
    assert "Of the mean PE: useful +50, idle broadcast -20, empty column -10, all others +10." in text
    # What is alike or unknown on both sides takes no column.
    assert "acts %" not in text
    assert "padding" not in text
    assert "weights A %" in text


def test_records_add_up_and_say_which_side(pair):
    rows = eie.diff(*pair).records()
    assert [(r["row"], r["layer"], r["in"]) for r in rows] == [
        ("layer", "fc1", "both"), ("layer", "fc2", "A"), ("layer", "fc3", "B"), ("total", "total", "both"),
    ]  # fmt: skip
    *layers, total = rows
    for key in ("cycles_change", "latency_us_change", "energy_nj_change", *(f"{name}_change" for name in SHARES)):
        assert sum(r[key] for r in layers) == pytest.approx(total[key])
    assert rows[1]["cycles_b"] is None


def test_the_same_file_twice(pair):
    found = eie.diff(pair[0], pair[0])
    assert found.same
    assert found.facts == ()
    assert str(found).endswith("no difference\n\nNo difference.\n")
    assert json.loads(found.to_json())["same"] is True
    # Every number stays in the files.
    assert {r["cycles_change"] for r in found.records()} == {0}
    assert not eie.diff(*pair).same


def test_a_part_that_moved_alone_is_a_difference(tmp_path):
    """As long as before, but for another reason."""
    a = result_file(tmp_path / "a.json", row("fc", 100, did(useful=50, padding=50)))
    b = result_file(tmp_path / "b.json", row("fc", 100, did(useful=100)))
    found = eie.diff(a, b)
    assert not found.same
    assert found.total.cycles == 0
    assert found.total.parts == did(useful=50, padding=-50)


def test_a_clock_changes_time_and_no_cycle(tmp_path):
    """1,000 cycles at 800 MHz are 1.25 us, at 400 MHz 2.5; 100 more of these are 0.25 us more."""
    a = result_file(tmp_path / "a.json", row("fc", 1000))
    slow = row("fc", 1100) | {"latency_us": 1100 / 400}
    b = result_file(tmp_path / "b.json", slow, spec=SPEC.replace(clock_mhz=400))
    text = str(eie.diff(a, b))
    assert "Of the change of +1.5 us, +1.25 us are the clock's." in text
    assert "Note: A says nothing of what its PEs did" in text


def test_results_in_memory_and_their_files(tmp_path):
    network = labelled(mlp((12, 10, 6)))
    a = eie.simulate(network, spec=SPEC)
    b = eie.simulate(network, spec=SPEC.replace(act_queue_depth=2))
    a.to_json(tmp_path / "a.json")
    found = eie.diff(tmp_path / "a.json", b)
    assert [change.parts for change in found.changes] == [change.parts for change in eie.diff(a, b).changes]
    assert eie.diff(eie.read_answer(tmp_path / "a.json"), a).same
    assert {fact.what for fact in found.facts} == {"act_queue_depth", "area, mm2"}
    for change, old, new in zip(found.changes, a.layers, b.layers, strict=True):
        assert change.cycles == pytest.approx(new.total_cycles - old.total_cycles, abs=1e-4)
        for name, cycles in change.parts.items():
            by_hand = new.shares[name] * new.total_cycles - old.shares[name] * old.total_cycles
            assert cycles == pytest.approx(by_hand, abs=1e-3)
    assert found.total.a.bound_by == a.bound_by
    assert found.total.energy_nj == pytest.approx(b.energy().total_nj - a.energy().total_nj)


def test_what_is_not_alike_is_named_once(tmp_path):
    """Eight layers lowered in another way are one line, and inputs are told by their hashes."""
    names = [f"conv{i}" for i in range(8)]
    inputs = {"source": "images", "synthetic": False, "samples": 2, "sha256": "a" * 64}
    a = result_file(tmp_path / "a.json", *(row(name, 5, kind="conv2d") for name in names), inputs=inputs, drive="trace")
    other = {**inputs, "sha256": "b" * 64, "samples": 3}
    b = result_file(
        tmp_path / "b.json", *(row(name, 5, kind="winograd") for name in names), inputs=other, drive="trace",
        model_sha256="c" * 64, engine="events",
    )  # fmt: skip
    facts = {fact.what: (fact.about, fact.a, fact.b) for fact in eie.diff(a, b).facts}
    assert facts == {
        "kind of conv0, conv1, conv2 and 5 more": ("model", "conv2d", "winograd"),
        "file, SHA-256": ("model", "-", "c" * 12),
        "samples": ("inputs", "2", "3"),
        "SHA-256": ("inputs", "a" * 12, "b" * 12),
        "engine": ("run", "-", "events"),
    }


def test_results_of_version_1(tmp_path, pair):
    """0.1 had neither shares nor `total_cycles`, and says less of its inputs."""
    layers = [row("fc1", 90)]
    del layers[0]["total_cycles"]
    content = {"schema": "eie-result", "schema_version": 1, "network": "net", "spec": SPEC.stated(), "layers": layers}
    (tmp_path / "old.json").write_text(json.dumps(content))
    found = eie.diff(tmp_path / "old.json", pair[0])
    assert found.changes[0].cycles == 10
    assert found.changes[0].parts is None
    assert {section.name for section in found.sections()} == {"facts", "costs"}


def test_layers_that_do_not_add_up(tmp_path):
    a = result_file(tmp_path / "a.json", row("fc", 10), incomplete=["half of it is missing"])
    b = result_file(tmp_path / "b.json", row("fc", 12))
    found = eie.diff(a, b)
    assert found.total is None
    assert "no total to compare" in found.headline()
    assert "no total: half of it is missing" in found.notes
    assert [r["row"] for r in found.records()] == ["layer"]


def test_nothing_in_common(tmp_path):
    a, b = (result_file(tmp_path / f"{name}.json", row(name, 10)) for name in "ab")
    found = eie.diff(a, b)
    assert "no layer of A is in B: nothing can be set side by side" in found.notes
    assert [change.cycles for change in found.changes] == [-10, 10]


def test_what_cannot_be_set_side_by_side(tmp_path, pair):
    result = eie.simulate(labelled(mlp((12, 10, 6))), spec=SPEC)
    result.energy().to_json(tmp_path / "energy.json")
    with pytest.raises(EieError, match=r"energy.json: schema 'eie-energy': must be 'eie-result' or 'eie-sweep'"):
        eie.diff(pair[0], tmp_path / "energy.json")
    sweep = eie.sweep(labelled(mlp((6, 4))), {"n_pe": [2]}, spec=SPEC)
    with pytest.raises(EieError, match=r"a.json is a result and sweep is a sweep: a difference is of two results or"):
        eie.diff(pair[0], sweep)
    with pytest.raises(EieError, match=r"net.npz: must be a .json file of eie run or eie sweep, or the folder of"):
        eie.diff("net.npz", pair[0])
    twice = result_file(tmp_path / "twice.json", row("fc", 10), row("fc", 12))
    with pytest.raises(EieError, match=r"twice.json: damaged result: two layers of one name"):
        eie.diff(twice, pair[0])
    with pytest.raises(EieError, match=r"none.json: cannot be read"):
        eie.diff(tmp_path / "none.json", pair[0])


@pytest.fixture(scope="module")
def sweeps():
    network = labelled(mlp((12, 10, 6)))
    a = eie.sweep(network, {"n_pe": [1, 2, 4]}, spec=SPEC)
    b = eie.sweep(network, {"n_pe": [2, 4], "act_queue_depth": [2, 8]}, spec=SPEC)
    return a, b


class TestSweeps:
    def test_points_are_matched_by_their_values(self, sweeps):
        """A has no other queue than its machine's 8."""
        found = eie.diff(*sweeps)
        points = {(c.names["n_pe"], c.names["act_queue_depth"]): c for c in found.points}
        assert {at: change.only for at, change in points.items()} == {
            (1, 8): "A", (2, 8): "", (4, 8): "", (2, 2): "B", (4, 2): "B",
        }  # fmt: skip
        assert points[2, 8].cycles == points[4, 8].cycles == 0
        assert points[2, 8].none
        # Layers of points are in the records, and add up to their totals.
        rows = [r for r in found.records() if (r["n_pe"], r["act_queue_depth"]) == (2, 2)]
        assert sum(r["cycles_change"] for r in rows if r["row"] == "layer") == pytest.approx(
            next(r["cycles_change"] for r in rows if r["row"] == "total"), abs=1e-3
        )
        assert {fact.what for fact in found.facts} == {"n_pe varied", "act_queue_depth varied"}

    def test_one_workload_each_is_matched_whatever_it_is_called(self, sweeps):
        other = eie.sweep(replace(labelled(mlp((12, 10, 6))), name="other"), {"n_pe": [1, 2]}, spec=SPEC)
        found = eie.diff(sweeps[0], other)
        assert [change.only for change in found.points] == ["", "", "A"]
        assert ("model", "model") in {(fact.about, fact.what) for fact in found.facts}

    def test_files_and_folders(self, sweeps, tmp_path):
        """`eie sweep -o` leaves the rows in a CSV beside the JSON; `--json` writes both in one."""
        a = sweeps[0]
        folder = tmp_path / "results"
        folder.mkdir()
        a.to_csv(folder / "points.csv")
        (folder / "sweep.json").write_text(enveloped("eie-sweep", a.about()))
        a.to_json(tmp_path / "whole.json")
        assert eie.diff(folder, tmp_path / "whole.json").same
        assert eie.diff(folder / "sweep.json", a).same

    def test_a_table_of_many_points_is_cut_and_files_are_not(self):
        network = labelled(mlp((6, 4)))
        wide, narrow = (eie.sweep(network, {"n_pe": "1:40:+1"}, spec=SPEC.replace(index_bits=i)) for i in (4, 1))
        found = eie.diff(wide, narrow)
        grid = found.section("costs").sections()[0].grids[0]
        assert len(grid.rows) == len(found.points) == 40
        assert "And 10 more points." in str(found)

    def test_failed_points_have_no_row(self, sweeps):
        # A failed point has its total row and no other.
        kept = [r for r in sweeps[0].rows if r["n_pe"] != 2 or r["row"] == "total"]
        broken = [{**r, "error": "failed"} if r["n_pe"] == 2 else r for r in kept]
        failed = eie.SweepResult(rows=tuple(broken), vary=sweeps[0].vary, spec=sweeps[0].spec)
        found = eie.diff(sweeps[0], failed)
        assert {c.names["n_pe"]: c.only for c in found.points} == {1: "", 2: "A", 4: ""}
        assert ("points that failed", "0", "1") in {(fact.what, fact.a, fact.b) for fact in found.facts}


def test_on_the_command_line(cli, pair, tmp_path):
    a, b = map(str, pair)
    code, out, err = cli("diff", a, b, "--json", str(tmp_path / "d.json"), "--csv", "-")
    assert (code, err) == (0, "")
    assert out.startswith("row,layer,in,cycles_a,cycles_b,cycles_change,")
    assert eie.read_answer(tmp_path / "d.json").command.startswith(f"eie diff {a} {b} --json")
    code, out, _ = cli("diff", a, a)
    assert (code, out.splitlines()[-1]) == (0, "No difference.")
    assert cli("diff", a, "net.npz")[::2][0] == 1
    assert cli("diff", a)[0] == 2
    assert "is read by this command" in cli("diff", a, b, "--json", a)[2]


# -- laws -------------------------------------------------------------------------------------------------------------

cycles = st.integers(1, 1 << 36)
pe_cycles = st.lists(st.integers(0, 1 << 40), min_size=len(SHARES), max_size=len(SHARES)).filter(any)


@st.composite
def results(draw):
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, unique=True))
    # A mean over a batch is no whole number.
    samples = draw(st.sampled_from([1, 1, 3, 7]))
    return [
        row(
            name,
            draw(cycles) / samples if samples > 1 else draw(cycles),
            dict(zip(SHARES, draw(pe_cycles), strict=True)),
        )
        for name in names
    ]


@given(results(), results())
def test_changes_add_up_exactly(a, b):
    """By what PEs did, layer by layer and over all; and backwards each is its own opposite."""

    def document(layers):
        content = {"network": "net", "spec": SPEC.model_dump(), "layers": layers}
        return eie.Document(schema="eie-result", schema_version=2, versions={}, command="", values=content)

    found, back = eie.diff(document(a), document(b)), eie.diff(document(b), document(a))
    for change in (*found.changes, found.total):
        assert sum(change.parts.values()) == change.cycles
        assert sum(sorted(change.parts.values())) == change.cycles
    assert sum(change.cycles for change in found.changes) == found.total.cycles
    for name in SHARES:
        assert sum(change.parts[name] for change in found.changes) == found.total.parts[name]
    assert back.total.cycles == -found.total.cycles
    for layers, side in ((a, "a"), (b, "b")):
        whole = sum(layer["total_cycles"] for layer in layers)
        assert getattr(found.total, side).cycles == pytest.approx(whole, abs=1e-4, rel=1e-15)
    assert eie.diff(document(a), document(a)).same


@given(st.lists(st.integers(0, 1 << 60), min_size=1, max_size=9).filter(any), st.integers(0, 1 << 60))
def test_what_is_apportioned_is_whole_and_in_proportion(weights, total):
    parts = apportioned(dict(enumerate(weights)), total)
    assert sum(parts.values()) == total
    for name, weight in enumerate(weights):
        assert abs(parts[name] * sum(weights) - weight * total) < sum(weights)
        assert weight or not parts[name]


def test_a_file_written_on_another_machine_is_no_difference(tmp_path):
    """4 and 4.0, lists and tuples: how a number was written is nothing."""
    result = eie.simulate(eie.Layer.from_weights("ones", np.ones((8, 6))), np.ones(6), spec=SPEC)
    value = json.loads(result.to_json())
    value["spec"]["clock_mhz"] = 800
    written = enveloped(
        "eie-result", {k: v for k, v in value.items() if k not in ("versions", "content_hash", "command")}
    )
    (tmp_path / "r.json").write_text(written)
    assert eie.diff(tmp_path / "r.json", result).same
