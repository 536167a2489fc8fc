"""Layers whose weights arrive while the hardware works: its bench plays the bus by the rules of the cycle model."""

import subprocess
from dataclasses import replace

import numpy as np
import pytest
from needs import icarus, verilator, yosys
from rtl_faults import STREAM_FAULTS, agreeing
from rtl_layers import compiled, ran, random_streamed, saturating, streamed
from test_streams import TestContract as Contract
from test_streams import machine, seeded

import eie
from eie.errors import ProgramError
from eie.rtl.check import check_rtl
from eie.rtl.engine import confirmed
from eie.rtl.work import works
from eie.rtl.write import UNITS, verilog, write_works


def counted(run):
    """What the RTL has counted, of one product."""
    return {name: rtl for _, name, _, rtl in run.counts}


def on_bus(weights, activations, spec, **fields):
    """A layer of 'weights' with its columns on the bus of 'spec'."""
    program = eie.compile(eie.Layer.from_weights("layer", np.asarray(weights, np.float32)), spec)
    return streamed(works(program, np.asarray(activations, np.float32))[0], **fields)


@icarus
class TestAgrees:
    @pytest.mark.parametrize("row", Contract.ROWS)
    def test_the_contract_s_table(self, tmp_path, row):
        """Eighteen numbers of each kind that no engine of ours has made, read off the RTL alone."""
        half, rate, burst, latency = row
        *expected, (bus_4, bus_16) = Contract.ROWS[row]
        for (n_pe, depth), numbers in zip(Contract.SIZES, expected, strict=True):
            spec = machine(half, rate, burst, latency, n_pe=n_pe, act_queue_depth=depth)
            run = ran(on_bus(*seeded(), spec), tmp_path / f"{n_pe}-{depth}")
            assert run.equal, run.differences
            counts = counted(run)
            assert (counts["cycles"], counts["stall_cycles"], counts["load_wait_cycles"]) == numbers
            assert counts["bus_cycles"] == (bus_4 if n_pe == 4 else bus_16)

    @pytest.mark.parametrize(
        ("half", "rate", "latency", "cycles", "load", "bus"),
        [
            (4, 4, 1, 15, 1, 3),
            (4, 4, 3, 17, 3, 3),
            (2, 4, 3, 19, 5, 3),
            (4096, 1, 1, 22, 8, 12),
            (4096, 8, 0, 14, 0, 3),
        ],
    )
    def test_three_columns_by_hand(self, tmp_path, half, rate, latency, cycles, load, bus):
        run = ran(on_bus(np.ones((2, 3)), np.ones(3), machine(half, rate, 1, latency, n_pe=1)), tmp_path)
        counts = counted(run)
        assert run.equal
        assert (counts["cycles"], counts["load_wait_cycles"], counts["bus_cycles"]) == (cycles, load, bus)
        assert counts["dram_bits"] == 3 * 4 * 8

    @pytest.mark.parametrize(
        ("rate", "stream", "activations", "cycles", "bus"),
        [
            (2, "columns", [0, 0, 1, 0], 14, 2),
            (2, "layer", [0, 0, 1, 0], 12, 8),
            # The whole layer keeps the bus busy for 16, though it is done in 13, or nothing is active.
            (1, "layer", [0, 0, 1, 0], 16, 16),
            (1, "layer", [0, 0, 0, 0], 16, 16),
            (1, "columns", [0, 0, 0, 0], 5, 0),
        ],
    )
    def test_one_active_column_by_hand(self, tmp_path, rate, stream, activations, cycles, bus):
        spec = machine(4, rate, 1, 1, n_pe=1, stream=stream)
        # Two rows a column, which take two cycles to write and, at two bytes a cycle, two to come.
        run = ran(on_bus(np.ones((2, 4)), activations, spec), tmp_path)
        assert run.equal, run.differences
        assert (counted(run)["cycles"], counted(run)["bus_cycles"]) == (cycles, bus)

    # 24 here; `make rtl` draws 300.
    @pytest.mark.parametrize("seed", range(24))
    def test_random_layers(self, tmp_path, seed):
        work = random_streamed(seed, most_pes=16 if seed % 4 == 0 else 6)
        run = ran(saturating(work, 1 + seed % 5) if seed % 2 else work, tmp_path)
        assert run.equal, run.differences

    def test_a_layer_that_does_not_fit(self, cli, tmp_path):
        """End to end: the plan streams it, and so does the hardware."""
        spec = eie.EIE_64PE.replace(n_pe=2, spmat_kib=1, stream_kib=0.25)
        file = tmp_path / "program.safetensors"
        program = eie.compile(eie.Layer.from_weights("big", np.eye(60, 80) + 1), spec)
        program.save(file)
        assert program.memory.by_name["big"].place == "streamed"
        np.save(tmp_path / "x.npy", np.arange(80) % 3)
        code, out, _ = cli("rtl", file, "--input", tmp_path / "x.npy", "--check")
        assert code == 0
        assert "equal in every count and output" in out
        assert "load_wait_cycles" in out
        inputs = np.load(tmp_path / "x.npy")
        result = confirmed(eie.simulate(program, inputs), program, inputs)
        assert result.engine == "rtl"
        assert result.layers[0].per_pe["load"].sum() > 0


@verilator
def test_verilator(tmp_path):
    run = ran(random_streamed(0, most_pes=2), tmp_path, "verilator")
    assert run.equal, run.differences


@icarus
def test_memories_filled_through_the_host_s_port(tmp_path):
    """What a streamed layer brings comes over the bus all the same."""
    (folder,) = write_works([random_streamed(6, most_pes=4)], tmp_path / "rtl")
    words = ["iverilog", "-g2005", "-D", "HOST_PORT", "-s", "bench", "-o", "bench.vvp"]
    subprocess.run([*words, *sorted(map(str, folder.glob("*.v")))], cwd=folder, check=True)
    done = subprocess.run(["vvp", "-N", "bench.vvp"], cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, "EQUAL:" in done.stdout) == (0, True)


@yosys
@pytest.mark.parametrize("buffer", ["FIFO", "MARKED"])
def test_synthesis_finds_neither_latches_nor_loops(tmp_path, buffer):
    for unit in UNITS:
        (tmp_path / f"{unit}.v").write_text(verilog(unit))
    units = " ".join(f"{unit}.v" for unit in UNITS)
    streamed = f"-chparam STREAMED 1 -chparam AHEAD 1 -chparam {buffer} 1 -chparam PES 4 -chparam LANE_BITS 2"
    latches = "select -assert-none t:$dlatch t:$adlatch"
    script = f"read_verilog {units}; hierarchy -check -top top {streamed}; proc; opt; check -assert; {latches}"
    done = subprocess.run(["yosys", "-q", "-p", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


class TestRefused:
    def test_a_bus_that_is_faster_than_the_srams(self):
        spec = machine(64, 64, 1, 1, n_pe=1, stream="layer")
        with pytest.raises(
            ProgramError,
            match="layer 'layer': column 3 lands before the rows of those in front of it are written, one a cycle and "
            "PE: a smaller dram_gb_per_s",
        ):
            on_bus(np.ones((30, 4)), np.ones(4), spec)

    def test_a_turn_in_parts(self):
        spec = eie.EIE_64PE.replace(n_pe=1, spmat_kib=1, stream_kib=0.25)
        conv = eie.Conv2d(in_channels=4, out_channels=30, kernel=(3, 3))
        layer = eie.Layer.from_weights("conv", np.ones((30, 36)))
        program = eie.compile(replace(layer, geometry=conv), spec, conv="im2col")
        with pytest.raises(ProgramError, match="layer 'conv': its turn of .* products takes it in 2 parts"):
            check_rtl(program, np.ones((4, 4, 4)))


def faulty_cases():
    """Layers that meet every rule: several blocks, rows that columns share, turns of products, both kinds of stream."""
    rng = np.random.default_rng(7)
    weights = (rng.random((40, 30)) < 0.4) * rng.standard_normal((40, 30))
    weights[:, 3::7] = 0
    inputs = rng.standard_normal((3, 30)) * (rng.random((3, 30)) < 0.6)
    work = works(compiled(weights, rng.standard_normal(40), n_pe=3, act_queue_depth=4), inputs)[0]
    # Two rows of eight entries a half.
    bus = {"clock_mhz": 1000.0, "dram_latency_ns": 5.0, "dram_burst_bytes": 8, "stream_kib": 2 * 2 * 64 / 8192}
    quick = {**bus, "dram_latency_ns": 0.0, "dram_burst_bytes": 1, "act_queue_depth": 2}
    return [
        streamed(work, **bus, dram_gb_per_s=16.0),
        streamed(work, **quick, dram_gb_per_s=512.0),
        streamed(work, **bus, dram_gb_per_s=8.0, stream="layer"),
        # The bus sets the pace: the layer lasts as long as that is busy.
        streamed(work, **bus, dram_gb_per_s=1.0, stream="layer"),
        streamed(work, 3, **bus, dram_gb_per_s=8.0),
        streamed(work, 3, **bus, dram_gb_per_s=8.0, stream="layer"),
    ]


@pytest.fixture(scope="module")
def benches(tmp_path_factory):
    """The designs without a fault, which agree."""
    return agreeing(faulty_cases(), tmp_path_factory)


@icarus
@pytest.mark.parametrize("fault", STREAM_FAULTS, ids=lambda fault: fault.name)
def test_faults_are_caught(benches, fault):
    """A proof that cannot fail proves nothing."""
    assert any(fault.is_caught(folder) for folder in benches), (
        f"{fault.name}: not caught by any of {len(benches)} layers"
    )
