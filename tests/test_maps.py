"""Maps between layers: which lie in the activation SRAM, what moving them takes, batches of activations, the host."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compiler.lifetimes import lifetimes
from eie.compiler.maps import map_plan
from eie.energy.prices import prices_pj
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node
from eie.results.distribution import Distribution
from eie.results.layer import fits_in_words

# 2 PEs; 1 KiB of activation SRAM holds 512 numbers of 16 bits a PE, both together 1,024; bursts of 8 bytes, 8 bytes a
# cycle: 4 numbers a burst and cycle. Accumulators for all, so that no layer is cut by rows.
SMALL = eie.EIE_64PE.replace(n_pe=2, act_kib=1, act_registers=512, dram_burst_bytes=8)


def thin(name, outputs, inputs):
    """One weight an input, so that weights take no room and maps are what there is to place."""
    weights = np.zeros((outputs, inputs))
    weights[np.arange(inputs) % outputs, np.arange(inputs)] = 1
    return eie.Layer.from_weights(name, weights, relu=True)


def chain(*sizes, spec=SMALL):
    """Fully connected layers a, b, c, ... between vectors of these sizes, on ones."""
    layers = [thin(name, wide, narrow) for name, narrow, wide in zip("abc", sizes, sizes[1:], strict=False)]
    network = eie.Network(name="chain", layers=tuple(layers), sequential=True)
    return eie.simulate(eie.compile(network, spec), np.ones(sizes[0], np.float32))


def counts(layer, *names):
    return tuple(layer.counts[name] for name in names)


TRAFFIC = ("act_sram_reads", "act_sram_writes", "map_dram_bits", "map_bus_cycles")


# -- two layers by hand -----------------------------------------------------------------------------------------------


def test_maps_that_fit():
    """600 -> 400 -> 8: at most 600 + 400 of 1,024 numbers at a time, so nothing goes to DRAM."""
    result = chain(600, 400, 8)
    assert counts(result.layers[0], *TRAFFIC) == (600, 400, 0, 0)
    assert counts(result.layers[1], *TRAFFIC) == (400, 8, 0, 0)
    assert result.memory.maps.fits
    assert [placed.in_sram for placed in result.memory.maps.maps] == [True, True, True]
    assert result.memory.maps.used == (300 + 200, 200 + 4)
    assert [layer.total_cycles for layer in result.layers] == [layer.cycles for layer in result.layers]


def test_one_map_is_spilled():
    """900 -> 300 -> 8: 450 + 150 of 512 a PE do not fit together. The host writes the input, a writes its output.

    The input is read once for its size, a's output is written and read: it saves twice as much and stays.
    """
    result = chain(900, 300, 8)
    first, second = result.layers
    assert [(placed.name, placed.in_sram) for placed in result.memory.maps.maps] == [
        ("a", False),
        ("a:out", True),
        ("b:out", True),
    ]
    # 900 numbers in bursts of 4: 225 bursts of 64 bits.
    assert counts(first, *TRAFFIC) == (0, 300, 225 * 64, 225)
    assert counts(second, *TRAFFIC) == (300, 8, 0, 0)
    assert not result.memory.fits
    # 225 cycles of the bus hide behind 900 columns.
    assert counts(first, "bus_wait_cycles") == (0,)
    assert result.energy().unit_nj()["dram"] == pytest.approx(225 * 64 * 20e-3)
    assert result.energy("published-power").unit_nj()["dram"] == pytest.approx(225 * 64 * 20e-3)


def test_rows_that_run_in_groups_read_their_input_in_each():
    """300 outputs on 2 PEs of 64 accumulators are 3 groups of rows."""
    result = chain(600, 300, 8, spec=SMALL.replace(act_registers=64))
    assert counts(result.layers[0], *TRAFFIC) == (3 * 600, 300, 0, 0)


def test_a_layer_lasts_as_long_as_its_bus_is_busy():
    """The same with 0.8 GB/s, a byte a cycle: 1,800 bytes of input take 1,800 cycles."""
    result = chain(900, 300, 8, spec=SMALL.replace(dram_gb_per_s=0.8))
    first = result.layers[0]
    assert first.counts["map_bus_cycles"] == 1800
    assert first.counts["bus_cycles"] >= 1800
    assert first.total_cycles == first.cycles + first.counts["bus_wait_cycles"]
    assert first.total_cycles >= first.counts["bus_cycles"]
    assert first.latency_us == first.total_cycles / 800
    assert first.cycles == chain(900, 300, 8, spec=SMALL.replace(residency="ideal")).layers[0].cycles


def test_maps_and_streamed_weights_share_the_bus():
    """A full 40 x 900 layer whose weights do not stay either: both kinds of traffic add up on one bus."""
    spec = SMALL.replace(spmat_kib=2, ptr_kib=8, stream_kib=1, stream="layer", dram_gb_per_s=1.6)
    layers = (eie.Layer.from_weights("a", np.ones((40, 900))), thin("b", 140, 40))

    def run(**changes):
        network = eie.Network(name="n", layers=layers, sequential=True)
        return eie.simulate(eie.compile(network, spec.replace(**changes)), np.zeros(900, np.float32)).layers[0]

    spilled, fitting = run(act_registers=512, act_kib=1, data_bits=32), run(act_kib=64, data_bits=32)
    assert spilled.place.place == fitting.place.place == "streamed"
    # 900 numbers of 32 bits, 450 bursts of 8 bytes at 2 bytes a cycle.
    assert (spilled.counts["map_bus_cycles"], fitting.counts["map_bus_cycles"]) == (1800, 0)
    assert spilled.counts["bus_cycles"] == fitting.counts["bus_cycles"] + 1800
    assert spilled.counts["dram_bits"] == fitting.counts["dram_bits"] + 450 * 64
    assert spilled.cycles == fitting.cycles
    assert spilled.total_cycles == max(spilled.cycles, spilled.counts["bus_cycles"])


def test_what_waits_for_the_bus_by_hand():
    """4 zeros on 1 PE: 1 + 4 cycles of scanning. 510 outputs do not fit beside them in 512 numbers of SRAM.

    They are 128 bursts of 8 bytes; at 0.2 bytes a cycle each takes 40 cycles.
    """
    network = eie.Network(name="n", layers=(thin("a", 510, 4),), sequential=True)
    spec = SMALL.replace(n_pe=1, dram_gb_per_s=0.16)
    (row,) = eie.simulate(eie.compile(network, spec), np.zeros(4, np.float32)).layers
    assert counts(row, *TRAFFIC) == (4, 0, 128 * 64, 128 * 40)
    assert (row.cycles, row.counts["bus_wait_cycles"], row.total_cycles) == (5, 5115, 5120)
    # The bus goes on while registers are filled with 4 numbers and emptied of 510.
    paper = eie.simulate(eie.compile(network, spec.replace(act_batches="paper")), np.zeros(4, np.float32)).layers[0]
    assert (paper.counts["act_batch_cycles"], paper.counts["bus_wait_cycles"]) == (514, 5120 - 5 - 514)
    assert paper.total_cycles == 5120


def test_a_skip_connection_keeps_a_map_alive():
    """x (400) -> a -> 300 -> b -> 400, and x is added to b's output: x lives through b, which reads it once more.

    A PE holds 200 + 150 in step a, 200 + 150 + 200 in step b: 550 of 512. b's output in itself never is: what is stored
    is the sum. Reads a number: x 2, a's output 2 (written and read), the sum 1 (written, never read); so the sum goes.
    """
    graph = Graph(
        inputs=(("x", (400,)),),
        nodes=(
            Node(op="layer", inputs=("x",), outputs=("a:out",), layer="a"),
            Node(op="layer", inputs=("a:out",), outputs=("b:out",), layer="b"),
            Node(op="add", inputs=("b:out", "x"), outputs=("sum",)),
        ),
        outputs=("sum",),
    )
    network = eie.Network(name="skip", layers=(thin("a", 300, 400), thin("b", 400, 300)), graph=graph)
    result = eie.simulate(eie.compile(network, SMALL), np.ones((1, 400), np.float32))
    maps = result.memory.maps
    assert [(placed.name, placed.made_by, placed.read_by, placed.in_sram) for placed in maps.maps] == [
        ("x", "", ("a", "b"), True),
        ("a:out", "a", ("b",), True),
        ("sum", "b", (), False),
    ]
    assert maps.wanted == (350, 550)
    assert maps.used == (350, 350)
    first, second = result.layers
    assert counts(first, *TRAFFIC) == (400, 300, 0, 0)
    assert counts(second, *TRAFFIC) == (300 + 400, 0, 100 * 64, 100)
    assert (maps.of("a").source, maps.of("a").made, maps.of("a").kept) == (400, 300, 0)
    assert (maps.of("b").source, maps.of("b").made, maps.of("b").kept) == (300 + 400, 400, 0)


def test_a_map_that_is_only_kept():
    """x is not read by b, yet needed behind c: it stands beside b's maps."""
    nodes = [
        Node(op="layer", inputs=(before,), outputs=(f"{name}:out",), layer=name)
        for name, before in (("a", "x"), ("b", "a:out"), ("c", "b:out"))
    ]
    graph = Graph(
        inputs=(("x", (10,)),),
        nodes=(*nodes, Node(op="add", inputs=("c:out", "x"), outputs=("sum",))),
        outputs=("sum",),
    )
    layers = [thin(name, 10, 10) for name in "abc"]
    plan = map_plan(
        eie.compile(eie.Network(name="n", layers=tuple(layers), graph=graph), SMALL).layers, SMALL, 1, graph
    )
    assert [row.kept for row in plan.layers] == [0, 10, 0]
    assert plan.wanted == (10, 15, 15)


def test_a_map_that_is_read_before_and_behind_an_operator_is_two():
    """a's output is bent for b and added behind it as it was; it gives up its place only where nobody else reads it."""
    graph = Graph(
        inputs=(("x", (10,)),),
        nodes=(
            Node(op="layer", inputs=("x",), outputs=("a:out",), layer="a"),
            Node(op="sigmoid", inputs=("a:out",), outputs=("bent",)),
            Node(op="layer", inputs=("bent",), outputs=("b:out",), layer="b"),
            Node(op="add", inputs=("b:out", "a:out"), outputs=("sum",)),
        ),
        outputs=("sum",),
    )
    layers = (thin("a", 10, 10), thin("b", 10, 10))
    plan = map_plan(eie.compile(eie.Network(name="n", layers=layers, graph=graph), SMALL).layers, SMALL, 1, graph)
    assert [(placed.name, placed.read_by) for placed in plan.maps] == [
        ("x", ("a",)),
        ("a:out", ("b",)),
        ("bent", ("b",)),
        ("sum", ()),
    ]
    # Both are written by a.
    assert [row.made for row in plan.layers] == [20, 10]


def conv_net(spec, *, pool=True):
    """3 x 3 kernel over a 1 x 6 x 6 map, 2 filters, then pooling by 2, flattening, 4 outputs."""
    conv = Conv2d(in_channels=1, out_channels=2, kernel=(3, 3))
    steps = [("layer", "conv"), ("relu", {})]
    steps += [("max_pool", {"kernel": (2, 2)})] if pool else []
    steps += [("flatten", {}), ("layer", "fc")]
    layers = (
        eie.Layer.from_conv(name="conv", weights=np.ones((2, 1, 3, 3)), conv=conv),
        thin("fc", 4, 8 if pool else 32),
    )
    network = eie.Network(name="n", layers=layers, graph=Graph.sequence("image", (1, 6, 6), steps))
    return eie.simulate(eie.compile(network, spec, conv="im2col"), np.ones((1, 1, 6, 6), np.float32))


def test_a_convolution_reads_its_windows_again_and_again():
    """16 output pixels read 9 of 36 inputs each; pooling works on what comes out: 8 numbers are written, not 32."""
    result = conv_net(SMALL)
    assert counts(result.layers[0], *TRAFFIC) == (16 * 9, 8, 0, 0)
    assert counts(result.layers[1], *TRAFFIC) == (8, 4, 0, 0)
    assert [placed.elements for placed in result.memory.maps.maps] == [36, 8, 4]
    without = conv_net(SMALL, pool=False)
    assert counts(without.layers[0], *TRAFFIC) == (16 * 9, 32, 0, 0)


def test_a_spilled_map_comes_as_often_as_it_is_read():
    """A batch of 100 samples has 3,600 + 800 numbers, 2,200 a PE: the input, read 4 times a number, stays out of room.

    Each window of 9 numbers is 18 bytes, 3 bursts and cycles; 16 of them.
    """
    program = eie.compile("lenet-5", eie.EIE_64PE)
    layers = conv_net(SMALL).program
    plan = map_plan(layers.layers, SMALL, 100, layers.dataflow)
    # 18 + 4 numbers a sample and PE are 2,200: neither fits; the 4 outputs of fc, 200 a PE, do.
    assert [placed.in_sram for placed in plan.maps] == [False, True, False]
    row = plan.of("conv")
    assert (row.dram_bits, row.bus_cycles) == (16 * 3 * 64, 16 * 3)
    assert (row.act_sram_reads, row.act_sram_writes) == (0, 8)
    assert map_plan(program.layers, program.spec, 1, program.dataflow).fits


def test_joined_maps_are_their_parts():
    """a and b both read x; their outputs, 6 and 2, are joined and read by c as one: nothing is copied."""
    graph = Graph(
        inputs=(("x", (4,)),),
        nodes=(
            Node(op="layer", inputs=("x",), outputs=("a:out",), layer="a"),
            Node(op="layer", inputs=("x",), outputs=("b:out",), layer="b"),
            Node(op="concat", inputs=("a:out", "b:out"), outputs=("both",), attributes={"axis": 1}),
            Node(op="layer", inputs=("both",), outputs=("c:out",), layer="c"),
        ),
        outputs=("c:out",),
    )
    layers = (thin("a", 6, 4), thin("b", 2, 4), thin("c", 3, 8))
    result = eie.simulate(
        eie.compile(eie.Network(name="n", layers=layers, graph=graph), SMALL), np.ones((1, 4), np.float32)
    )
    assert [counts(layer, *TRAFFIC)[:2] for layer in result.layers] == [(4, 6), (4, 2), (8, 3)]
    assert [placed.read_by for placed in result.memory.maps.maps] == [("a", "b"), ("c",), ("c",), ()]


def test_an_lstm_reads_its_state_every_step():
    """3 steps of 5 inputs and 4 of state: 9 numbers a step; 3 x 4 are written."""
    rng = np.random.default_rng(0)
    layer = eie.Layer.from_lstm(
        name="lstm",
        input_weights=rng.standard_normal((16, 5)),
        hidden_weights=rng.standard_normal((16, 4)),
        bias=rng.standard_normal(16),
    )
    graph = Graph.sequence("x", (3, 5), [("layer", "lstm")])
    network = eie.Network(name="n", layers=(layer,), graph=graph)
    result = eie.simulate(eie.compile(network, SMALL), np.ones((1, 3, 5), np.float32))
    assert counts(result.layers[0], *TRAFFIC)[:2] == (3 * 9, 3 * 4)


def test_a_row_of_the_sram_holds_as_many_numbers_as_it_is_wide():
    """64 bits hold 4 numbers of 16 bits: 600 numbers are 300 a PE, 75 rows each."""
    result = chain(600, 400, 8, spec=SMALL.replace(act_row_bits=64))
    assert counts(result.layers[0], *TRAFFIC)[:2] == (2 * 75, 2 * 50)
    narrow = chain(600, 400, 8, spec=SMALL.replace(act_row_bits=8))
    assert counts(narrow.layers[0], *TRAFFIC)[:2] == (1200, 800)


def test_a_map_larger_than_the_srams_does_not_fit():
    """ResNet-50's 56 x 56 x 64 map is 392 KiB; 64 PEs have 128 KiB of activation SRAM."""
    conv = Conv2d(in_channels=64, out_channels=2)
    layer = eie.Layer.from_conv(name="conv", weights=np.ones((2, 64, 1, 1)), conv=conv)
    network = eie.Network(name="n", layers=(layer,), graph=Graph.sequence("x", (64, 56, 56), [("layer", "conv")]))
    program = eie.compile(network, eie.EIE_64PE)
    assert not program.memory.fits
    (source, _) = program.memory.maps.maps
    assert (source.kib, source.in_sram) == (392, False)
    assert "392.0" in str(program)
    windows = eie.LayerTrace.from_dense(np.zeros((56 * 56, 64)), products=56 * 56)
    trace = eie.Trace(layers={"conv": windows})
    (row,) = eie.simulate(program, trace).layers
    assert (row.fits, fits_in_words(row)) == (False, "maps in DRAM")
    ideal = eie.simulate(eie.compile(network, eie.EIE_64PE.replace(residency="ideal")), trace)
    assert (ideal.layers[0].fits, fits_in_words(ideal.layers[0])) == (False, "no")
    assert "conv: maps exceed the activation SRAMs (residency auto charges for it)" in ideal.notes()


def test_sizes_that_are_not_known_are_not_said_to_fit():
    conv = Conv2d(in_channels=1, out_channels=1, kernel=(3, 3))
    layer = eie.Layer.from_conv(name="conv", weights=np.ones((1, 1, 3, 3)), conv=conv)
    graph = Graph.sequence("x", (1, -1, -1), [("layer", "conv")])
    program = eie.compile(eie.Network(name="n", layers=(layer,), graph=graph), SMALL)
    assert program.memory.maps.unknown == "the size of input 'x' is open"
    assert not program.memory.fits
    result = eie.simulate(program, np.ones((1, 1, 5, 5), np.float32))
    assert result.memory.fits
    assert counts(result.layers[0], *TRAFFIC)[:2] == (9 * 9, 9)


# -- batches of activations -------------------------------------------------------------------------------------------

# 1 PE with 4 registers: 10 inputs are batches of 4, 4 and 2.
FEW = eie.EIE_64PE.replace(n_pe=1, act_registers=4)


@pytest.mark.parametrize("engine", ["fast", "events"])
def test_batches_by_hand(engine):
    """A column of one entry each for 3 outputs x 10 inputs, all active, one PE.

    In one piece: 10 columns of 3 entries, first taken in cycle 3: 3 + 30 + 5 = 38. Batches of 4, 4 and 2 columns:
    3 + 12 + 5, twice, and 3 + 6 + 5: 54, that is 16 more. Filled with 10 numbers, emptied of 3 sums three times: 19.
    """
    layer = eie.Layer.from_weights("a", np.ones((3, 10)))
    result = eie.simulate(eie.compile(layer, FEW.replace(act_batches="paper")), np.ones(10), engine=engine)
    (row,) = result.layers
    assert row.cycles == 38
    assert row.counts["act_batch_cycles"] == 16 + 10 + 3 * 3
    assert row.total_cycles == 38 + 35
    assert row.latency_us == pytest.approx(73 / 800)
    free = eie.simulate(eie.compile(layer, FEW), np.ones(10), engine=engine).layers[0]
    assert (free.cycles, free.total_cycles) == (38, 38)
    # A row of the sparse matrix survives from batch to batch, and no other count changes.
    changed = {name for name, count in row.counts.items() if count != free.counts[name]}
    assert changed == {"act_batch_cycles"}


def test_a_bias_needs_no_register():
    """4 inputs fill the registers; a bias beside them makes no second batch: 4 reads and 3 writes are all."""
    layer = eie.Layer.from_weights("a", np.ones((3, 4)), np.ones(3))
    (row,) = eie.simulate(eie.compile(layer, FEW.replace(act_batches="paper")), np.ones(4)).layers
    assert row.counts["act_batch_cycles"] == 4 + 3


def test_a_bias_goes_with_the_last_batch():
    """11 columns of 3: 41 cycles in one piece; batches of 4, 4 and 2 with the bias: 20 + 20 + 17."""
    layer = eie.Layer.from_weights("a", np.ones((3, 10)), np.ones(3))
    (row,) = eie.simulate(eie.compile(layer, FEW.replace(act_batches="paper")), np.ones(10)).layers
    assert (row.cycles, row.counts["act_batch_cycles"]) == (41, 16 + 10 + 9)


def test_a_wide_sram_fills_registers_faster():
    """32 bits: two numbers a cycle. 4 + 4 + 2 numbers in 2 + 2 + 1 cycles, 3 sums in 2, three times."""
    layer = eie.Layer.from_weights("a", np.ones((3, 10)))
    spec = FEW.replace(act_batches="paper", act_row_bits=32)
    assert eie.simulate(eie.compile(layer, spec), np.ones(10)).layers[0].counts["act_batch_cycles"] == 16 + 5 + 6


def test_every_product_goes_through_the_registers():
    """16 pixels of 9 inputs on 2 PEs of 64 registers: 5 cycles in, 1 out (2 filters), each time."""
    result = conv_net(SMALL.replace(act_batches="paper"))
    assert result.layers[0].counts["act_batch_cycles"] == 16 * (5 + 1)


def test_fc8(fc8):
    """AlexNet fc8, 64 PEs: 7,926 cycles; 4,096 / 64 activations in and 16 sums out of the fullest PE: 8,006."""
    layer, inputs = fc8
    for batches, total in (("free", 7926), ("paper", 8006)):
        result = eie.simulate(eie.compile(layer, eie.EIE_64PE.replace(act_batches=batches)), inputs)
        (row,) = result.layers
        assert (row.cycles, row.total_cycles) == (7926, total)
        assert row.counts["spmat_reads"] == 100900
        assert result.latency_us == total / 800


# -- beside the layers ------------------------------------------------------------------------------------------------


def test_the_host_and_the_first_load():
    """LeNet-300-100: 784 inputs of 16 bits over 64 bits a cycle are 196 cycles, 10 outputs 2.5; not in the latency."""
    result = eie.simulate("lenet-300-100")
    moved = {row.what: row for row in result.transfers}
    assert (moved["input"].bits, moved["input"].cycles, moved["input"].us) == (784 * 16, 196, 0.245)
    assert (moved["output"].bits, moved["output"].cycles) == (160, 3)
    assert moved["input"].nj is None
    # Entries of 8 bits and pointers of 16, in bursts of 64 bytes, 8 bytes a cycle, 20 pJ a bit.
    bits = sum(-(-layer.image_bits(result.spec) // 512) * 512 for layer in result.program.layers)
    cold = moved["cold load"]
    assert (cold.bits, cold.cycles, cold.how_often) == (bits, bits // 64, "once")
    pj = prices_pj(result.spec)
    waiting = cold.cycles * 64 * (pj["clock"] + pj["leakage"])
    assert cold.nj == pytest.approx(bits * 20e-3 + (bits / 64 * pj["spmat_write"] + waiting) * 1e-3)
    assert result.latency_us == Distribution.of(result.sample_us).mean
    assert "input from the host" in str(result)
    ideal = eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(residency="ideal"))
    assert ideal.transfers == ()
    assert [layer.cycles for layer in ideal.layers] == [layer.cycles for layer in result.layers]
    assert ideal.latency_us == result.latency_us


def test_the_link_is_as_wide_as_io_bits():
    result = eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(io_bits=7))
    assert [row.cycles for row in result.transfers[:2]] == [1792, 23]


def test_only_what_stays_is_loaded_once():
    """A layer that is streamed is not in the first load."""
    spec = eie.EIE_64PE.replace(n_pe=4, spmat_kib=1, ptr_kib=2, stream_kib=0.5)
    layers = tuple(eie.Layer.from_weights(name, np.ones((40, 40))) for name in "abc")
    result = eie.simulate(
        eie.compile(eie.Network(name="n", layers=layers, sequential=True), spec), np.ones(40, np.float32)
    )
    stay = [layer for layer in result.layers if layer.place.place == "resident"]
    assert 0 < len(stay) < 3
    (cold,) = (row for row in result.transfers if row.what == "cold load")
    assert cold.bits == sum(-(-layer.encoded.image_bits(spec) // 512) * 512 for layer in stay)


def test_the_table_says_what_was_added_and_over_what_a_speedup_is():
    """Columns of batches and of the bus appear where there is any of it; where dense weights are is in every row."""
    plain = str(eie.simulate("lenet-300-100"))
    assert "+ batches" not in plain
    assert "+ bus" not in plain
    assert "over the dense equivalent; its 16-bit weights on the chip, same SRAMs and DRAM." in plain
    paper = str(eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(act_batches="paper")))
    assert "+ batches" in paper
    slow = eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(n_pe=1, act_kib=1, dram_gb_per_s=0.01))
    assert "+ bus" in str(slow)
    assert "maps lie in DRAM" in str(slow)
    assert "16-bit weights streamed in" in str(slow)
    ideal = str(eie.simulate("lenet-300-100", spec=eie.EIE_64PE.replace(residency="ideal")))
    assert "weights and maps of neither machine are paid for (residency ideal)" in ideal
    assert "not paid" in ideal


# -- laws -------------------------------------------------------------------------------------------------------------


@st.composite
def networks(draw):
    """A chain of fully connected layers, some of which add what an earlier one read."""
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=5))
    nodes, at, shapes = [], "x", {"x": sizes[0]}
    for i, wide in enumerate(sizes[1:]):
        made = f"l{i}:out"
        nodes.append(Node(op="layer", inputs=(at,), outputs=(made,), layer=f"l{i}"))
        shapes[made] = wide
        at = made
        twins = [name for name, size in shapes.items() if size == wide and name != made]
        if twins and draw(st.booleans()):
            added = f"sum{i}"
            nodes.append(Node(op="add", inputs=(made, draw(st.sampled_from(twins))), outputs=(added,)))
            shapes[added] = wide
            at = added
    graph = Graph(inputs=(("x", (sizes[0],)),), nodes=tuple(nodes), outputs=(at,))
    layers = tuple(thin(f"l{i}", wide, narrow) for i, (narrow, wide) in enumerate(pairwise(sizes)))
    return eie.Network(name="n", layers=layers, graph=graph)


MACHINES = st.builds(
    lambda n_pe, registers, row, burst, rate, batches: eie.EIE_64PE.replace(
        n_pe=n_pe,
        act_kib=1,
        # 32 bits a number: 256 numbers of 1 KiB a PE.
        data_bits=32,
        act_registers=registers,
        act_row_bits=row,
        dram_burst_bytes=burst,
        dram_gb_per_s=rate,
        act_batches=batches,
    ),
    st.integers(1, 4),
    st.integers(1, 80),
    st.sampled_from([8, 32, 64]),
    st.sampled_from([1, 8, 64]),
    st.sampled_from([0.8, 6.4, 51.2]),
    st.sampled_from(["free", "paper"]),
)


@settings(deadline=None)
@given(networks(), MACHINES, st.integers(1, 20))
def test_conservation(network, spec, batch):
    program = eie.compile(network, spec)
    plan = map_plan(program.layers, spec, batch, program.dataflow)
    life = lifetimes(program.dataflow, {layer.name: layer.geometry for layer in program.layers}, {})
    # No step holds more than there is; what is wanted is never less than what is held.
    assert max(plan.used) <= spec.activation_capacity
    assert all(used <= wanted for used, wanted in zip(plan.used, plan.wanted, strict=True))
    assert plan.fits == all(placed.in_sram for placed in plan.maps)
    width = spec.data_bits // 8
    for step, (row, layer) in enumerate(zip(plan.layers, program.layers, strict=True)):
        read = [made for made in life.maps if step in made.sources]
        again = [made for made in life.maps for _ in range(made.operands.count(step))]
        written = [made for made in life.maps if made.born == step]
        in_sram = {placed.name: placed.in_sram for placed in plan.maps}
        groups = len(layer.passes)
        moved = [(made, groups) for made in read] + [(made, 1) for made in (*again, *written)]
        # Every number that is read or written comes from or goes to one of the two, in whole bursts.
        numbers = [(made.elements, times) for made, times in moved if not in_sram[made.name]]
        burst = spec.dram_burst_bytes
        assert row.dram_bits == sum(8 * burst * -(-n * width // burst) * times for n, times in numbers)
        if spec.act_row_bits == 32:
            kept = sum(made.elements * times for made, times in moved if in_sram[made.name])
            assert row.act_sram_reads + row.act_sram_writes == kept
        # The bus takes at least as long as its bits need.
        assert row.bus_cycles >= row.dram_bits / 8 / float(spec.dram_bytes_per_cycle) - 1e-9


@settings(deadline=None, max_examples=50)
@given(networks(), MACHINES, st.sampled_from(["fast", "events"]))
def test_time_with_maps_and_without(network, spec, engine):
    inputs = np.ones((1, network.graph.inputs[0][1][0]), np.float32)
    ours = eie.simulate(eie.compile(network, spec), inputs, engine=engine)
    ideal = eie.simulate(eie.compile(network, spec.replace(residency="ideal", act_registers=80)), inputs, engine=engine)
    for layer, free in zip(ours.layers, ideal.layers, strict=True):
        # Ideal: as in 0.1, nothing but the contract.
        assert free.total_cycles == free.cycles
        assert counts(free, *TRAFFIC, "dram_bits", "bus_cycles", "act_batch_cycles", "bus_wait_cycles") == (0,) * 8
        assert layer.total_cycles >= max(layer.cycles, layer.counts["bus_cycles"])
        # Nobody waits for a bus that the PEs outlast.
        if layer.counts["bus_wait_cycles"]:
            assert layer.total_cycles == layer.counts["bus_cycles"]
        if spec.act_batches == "free":
            assert layer.counts["act_batch_cycles"] == 0
        else:
            # Each number passes its register at least once, and each sum.
            rows = -(-layer.shape[1] // spec.n_pe) + -(-layer.shape[0] // spec.n_pe)
            assert layer.counts["act_batch_cycles"] >= rows * spec.data_bits // max(spec.act_row_bits, spec.data_bits)
