"""Sweeps: what is run, that it equals single runs, and that nothing is done twice."""

import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eie
from eie.errors import SpecError, SweepError
from eie.simulator import counting, images, stages
from eie.simulator.cache import Cache, held_bytes
from eie.sweeps.result import SweepResult, undominated
from eie.sweeps.vary import check_vary, expand, read_vary


def layer(name="fc", shape=(40, 60), density=0.3, seed=0, **options):
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1.0, 0.5, 2.0], shape) * (rng.random(shape) < density)
    return eie.Layer.from_weights(name, weights, rng.choice([0.5, 2.0], shape[0]), **options)


def inputs(width=60, samples=3, seed=1):
    rng = np.random.default_rng(seed)
    return rng.random((samples, width)) * (rng.random((samples, width)) < 0.5)


@pytest.fixture
def chain():
    """Two layers that feed each other."""
    return eie.Network(name="chain", layers=(layer("a", relu=True), layer("b", (30, 40), seed=5)), sequential=True)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1:256:x2", (1, 2, 4, 8, 16, 32, 64, 128, 256)),
        ("1:100:x4", (1, 4, 16, 64)),
        ("64:4:x0.5", (64, 32.0, 16.0, 8.0, 4.0)),
        ("2:16:+7", (2, 9, 16)),
        ("2:16:7", (2, 9, 16)),
        ("3:6", (3, 4, 5, 6)),
        ("0.5:1:+0.25", (0.5, 0.75, 1.0)),
        ("6:2:-2", (6, 4, 2)),
        ("4, 2,8:16:x2", (4, 2, 8, 16)),
        ("true,false", (True, False)),
        ("800", (800,)),
        ("0.1:0.3:0.1", (0.1, 0.2, 0.1 + 2 * 0.1)),
    ],
)
def test_ranges(text, values):
    assert expand(text) == values


@pytest.mark.parametrize("text", ["1:2:x1", "1:2:0", "0:8:x2", "8:1:x2", "1:8:-1", "a:b", "1:2:3:4", "1:inf", "1:2:x"])
def test_a_wrong_range_is_named(text):
    with pytest.raises(SpecError, match=r"vary.n_pe: .* is not a range: must be first:last"):
        check_vary({"n_pe": text})


def test_drams_are_swept_by_name(chain):
    # 4-bit pointers reach 15 entries: both layers come from DRAM.
    spec = eie.EIE_64PE.replace(n_pe=2, ptr_bits=4)
    swept = eie.sweep((chain, inputs()), {"dram": "lpddr2,hbm2"}, spec=spec)
    for row in swept.totals:
        alone = eie.simulate(chain, inputs(), spec=spec.replace(dram=row["dram"]))
        assert row["latency_us"] == pytest.approx(alone.latency_us)
    slow, quick = swept.totals
    assert quick["latency_us"] < slow["latency_us"]
    with pytest.raises(SpecError, match=r"^vary\.dram_gb_per_s: is a part of vary\.dram: vary one of them$"):
        check_vary({"dram": "lpddr2,hbm2", "dram_gb_per_s": [1, 2]})


def test_every_wrong_word_is_listed_at_once():
    with pytest.raises(SpecError) as caught:
        read_vary(["n_pes=1", "n_pe", "act_queue_depth=1:0"])
    assert caught.value.problems == ("--vary n_pe: must be field=values, as in n_pe=1:256:x2 or act_queue_depth=2,4,8",)
    with pytest.raises(SpecError) as caught:
        check_vary({"n_pes": "1", "name": ["x"], "act_queue_depth": "4:2", "io_bits": []})
    assert [line.partition(":")[0] for line in caught.value.problems] == [
        "vary.n_pes",
        "vary.name",
        "vary.act_queue_depth",
        "vary.io_bits",
    ]
    assert "did you mean n_pe?" in caught.value.problems[0]
    with pytest.raises(SpecError, match="n_pe is varied twice"):
        read_vary(["n_pe=1", "n_pe=2"])


CASES = {
    "queues and rows": {"n_pe": [1, 3, 64], "act_queue_depth": [2, 8], "spmat_row_bits": [32, 64]},
    "encodings": {"index_bits": [1, 4], "weight_bits": [1, 4], "n_pe": [2, 5]},
    "number formats": {"data_bits": [4, 16], "n_pe": [2, 5]},
    "clock and memories": {"clock_mhz": [100, 800.5], "node_nm": [28, 45], "spmat_kib": [16, 128]},
    "passes": {
        "residency": ["auto", "ideal"],
        "ptr_kib": [32],
        "act_registers": [2, 64],
        "act_kib": [1],
        "io_bits": [8],
    },
}


@pytest.mark.parametrize("vary", CASES.values(), ids=CASES)
@pytest.mark.parametrize("driven", ["by trace", "execution"])
def test_every_row_equals_a_run_of_its_own(chain, vary, driven):
    base = eie.EIE_64PE.replace(n_pe=4)
    given = inputs() if driven == "execution" else {"a": inputs(), "b": inputs(40)}
    result = eie.sweep((chain, given), vary, spec=base, threads=2)
    assert not result.failed
    rows = iter(result.rows)
    for values in itertools.product(*vary.values()):
        spec = base.replace(**dict(zip(vary, values, strict=True)))
        run = eie.simulate(eie.compile(chain, spec), given)
        total = next(rows)
        assert tuple(total[name] for name in vary) == values
        assert total["row"] == "total"
        assert total["latency_us"] == pytest.approx(run.latency_us)
        assert total["latency_p99_us"] == pytest.approx(np.percentile(run.sample_us, 99))
        assert total["dense_us"] == pytest.approx(run.dense_us)
        assert total["energy_activity_nj"] == pytest.approx(run.energy().total_nj)
        for unit, nj in run.energy().unit_nj().items():
            assert total[f"energy_activity_{unit}_nj"] == pytest.approx(nj)
        for record in run.records():
            row = next(rows)
            assert same(row, record)
    assert next(rows, None) is None


def same(row, record):
    """Whether a row has all of a run's record but where PE cycles went, which no sweep counts."""
    return all(row[key] == value for key, value in record.items() if not key.startswith("share_"))


def test_convolutions_are_swept_too():
    rng = np.random.default_rng(0)
    weights = rng.choice([0.0, 0.0, 1.0], (4, 2, 3, 3))
    conv = eie.Layer.from_conv("conv", weights)
    image = rng.random((2, 2, 6, 6)) * (rng.random((2, 2, 6, 6)) < 0.6)
    result = eie.sweep((conv, image), {"act_queue_depth": [2, 8]}, spec=eie.EIE_64PE.replace(n_pe=3))
    for row in result.layers:
        spec = eie.EIE_64PE.replace(n_pe=3, act_queue_depth=row["act_queue_depth"])
        record = eie.simulate(conv, image, spec=spec).records()[0]
        assert same(row, record)
        assert row["conv"] == record["conv"]


@pytest.fixture
def made(monkeypatch):
    """How often each stage did its work."""
    counts = Counter()

    def watch(module, name):
        work = getattr(module, name)

        def counted(*given, **options):
            counts[name] += 1
            return work(*given, **options)

        monkeypatch.setattr(module, name, counted)

    for module, names in CALLED.items():
        for name in names:
            watch(module, name)
    return counts


CALLED = {
    images: ("share", "encode_conv"),
    counting: ("tally_pass", "queue_pass"),
    stages: ("run_network", "activity_of"),
}
ONCE = {"share": 2, "encode_conv": 2, "tally_pass": 2, "queue_pass": 2, "run_network": 1, "activity_of": 2}


@pytest.mark.parametrize(
    ("vary", "redone"),
    [
        ({"clock_mhz": [100, 200, 300], "node_nm": [28, 45]}, {}),
        ({"spmat_kib": [64, 128], "ptr_kib": [16, 32], "act_kib": [2, 4]}, {}),
        ({"act_queue_depth": [2, 4, 8]}, {"queue_pass": 6, "activity_of": 6}),
        ({"spmat_row_bits": [8, 16, 64]}, {"tally_pass": 6, "activity_of": 6}),
        ({"act_queue_depth": [2, 4], "spmat_row_bits": [8, 64]}, {"queue_pass": 4, "tally_pass": 4, "activity_of": 8}),
        ({"io_bits": [8, 64]}, {"activity_of": 4}),
        ({"n_pe": [2, 4]}, {"encode_conv": 4, "tally_pass": 4, "queue_pass": 4, "activity_of": 4}),
        ({"data_bits": [8, 16]}, {"tally_pass": 4, "queue_pass": 4, "activity_of": 4, "run_network": 2}),
        ({"weight_bits": [2, 4]}, {name: 2 * count for name, count in ONCE.items()}),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("threads", [1, 3])
def test_only_what_a_field_changes_is_redone(chain, made, vary, redone, threads):
    eie.sweep((chain, inputs()), vary, threads=threads)
    assert made == {**ONCE, **redone}


def test_recorded_inputs_do_not_depend_on_number_formats(made):
    eie.sweep((layer(), eie.Trace(layers={"fc": eie.LayerTrace.from_dense(inputs())})), {"data_bits": [8, 12, 16]})
    assert made == {"share": 1, "encode_conv": 1, "tally_pass": 1, "queue_pass": 1, "activity_of": 1}


def test_a_cache_over_its_budget_forgets_the_oldest_and_makes_it_again():
    cache, made = Cache(budget_bytes=250_000), []

    def get(key):
        def make():
            made.append(key)
            return np.zeros(100_000, np.uint8)

        return cache.get(key, make)

    for key in "abacab":
        assert held_bytes(get(key)) == 100_000
    assert made == ["a", "b", "c", "b"]


def test_a_failed_stage_is_tried_again():
    cache = Cache()
    with pytest.raises(ZeroDivisionError):
        cache.get("key", lambda: 1 // 0)
    assert cache.get("key", lambda: 7) == 7


def test_values_of_numpy_and_single_values():
    assert check_vary({"n_pe": 2 ** np.arange(3), "clock_mhz": 400, "io_bits": range(1, 3)}) == {
        "n_pe": (1, 2, 4),
        "clock_mhz": (400,),
        "io_bits": (1, 2),
    }
    assert len(eie.sweep(layer(), {"n_pe": 2 ** np.arange(3)}).totals) == 3


def test_what_is_no_model_and_no_cell():
    with pytest.raises(eie.EieError, match=r"a tuple of 3: must be a pair \(model, inputs\)"):
        eie.sweep((layer(), layer(), layer()), {"n_pe": [1]})
    with pytest.raises(eie.EieError, match="sram cell 'sram': must be one of itrs-lop, itrs-lstp"):
        eie.sweep(layer(), {"n_pe": [1]}, cell="sram")


def test_several_models_and_traces():
    small, large = layer("fc"), layer("fc", density=0.6, seed=3)
    result = eie.sweep([small, (large, inputs(seed=9))], {"n_pe": [2, 4]}, trace=[inputs(seed=1), inputs(seed=2)])
    labels = [(row["model"], row["n_pe"]) for row in result.totals]
    assert labels == [(name, n_pe) for name in ("fc", "fc (2)", "fc (3)") for n_pe in (2, 4)]
    assert len({row["cycles"] for row in result.totals}) == 6


def test_rows_are_tidy(chain):
    result = eie.sweep((chain, inputs()), {"n_pe": [4, 2], "weight_bits": [2, 4], "spmat_row_bits": [7, 64]})
    assert len({tuple(row) for row in result.rows}) == 1
    fields = ("n_pe", "weight_bits", "spmat_row_bits", "row", "layer")
    whole = [("total", None), ("layer", "a"), ("layer", "b")]
    assert [tuple(row[field] for field in fields) for row in result.rows] == [
        (n_pe, weight_bits, row_bits, row, name)
        for n_pe in (4, 2)
        for weight_bits in (2, 4)
        for row_bits in (7, 64)
        for row, name in (whole[:1] if (weight_bits, row_bits) == (4, 7) else whole)
    ]
    assert [row["error"] for row in result.failed] == [
        "spec.spmat_row_bits=7: must be >= 8, one entry of weight_bits + index_bits"
    ] * 2
    assert "synthetic inputs" not in result.totals[0]["notes"]
    lines = result.to_csv().splitlines()
    assert len(lines) == 1 + len(result.rows)
    assert lines[0].startswith("model,trace,n_pe,weight_bits,spmat_row_bits,row,layer,")
    frame = result.to_pandas()
    assert frame.shape == (len(result.rows), len(result.rows[0]))


def test_parquet(chain, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    result = eie.sweep((chain, inputs()), {"weight_bits": [2, 4], "spmat_row_bits": [7, 64]})
    result.to_parquet(tmp_path / "points.parquet")
    assert parquet.read_table(tmp_path / "points.parquet").to_pylist() == list(result.rows)


def test_a_value_without_a_machine_is_refused_and_a_corner_is_kept():
    with pytest.raises(SpecError, match=r"spec.n_pe=0: must be >= 1$"):
        eie.sweep(layer(), {"n_pe": [0, 2], "act_queue_depth": [2, 4]})
    result = eie.sweep(layer(), {"spmat_row_bits": [4, 64], "index_bits": [1, 4], "weight_bits": [2]})
    assert len(result.failed) == 1
    assert len(result.totals) == 3


def test_one_layer_that_does_not_fit_fails_its_point_only(chain):
    base = eie.EIE_64PE.replace(n_pe=1, stream_kib=0.02, index_bits=1)
    result = eie.sweep((chain, inputs()), {"ptr_bits": [4, 16]}, spec=base)
    assert len(result.failed) == 1
    assert "column" in result.failed[0]["error"]


def test_synthetic_inputs_are_noted():
    assert "synthetic inputs" in eie.sweep(layer(), {"n_pe": [2]}).totals[0]["notes"]


def test_a_width_without_energy_is_noted_and_never_on_the_front():
    result = eie.sweep(layer(), {"spmat_row_bits": [8, 64]}).pareto("latency", "energy")
    without, good = result.totals
    assert without["energy_activity_nj"] is None
    assert "no energy by activity" in without["notes"]
    assert (without["pareto"], good["pareto"]) == (False, True)


def brute_force(values):
    return [not any((other <= one).all() and (other < one).any() for other in values) for one in values]


@given(st.lists(st.tuples(*[st.integers(0, 4)] * 3), min_size=1, max_size=25))
def test_front_against_all_pairs(values):
    array = np.array(values, float)
    assert undominated(array).tolist() == brute_force(array)


def test_pareto_marks_the_rows_of_each_workload(chain):
    vary = {"n_pe": [1, 2, 4, 8], "act_queue_depth": [2, 8]}
    result = eie.sweep([(chain, inputs(seed=1)), (chain, inputs(seed=2))], vary).pareto("latency", "energy", "area")
    for model in ("chain", "chain (2)"):
        totals = [row for row in result.totals if row["model"] == model]
        values = np.array([[row["latency_us"], row["energy_activity_nj"], row["area_mm2"]] for row in totals])
        assert [row["pareto"] for row in totals] == brute_force(values)
    front = {result.point(row) for row in result.front}
    assert {result.point(row) for row in result.rows if row["pareto"]} == front
    with pytest.raises(
        SweepError, match="objective 'speed': must be latency, energy, energy-delay, area or a numeric column"
    ):
        result.pareto("speed")
    with pytest.raises(SweepError, match="objective 'notes'"):
        result.pareto("notes")
    assert result.pareto("cycles").front


def test_a_defect_in_one_point_does_not_end_the_sweep(monkeypatch):
    def broken(*given, **options):
        if options["act_queue_depth"] == 4:
            raise RuntimeError("boom")
        return work(*given, **options)

    work = counting.queue_pass
    monkeypatch.setattr(counting, "queue_pass", broken)
    result = eie.sweep(layer(), {"act_queue_depth": [2, 4, 8]})
    assert [row["error"] for row in result.failed] == ["RuntimeError: boom"]
    assert len(result.totals) == 2


def test_progress_counts_points():
    seen = []
    eie.sweep(layer(), {"n_pe": [1, 2, 4], "act_queue_depth": [2, 4]}, progress=lambda *counts: seen.append(counts))
    assert seen[0] == (0, 6)
    assert seen[-1] == (6, 6)
    assert seen == sorted(seen)


def test_results_are_frozen():
    result = eie.sweep(layer(), {"n_pe": [1]})
    assert isinstance(result, SweepResult)
    with pytest.raises(AttributeError):
        result.rows = ()
