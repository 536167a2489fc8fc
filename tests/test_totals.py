"""Totals only of like things: a window of a convolution and a whole layer are not, nor is a part the whole network."""

import json
import math

import numpy as np
import pytest

import eie
from eie.machines import reports
from eie.studies.search.search import search

RNG = np.random.default_rng(0)
CONV = eie.Layer.from_conv("conv", RNG.standard_normal((4, 1, 3, 3)))
FC = eie.Layer.from_weights("fc", RNG.standard_normal((3, 64)))
# A convolution and a layer behind it, and nobody says how they feed each other, or how large the maps are.
WINDOWS = eie.Network(name="windows", layers=(CONV, FC))
REASON = "products a sample are not known (one was run; a trace has them): conv"


def traced(products):
    rows = eie.LayerTrace.from_dense(np.ones((products, 9)), products=products)
    return eie.Trace(layers={"conv": rows, "fc": eie.LayerTrace.from_dense(np.ones(64))})


def part(network):
    """The same network with a layer that is not modelled."""
    return eie.Network(name="part", layers=network.layers, trace=traced(36), unmodelled=("gru (GRU)",))


@pytest.mark.parametrize(
    ("network", "reason"), [(WINDOWS, REASON), (part(WINDOWS), "not modelled: gru (GRU)")], ids=["windows", "part"]
)
def test_no_number_of_the_whole_but_a_dash_and_the_reason(network, reason):
    result = eie.simulate(network)
    assert result.incomplete == (reason,)
    assert [layer.cycles > 0 for layer in result.layers] == [True, True]
    for number in (result.latency_us, result.dense_us, result.energy().total_nj, result.samples_per_s):
        assert math.isnan(number)
    total = next(line for line in str(result).splitlines() if line.startswith("total"))
    assert set(total.split()[1:]) == {"-"}
    assert f"no total of the network: {reason}" in str(result)
    assert f"no total of the network: {reason}" in str(result.energy())
    written = json.loads(result.to_json())
    assert written["incomplete"] == [reason]
    assert (written["latency_us"], written["dense_us"], written["samples_per_s"]) == (None, None, None)
    assert all(energy["total_nj"] is None for energy in written["energy"].values())
    layers, others = result.records()[:2], result.records()[2:]
    assert all(record["latency_us"] > 0 for record in layers)
    assert [record["latency_us"] for record in others] == [None] * len(network.unmodelled)


def test_with_the_products_there_is_a_total():
    result = eie.simulate(WINDOWS, traced(36))
    assert result.incomplete == ()
    assert result.latency_us == pytest.approx(sum(layer.latency_us for layer in result.layers))
    one, all_of_them = (eie.simulate(WINDOWS, traced(products)).layers[0].cycles for products in (1, 36))
    assert all_of_them == 36 * one


def test_rows_without_a_trace_are_windows():
    result = eie.simulate(WINDOWS, {"conv": np.ones((2, 9)), "fc": np.ones((2, 64))})
    assert result.incomplete == (REASON,)
    # A layer of its own is unlike nothing.
    assert eie.simulate(CONV, {"conv": np.ones((2, 9))}).incomplete == ()


def test_a_sweep_has_rows_and_no_totals(tmp_path):
    swept = eie.sweep(WINDOWS, {"n_pe": [2, 4]})
    for total in swept.totals:
        assert total["error"] is None or not total["error"]
        for name in ("cycles", "latency_us", "dense_us", "speedup_over_dense", "energy_activity_nj", "macs"):
            assert total[name] is None
        assert f"no total of the network: {REASON}" in total["notes"]
        assert total["area_mm2"] > 0
    assert [row["cycles"] > 0 for row in swept.layers] == [True] * 4
    assert "no total of the network" in str(swept)
    assert "  -  " in str(swept)
    # Nor is such a point on a front.
    assert swept.pareto("latency").front == ()


def test_a_comparison_has_neither_totals_nor_means(tmp_path):
    result = eie.simulate(WINDOWS)
    path = tmp_path / "result.json"
    result.to_json(path)
    for model in (result, path, WINDOWS):
        comparison = eie.compare(model, ["dense"])
        assert comparison.incomplete == (REASON,)
        for column in comparison.columns:
            assert (column.latency_us, column.energy_nj) == (None, None)
            assert comparison.speedup(column, "total") is None
            assert comparison.speedup(column, "geometric mean") is None
            assert comparison.speedup(column, "fc") is not None
        assert REASON in str(comparison)


def test_a_study_of_granularities_has_no_total():
    study = eie.granularity(WINDOWS, ["fine:0.5"], ["dense"], with_search=False)
    assert study.incomplete == (REASON,)
    for row in study.rows:
        for machine in study.machines:
            assert study.latency_us(row, machine) is None
            assert study.energy_nj(row, machine) is None
            assert study.speedup(row, machine) is None
    assert f"no total of the network: {REASON}" in str(study)


def test_a_search_of_a_part_is_refused():
    with pytest.raises(eie.EieError, match=r"part: no total that a budget could be of: not modelled: gru \(GRU\)"):
        search(part(WINDOWS), latency="0.5x")


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".eie"])
def test_files_keep_what_is_missing(tmp_path, suffix):
    network = eie.Network(
        name="n", layers=(FC,), unmodelled=("gru (GRU)",), alternatives=True, residency="ideal", sequential=False
    )
    path = tmp_path / f"n{suffix}"
    eie.save(network, path)
    again = eie.load(path)
    assert (again.unmodelled, again.alternatives, again.residency) == (("gru (GRU)",), True, "ideal")
    program = eie.compile(again)
    program.save(tmp_path / "program.safetensors")
    read = eie.Program.load(tmp_path / "program.safetensors")
    assert (read.unmodelled, read.alternatives) == (("gru (GRU)",), True)
    assert read.spec.residency == "ideal"
    assert read.content_hash == program.content_hash


def test_importers_say_what_they_leave_out(tmp_path):
    arrays = {
        "fc.weight": np.ones((3, 4), np.float32),
        "rnn.weight_ih_l0": np.ones((6, 4), np.float32),
        "rnn.weight_hh_l0": np.ones((6, 2), np.float32),
        "cube.weight": np.ones((2, 2, 3, 3, 3), np.float32),
        "norm.weight": np.ones(4, np.float32),
    }
    np.savez(tmp_path / "model.npz", **arrays)
    network = eie.load(tmp_path / "model.npz")
    assert [layer.name for layer in network.layers] == ["fc"]
    assert len(network.unmodelled) == 2
    assert "a GRU" in network.unmodelled[0]
    assert network.unmodelled[1] == "weights of more than four dimensions: cube.weight"
    assert eie.simulate(network).incomplete[0].startswith("not modelled: ")


def test_a_model_file_may_state_its_residency(tmp_path):
    text = """
alternatives = true
residency = "ideal"
layer = [
    { name = "a", inputs = 8, outputs = 4, weight_density = 1, activation_density = 1 },
    { name = "b", inputs = 8, outputs = 4, weight_density = 1, activation_density = 1 },
]
"""
    (tmp_path / "m.toml").write_text(text)
    network = eie.load(tmp_path / "m.toml")
    assert (network.alternatives, network.residency) == (True, "ideal")
    assert eie.simulate(network).spec.residency == "ideal"
    said = eie.simulate(network, spec=eie.EIE_64PE.replace(residency="auto"))
    assert said.spec.residency == "auto"
    swept = eie.sweep(network, {"n_pe": [2]})
    assert swept.totals[0]["residency"] == "ideal"
    assert "residency ideal" in swept.totals[0]["notes"]
    assert [row["residency"] for row in eie.sweep(network, {"residency": ["auto", "ideal"]}).totals] == [
        "auto",
        "ideal",
    ]
    (tmp_path / "m.toml").write_text(f"sequential = true\n{text}")
    with pytest.raises(eie.EieError, match="alternatives=true: layers that feed each other are a network"):
        eie.load(tmp_path / "m.toml")
    (tmp_path / "m.toml").write_text(text.replace('"ideal"', '"none"'))
    with pytest.raises(eie.EieError, match="residency='none': must be 'auto' or 'ideal'"):
        eie.load(tmp_path / "m.toml")


def test_a_csv_with_a_row_that_was_not_run_is_read_back(tmp_path):
    """The row has a name and no numbers, its last cell among them: an empty one, and no stray comma."""
    network = eie.Network(name="n", layers=(eie.Layer.from_weights("fc", np.ones((6, 4))),), unmodelled=("gru (GRU)",))
    result = eie.simulate(network, {"fc": np.ones((1, 4))})
    result.to_csv(str(tmp_path / "result.csv"))
    baseline = reports.read(tmp_path / "result.csv")
    assert [(cost.layer, cost.cycles) for cost in baseline.layers] == [("fc", result.layers[0].cycles)]
    assert baseline.notes[-1] == "not modelled: gru (GRU)"
