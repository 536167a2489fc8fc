"""Convolutions that broadcast each activation once: against im2col, the dense operator, and between engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import eie
from eie.compiler.scatter import applies
from eie.compiler.strips import visits_of
from eie.errors import EieError
from eie.model.geometry import Conv2d, Scatter

ONE_PE = eie.EIE_64PE.replace(n_pe=1)


def layer(conv: Conv2d, density: float = 0.5, *, seed: int = 0, bias: str = "none") -> eie.Layer:
    rng = np.random.default_rng(seed)
    weights = rng.integers(-7, 8, conv.weight_shape) * (rng.random(conv.weight_shape) < density)
    biases = {"none": None, "levels": rng.integers(-3, 4, conv.out_channels), "real": rng.random(conv.out_channels)}
    return eie.Layer.from_conv("conv", weights.astype(np.float32), biases[bias], conv=conv)


def inputs(conv: Conv2d, size: tuple[int, int], n: int = 1, seed: int = 1) -> NDArray[np.float32]:
    drawn = np.random.default_rng(seed).integers(-4, 5, (n, conv.in_channels, *size))
    return np.maximum(drawn, 0).astype(np.float32)


def dense(conv: Conv2d, weights: NDArray[Any], x: NDArray[Any]) -> NDArray[np.float64]:
    """The operator, written out place by place."""
    top, left, bottom, right = conv.pads
    padded = np.pad(x.astype(np.float64), ((0, 0), (0, 0), (top, bottom), (left, right)))
    height, width = conv.output_size(*x.shape[2:])
    out = np.zeros((len(x), conv.out_channels, height, width))
    each_in, each_out = conv.in_channels // conv.groups, conv.out_channels // conv.groups
    for o in range(conv.out_channels):
        group = padded[:, o // each_out * each_in :][:, :each_in]
        for i in range(conv.kernel[0]):
            for j in range(conv.kernel[1]):
                down, across = i * conv.dilation[0], j * conv.dilation[1]
                seen = group[:, :, down:, across:][:, :, :: conv.stride[0], :: conv.stride[1]][:, :, :height, :width]
                out[:, o] += np.einsum("nchw,c->nhw", seen, weights[o, :, i, j])
    return out


@st.composite
def cases(draw: st.DrawFn) -> tuple[Conv2d, tuple[int, int], eie.AcceleratorSpec, str]:
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    pair = lambda low, high: st.tuples(st.integers(low, high), st.integers(low, high))  # noqa: E731
    conv = Conv2d(
        in_channels=groups * draw(st.integers(1, 3)),
        out_channels=groups * draw(st.integers(1, 4)),
        kernel=draw(pair(1, 4)),
        stride=draw(pair(1, 3)),
        pads=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        dilation=draw(pair(1, 2)),
        groups=groups,
    )
    spec = eie.EIE_64PE.replace(
        n_pe=draw(st.sampled_from((1, 2, 3, 5))),
        act_registers=draw(st.sampled_from((8, 20, 64))),
        act_queue_depth=draw(st.integers(2, 8)),
        index_bits=draw(st.sampled_from((1, 4))),
        residency=draw(st.sampled_from(("auto", "ideal"))),
    )
    return conv, draw(pair(7, 10)), spec, draw(st.sampled_from(("none", "levels", "real")))


class TestNumbers:
    @given(cases())
    @settings(max_examples=40, deadline=None)
    def test_they_are_those_of_im2col_and_of_the_operator(self, case: Any) -> None:
        conv, size, spec, bias = case
        net, x = layer(conv, bias=bias), inputs(conv, size, n=2)
        ways = {way: eie.simulate(eie.compile(net, spec, conv=way), x) for way in ("im2col", "scatter")}
        one, other = (ways[way].layers[0].computed for way in ("im2col", "scatter"))
        assert one is not None
        assert other is not None
        assert one.saturations == 0
        assert np.array_equal(one.fixed.raw, other.fixed.raw)
        assert one.fixed.fraction_bits == other.fixed.fraction_bits
        # Whatever is broadcast how often: the products of two non-zeros are the same ones.
        macs = [ways[way].layers[0].counts["macs"] for way in ("im2col", "scatter")]
        # By im2col a bias in the codebook's levels is multiplied with 1.
        if bias == "none":
            assert macs[0] == macs[1]
            weights = net.weights.reshape(conv.out_channels, conv.in_channels, *conv.kernel)
            each = conv.in_channels // conv.groups
            of = [o // (conv.out_channels // conv.groups) * each for o in range(conv.out_channels)]
            kernel = np.stack([weights[o, first : first + each] for o, first in enumerate(of)])
            np.testing.assert_allclose(other.float32, dense(conv, kernel, x), rtol=1e-5, atol=1e-3)

    @given(cases())
    @settings(max_examples=30, deadline=None)
    def test_walking_the_broadcasts_gives_the_operator(self, case: Any) -> None:
        """Every activation reaches the outputs of its range of columns: no more, no fewer, and each strip's own."""
        conv, size, spec, _ = case
        net, x = layer(conv), inputs(conv, size)
        encoded = eie.compile(net, spec, conv="scatter").layers[0]
        assert encoded.scatter is not None
        np.testing.assert_allclose(
            walked(encoded, x[0], spec), eie.simulate(eie.compile(net, spec), x).layers[0].outputs
        )


def walked(encoded: Any, x: NDArray[np.float32], spec: eie.AcceleratorSpec) -> NDArray[np.float64]:
    """Broadcast pixel by pixel into the ring of open rows, as hardware does; slow, from the stored images."""
    scatter, conv = encoded.scatter, encoded.scatter.conv
    height, width = conv.output_size(*x.shape[1:])
    out = np.zeros((conv.out_channels, height, width))
    for part, each in zip(encoded.passes, encoded.channels_a_pe, strict=True):
        weights = encoded.codebook[part.decode().dense()]
        tall = len(weights) // scatter.depth
        begin = part.row_start // scatter.depth
        for visit in visits_of(scatter, channels_a_pe=each, size=x.shape[1:], spec=spec):
            # Pixels follow from an output that sees them.
            oy, ox = np.divmod(visit.window, width)
            i, j = np.divmod(visit.tap, conv.kernel[1])
            ys = oy * conv.stride[0] + i * conv.dilation[0] - conv.pads[0]
            xs = ox * conv.stride[1] + j * conv.dilation[1] - conv.pads[1]
            for y, column, first, stop in zip(ys, xs, visit.first, visit.stop, strict=True):
                for place in range(first, stop):
                    phase, across = divmod(place, conv.kernel[1])
                    tap = scatter.column_order[across]
                    to = (column + conv.pads[1] - tap * conv.dilation[1]) // conv.stride[1]
                    for up, row in enumerate(scatter.row_phases[phase]):
                        at = (y + conv.pads[0] - row * conv.dilation[0]) // conv.stride[0]
                        if 0 <= at < height:
                            picked = weights[up * tall : (up + 1) * tall, place :: scatter.columns_a_channel]
                            sums = (picked @ x[:, y, column])[: conv.out_channels - begin]
                            out[begin : begin + tall, at, to] += sums
    return out


class TestTime:
    @given(cases(), st.sampled_from((1, 2)), st.sampled_from(("columns", "layer")), st.booleans())
    @settings(max_examples=25, deadline=None)
    def test_both_engines_count_alike(self, case: Any, batch: int, stream: str, small: bool) -> None:
        conv, size, spec, bias = case
        # A kibibyte and a pointer of four bits: nearly nothing stays, so weights come over the bus.
        narrow = {"spmat_kib": 1, "ptr_bits": 8, "stream_kib": 0.5} if small else {}
        spec = spec.replace(stream=stream, **narrow)
        program = eie.compile(layer(conv, bias=bias), spec, conv="scatter")
        x = inputs(conv, size, n=2)
        fast, events = (eie.simulate(program, x, engine=engine, batch=batch) for engine in ("fast", "events"))
        for one, other in zip(fast.layers, events.layers, strict=True):
            assert one.activity.cycles.tolist() == other.activity.cycles.tolist()
            for name, values in one.activity.counts.items():
                assert values.tolist() == other.activity.counts[name].tolist(), name
            for name, values in one.activity.per_pe.items():
                assert values.tolist() == other.activity.per_pe[name].tolist(), name

    @given(cases())
    @settings(max_examples=15, deadline=None)
    def test_batches_of_pixels_go_through_the_registers(self, case: Any) -> None:
        conv, size, spec, _ = case
        spec = spec.replace(act_batches="paper", residency="auto")
        program, x = eie.compile(layer(conv), spec, conv="scatter"), inputs(conv, size, n=2)
        fast, events = (eie.simulate(program, x, engine=engine).layers[0] for engine in ("fast", "events"))
        assert fast.counts == events.counts
        free = eie.simulate(program.on(spec.replace(act_batches="free")), x).layers[0]
        assert fast.cycles == free.cycles
        # Filling and emptying alone take a word a cycle.
        height, width = conv.output_size(*size)
        assert fast.counts["act_batch_cycles"] >= height * width * -(-conv.out_channels // spec.n_pe)

    def test_weights_that_come_over_the_bus(self) -> None:
        conv = Conv2d(in_channels=8, out_channels=10, kernel=(3, 3), pads=(1, 1, 1, 1))
        spec = ONE_PE.replace(ptr_bits=8, stream_kib=0.5)
        program = eie.compile(layer(conv, bias="real"), spec, conv="scatter")
        x = inputs(conv, (5, 6), n=2)
        fast, events = (eie.simulate(program, x, engine=engine).layers[0] for engine in ("fast", "events"))
        assert fast.place.place == "streamed"
        assert fast.counts == events.counts
        assert fast.counts["load_wait_cycles"] > 0

    @pytest.mark.parametrize("act_kib", [1, 16])
    def test_each_group_of_channels_reads_the_map_again(self, act_kib: int) -> None:
        """One strip; 720 entries where a pointer reaches 255: groups of 2 or 3 of the 10 channels, four in all."""
        conv = Conv2d(in_channels=8, out_channels=10, kernel=(3, 3), pads=(1, 1, 1, 1))
        net = eie.Layer.from_conv("conv", np.ones(conv.weight_shape, np.float32), conv=conv)
        spec = ONE_PE.replace(act_registers=4096, stream_kib=0.5, act_kib=act_kib)
        counts = {
            bits: eie.simulate(net, np.ones((1, 8, 9, 9)), spec=spec.replace(ptr_bits=bits), conv="scatter")
            .layers[0]
            .counts
            for bits in (8, 16)
        }
        # The input is larger than 1 KiB, 648 numbers, and comes over the bus then.
        moved = "act_sram_reads" if act_kib == 16 else "map_dram_bits"
        made = 0 if act_kib == 16 else 8 * 64 * -(-810 * 16 // 512)
        assert counts[16][moved] > made
        assert counts[8][moved] - made == 4 * (counts[16][moved] - made)

    def test_by_hand(self) -> None:
        # One PE, one channel, a row of three pixels under a kernel of two columns, all ones: outputs 0 and 1. Pixel 0
        # takes its column 0, pixel 1 both, pixel 2 column 1. Broadcast in cycles 2, 3 and 4 (a scan row of one lane
        # each, free steps); issued from 3, 4 and 6 on; the last is done in cycle 6 + 1 + 5.
        net = eie.Layer.from_conv("row", np.ones((1, 1, 1, 2), np.float32))
        row = eie.simulate(eie.compile(net, ONE_PE, conv="scatter"), np.ones((1, 1, 1, 3))).layers[0]
        assert row.cycles == 12
        assert (row.counts["broadcasts"], row.counts["entries"], row.counts["ptr_reads"]) == (3, 4, 3)
        assert row.outputs is not None
        assert row.outputs.tolist() == [[[2, 2]]]

    def test_a_strip_is_as_wide_as_the_accumulators_hold_open_rows(self) -> None:
        scatter = Scatter(Conv2d(in_channels=64, out_channels=64, kernel=(3, 3), pads=(1, 1, 1, 1)))
        assert scatter.open_rows == 3
        assert scatter.strips(56, 64 // 3) == [(0, 18), (18, 37), (37, 56)]
        read = [len(visit.window) for visit in visits_of(scatter, 1, (56, 56), eie.EIE_64PE)]
        # Of the neighbours a column at each inner edge.
        assert read == [56 * 19, 56 * 21, 56 * 20]

    def test_a_strided_kernel_has_fewer_open_rows(self) -> None:
        scatter = Scatter(Conv2d(in_channels=1, out_channels=1, kernel=(3, 3), stride=(2, 2)))
        assert (scatter.open_rows, scatter.depth) == (2, 2)
        assert scatter.row_phases == ((0, 2), (1,))
        assert scatter.column_order == (0, 2, 1)

    @pytest.mark.parametrize("padding", [0, 1])
    def test_the_issue_case_of_a_3x3_convolution(self, padding: int) -> None:
        conv = Conv2d(in_channels=64, out_channels=64, kernel=(3, 3), pads=(padding,) * 4)
        rng = np.random.default_rng(0)
        weights = rng.standard_normal(conv.weight_shape) * (rng.random(conv.weight_shape) < 0.3)
        net = eie.Layer.from_conv("conv", weights.astype(np.float32), conv=conv)
        x = np.maximum(rng.standard_normal((1, 64, 56, 56)), 0)
        ways = {way: eie.simulate(eie.compile(net, conv=way), x).layers[0] for way in ("im2col", "scatter")}
        assert ways["scatter"].total_cycles <= 345_000
        assert ways["im2col"].total_cycles > 2.5 * ways["scatter"].total_cycles
        assert ways["im2col"].counts["broadcasts"] > 7.5 * ways["scatter"].counts["broadcasts"]

    @pytest.mark.parametrize(("channels", "size", "fewer"), [(128, 28, 8), (256, 14, 6), (512, 7, 4)])
    def test_the_other_shapes_of_resnet_broadcast_less(self, channels: int, size: int, fewer: int) -> None:
        scatter = Scatter(Conv2d(in_channels=channels, out_channels=channels, kernel=(3, 3), pads=(1, 1, 1, 1)))
        read = sum(len(visit.window) for visit in visits_of(scatter, channels // 64, (size, size), eie.EIE_64PE))
        # By im2col every pixel is read by the windows that see it: three a row and column, two at the edges.
        assert round((3 * size - 2) ** 2 / read) == fewer


class TestChoice:
    def test_auto_says_what_it_took_and_takes_the_quicker(self) -> None:
        conv = Conv2d(in_channels=16, out_channels=16, kernel=(3, 3), pads=(1, 1, 1, 1))
        graph = eie.Graph.sequence("x", (16, 12, 12), [("layer", "conv")])
        net = eie.Network(name="n", layers=(layer(conv),), sequential=False, graph=graph)
        spec = eie.EIE_64PE.replace(n_pe=4)
        program = eie.compile(net, spec)
        assert program.layers[0].conv == "scatter"
        assert any("conv auto: scatter conv" in note for note in program.notes)
        x = inputs(conv, (12, 12))
        runs = {way: eie.simulate(net, x, spec=spec, conv=way) for way in ("auto", "im2col", "scatter")}
        cycles = {way: run.layers[0].total_cycles for way, run in runs.items()}
        assert cycles["auto"] == min(cycles.values())

    def test_the_inputs_say_what_a_layer_alone_leaves_open(self) -> None:
        """A `Layer` has no map; what runs it does: the verb and a sweep see it, `compile` is told."""
        conv = Conv2d(in_channels=16, out_channels=16, kernel=(3, 3), pads=(1, 1, 1, 1))
        spec, x = eie.EIE_64PE.replace(n_pe=4), inputs(conv, (12, 12))
        runs = {way: eie.simulate(layer(conv), x, spec=spec, conv=way) for way in ("auto", "im2col", "scatter")}
        cycles = {way: run.layers[0].total_cycles for way, run in runs.items()}
        assert cycles["scatter"] < cycles["im2col"]
        assert cycles["auto"] == cycles["scatter"]
        assert runs["auto"].records()[0]["conv"] == "scatter"
        assert eie.sweep((layer(conv), x), {"n_pe": [4]}, spec=spec).layers[0]["conv"] == "scatter"
        assert eie.compile(layer(conv), spec, sizes={"conv": (12, 12)}).layers[0].conv == "scatter"
        assert eie.compile(layer(conv), spec).layers[0].conv == "im2col"

    def test_a_map_of_unknown_size_is_left_to_im2col(self) -> None:
        conv = Conv2d(in_channels=2, out_channels=2, kernel=(3, 3))
        assert eie.compile(layer(conv)).layers[0].conv == "im2col"

    def test_a_pe_that_holds_no_open_rows_runs_by_im2col(self) -> None:
        conv = Conv2d(in_channels=2, out_channels=2, kernel=(3, 3))
        assert (
            eie.compile(layer(conv), eie.EIE_64PE.replace(act_registers=2), conv="scatter").layers[0].conv == "im2col"
        )

    def test_an_unknown_way_is_named(self) -> None:
        with pytest.raises(EieError, match="conv='direct': must be 'auto', 'im2col', 'scatter' or 'winograd'"):
            eie.compile("lenet-5", conv="direct")  # type: ignore[arg-type]

    def test_recorded_windows_that_are_no_map_run_by_im2col(self) -> None:
        conv = Conv2d(in_channels=2, out_channels=2, kernel=(3, 3))
        program = eie.compile(layer(conv), conv="scatter")
        result = eie.simulate(program, {"conv": np.ones((3, 18), np.float32)})
        assert result.program.layers[0].conv == "im2col"
        assert any("no whole map" in note for note in result.program.notes)


class TestImages:
    @given(cases())
    @settings(max_examples=30, deadline=None)
    def test_what_is_stored_is_found_back(self, case: Any) -> None:
        conv, _, spec, bias = case
        net = layer(conv, bias=bias)
        stored = {way: eie.compile(net, spec, conv=way).layers[0] for way in ("im2col", "scatter")}
        assert np.array_equal(stored["im2col"].decode(), stored["scatter"].decode())

    def test_a_file_gives_it_back(self, tmp_path: Path) -> None:
        conv = Conv2d(in_channels=3, out_channels=5, kernel=(3, 2), stride=(2, 1))
        program = eie.compile(layer(conv, bias="levels"), eie.EIE_64PE.replace(n_pe=2), conv="scatter")
        program.save(tmp_path / "p.safetensors")
        again = eie.Program.load(tmp_path / "p.safetensors")
        assert again.content_hash == program.content_hash
        assert again.layers[0].conv == "scatter"

    def test_a_layer_of_vectors_has_no_strips(self) -> None:
        assert applies(eie.Layer.from_weights("fc", np.ones((2, 2))), eie.EIE_64PE) is None

    def test_channels_are_cut_into_groups_where_strips_get_too_narrow(self) -> None:
        conv = Conv2d(in_channels=1, out_channels=64, kernel=(3, 3))
        groups = eie.compile(layer(conv), ONE_PE, conv="scatter").layers[0].channels_a_pe
        # Three open rows of a pixel for 21 channels are 63 accumulators.
        assert max(groups) <= 21
        assert sum(groups) == 64
