"""The hardware on layers of several passes and on convolutions by scatter: it agrees, and faults of it are caught."""

import subprocess

import numpy as np
import pytest
from needs import icarus, verilator, yosys
from rtl_faults import FAULTS, MAP_FAULTS, agreeing
from rtl_layers import compiled, ran, saturating
from rtl_maps import ROOMY, random_map, random_passes

import eie
from eie.errors import EieError
from eie.rtl.check import check_rtl
from eie.rtl.engine import confirmed
from eie.rtl.passes import Matrix
from eie.rtl.work import works
from eie.rtl.write import UNITS, verilog, write_works


def by_scatter(weights, bias=None, *, relu=False, place="accumulator", conv=None, **fields):
    """A convolution of 'weights' (out, in, kh, kw) whose weights stay in place."""
    layer = eie.Layer.from_conv("conv", np.asarray(weights, np.float32), bias, conv=conv, relu=relu)
    return eie.compile(layer, eie.EIE_64PE.replace(**{**ROOMY, **fields}), conv="scatter", bias=place)


class TestWritten:
    def test_every_pass_begins_a_row_of_the_sram(self):
        """Three passes of 2, 2 and 1 entries in rows of two, and a pointer for each column and one more."""
        program = compiled(np.ones((5, 1)), n_pe=1, **{**ROOMY, "act_registers": 2, "spmat_row_bits": 16})
        matrix = Matrix(passes=program.layers[0].passes, spec=program.spec)
        assert matrix.first_rows[:, 0].tolist() == [0, 1, 2, 3]
        rows, pointers = matrix.image(0)
        assert rows.shape == (3, 2)
        assert pointers.tolist() == [0, 2, 2, 4, 4, 5]

    def test_outputs_of_a_strip(self):
        """A kernel of two rows on a map of four by two: two open rows, turn by turn downwards, two epochs."""
        program = by_scatter(np.ones((1, 1, 2, 1)), n_pe=1)
        work = works(program, np.arange(1, 9, dtype=np.float32).reshape(1, 1, 4, 2))[0]
        layout = work.layout
        raw = work.outputs.reshape(3, 2)
        assert (layout.sums, layout.results, int(layout.is_output.sum())) == (4, 8, 6)
        # Of each output column: rows 1 and 0, and four words further row 2, with one of nothing in front of it.
        assert layout.outputs[0, [1, 0, 5, 3, 2, 7], 0].tolist() == [*raw[:, 0], *raw[:, 1]]
        assert not layout.is_output[[4, 6]].any()


class TestCompute:
    def test_sums_are_those_of_im2col_where_none_saturates(self):
        """`works` compares them one by one."""
        assert [random_map(seed).work.reordered for seed in range(0, 40, 4)] == [0] * 10

    def test_sums_that_saturate_on_the_way_are_told(self):
        """Channel by channel 1 - 1 + 1 - 1, pixel by pixel 1 + 1 - 1 - 1, beyond a format that holds 1."""
        program = by_scatter(np.array([[[[1, -1]], [[1, -1]]]]), n_pe=1)
        inputs = np.ones((1, 2, 1, 2), np.float32)
        assert works(program, inputs)[0].reordered == 1


@icarus
class TestAgrees:
    # 16 and 24 here; `make rtl` draws 100 and 200.
    @pytest.mark.parametrize("seed", range(16))
    def test_random_passes(self, tmp_path, seed):
        work = random_passes(seed).work
        run = ran(saturating(work, 1 + seed % 5) if seed % 2 else work, tmp_path / "rtl")
        assert run.equal, run.differences

    @pytest.mark.parametrize("seed", range(24))
    def test_random_maps(self, tmp_path, seed):
        work = random_map(seed).work
        run = ran(saturating(work, 1 + seed % 5) if seed % 2 else work, tmp_path / "rtl")
        assert run.equal, run.differences

    def test_passes_by_hand(self, tmp_path):
        """Four ones in a column take 12 cycles; in two passes, each drained, 10 twice."""
        program = compiled(np.ones((4, 1)), n_pe=1, **{**ROOMY, "act_registers": 2})
        run = ran(works(program, np.ones(1, np.float32))[0], tmp_path / "rtl")
        counted = {name: rtl for _, name, _, rtl in run.counts}
        assert (counted["cycles"], counted["broadcasts"], counted["entries"]) == (20, 2, 4)

    def test_scatter_by_hand(self, tmp_path):
        """The row of three pixels of docs/cycle-model.md."""
        work = works(by_scatter(np.ones((1, 1, 1, 2)), n_pe=1), np.ones((1, 1, 1, 3), np.float32))[0]
        run = ran(work, tmp_path / "rtl")
        counted = {name: rtl for _, name, _, rtl in run.counts}
        assert (counted["cycles"], counted["broadcasts"], counted["entries"], counted["outputs"]) == (12, 3, 4, 2)

    def test_memories_filled_through_the_host_s_port(self, tmp_path):
        (folder,) = write_works([random_map(4).work], tmp_path / "rtl")
        program = folder / "bench.vvp"
        sources = sorted(map(str, folder.glob("*.v")))
        words = ["iverilog", "-g2005", "-D", "HOST_PORT", "-s", "bench", "-o", program, *sources]
        subprocess.run(words, cwd=folder, check=True)
        done = subprocess.run(["vvp", "-N", program], cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode, "EQUAL:" in done.stdout) == (0, True)

    def test_a_run_that_the_rtl_has_confirmed(self):
        program = by_scatter(np.random.default_rng(3).standard_normal((6, 2, 3, 3)), n_pe=2, act_registers=20)
        inputs = np.random.default_rng(4).standard_normal((2, 2, 7, 6)).astype(np.float32)
        result = confirmed(eie.simulate(program, inputs), program, inputs)
        assert (result.engine, result.layers[0].cycles > 0) == ("rtl", True)

    def test_a_run_whose_sums_saturate_is_refused(self):
        program = by_scatter(np.array([[[[1, -1]], [[1, -1]]]]), n_pe=1)
        inputs = np.ones((1, 2, 1, 2), np.float32)
        assert "conv: 1 outputs are not those of eie run" in str(check_rtl(program, inputs, samples=None))
        with pytest.raises(EieError, match="engine 'rtl': layer 'conv': 1 outputs are others in hardware"):
            confirmed(eie.simulate(program, inputs), program, inputs)


@verilator
def test_verilator(tmp_path):
    """A map; `make rtl` builds passes too."""
    run = ran(random_map(7).work, tmp_path / "rtl", "verilator")
    assert run.equal, run.differences


@yosys
def test_synthesis_finds_neither_latches_nor_loops(tmp_path):
    units = " ".join(f"{unit}.v" for unit in UNITS)
    for unit in UNITS:
        (tmp_path / f"{unit}.v").write_text(verilog(unit))
    values = {"PES": 2, "STORED": 1, "SCATTER": 1, "BANKS": 4, "SELECT_BITS": 2, "MORE_BITS": 2, "ROW_DEPTH": 2}
    settings = " ".join(f"-set {name} {value}" for name, value in {**values, "HOST_WORD_BITS": 99}.items())
    latches = "select -assert-none t:$dlatch t:$adlatch"
    script = (
        f"read_verilog {units}; chparam {settings} top; hierarchy -check -top top; proc; opt; check -assert; {latches}"
    )
    done = subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def faulty_cases():
    """Three passes, drained and set anew; maps with pads, strips, strides, dilation, outputs of nothing."""
    rng = np.random.default_rng(6)
    small = {"act_queue_depth": 4, "data_bits": 12, "index_bits": 2}
    passes = compiled(
        rng.standard_normal((14, 9)) * (rng.random((14, 9)) < 0.6),
        rng.standard_normal(14),
        place="accumulator",
        n_pe=2,
        **{**ROOMY, **small, "act_registers": 3},
    )
    padded = eie.Conv2d(in_channels=3, out_channels=7, kernel=(3, 3), pads=(1, 1, 1, 1))
    spread = eie.Conv2d(in_channels=2, out_channels=2, kernel=(3, 2), dilation=(2, 1), stride=(1, 2), pads=(0, 0, 2, 1))
    cases = [(passes, rng.standard_normal((2, 9)))]
    for conv, density in ((padded, 0.7), (spread, 0.7), (padded, 0.1)):
        weights = rng.standard_normal(conv.weight_shape) * (rng.random(conv.weight_shape) < density)
        bias = rng.standard_normal(conv.out_channels)
        program = by_scatter(weights, bias, conv=conv, relu=density < 0.5, n_pe=2, **{**small, "act_registers": 30})
        cases.append((program, rng.standard_normal((2, conv.in_channels, 7, 6)).astype(np.float32)))
    # One accumulator in neighbouring cycles, of another output row each time.
    cases.append((by_scatter(np.ones((1, 1, 1, 1)), n_pe=1), rng.standard_normal((1, 1, 6, 1)).astype(np.float32)))
    return [works(program, inputs)[0] for program, inputs in cases]


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    """The designs without a fault, which agree."""
    return agreeing(faulty_cases(), tmp_path_factory)


@icarus
@pytest.mark.parametrize("fault", MAP_FAULTS, ids=lambda fault: fault.name)
def test_faults_are_caught(benches, fault):
    """A proof that cannot fail proves nothing."""
    assert any(fault.is_caught(folder) for folder in benches), (
        f"{fault.name}: not caught by any of {len(benches)} layers"
    )


def test_every_fault_is_another():
    names = [fault.name for fault in (*FAULTS, *MAP_FAULTS)]
    assert len(set(names)) == len(names)
    for fault in MAP_FAULTS:
        assert fault.planted(verilog(fault.unit)) != verilog(fault.unit)
