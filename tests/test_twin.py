"""What the cycle contract pins on AlexNet fc8, on layers that every checkout has: one drawn, one shipped.

The figures below were worked out by `naive.timing` and `naive.encode`, which share nothing with the package: cycles
over the queue's depth, row reads over the SRAM's width, every count at a depth of 8. ``test_cycles.py`` has fc8 itself.
"""

import naive
import numpy as np
import pytest

import eie

DRAWN = {
    "cycles": {2: 9932, 3: 8519, 4: 7997, 5: 7746, 6: 7606, 7: 7518, 8: 7452, 9: 7406, 12: 7339, 16: 7270, 4096: 7183},
    "reads": {8: 436837, 16: 250132, 32: 154940, 64: 98939, 128: 59463, 256: 31861, 512: 16052},
}


@pytest.fixture(scope="module")
def drawn():
    """As large as fc8: 1000 x 4096 with a bias, a quarter of the weights; (codes, bias codes, activations)."""
    rng = np.random.default_rng(0)
    codes = (rng.random((1000, 4096)) < 0.25).astype(np.uint8)
    active = rng.random(4096) < 0.43
    return codes, (rng.random(1000) < 0.9).astype(np.uint8), active


@pytest.fixture(scope="module")
def drawn_program(drawn):
    codes, bias, _ = drawn
    return eie.compile(eie.Layer.from_codes("drawn", codes, [0, 1.0], bias_codes=bias))


@pytest.fixture(scope="module")
def shipped():
    """LeNet-300-100's first layer, 300 x 784 with a bias, on 8 PEs, and three recorded inputs of it."""
    network = eie.load("lenet-300-100")
    inputs = network.trace.layers["ip1"].dense(0, 3)
    return eie.compile(network.layers[0], eie.EIE_64PE.replace(n_pe=8)), inputs


def only(program, active, engine="fast", **changes):
    return eie.simulate(program.on(program.spec.replace(**changes)), active, engine=engine).layers[0]


class TestDrawn:
    @pytest.mark.parametrize("depth", DRAWN["cycles"])
    def test_cycles_over_queue_depth(self, drawn, drawn_program, depth):
        assert only(drawn_program, drawn[2] * 1.0, act_queue_depth=depth).cycles == DRAWN["cycles"][depth]

    @pytest.mark.parametrize("width", DRAWN["reads"])
    def test_row_reads_over_sram_width(self, drawn, drawn_program, width):
        row = only(drawn_program, drawn[2] * 1.0, spmat_row_bits=width)
        assert row.counts["spmat_reads"] == DRAWN["reads"][width]

    def test_counts_at_depth_8(self, drawn, drawn_program):
        row = only(drawn_program, drawn[2] * 1.0)
        assert row.counts == {
            "broadcasts": 1743 + 1,
            "ptr_reads": 1744 * 64,
            "spmat_reads": 98939,
            "entries": 436837,
            "padding_entries": 0,
            "stall_cycles": 5618,
            "dead_scan_cycles": 46,
            "macs": 436837,
            "bias_writes": 0,
            "load_wait_cycles": 0,
            "dram_bits": 0,
            "bus_cycles": 0,
            "map_dram_bits": 0,
            "map_bus_cycles": 0,
            # Every input is read once, every output written.
            "act_sram_reads": 4096,
            "act_sram_writes": 1000,
            "act_batch_cycles": 0,
            "bus_wait_cycles": 0,
        }
        # 436,837 / 64 = 6,825.6 cycles at 800 MHz, of the 7,452 that it takes
        assert row.theoretical_us == pytest.approx(436837 / 64 / 800)
        assert row.efficiency == pytest.approx(436837 / 64 / 7452)
        assert row.latency_us == pytest.approx(7452 / 800)
        assert (row.per_pe["issue"].max(), row.per_pe["issue"].min()) == (7164, 6400)

    def test_figures_are_those_of_the_naive_recurrences(self, drawn):
        codes, bias, active = drawn
        found = naive.timing(naive.encode(codes, 64, 4, bias), active, 4096, 64, 8, True, 8)
        assert (found["cycles"], found["reads"]) == (DRAWN["cycles"][8], DRAWN["reads"][64])
        assert (found["stall"], found["dead"], found["entries"], found["padding"]) == (5618, 46, 436837, 0)


class TestShipped:
    """Padding, empty columns and idle PEs, which fc8 has none of."""

    CYCLES = {2: 1034, 3: 881, 4: 821, 5: 797, 6: 777, 7: 763, 8: 759, 9: 757, 12: 745, 16: 742, 4096: 742}
    READS = {8: 4364, 16: 2289, 32: 1241, 64: 702, 128: 406, 256: 241, 512: 150}

    @pytest.mark.parametrize("depth", CYCLES)
    def test_cycles_over_queue_depth(self, shipped, depth):
        program, inputs = shipped
        assert only(program, inputs[0], act_queue_depth=depth).cycles == self.CYCLES[depth]

    @pytest.mark.parametrize("width", READS)
    def test_row_reads_over_sram_width(self, shipped, width):
        program, inputs = shipped
        assert only(program, inputs[0], spmat_row_bits=width).counts["spmat_reads"] == self.READS[width]

    @pytest.mark.parametrize("engine", ["fast", "events"])
    @pytest.mark.parametrize("depth", [2, 8])
    def test_every_count_is_the_naive_recurrences(self, shipped, engine, depth):
        program, inputs = shipped
        encoding = program.layers[0].passes[0]
        images = [encoding.pe_image(pe) for pe in range(8)]
        activity = only(program, inputs, engine, act_queue_depth=depth).activity
        for s in range(3):
            expected = naive.timing(images, inputs[s] != 0, 784, 8, depth, True, 8)
            naive.assert_timing(activity, s, expected)

    def test_counts_at_depth_8(self, shipped):
        program, inputs = shipped
        row = only(program, inputs[0])
        assert row.counts["broadcasts"] == np.count_nonzero(inputs[0]) + 1 == 268
        assert row.counts["ptr_reads"] == 268 * 8
        assert (row.counts["entries"], row.counts["padding_entries"], row.counts["macs"]) == (4364, 756, 4364 - 756)
        assert row.per_pe["issue"].tolist() == [584, 622, 586, 637, 444, 503, 483, 505]
        assert row.per_pe["empty_column"].tolist() == [100, 76, 71, 71, 109, 99, 98, 98]
        assert row.efficiency == pytest.approx(4364 / 8 / 759)
