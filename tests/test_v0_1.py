"""Files of release 0.1 are read for good, and give the numbers that they gave. They were written by 0.1, see README."""

import json

import numpy as np
import pytest
from old_networks import shared_by_0_1

import eie
from eie.machines import reports


@pytest.fixture(scope="module")
def old(root):
    return root / "tests" / "fixtures" / "v0_1"


@pytest.fixture(scope="module")
def value(old):
    return json.loads((old / "result.json").read_text())


@pytest.mark.parametrize("engine", ["fast", "events"])
def test_program_and_trace_give_the_same_result(old, value, engine):
    program = eie.Program.load(old / "program.safetensors")
    assert program.content_hash == value["program_hash"]
    assert program.memory.layers[0].place == "reloaded"
    trace = eie.Trace.load(old / "trace.npz")
    assert trace.labels.tolist() == [0, 3, 2]
    again = json.loads(eie.simulate(program, trace, engine=engine).to_json())
    # Versions, names of files and their hashes differ as they must; whatever is new is no matter.
    for key in ("network", "latency_us", "dense_us", "drive"):
        assert again[key] == value[key], key
    for key in ("spec", "inputs", "energy", "accuracy"):
        assert {name: again[key][name] for name in value[key]} == value[key], key
    for row, before in zip(again["layers"], value["layers"], strict=True):
        assert not any(row["per_pe"].pop("load"))
        assert {name: row[name] for name in before} == before
    assert value["layers"][0]["passes"] > 1


def test_its_spec_is_read_and_its_network_computes_the_same(old, value):
    """Compiled anew, layers are cut by rows only and stream: other times, the same numbers."""
    spec = eie.AcceleratorSpec.of_file(value["spec"])
    assert spec.residency == "auto"
    assert spec.stated() == value["spec"]
    # Since 0.1 a bias does not enter clustering, which moves the levels: at the same levels all outputs stay.
    program, trace = eie.compile(shared_by_0_1(old), spec), eie.Trace.load(old / "trace.npz")
    before = eie.simulate(eie.Program.load(old / "program.safetensors"), trace)
    for ours, theirs in zip(eie.simulate(program, trace).layers, before.layers, strict=True):
        np.testing.assert_array_equal(ours.outputs, theirs.outputs)
        assert ours.counts["macs"] == theirs.counts["macs"]


def test_the_network_is_the_one_that_was_stored(old):
    network = eie.load(old / "network.safetensors")
    assert [(layer.name, layer.matrix.shape, layer.matrix.nnz) for layer in network.layers] == [
        ("fc1", (10, 14), 66), ("fc2", (5, 10), 28)
    ]  # fmt: skip
    assert network.sequential
    assert network.trace.source == "three drawn inputs"
    np.testing.assert_array_equal(
        network.trace.layers["fc1"].bits, eie.Trace.load(old / "trace.npz").layers["fc1"].bits
    )


def test_the_result_is_a_baseline_and_a_workload(old, value):
    baseline = reports.read(old / "result.json")
    assert [cost.cycles for cost in baseline.layers] == [row["cycles"] for row in value["layers"]]
    assert baseline.energy_nj == pytest.approx(value["energy"]["published-power"]["total_nj"])
    comparison = eie.compare(old / "result.json", ["dense"])
    dense = comparison.columns[1].costs
    assert [dense[row["layer"]].latency_us for row in value["layers"]] == [row["dense_us"] for row in value["layers"]]
