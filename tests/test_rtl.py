"""The hardware: what is written, what is refused, and that it agrees with the engines to the cycle and the bit."""

import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from needs import icarus, verilator, yosys
from rtl_faults import FAULTS, agreeing
from rtl_layers import compiled, ran, random_case, saturating
from small_networks import mlp

import eie
from eie.errors import EieError, ProgramError, TraceError
from eie.rtl import design, tools
from eie.rtl.check import check_rtl
from eie.rtl.engine import confirmed
from eie.rtl.hexfile import hex_words
from eie.rtl.work import works
from eie.rtl.write import BENCH, UNITS, verilog, write_rtl, write_works


class TestWritten:
    def test_words(self):
        assert hex_words(np.array([[1, 2], [3, -1]]), 4) == "21\nf3\n"
        # Nine bits take three digits; the first field is the lowest.
        assert hex_words(np.array([[1, 7, 0], [-4, 0, 3]]), 3) == "039\n0c4\n"
        assert hex_words(np.array([[5]]), 3, 16) == "0005\n"

    def test_images(self, tmp_path):
        """The paper's example of section III-B, in the one PE that holds it."""
        column = np.zeros((23, 1))
        column[[2, 3, 22], 0] = 1, 2, 3
        (folder,) = write_rtl(compiled(column, n_pe=1), tmp_path / "rtl", np.ones(1))
        # Codes 1, 2, 0, 3 and runs 2, 0, 15, 2, four bits each, the first entry in the lowest byte.
        assert (folder / "images/spmat_0.hex").read_text() == "00000000320f2012\n"
        assert (folder / "images/ptr_even_0.hex").read_text() == "0000\n"
        assert (folder / "images/ptr_odd_0.hex").read_text() == "0004\n"
        assert {path.stem for path in folder.glob("*.v")} == {*UNITS, *BENCH}
        assert "localparam PES = 1;" in (folder / "config.vh").read_text()
        assert "iverilog" in (folder / "README.md").read_text()

    def test_several_layers_get_a_folder_each(self, tmp_path):
        folders = write_rtl("lenet-300-100", tmp_path)
        assert [folder.name for folder in folders] == ["00-ip1", "01-ip2", "02-ip3"]

    def test_expected_counts_are_the_engines(self):
        work = random_case(3).work
        words = design.expected(work)
        assert words[:, 0].tolist() == work.activity.cycles.tolist()
        assert words.shape[1] == len(design.COUNTS) + len(design.PE_COUNTS) * work.spec.n_pe

    def test_other_folders_are_left_alone(self, tmp_path):
        (tmp_path / "letter.txt").write_text("mine")
        with pytest.raises(EieError, match="holds other files: must be new, empty, or written by eie rtl before"):
            write_rtl(compiled(np.eye(2), n_pe=1), tmp_path, np.ones(2))

    def test_every_memory_is_the_one_with_a_registered_read(self):
        """An array of words stands in `ram` alone, and in the queue, whose head is a register."""
        with_arrays = {unit for unit in UNITS if re.search(r"\w+ \[0:", verilog(unit))}
        assert with_arrays == {"ram", "act_queue"}


def winograd(spec):
    """A convolution of the kind that Winograd takes."""
    conv = eie.Conv2d(in_channels=2, out_channels=2, kernel=(3, 3))
    layer = replace(eie.Layer.from_weights("conv", np.ones((2, 18))), geometry=conv)
    return eie.compile(layer, spec, conv="winograd")


class TestRefused:
    """By name, before anything is written."""

    def refused(self, program, text, inputs=None, **how):
        with pytest.raises(ProgramError, match=text):
            works(program, inputs, **how)

    def test_streamed_in_passes_or_by_scatter(self):
        spec = eie.EIE_64PE.replace(n_pe=1, spmat_kib=1)
        program = eie.compile(eie.Layer.from_weights("tall", np.ones((80, 60))), spec)
        self.refused(program, "layer 'tall': its weights are streamed and it runs in 2 passes, the hardware streams")
        conv = eie.Layer.from_conv("conv", np.ones((40, 40, 1, 1), np.float32))
        program = eie.compile(conv, spec, conv="scatter", sizes={"conv": (3, 3)})
        self.refused(program, "layer 'conv': its weights are streamed and it runs by scatter", np.ones((1, 40, 3, 3)))

    def test_batches_by_scatter(self):
        conv = eie.Layer.from_conv("conv", np.ones((2, 2, 1, 1), np.float32))
        program = eie.compile(conv, eie.EIE_64PE.replace(n_pe=1, act_batches="paper"), conv="scatter")
        self.refused(program, "layer 'conv': act_batches='paper' .* by scatter", np.ones((1, 2, 3, 3)))

    def test_winograd(self):
        program = winograd(eie.EIE_64PE.replace(residency="ideal"))
        self.refused(program, "layer '.*': a convolution by winograd, whose tiles the hardware does not transform")

    def test_wide_numbers(self):
        self.refused(compiled(np.eye(3), n_pe=1, data_bits=25), "spec.data_bits=25: must be <= 24")

    def test_recurrence(self):
        layer = replace(eie.Layer.from_weights("lstm", np.ones((8, 5))), geometry=eie.Lstm(3, 2))
        self.refused(eie.compile(layer, eie.EIE_64PE.replace(residency="ideal")), "layer 'lstm': its steps read")

    def test_layers_and_samples_that_are_not_there(self):
        program = compiled(np.eye(3), n_pe=1)
        self.refused(program, "layer 'x': must be one of layer", layers=["x"])
        with pytest.raises(TraceError, match=r"sample 2: must be 0..1, the inputs hold 2"):
            works(program, np.ones((2, 3)), sample=2)

    def test_no_simulator(self, monkeypatch):
        monkeypatch.setattr(tools, "available", lambda: ())
        with pytest.raises(EieError, match="no Verilog simulator: install Icarus Verilog"):
            check_rtl(compiled(np.eye(3), n_pe=1))


@icarus
class TestAgrees:
    # 40 here; `make rtl` draws 500.
    @pytest.mark.parametrize("seed", range(40))
    def test_random_layers(self, tmp_path, seed):
        # Fewer PEs than there may be: every fourth layer has up to 64.
        work = random_case(seed, most_pes=64 if seed % 4 == 0 else 12).work
        run = ran(saturating(work, 1 + seed % 5) if seed % 2 else work, tmp_path / "rtl")
        assert run.equal, run.differences

    @pytest.mark.parametrize(
        ("weights", "activations", "n_pe", "depth", "cycles", "stall"),
        [
            ([[1]], [1], 1, 8, 9, 0),
            ([[0]], [1], 1, 8, 9, 0),
            ([[1]], [0], 1, 8, 2, 0),
            (np.ones((4, 1)), [1], 1, 8, 12, 0),
            (np.eye(40)[:, 39:], [1], 1, 8, 11, 0),
            (np.ones((4, 4)), [1, 0, 0, 1], 4, 8, 10, 0),
            (np.ones((4, 4)), [1, 0, 1, 0], 4, 8, 10, 0),
            (np.ones((8, 6)), np.ones(6), 2, 2, 32, 13),
            (np.ones((8, 6)), np.ones(6), 2, 3, 32, 9),
            (np.eye(4)[:, :1] @ np.ones((1, 8)), np.ones(8), 4, 2, 23, None),
        ],
    )
    def test_by_hand(self, tmp_path, weights, activations, n_pe, depth, cycles, stall):
        """The contract's own table, read off the RTL alone."""
        program = compiled(weights, n_pe=n_pe, act_queue_depth=depth)
        run = ran(works(program, np.asarray(activations, np.float32))[0], tmp_path / "rtl")
        counted = {name: rtl for _, name, _, rtl in run.counts}
        assert counted["cycles"] == cycles
        assert stall is None or counted["stall_cycles"] == stall

    def test_a_shipped_layer_and_the_table(self, cli, tmp_path):
        code, out, _ = cli("rtl", "lenet-300-100", "--layer", "ip3", "--sample", 1, "--check", "-o", tmp_path / "ip3")
        assert code == 0
        assert "equal in every count and output" in out
        assert re.search(r"ip3 +cycles +(\d+) +\1 +yes", out)
        assert re.search(r"outputs +10 +10 +yes", out)

    def test_memories_filled_through_the_host_s_port(self, tmp_path):
        (folder,) = write_works([random_case(6, most_pes=4).work], tmp_path / "rtl")
        program = folder / "bench.vvp"
        sources = sorted(map(str, folder.glob("*.v")))
        words = ["iverilog", "-g2005", "-D", "HOST_PORT", "-s", "bench", "-o", program, *sources]
        subprocess.run(words, cwd=folder, check=True)
        done = subprocess.run(["vvp", "-N", program], cwd=folder, capture_output=True, text=True, check=False)
        assert (done.returncode, "EQUAL:" in done.stdout) == (0, True)

    def test_a_run_that_the_rtl_has_confirmed(self, monkeypatch):
        network = mlp((12, 10, 6))
        program = eie.compile(network, eie.EIE_64PE.replace(n_pe=4))
        inputs = np.random.default_rng(0).standard_normal((2, 12))
        fast = eie.simulate(program, inputs)
        result = confirmed(fast, program, inputs)
        assert result.engine == "rtl"
        assert [layer.cycles for layer in result.layers] == [layer.cycles for layer in fast.layers]
        wrong = tools.Run(counts=(), equal=False, differences=("product 0 pe 1 issue",), simulator="icarus")
        monkeypatch.setattr(tools, "run", lambda *_: wrong)
        with pytest.raises(EieError, match="engine 'rtl': layer '.*' differs from the fast engine: product 0"):
            confirmed(fast, program, inputs)

    def test_a_run_too_long_is_refused(self, monkeypatch):
        monkeypatch.setattr("eie.rtl.engine.LARGEST_PE_CYCLES", 10)
        program = compiled(np.eye(3), n_pe=2)
        with pytest.raises(EieError, match=r"engine 'rtl': \d+ PE-cycles: must be at most 10: fewer samples"):
            confirmed(eie.simulate(program, np.ones(3)), program, np.ones(3))

    def test_a_program_file(self, cli, tmp_path):
        file = tmp_path / "program.safetensors"
        compiled(np.eye(5), n_pe=2).save(file)
        np.save(tmp_path / "x.npy", np.ones((2, 5), np.float32))
        code, out, _ = cli("rtl", file, "--input", tmp_path / "x.npy", "--sample", 1, "--check")
        assert code == 0
        assert re.search(r"outputs +5 +5 +yes", out)
        assert cli("rtl", file, "--set", "n_pe=4", "--check")[0] == 1
        assert cli("rtl", file)[0] == 2

    def test_a_difference_is_a_failure(self, tmp_path):
        (folder,) = write_rtl(compiled(np.eye(3), n_pe=1), tmp_path / "rtl", np.ones(3))
        counts = folder / "expected" / "counts.hex"
        counts.write_text(counts.read_text().replace("\n", "1\n", 1))
        run = tools.run(folder, "icarus")
        assert not run.equal
        assert run.differences[0].startswith("product 0 pe -1 cycles: expected ")
        program = folder / "bench.vvp"
        sources = sorted(map(str, folder.glob("*.v")))
        subprocess.run(["iverilog", "-g2005", "-s", "bench", "-o", program, *sources], cwd=folder, check=True)
        assert subprocess.run(["vvp", "-N", program], cwd=folder, capture_output=True, check=False).returncode == 1

    def test_every_unit_alone_is_verilog_2005(self, tmp_path):
        (folder,) = write_rtl(compiled(np.eye(3), n_pe=2), tmp_path / "rtl", np.ones(3))
        units = [str(folder / f"{unit}.v") for unit in UNITS]
        done = subprocess.run(
            ["iverilog", "-g2005", "-Wall", "-s", "top", "-t", "null", *units],
            capture_output=True,
            check=True,
            text=True,
        )
        assert done.stderr == ""


@yosys
def test_synthesis_finds_neither_latches_nor_loops(tmp_path):
    units = " ".join(f"{unit}.v" for unit in UNITS)
    for unit in UNITS:
        (tmp_path / f"{unit}.v").write_text(verilog(unit))
    latches = "select -assert-none t:$dlatch t:$adlatch"
    script = f"read_verilog {units}; hierarchy -check -top top; proc; opt; check -assert; {latches}"
    done = subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@verilator
def test_verilator(tmp_path):
    work = random_case(4, most_pes=1).work
    run = ran(work, tmp_path / "rtl", "verilator")
    assert run.equal, run.differences


def faulty_cases():
    """Layers that meet every rule: two products, short queues, padding, odd columns, saturating sums, an empty end."""
    rng = np.random.default_rng(5)
    weights = (rng.random((60, 21)) < 0.25) * rng.standard_normal((60, 21))
    weights[0] = rng.standard_normal(21)
    weights[:, -1] = 0
    inputs = rng.standard_normal((2, 21)) * (rng.random((2, 21)) < 0.6)
    inputs[:, -1] = 1
    small = {"n_pe": 3, "index_bits": 2, "data_bits": 8, "spmat_row_bits": 16}
    short = works(compiled(weights, n_pe=3, act_queue_depth=2, index_bits=2, data_bits=8), inputs)[0]
    deep = works(compiled(weights, rng.standard_normal(60), act_queue_depth=4, **small), inputs)[0]
    # One SRAM row in all: the second product finds it in the buffer, if anything was left there.
    once = works(compiled(np.eye(3), act_queue_depth=8, **small), np.ones((2, 3)))[0]
    # One accumulator met in neighbouring cycles, and with a column between that holds nothing of it.
    near = works(compiled([rng.standard_normal(9) * [1, 1, 1, 0, 1, 0, 1, 1, 0]], n_pe=1), np.ones(9))[0]
    return [short, saturating(deep, 3), once, near]


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    """The designs without a fault, which agree."""
    return agreeing(faulty_cases(), tmp_path_factory)


@icarus
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_faults_are_caught(benches, fault):
    """A proof that cannot fail proves nothing."""
    assert any(fault.is_caught(folder) for folder in benches), (
        f"{fault.name}: not caught by any of {len(benches)} layers"
    )


def test_there_are_faults_enough():
    assert len(FAULTS) >= 12
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    for fault in FAULTS:
        assert fault.planted(verilog(fault.unit)) != verilog(fault.unit)
