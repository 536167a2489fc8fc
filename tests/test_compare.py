"""EIE beside other machines, end to end on the shipped network: words in; table, CSV, JSON and figures out."""

import csv
import io
import json
from statistics import geometric_mean

import numpy as np
import pytest

import eie
from eie.errors import EieError
from eie.machines.records import WHOLE, Baseline, LayerCost, Machine
from eie.model.geometry import Conv2d
from eie.results.comparison import MEAN, TOTAL
from eie.studies.compare import compare


@pytest.fixture(scope="module")
def lenet():
    """LeNet-300-100 on 64 PEs, 4 samples."""
    network = eie.load("lenet-300-100")
    return eie.simulate(eie.compile(network, eie.EIE_64PE), network.trace.head(4))


def other(*layers, **machine):
    return Baseline(Machine(name="other", how="imported", source="test", **machine), layers)


def test_ratios_by_hand(lenet):
    half = other(*(LayerCost(layer=one.name, latency_us=one.latency_us / 2, energy_nj=1000.0) for one in lenet.layers))
    found = compare(lenet, [half, "dense"], reference="eie")
    eie_column, halved, dense = found.columns
    for layer in (*found.layers, TOTAL, MEAN):
        assert found.speedup(halved, layer) == pytest.approx(2)
        assert found.speedup(eie_column, layer) == pytest.approx(1)
    assert found.efficiency(halved, TOTAL) == pytest.approx(lenet.energy().total_nj / 3000)
    assert dense.latency_us == pytest.approx(lenet.dense_us)
    ratios = [found.speedup(dense, layer) for layer in found.layers]
    assert found.speedup(dense, MEAN) == pytest.approx(geometric_mean(ratios))
    inverse = compare(lenet, [half, "dense"])
    assert inverse.columns[inverse.reference].machine.name == "other"
    assert inverse.speedup(inverse.columns[0], TOTAL) == pytest.approx(0.5)


def test_missing_layers_are_not_summed(lenet):
    found = compare(lenet, [other(LayerCost(layer="ip1", latency_us=5.0)), "dense"], reference="dense")
    column = found.columns[1]
    assert column.latency_us is None
    assert found.speedup(column, TOTAL) is None
    assert found.speedup(column, MEAN) == found.speedup(column, "ip1")
    assert found.efficiency(column, MEAN) is None
    assert "other: no figure for ip2, ip3" in found.notes


def test_a_whole_network_has_a_total_only(lenet):
    found = compare(lenet, [other(LayerCost(layer=WHOLE, latency_us=7.0)), "dense"])
    assert found.columns[1].latency_us == 7.0
    assert found.speedup(found.columns[0], TOTAL) == pytest.approx(7.0 / lenet.latency_us)
    assert found.speedup(found.columns[0], "ip1") is None


def test_what_is_unfair_is_said(lenet):
    costs = [LayerCost(layer=layer.name, latency_us=1.0) for layer in lenet.layers]
    machines = {
        "fetches them from DRAM": {"dram": True},
        "EIE runs 1 sample at a time, other 64": {"batch": 64},
        "batch size of other is not known": {"batch": None},
        "EIE is 45 nm, other 28 nm": {"node_nm": 28},
    }
    for text, machine in machines.items():
        warnings = compare(lenet, [other(*costs, **machine)]).warnings
        assert len(warnings) == 1
        assert text in warnings[0]
    assert compare(lenet, [other(*costs, dram=False, node_nm=45)]).warnings == ()


def test_who_pays_for_memory_is_said_in_every_row(lenet):
    costs = [LayerCost(layer=layer.name, latency_us=1.0) for layer in lenet.layers]
    pays = other(*costs, memory="own DRAM", weight_bits=32, dram=True)
    found = compare(lenet, [pays, "dense"], reference="dense")
    rows = {(row["layer"], row["machine"]): row for row in found.records()}
    for layer in (*found.layers, TOTAL, MEAN):
        assert (rows[layer, "other"]["memory"], rows[layer, "other"]["weight_bits"]) == ("own DRAM", 32)
        assert (rows[layer, "dense:64"]["memory"], rows[layer, "dense:64"]["weight_bits"]) == ("same DRAM", 16)
        assert rows[layer, "EIE 64 PEs"]["weight_bits"] == 4
    assert rows["ip1", "EIE 64 PEs"]["dram_bytes"] == 0
    assert found.headline().endswith("over dense:64 (16-bit weights, memory: same DRAM)")
    # Where nothing is paid, that is said of whom it is true, and what it is unfair to.
    ideal = eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(residency="ideal"))
    free = compare(ideal, [pays, "dense"])
    assert free.warnings == ("weights and maps of EIE are taken to be on the chip, other fetches what does not fit",)
    assert [column.machine.memory for column in free.columns] == ["not paid", "own DRAM", "not paid"]
    assert "Note: EIE 64 PEs: residency ideal, weights and maps are taken to be where they are needed." in str(free)
    assert "residency ideal" not in str(found)
    claims = other(*costs, memory="not paid", dram=False)
    spilled = eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(act_kib=1, n_pe=1))
    assert compare(spilled, [claims]).warnings == (
        "weights and maps of other are taken to be on the chip, EIE fetches what does not fit",
    )


def test_the_dense_equivalent_of_a_result_file_is_that_of_the_run(tmp_path):
    """Its residency, its maps and its batch come through the file: 4 PEs whose memories hold neither."""
    spec = eie.EIE_64PE.replace(n_pe=4, act_kib=1, spmat_kib=8, ptr_kib=8)
    result = eie.simulate("lenet-300-100", spec=spec.replace(n_pe=1))
    assert {layer.dense.weights for layer in result.layers} == {"streamed", "on chip"}
    assert result.layers[0].counts["map_dram_bits"] > 0
    result.to_json(str(tmp_path / "r.json"))
    dense = compare(tmp_path / "r.json", ["dense"]).columns[1]
    assert [dense.costs[layer.name].latency_us for layer in result.layers] == [
        layer.dense_us for layer in result.layers
    ]
    assert dense.latency_us == pytest.approx(result.dense_us)
    assert dense.machine.dram is True


def test_the_estimates_bounds_stand_beside_it(lenet, tmp_path):
    """By layer and in all, the same from a result and from its file; other machines have none."""
    lenet.to_json(str(tmp_path / "r.json"))
    energy = lenet.energy()
    for compared in (compare(lenet, ["dense"]), compare(tmp_path / "r.json", ["dense"])):
        rows = compared.records()
        ours = {row["layer"]: row for row in rows if row["machine"].startswith("EIE")}
        assert (ours["total"]["energy_low_nj"], ours["total"]["energy_high_nj"]) == (energy.low_nj, energy.high_nj)
        for layer in energy.layers:
            row = ours[layer.layer]
            assert row["energy_low_nj"] == layer.low_nj <= row["energy_nj"] <= layer.high_nj == row["energy_high_nj"]
        assert {row["energy_low_nj"] for row in rows if not row["machine"].startswith("EIE")} == {None}
        assert any("by two readings of how much of it is static" in note for note in compared.notes)


def test_per_mm2(lenet):
    found = compare(
        lenet, [other(*(LayerCost(layer=one.name, latency_us=10.0) for one in lenet.layers), area_mm2=50.0)]
    )
    rows = {(row["layer"], row["machine"]): row for row in found.records()}
    assert rows["ip1", "other"]["frames_per_s_mm2"] == pytest.approx(1e5 / 50)
    assert rows[TOTAL, "EIE 64 PEs"]["frames_per_s_mm2"] == pytest.approx(1e6 / lenet.latency_us / 40.84, rel=1e-3)


def test_records_agree_in_every_form(lenet):
    found = compare(lenet, ["systolic:16x16:os", "roofline:titan-x:csr"])
    records = found.records()
    assert len(records) == (3 + 2) * 3
    rows = list(csv.DictReader(io.StringIO(found.to_csv())))
    value = json.loads(found.to_json())
    assert value["rows"] == records
    assert value["reference"] == "systolic:16x16:os"
    assert [row["machine"] for row in rows] == [record["machine"] for record in records]
    assert float(rows[1]["latency_us"]) == records[1]["latency_us"]
    names = [machine["name"] for machine in value["machines"]]
    assert names == ["EIE 64 PEs", "systolic:16x16:os", "GeForce Titan X roofline csr b1 (bound)"]


def test_machines_of_one_name_are_told_apart(lenet):
    found = compare(lenet, ["systolic:8x8:ws@500", "systolic:8x8:ws@1000"])
    assert [column.machine.name for column in found.columns][1:] == ["systolic:8x8:ws", "systolic:8x8:ws #2"]
    assert found.speedup(found.columns[2], TOTAL) == pytest.approx(2)


def test_convolutions_lstms_and_winograd():
    """Layers that are not fully connected, from the simulated result to each kind of machine."""
    rng = np.random.default_rng(0)
    conv = Conv2d(in_channels=2, out_channels=3, kernel=(3, 3), pads=(1, 1, 1, 1))
    network = eie.Network(
        name="n",
        layers=(
            eie.Layer.from_conv(
                name="conv", weights=rng.standard_normal(conv.weight_shape), bias=rng.standard_normal(3), conv=conv
            ),
            eie.Layer.from_lstm("lstm", rng.standard_normal((8, 3)), rng.standard_normal((8, 2))),
        ),
    )
    trace = eie.Trace(
        layers={
            "conv": eie.LayerTrace.from_dense(np.ones((36, 18)), products=36),
            "lstm": eie.LayerTrace.from_dense(np.ones((5, 5)), products=5),
        }
    )
    spec = eie.EIE_64PE.replace(n_pe=4)
    result = eie.simulate(eie.compile(network, spec, bias="column"), trace)
    names = ["dense", "systolic:4x4:ws", "nm:2:4", "roofline:titan-x", "measured:dense"]
    found = compare(result, names, network=network)
    dense, systolic = found.columns[1:3]
    assert dense.costs["conv"].cycles == (18 + 1) * 36
    assert dense.costs["lstm"].cycles == 2 * 5 * 5
    assert systolic.costs["conv"].cycles == 5 * (4 + 36 + 6) - 1
    assert systolic.costs["lstm"].cycles == 5 * (2 * 2 * (4 + 1 + 6) - 1)
    assert all(column.latency_us is not None for column in found.columns)
    layer = network.layers[0]
    one = eie.compile(eie.Network(name="w", layers=(layer,), sequential=True), spec, lowering="winograd")
    tiles = compare(eie.simulate(one, np.ones((2, 6, 6))), ["systolic:4x4:ws"], network=network)
    # 9 tiles, 16 products (3 x 2) a tile.
    assert tiles.columns[1].costs["conv"].cycles == 16 * ((4 + 9 + 6) - 1)


def test_damaged_results_are_refused(lenet, tmp_path):
    value = json.loads(lenet.to_json())
    for change in ({"groups": 0}, {"outputs": 0}, {"products": "x"}, {"weight_density": None}):
        # As 0.1 wrote it, without a hash, which would tell before a field is looked at.
        broken = {**value, "schema_version": 1, "layers": [{**value["layers"][0], **change}]}
        del broken["content_hash"]
        (tmp_path / "r.json").write_text(json.dumps(broken))
        with pytest.raises(EieError, match="r.json: damaged result"):
            compare(tmp_path / "r.json", ["dense"])
    broken = {**value, "schema_version": 1, "spec": {**value["spec"], "n_pe": 0}}
    del broken["content_hash"]
    (tmp_path / "r.json").write_text(json.dumps(broken))
    with pytest.raises(EieError, match=r"r.json: damaged result: spec.n_pe=0: must be >= 1$"):
        compare(tmp_path / "r.json", ["dense"])


def test_refused(lenet):
    with pytest.raises(EieError, match="nothing to compare with"):
        compare(lenet, [])
    with pytest.raises(EieError, match="--reference x: must be eie or one of the baselines, dense"):
        compare(lenet, ["dense"], reference="x")


def test_a_model_end_to_end(cli, tmp_path):
    code, out, err = cli(
        "compare", "lenet-300-100", "--samples", 2, "--baseline", "systolic:32x32:ws", "--baseline", "dense",
        "--baseline", "nm:2:4:b64", "--baseline", "published:cpu_dense_b1",
        "--json", "c.json", "--csv", "c.csv", "--plot", "figures",
    )  # fmt: skip
    assert code == 0
    assert out.startswith("lenet-300-100: speedup and energy efficiency over systolic:32x32:ws")
    for text in ("geometric mean", "frames/s/mm2", "Unfair: EIE runs 1 sample at a time, A100 (40 GB) 2:4 (bound) 64"):
        assert text in out
    assert "keep more than 2 weights" in out
    assert "not among our layers: Alex-6" in " ".join(out.split())
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == [
        "compare-speedup.png", "compare-speedup.svg"
    ]  # fmt: skip
    assert "wrote 2 figures to figures" in err
    value = json.loads((tmp_path / "c.json").read_text())
    by_place = {(row["layer"], row["machine"]): row for row in value["rows"]}
    # 784 inputs in 25 folds, 300 outputs in 10, each 32 to load, 1 vector, 62 of skew; counted from 0.
    assert by_place["ip1", "systolic:32x32:ws"]["cycles"] == 25 * 10 * (32 + 1 + 62) - 1
    assert by_place["ip1", "dense:64"]["cycles"] == 5 * 785
    assert len((tmp_path / "c.csv").read_text().splitlines()) == 1 + 5 * 5


def test_a_result_file_end_to_end(cli, lenet, tmp_path):
    lenet.to_json(str(tmp_path / "r.json"))
    (tmp_path / "COMPUTE_REPORT.csv").write_text(
        "LayerID, Total Cycles, Stall Cycles,\n0, 8000, 0,\n1, 800, 0,\n2, 80, 0,\n"
    )
    code, out, _ = cli("compare", "r.json", "--baseline", "COMPUTE_REPORT.csv@400", "--csv", "-")
    assert code == 0
    rows = {(row["layer"], row["how"]): row for row in csv.DictReader(io.StringIO(out))}
    assert float(rows["ip1", "imported"]["latency_us"]) == 20
    assert float(rows["ip1", "modelled"]["speedup"]) == pytest.approx(20 / lenet.layers[0].latency_us)
    (tmp_path / "t.csv").write_text("Op,ms\nip1,0.1\nip3,0.2\n")
    words = ("r.json", "--baseline", "t.csv", "--map", "layer=Op", "--map", "latency_ms=ms", "--reference", "eie")
    code, out, _ = cli("compare", *words)
    assert code == 0
    assert "Note: t: no figure for ip2." in out
    assert "the batch size of t is not known" in out


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["r.json"], 2, "Missing option '--baseline'"),
        (["r.json", "--baseline", "dense"], 1, "eie: r.json: cannot be read: No such file or directory"),
        (["r.json", "--baseline", "dense", "--samples", "2"], 2, "is simulated already"),
        (["r.json", "--baseline", "dense", "--conv", "scatter"], 2, "is simulated already"),
        (["lenet-300-100", "--baseline", "none", "--samples", "1"], 2, "eie: machine none: no such file"),
        (["x.csv", "--baseline", "dense"], 1, "eie: x.csv: cannot be read: No such file or directory"),
        (["lenet-300-100", "--samples", "1", "--baseline", "dense", "--map", "layer"], 2, "must be QUANTITY=COLUMN"),
    ],
)
def test_wrong_words(cli, words, code, text):
    found, _, err = cli("compare", *words)
    assert found == code
    assert text in err


def test_figures_hold_a_bar_for_each_machine_and_layer(lenet):
    from eie.plots.comparison import energy_efficiency, speedup

    found = compare(lenet, ["dense", "systolic:8x8:ws", "roofline:i7-5930k"], reference="roofline:i7-5930k")
    (axes,) = speedup(found).axes
    heights = np.array([bar.get_height() for bar in axes.patches]).reshape(4, 4)
    assert axes.get_yscale() == "log"
    assert heights[0, 1] == pytest.approx(found.speedup(found.columns[0], "ip2"))
    assert heights[3] == pytest.approx(np.ones(4))
    (axes,) = energy_efficiency(found).axes
    assert len(axes.patches) == 3 * 4  # the systolic array has no energy


def test_the_papers_figure_6_from_table_iv():
    """Published columns set beside each other give the speedups that the paper states: 189 x in the mean."""
    from eie.machines import published

    eie_us = {one.layer: one.latency_us for one in published.run("eie_actual").layers}
    cpu = {one.layer: one.latency_us for one in published.run("cpu_dense_b1").layers}
    mean = geometric_mean(cpu[name] / eie_us[name] for name in cpu)
    print(f"geometric mean {mean:.1f}, printed {published.figure(6).geometric_mean['eie']}")
    assert mean == pytest.approx(published.figure(6).geometric_mean["eie"], rel=0.03)
