"""Dense machines against hand-computed layers, SCALE-Sim's measured runs, the paper's tables; reports as written."""

import csv
import statistics
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eie
from eie.errors import EieError, ModelError, TraceError
from eie.machines import (
    dense,
    measured,
    presets,
    published,
    reports,
    roofline,
    scalesim,
    scalesim_config,
    systolic,
    tensor_core,
    timing,
)
from eie.machines.choose import choose
from eie.machines.match import match
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.rows import ResultRow
from eie.machines.systolic import SystolicArray, gemm
from eie.machines.workload import LayerWork, Workload, layer_work, work_of_rows
from eie.model.geometry import Conv2d
from eie.studies.compare import rows_of

FIXTURES = Path(__file__).parent / "fixtures" / "scalesim"


def work(outputs, inputs, **more):
    kept = more.pop("kept_weights", outputs * inputs * more.get("groups", 1))
    return Workload("w", (LayerWork(name="a", outputs=outputs, inputs=inputs, kept_weights=kept, **more),))


def only(baseline):
    assert len(baseline.layers) == 1
    return baseline.layers[0]


# -- systolic array ---------------------------------------------------------------------------------------------------


def measured_runs(name):
    with (FIXTURES / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def product_of(row):
    """(m, n, k) of a measured run; SCALE-Sim counts windows that hang over the edge."""
    sizes = [int(value) for value in list(row.values())[5:12] if value]
    if row["kind"] == "gemm":
        return tuple(sizes)
    height, width, rows, columns, channels, filters, stride = sizes
    down, across = (-(-(size - kernel) // stride) + 1 for size, kernel in ((height, rows), (width, columns)))
    return down * across, filters, rows * columns * channels


@pytest.mark.parametrize(("file", "count"), [("cycles.csv", 120), ("cycles_rectangular.csv", 135)])
def test_systolic_cycles_are_scale_sims_to_the_cycle(file, count):
    runs = measured_runs(file)
    assert len(runs) == count
    for row in runs:
        array = SystolicArray(rows=int(row["array_rows"]), columns=int(row["array_cols"]), dataflow=row["dataflow"])
        one = gemm(*product_of(row), array)
        found = (one.total_cycles, one.cycles_incl_prefetch, one.stall_cycles)
        assert found == tuple(int(row[key]) for key in ("total_cycles", "total_cycles_incl_prefetch", "stall_cycles"))
        for ours, key in (
            (one.overall_util_pct, "overall_util_pct"),
            (one.mapping_efficiency_pct, "mapping_efficiency_pct"),
            (one.compute_util_pct, "compute_util_pct"),
        ):
            assert ours == pytest.approx(float(row[key]), rel=1e-12), row


def test_the_shared_runs_are_the_fixture(shared):
    assert (shared / "reference" / "scalesim_cycles.csv").read_bytes() == (FIXTURES / "cycles.csv").read_bytes()


def test_systolic_by_hand():
    """2 x 2, weights stay: 2 cycles to load, 1 vector, 2 of skew; cycles count from 0."""
    assert gemm(m=1, n=1, k=1, array=SystolicArray(rows=2, columns=2, dataflow="ws")).total_cycles == 2 + 1 + 2 - 1
    assert gemm(m=1, n=1, k=1, array=SystolicArray(rows=2, columns=2, dataflow="os")).total_cycles == 1 + 2 - 1
    # 3 inputs need two folds of rows, 3 outputs two of columns.
    assert (
        gemm(m=5, n=3, k=3, array=SystolicArray(rows=2, columns=2, dataflow="ws")).total_cycles == 4 * (2 + 5 + 2) - 1
    )
    assert (
        gemm(m=5, n=3, k=3, array=SystolicArray(rows=2, columns=2, dataflow="is")).total_cycles == 6 * (2 + 3 + 2) - 1
    )


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_systolic_bounds(m, n, k, rows, columns):
    for flow in ("ws", "os", "is"):
        one = gemm(m=m, n=n, k=k, array=SystolicArray(rows=rows, columns=columns, dataflow=flow))
        assert 0 < one.compute_util_pct <= one.mapping_efficiency_pct <= 100 + 1e-9
        assert one.total_cycles + 1 >= m * n * k / (rows * columns)
        assert one.cycles_incl_prefetch > one.total_cycles
        assert one.stall_cycles == 0


def test_systolic_transposed_product_swaps_weights_and_inputs():
    for m, n, k in ((3, 7, 5), (20, 1, 9)):
        ws, its = (
            gemm(m=m, n=n, k=k, array=SystolicArray(rows=4, columns=6, dataflow="ws")),
            gemm(m=n, n=m, k=k, array=SystolicArray(rows=4, columns=6, dataflow="is")),
        )
        assert ws == its


def test_small_srams_stall():
    wide = SystolicArray(rows=8, columns=8, dataflow="ws")
    small = replace(wide, ifmap_kib=1, filter_kib=1, read_words=1)
    fits, waits = gemm(m=64, n=64, k=640, array=wide), gemm(m=64, n=64, k=640, array=small)
    assert fits.stall_cycles == 0
    assert waits.stall_cycles > 0
    assert waits.total_cycles == fits.total_cycles + waits.stall_cycles
    # 64 x 640 inputs, again for each of 8 rounds of columns, one word a cycle.
    assert waits.total_cycles + 921 == 64 * 640 * 8
    notes = systolic.run(work(64, 640, products=64), small).notes
    assert len(notes) == 1
    assert "operands exceed the SRAMs" in notes[0]


def test_systolic_layers():
    array = SystolicArray(rows=4, columns=4, dataflow="ws", clock_mhz=1000)
    linear = only(systolic.run(work(8, 8), array))
    assert linear.cycles == gemm(m=1, n=8, k=8, array=array).total_cycles
    assert linear.latency_us == linear.cycles / 1000
    lstm = only(systolic.run(work(8, 8, steps=5), array))
    assert lstm.cycles == 5 * linear.cycles
    grouped = only(systolic.run(work(8, 8, groups=3, products=7), array))
    assert grouped.cycles == 3 * gemm(m=7, n=8, k=8, array=array).total_cycles
    batched = only(systolic.run(work(8, 8), array, 64))
    assert batched.cycles == gemm(m=64, n=8, k=8, array=array).total_cycles / 64
    assert batched.utilisation == pytest.approx(64 * 64 / (batched.cycles * 64 * 16))


# -- the other machines -----------------------------------------------------------------------------------------------


def test_dense_by_hand():
    spec = eie.EIE_64PE
    one = only(dense.run(work(300, 784, has_bias=True), spec))
    assert one.cycles == 5 * 785
    assert one.latency_us == pytest.approx(5 * 785 / 800)
    assert one.energy_nj == pytest.approx(one.latency_us * 64 * 9.157)
    assert one.utilisation == pytest.approx(300 * 784 / (5 * 785 * 64))
    assert only(dense.run(work(300, 784), spec.replace(clock_mhz=1000))).energy_nj is None
    assert only(dense.run(work(64, 10, products=3, steps=2), spec)).cycles == 10 * 6


def test_dense_agrees_with_the_report():
    rng = np.random.default_rng(0)
    layer = eie.Layer.from_weights("a", rng.standard_normal((70, 30)), rng.standard_normal(70))
    result = eie.simulate(eie.compile(layer, eie.EIE_64PE), np.ones(30))
    assert (
        only(dense.run(work_of_rows("n", rows_of(result).layers), eie.EIE_64PE)).latency_us == result.layers[0].dense_us
    )


def test_tensor_core_by_hand():
    """16 outputs of 16 inputs at 2:4: 8 weights each, one tile on one of 432 cores, 18 bits a weight."""
    one = only(tensor_core.run(work(16, 16), tensor_core.TensorCore(2, 4)))
    arithmetic = 2 * 16 * 8 * 16 * 432 / 312e6
    memory = (16 * 8 * 18 + 32 * 16) / 8 / 1555e3
    assert one.details == pytest.approx({"arithmetic_us": arithmetic, "memory_us": memory, "n_of_m": 1})
    assert one.latency_us == pytest.approx(arithmetic)
    assert one.energy_nj == pytest.approx(arithmetic * 400e3)
    assert one.bytes_moved == 16 * 8 * 18 / 8 + 64


def test_two_of_four_is_at_most_twice_as_fast_and_no_faster_for_sparser_weights():
    compute_bound = work(4096, 4096, products=6912)
    memory_bound = work(4096, 4096)
    for one, low, high in ((compute_bound, 1.99, 2.0), (memory_bound, 1.7, 2.0)):
        fast, slow = (only(tensor_core.run(one, tensor_core.TensorCore(kept, 4))).latency_us for kept in (2, 4))
        assert low <= slow / fast <= high
    sparse = work(4096, 4096, kept_weights=1000)
    assert (
        tensor_core.run(sparse, tensor_core.TensorCore()).layers
        == tensor_core.run(memory_bound, tensor_core.TensorCore()).layers
    )
    peak = presets.preset("a100", "tensor-core")
    assert peak["peak_2_of_4"] == 2 * peak["peak"]
    full = only(tensor_core.run(compute_bound, tensor_core.TensorCore(4, 4)))
    assert full.utilisation == pytest.approx(1.0)


def test_n_of_m():
    core = tensor_core.TensorCore(2, 4)
    assert [core.kept_inputs(inputs) for inputs in (1, 2, 3, 4, 5, 8)] == [1, 2, 2, 2, 3, 4]
    assert (core.index_bits, tensor_core.TensorCore(1, 8).index_bits, tensor_core.TensorCore(4, 4).index_bits) == (
        2,
        3,
        0,
    )
    with pytest.raises(EieError, match=r"nm 5:4: must keep 1 to 4 of 4 weights"):
        tensor_core.TensorCore(5, 4)
    pattern = eie.Layer.from_weights("a", [[1, 1, 1, 0, 1, 1], [1, 0, 0, 0, 0, 0]]).matrix
    assert tensor_core.violations(LayerWork(name="a", outputs=2, inputs=6, matrix=pattern), 2, 4) == 1 / 4


def test_tensor_cores_take_layers_as_they_are():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((32, 64)).astype(np.float32)
    pruned = np.where(np.arange(64) % 4 < 2, weights, 0)
    layers = tuple(
        LayerWork(
            name=name,
            outputs=32,
            inputs=64,
            kept_weights=np.count_nonzero(one),
            matrix=eie.Layer.from_weights(name, one).matrix,
        )
        for name, one in (("dense", weights), ("pruned", pruned))
    )
    found = choose("tensor-core:b4", Workload("w", layers), eie.EIE_64PE)
    dense_one = tensor_core.run(Workload("w", layers), tensor_core.TensorCore(4, 4), 4).layers[0]
    sparse_one = tensor_core.run(Workload("w", layers), tensor_core.TensorCore(2, 4), 4).layers[1]
    assert [layer.latency_us for layer in found.layers] == [dense_one.latency_us, sparse_one.latency_us]
    assert found.notes == ("pruned has 2:4 weights and the higher rate",)
    with pytest.raises(EieError, match="weights of a are not at hand"):
        choose("tensor-core", work(4, 4), eie.EIE_64PE)
    with pytest.raises(EieError, match="must have the form tensor-core"):
        choose("tensor-core:2:4", work(4, 4), eie.EIE_64PE)


def test_n_of_m_within_the_groups_of_a_convolution():
    """A group's columns are counted from its own first one, not from the matrix's."""
    kernel = np.tile([1, 1, 0], (4, 2, 1, 1)).astype(np.float32)[..., :3]
    conv = Conv2d(in_channels=4, out_channels=4, kernel=(1, 3), groups=2)
    layer = eie.Layer.from_conv(name="c", weights=kernel, bias=None, conv=conv)
    group = LayerWork(name="c", outputs=2, inputs=6, groups=2, matrix=layer.matrix)
    # Rows of 1 1 0 1 1 0: the first four hold three, the last two one.
    assert tensor_core.violations(group, 2, 4) == 1 / 2


def test_overlapping_windows_are_fetched_once():
    """A 3x3 window of stride 1 brings one new pixel a channel, of stride 2 four; 1x1 of stride 2 skips the others."""
    for kernel, stride, fresh in ((3, 1, 1), (3, 2, 4), (1, 2, 1), (1, 1, 1), (2, 3, 4)):
        conv = Conv2d(in_channels=8, out_channels=16, kernel=(kernel, kernel), stride=(stride, stride))
        layer = eie.Layer.from_conv(name="c", weights=np.ones(conv.weight_shape), bias=None, conv=conv)
        one = layer_work(layer, 100, layer.matrix.nnz)
        assert (one.fresh_inputs, one.fetched_inputs) == (8 * fresh, 8 * fresh)
    grouped = layer_work(
        eie.Layer.from_conv(
            name="c",
            weights=np.ones((16, 4, 3, 3)),
            bias=None,
            conv=Conv2d(in_channels=8, out_channels=16, kernel=(3, 3), groups=2),
        ),
        1,
        1,
    )
    assert grouped.fetched_inputs == 4
    assert work(4, 8).layers[0].fetched_inputs == 8
    overlapping = LayerWork(name="a", outputs=16, inputs=72, products=100, kept_weights=16 * 72, fresh_inputs=8)
    found = only(roofline.run(Workload("w", (overlapping,)), "titan-x"))
    assert found.bytes_moved == 4 * (16 * 72 + (8 + 16) * 100)


def test_a_result_says_what_windows_share():
    conv = Conv2d(in_channels=2, out_channels=3, kernel=(3, 3))
    layer = eie.Layer.from_conv(name="c", weights=np.ones(conv.weight_shape), bias=None, conv=conv)
    result = eie.simulate(eie.compile(layer, eie.EIE_64PE.replace(n_pe=2)), np.ones((1, 2, 5, 5)))
    assert work_of_rows("w", rows_of(result).layers).layers[0].fresh_inputs == 2


def test_measured_in_turns_with_the_layers_own_zeros(monkeypatch):
    """One run of each task after the other, and the dense product has the zeros in place."""
    held = eie.Layer.from_weights("a", np.eye(6)).matrix
    owned = Workload("w", (LayerWork(name="a", outputs=6, inputs=6, kept_weights=6, matrix=held),))
    np.testing.assert_array_equal(measured._dense(owned.layers[0], np.random.default_rng(0)), np.eye(6))
    order = []
    monkeypatch.setattr(timing, "LEAST_S", 0)
    timing.timed([lambda: order.append("a"), lambda: order.append("b")], 3)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    monkeypatch.setattr(measured, "MOST_BYTES", 8 * 6 * 6)
    grouped = list(measured._in_turns([measured.Task(owned)] * 2 + [measured.Task(owned, "csr")]))
    assert grouped == [[(0, 0)], [(1, 0)], [(2, 0)]]
    twice = Workload("w", (*owned.layers, *owned.layers))
    assert len(measured.run_together([measured.Task(twice)], runs=1)[0].layers) == 2
    tasks = [measured.Task(owned), measured.Task(owned, "csc", 2), measured.Task(work(3, 3))]
    found = measured.run_together(tasks, runs=1)
    assert [one.machine.name for one in found] == ["measured dense b1", "measured csc b2", "measured dense b1"]
    assert all(only(one).latency_us > 0 for one in found)


def test_roofline_by_hand():
    one = only(roofline.run(work(4, 8), "i7-5930k"))
    assert one.latency_us == pytest.approx((32 + 8 + 4) * 4 / 68e3)
    assert one.energy_nj == pytest.approx(one.latency_us * 73e3)
    assert one.cycles == pytest.approx(one.latency_us * 3500)
    csr = only(roofline.run(workload=work(4, 8, kept_weights=5), machine="titan-x", storage="csr", batch=2))
    moved = 5 * 8 + 5 * 4 + 5 * 2 * 4 + 4 * 2 * 4
    assert csr.bytes_moved == moved / 2
    assert csr.latency_us == pytest.approx(moved / 336.5e3 / 2)
    big = only(roofline.run(workload=work(4096, 4096), machine="titan-x", storage="dense", batch=4096))
    assert big.utilisation == pytest.approx(1)
    assert big.latency_us == pytest.approx(2 * 4096 * 4096 / 6605e3)


def test_roofline_against_table_iv(root):
    """How far the published times are from the rooflines: printed, and as docs/baselines.md states it."""
    page = (root / "docs" / "baselines.md").read_text(encoding="utf-8")
    for machine in ("i7-5930k", "titan-x", "tegra-k1"):
        found = roofline.deviations(machine)
        assert len(found) == 4 * 9
        for column in dict.fromkeys(one.column for one in found):
            ratios = [one.ratio for one in found if one.column == column]
            mean = statistics.geometric_mean(ratios)
            stated = f"{mean:#.3g} ({min(ratios):#.3g} - {max(ratios):#.3g})"
            print(f"{column}: published / roofline {stated}")
            assert stated in page
            assert min(ratios) > 0.95


@pytest.mark.parametrize("storage", ["dense", "csr", "csc"])
def test_measured_here(storage):
    if storage != "dense":
        pytest.importorskip("scipy")
    rng = np.random.default_rng(0)
    conv = eie.Layer.from_conv(
        "c", rng.standard_normal((6, 2, 3, 3)), conv=Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), groups=2)
    )
    layers = (
        LayerWork(name="a", outputs=30, inputs=40, kept_weights=120),
        LayerWork(
            name="c", outputs=3, inputs=18, products=5, groups=2, kept_weights=conv.matrix.nnz, matrix=conv.matrix
        ),
        LayerWork(name="l", outputs=40, inputs=20, steps=3, kept_weights=80),
    )
    found = measured.run(Workload("w", layers), storage, runs=3)
    assert [layer.layer for layer in found.layers] == ["a", "c", "l"]
    assert all(layer.latency_us > 0 for layer in found.layers)
    assert found.machine.how == "measured"
    assert measured.cpu_name() in found.machine.source
    assert any("drawn" in note for note in found.notes) == (storage != "dense")
    batch = only(measured.run(work(8, 8, kept_weights=20), storage, 16, runs=1))
    assert batch.latency_us > 0


def test_measured_onnx(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper = onnx.helper
    x, y = (
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", size]) for name, size in (("x", 4), ("y", 2))
    )
    weights = onnx.numpy_helper.from_array(np.ones((4, 2), np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    found = choose(f"measured:onnx:{tmp_path / 'm.onnx'}:b3", work(2, 4), eie.EIE_64PE)
    assert only(found).latency_us > 0
    assert found.machine.batch == 3
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    # Sound by itself; three rows of four do not make rows of five.
    five = onnx.numpy_helper.from_array(np.array([-1, 5]), "five")
    graph = helper.make_graph([helper.make_node("Reshape", ["x", "five"], ["y"])], "g", [x], [y], [five])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "five.onnx")
    for name, text in (
        ("bad.onnx", "bad.onnx: onnxruntime cannot use it: "),
        ("none.onnx", "no such file"),
        ("five.onnx", "five.onnx: onnxruntime cannot run it: "),
    ):
        with pytest.raises(EieError, match=text) as caught:
            measured.run_onnx(tmp_path / name)
        assert "\n" not in str(caught.value)


def test_every_number_of_a_machine_has_a_source():
    for machine in presets.presets().values():
        for row in machine.rows.values():
            assert row.source
            assert row.place
            assert row.unit
            assert row.how in ("published", "derived", "assumed")


# -- published --------------------------------------------------------------------------------------------------------


def test_published_rows():
    one = published.run("cpu_dense_b1")
    assert [layer.latency_us for layer in one.layers][:2] == [7516.2, 6187.1]
    assert one.layers[0].shape == (4096, 9216, 1)
    assert one.layers[0].energy_nj == pytest.approx(7516.2 * 73e3)
    assert (one.machine.batch, published.run("gpu_sparse_b64").machine.batch) == (1, 64)
    assert published.run("eie_actual").machine.dram is False
    with pytest.raises(EieError, match=r"published:cpu: must be one of cpu_dense_b1, "):
        published.run("cpu")
    assert len(published.platforms()) == 8
    assert published.platform("DaDianNao").area_mm2 == 67.7


def test_figure_6_is_table_iv_over_table_iv():
    """The printed bars are ratios of Table IV, rounded; NT-We's EIE bar is not (63 against 75.6)."""
    figure = published.figure(6)
    reference = published.run("cpu_dense_b1")
    names = {"gpu_compressed": "gpu_sparse_b1", "gpu_dense": "gpu_dense_b1", "eie": "eie_actual"}
    for bar, column in names.items():
        for i, (ours, theirs) in enumerate(zip(published.run(column).layers, reference.layers, strict=True)):
            ratio, printed = theirs.latency_us / ours.latency_us, figure.bars[bar][i]
            if (bar, ours.layer) == ("eie", "NT-We"):
                assert (round(ratio, 1), printed) == (75.6, 63)
            else:
                assert ratio == pytest.approx(printed, rel=0.05, abs=1.0), (bar, ours.layer)
    assert published.figure(7).geometric_mean["eie"] == 24207
    with pytest.raises(EieError, match="figure 8: only the bars of figures 6 and 7"):
        published.figure(8)


def test_the_papers_data_is_the_shared_file(shared, root):
    """Ours says besides where it is from, and gives two claims as numbers."""
    ours, theirs = (
        tomllib.loads(file.read_text(encoding="utf-8"))
        for file in (root / "eie/machines/data/eie_paper.toml", shared / "reference" / "eie_paper.toml")
    )
    assert {name: value for name, value in ours.items() if name not in ("source", "headline")} == theirs


# -- reports ----------------------------------------------------------------------------------------------------------


def test_scalesim_reports_as_written():
    one = scalesim.read(FIXTURES / "COMPUTE_REPORT.csv", 1000)
    assert [layer.cycles for layer in one.layers] == [3419, 3109, 3039, 819, 219, 2443, 2177, 299, 1269, 1503]
    first = one.layers[0]
    assert first.latency_us == 3.419
    assert first.utilisation == pytest.approx(0.7581164083065224)
    assert first.bytes_moved == 20750 + 4650 + 41472
    assert first.details["Avg OFMAP DRAM BW"] == 1011.5121951219512
    assert one.notes == ()
    assert scalesim.read(FIXTURES).layers == scalesim.read(FIXTURES / "COMPUTE_REPORT.csv").layers
    assert "800 MHz taken" in scalesim.read(FIXTURES).notes[0]
    assert scalesim.read(FIXTURES / "BANDWIDTH_REPORT.csv").layers == scalesim.read(FIXTURES).layers


def test_scalesim_v2_report(tmp_path):
    header = "LayerID, Total Cycles, Stall Cycles, Overall Util %, Mapping Efficiency %, Compute Util %,"
    (tmp_path / "COMPUTE_REPORT.csv").write_text(f"{header}\n0, 400, 0, 50.0, 100.0, 60.0,\n")
    one = only(reports.read(tmp_path / "COMPUTE_REPORT.csv"))
    assert (one.cycles, one.latency_us, one.utilisation) == (400, 0.5, 0.5)
    alone = tmp_path / "bandwidth"
    alone.mkdir()
    (alone / "BANDWIDTH_REPORT.csv").write_text("LayerID, Avg IFMAP SRAM BW, Avg FILTER SRAM BW,\n0, 1.5, 2,\n")
    found = reports.read(alone / "BANDWIDTH_REPORT.csv")
    assert only(found).latency_us is None
    assert "holds no cycles" in found.notes[-1]


@pytest.mark.parametrize("odd", ["COMPUTE_REPORT.csv", "DETAILED_ACCESS_REPORT.csv", "BANDWIDTH_REPORT.csv"])
def test_scalesim_reports_of_two_runs_name_each_other(tmp_path, odd):
    """The file that was asked for is the one that the others are held to."""
    names = [scalesim.COMPUTE, scalesim.ACCESS, scalesim.BANDWIDTH]
    assert odd in names
    for name in names:
        lines = (FIXTURES / name).read_text().splitlines()
        (tmp_path / name).write_text("\n".join(lines[:-1] if name == odd else lines) + "\n")
    first = scalesim.COMPUTE
    other = scalesim.ACCESS if odd == first else odd
    with pytest.raises(EieError) as caught:
        scalesim.read(tmp_path)
    rows = 9 if other == odd else 10
    assert str(caught.value) == f"{tmp_path / other}: its layers are not those of {tmp_path / first}: {rows} rows"


def test_topologies_meet_their_report():
    """The conv topology on our array gives what SCALE-Sim reported for it, layer by layer."""
    network = eie.load(FIXTURES / "topology_conv.csv")
    ours = systolic.run(Workload.of_network(network), SystolicArray(rows=16, columns=16, dataflow="ws"))
    theirs = scalesim.read(FIXTURES / "COMPUTE_REPORT.csv")
    assert [layer.cycles for layer in ours.layers] == [layer.cycles for layer in theirs.layers]
    assert [layer.name for layer in network.layers] == [f"c{i}" for i in range(1, 11)]
    assert network.layers[7].geometry.kernel == (3, 2)
    assert network.trace.synthetic


def test_scalesim_configuration(tmp_path):
    array = scalesim_config.read(FIXTURES / "conv_16x16_ws.cfg", 500)
    assert array == SystolicArray(
        rows=16,
        columns=16,
        dataflow="ws",
        ifmap_kib=1024,
        filter_kib=1024,
        ofmap_kib=1024,
        word_bytes=1,
        read_words=50,
        write_words=1024,
        clock_mhz=500,
    )
    found = choose(f"systolic:{FIXTURES / 'conv_16x16_ws.cfg'}:b4@500", work(20, 20), eie.EIE_64PE)
    assert found.layers == systolic.run(work(20, 20), array, 4).layers
    text = (FIXTURES / "conv_16x16_ws.cfg").read_text()
    for before, after, complaint in (
        ("ArrayHeight : 16", "ArrayHeight : x", r"\[architecture_presets\] ArrayHeight = 'x': must be a whole number"),
        ("Dataflow : ws", "Dataflow : rs", "Dataflow 'rs': must be ws, os or is"),
        ("[general]", "", "not a SCALE-Sim configuration"),
        ("ArrayWidth : 16", "ArrayWidth : 0", r"ArrayWidth = '0': must be a whole number from 1"),
    ):
        (tmp_path / "c.cfg").write_text(text.replace(before, after))
        with pytest.raises(EieError, match=complaint) as caught:
            scalesim_config.read(tmp_path / "c.cfg", 800)
        assert "\n" not in str(caught.value)
    with pytest.raises(EieError, match="cannot be read"):
        scalesim_config.read(tmp_path / "none.cfg", 800)
    bare = text.partition("[layout]")[0]
    (tmp_path / "v2.cfg").write_text(bare)
    assert scalesim_config.read(tmp_path / "v2.cfg", 800).read_words == 1024


def test_gemm_topology_runs(tmp_path):
    network = eie.load(FIXTURES / "topology_gemm.csv")
    work = Workload.of_network(network)
    assert work.layers[2].shape == (17, 70, 33)
    assert work.layers[2].macs == 33 * 17 * 70
    file = tmp_path / "small.csv"
    file.write_text("Layer, M, N, K, Sparsity,\ng, 3, 5, 8, 1:4,\n")
    small = eie.load(file)
    assert small.layers[0].synthetic
    result = eie.simulate(eie.compile(small, eie.EIE_64PE.replace(n_pe=4)))
    assert result.layers[0].products == 3
    assert result.synthetic_inputs
    assert 0 < small.layers[0].weight_density < 0.6


def test_a_window_over_the_edge_counts(tmp_path):
    file = tmp_path / "t.csv"
    file.write_text("Layer name, H, W, R, S, C, F, Strides,\nv1, 12, 10, 3, 3, 4, 9, 2,\n")
    assert Workload.of_network(eie.load(file)).layers[0].products == 6 * 5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "holds no layers"),
        ("Layer, M, N, K,\n", "holds no layers"),
        ("a,b\n1,2\n", "not a topology: the header must be"),
        ("Layer, M, N, K,\ng, 1, 2,\n", "line 2 has 3 cells, the header 4"),
        ("Layer, M, N, K,\ng, 1, 2, x,\n", "line 2: 'x': must be an integer >= 1"),
        ("Layer, M, N, K,\ng, 0, 2, 3,\n", "line 2: '0': must be an integer >= 1"),
        ("Layer, M, N, K,\ng, 1, 99999, 99999,\n", "at most 268435456 can be drawn"),
        ("Layer, H, W, R, S, C, F, Strides,\nc, 3, 3, 5, 5, 1, 1, 1,\n", "its 5 x 5 filter does not fit a 3 x 3 map"),
        ("Layer, M, N, K, Sparsity,\ng, 1, 2, 3, 5:4,\n", "sparsity '5:4': must be N:M"),
    ],
)
def test_bad_topologies(tmp_path, text, complaint):
    file = tmp_path / "t.csv"
    file.write_text(text)
    with pytest.raises(ModelError, match=complaint) as caught:
        eie.load(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("none.csv", None, "cannot be read: No such file"),
        ("b.csv", b"\xff\xfe\x00", "not UTF-8 text"),
        ("e.csv", b"", "holds no rows"),
        ("h.csv", b"LayerID, Total Cycles\n", "holds no rows"),
        ("w.csv", b"LayerID, Total Cycles\n0, 1, 2\n", "line 2 has 3 cells, the header has 2"),
        ("x.csv", b"LayerID, Total Cycles\n0, many\n", "row 1, column 'Total Cycles': 'many': must be a number >= 0"),
        ("n.csv", b"LayerID, Total Cycles\n0, nan\n", "'nan': must be a number >= 0"),
        ("o.csv", b"LayerID, Other\n0, 1\n", "not a SCALE-Sim report"),
        ("u.csv", b"Op,Time\nfc,1\n", "say which column holds what, as --map layer=COLUMN"),
        ("own.csv", b"layer,latency_us,weight_density\nfc,1,0.5\n", "damaged result"),
        ("r.json", b"{}", "schema None: must be 'eie-result'"),
        ("s.json", b"[", "not valid JSON"),
        ("v.json", b'{"schema": "eie-result", "schema_version": 9}', "version 9: this version reads 1 and 2"),
        ("d.json", b'{"schema": "eie-result", "schema_version": 1}', "damaged result"),
    ],
)
def test_bad_reports(tmp_path, name, content, complaint):
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EieError, match=complaint) as caught:
        reports.read(file)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


def test_generic_csv(tmp_path):
    file = tmp_path / "profile.csv"
    file.write_text("Op,Time (ms),E,M,N\nfc6,1.5,2,10,20\nfc7,0.5,3,5,10\n")
    columns = {"layer": "Op", "latency_ms": "Time (ms)", "energy_uj": "E", "outputs": "M", "inputs": "N"}
    one = reports.read(file, columns)
    assert [layer.latency_us for layer in one.layers] == [1500, 500]
    assert [layer.energy_nj for layer in one.layers] == [2000, 3000]
    assert one.layers[1].shape == (5, 10, 1)
    cycles = reports.read(file, {"layer": "Op", "cycles": "M"}, 2.0)
    assert cycles.layers[0].latency_us == 5
    with pytest.raises(EieError, match="--map lat=...: must be one of layer, "):
        reports.read(file, {"layer": "Op", "lat": "E"})
    with pytest.raises(EieError, match="no column 'X': it has Op, "):
        reports.read(file, {"layer": "X"})
    with pytest.raises(EieError, match="which column names the layers"):
        reports.read(file, {"cycles": "M"})


def test_our_own_result(tmp_path):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((20, 30)) * (rng.random((20, 30)) < 0.3)
    result = eie.simulate(eie.compile(eie.Layer.from_weights("fc", weights), eie.EIE_64PE), np.ones(30))
    result.to_json(str(tmp_path / "r.json"))
    result.to_csv(str(tmp_path / "r.csv"))
    from_json, from_csv = (reports.read(tmp_path / name) for name in ("r.json", "r.csv"))
    assert only(from_json) == only(from_csv)
    assert only(from_json).latency_us == result.latency_us
    assert only(from_json).energy_nj == pytest.approx(result.energy().total_nj)
    assert (from_json.machine.clock_mhz, from_json.machine.node_nm, from_json.machine.dram) == (800, 45, False)
    assert from_json.machine.area_mm2 == pytest.approx(40.8, rel=0.01)
    assert from_csv.machine.clock_mhz is None


# -- workloads, matching, names ---------------------------------------------------------------------------------------


def test_workload_of_a_network_with_conv_and_lstm():
    rng = np.random.default_rng(0)
    conv = Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), groups=2)
    layers = (
        eie.Layer.from_conv("conv", rng.standard_normal(conv.weight_shape), conv=conv),
        eie.Layer.from_lstm("lstm", rng.standard_normal((8, 3)), rng.standard_normal((8, 2))),
        eie.Layer.from_weights("fc", np.eye(4)),
    )
    network = eie.Network(name="n", layers=layers)
    with pytest.raises(TraceError, match="layer 'conv': the trace does not hold it"):
        Workload.of_network(network)
    trace = eie.Trace(
        layers={
            "conv": eie.LayerTrace.from_dense(np.ones((25, 36)), products=25),
            "lstm": eie.LayerTrace.from_dense(np.ones((7, 5)), products=7),
            "fc": eie.LayerTrace.from_dense(np.array([1, 0, 1, 0])),
        }
    )
    first, second, third = Workload.of_network(network, trace).layers
    assert (first.outputs, first.inputs, first.groups, first.products, first.steps) == (3, 18, 2, 25, 1)
    assert first.macs == conv.products(7, 7) * 6 * 18
    assert (second.outputs, second.inputs, second.products, second.steps) == (8, 5, 1, 7)
    assert (third.activation_density, third.weight_density) == (0.5, 0.25)
    result = eie.simulate(eie.compile(network, eie.EIE_64PE.replace(n_pe=4)), trace)
    again = work_of_rows("n", rows_of(result).layers).layers
    assert [layer.shape for layer in again] == [(6, 36, 25), (8, 5, 7), (4, 4, 1)]
    for one, other in zip(again, (first, second, third), strict=True):
        assert (one.groups, one.steps, one.kept_weights) == (other.groups, other.steps, other.kept_weights)


def baseline(*layers):
    return Baseline(
        Machine(name="m", how="imported", source="here"),
        tuple(LayerCost(layer=name, latency_us=1.0, shape=shape) for name, shape in layers),
    )


def test_matching():
    ours = {"a": (1, 2, 1), "b": (3, 4, 1), "c": (3, 4, 1)}
    found = match(ours, baseline(("B", (3, 4, 1)), ("x", (3, 4, 1)), ("y", (9, 9, 1))))
    assert {name: cost.layer for name, cost in found.costs.items()} == {"b": "B", "c": "x"}
    assert found.notes == ("c is taken for x, by order and shape", "no figure for a", "not among our layers: y")
    by_order = match(ours, baseline(("layer 0", None), ("layer 1", None), ("layer 2", None)))
    assert [by_order.costs[name].layer for name in ours] == ["layer 0", "layer 1", "layer 2"]
    too_few = match(ours, baseline(("layer 0", None)))
    assert too_few.costs == {}
    assert too_few.notes == ("no figure for a, b, c", "not among our layers: layer 0")
    other = match({"a": (1, 2, 1)}, baseline(("a", (1, 3, 1))))
    assert other.costs == {}
    assert other.notes[0] == "a has another shape there: 1 x 2, 1 products against 1 x 3, 1 products"


@pytest.mark.parametrize(
    ("name", "machine", "batch"),
    [
        ("dense", "dense:64", 1),
        ("systolic:8x4", "systolic:8x4:ws", 1),
        ("systolic:8x4:is:b16@500", "systolic:8x4:is", 16),
        ("nm:1:4", "A100 (40 GB) 1:4 (bound)", 1),
        ("roofline:tegra-k1:csr:b64", "Tegra K1 roofline csr b64 (bound)", 64),
        ("measured:dense:b2", "measured dense b2", 2),
        ("published:gpu_dense_b64", "GeForce Titan X dense b64 (Table IV)", 64),
    ],
)
def test_baselines_by_name(name, machine, batch):
    found = choose(name, work(8, 8), eie.EIE_64PE).machine
    assert (found.name, found.batch) == (machine, batch)
    assert found.clock_mhz == 500 if "@500" in name else True


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("systolic", "must have the form systolic:ROWSxCOLUMNS"),
        ("systolic:8", "must have the form systolic"),
        ("systolic:8x8:rs", "must have the form systolic"),
        ("systolic:0x8", "systolic rows=0: must be positive"),
        ("systolic:8x8@0", "systolic clock_mhz=0.0: must be positive"),
        ("nm:2", "must have the form nm:N:M"),
        ("nm:5:4", "must keep 1 to 4 of 4"),
        ("roofline:cpu", "roofline machine 'cpu': must be one of i7-5930k, titan-x, tegra-k1"),
        ("roofline:a100", "must be one of i7-5930k"),
        ("roofline:titan-x:csc", "must have the form roofline"),
        ("measured:coo", "must have the form measured"),
        ("published", "must have the form published:ROW"),
        ("dense:b64", "must have the form dense"),
        ("dense@800", "only systolic arrays and reports take a clock"),
        ("sistolic:8x8", "no such file, and no machine: dense; systolic:"),
        ("none.csv", "none.csv: cannot be read"),
        ("none.csv@0", "a clock of 0 MHz: must be positive"),
    ],
)
def test_wrong_names(name, complaint):
    with pytest.raises(EieError, match=complaint) as caught:
        choose(name, work(8, 8), eie.EIE_64PE)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stated", [True, False])
def test_a_bias_column_is_read_back_from_texts_and_values(stated):
    layer = eie.Layer.from_codes(
        name="fc", codes=np.ones((6, 4), np.uint8), codebook=[0, 1.0], bias_codes=[1] * 6 if stated else None
    )
    record = eie.simulate(layer, np.ones(4)).records()[0]
    assert ResultRow.of_record(record).bias is stated
    assert (
        ResultRow.of_record({name: "" if value is None else str(value) for name, value in record.items()}).bias
        is stated
    )


RECORD = {"layer": "fc", "outputs": "6", "inputs": "4", "cycles": "16", "latency_us": "0.5", "efficiency": "0.75"}


def test_a_record_without_what_release_0_1_did_not_write():
    """A vector of its own, on weights of which none is known to be zero, by a machine that moved nothing."""
    assert ResultRow.of_record(RECORD) == ResultRow(
        layer="fc",
        outputs=6,
        inputs=4,
        products=1,
        kind="linear",
        groups=1,
        fresh_inputs=None,
        bias=False,
        weight_density=1.0,
        activation_density=None,
        cycles=16.0,
        latency_us=0.5,
        efficiency=0.75,
        reload_cycles=0.0,
        energy_nj=None,
        dram_bits=0.0,
        map_dram_bits=0,
        map_bus_cycles=0,
    )


def test_every_key_of_a_record_is_read():
    more = {
        "products": "3",
        "kind": "conv2d",
        "groups": "2",
        "fresh_inputs": "1",
        "bias": "True",
        "weight_density": "0.25",
        "activation_density": "0.5",
        "reload_cycles": "7",
        "energy_activity_nj": "9.5",
        "dram_bits": "512",
        "map_dram_bits": "1024",
        "map_bus_cycles": "8",
    }
    assert ResultRow.of_record({**RECORD, **more}) == ResultRow(
        layer="fc",
        outputs=6,
        inputs=4,
        products=3,
        kind="conv2d",
        groups=2,
        fresh_inputs=1,
        bias=True,
        weight_density=0.25,
        activation_density=0.5,
        cycles=16.0,
        latency_us=0.5,
        efficiency=0.75,
        reload_cycles=7.0,
        energy_nj=9.5,
        dram_bits=512.0,
        map_dram_bits=1024,
        map_bus_cycles=8,
    )
