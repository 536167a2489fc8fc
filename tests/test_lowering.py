"""Every kind of layer, lowered to matrix-vector products and run, against the dense operator."""

import naive
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import eie
from eie.model.geometry import Conv2d, Lstm, Winograd
from eie.model.layer_trace import LayerTrace

# Dyadic levels: float32 sums of them are exact, and clustering keeps every weight.
LEVELS = np.concatenate((np.arange(-7, 0), np.arange(1, 9))).astype(np.float32) / 8

CONVS = {
    "plain": Conv2d(in_channels=3, out_channels=4, kernel=(3, 3)),
    "1x1": Conv2d(in_channels=5, out_channels=7),
    "strided": Conv2d(in_channels=2, out_channels=3, kernel=(3, 3), stride=(2, 3)),
    "one-sided pads": Conv2d(in_channels=2, out_channels=3, kernel=(2, 3), pads=(1, 0, 2, 3)),
    "dilated": Conv2d(in_channels=2, out_channels=3, kernel=(3, 2), dilation=(2, 3), pads=(1, 1, 1, 1)),
    "grouped": Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), pads=(1, 1, 1, 1), groups=2),
    "depthwise": Conv2d(in_channels=5, out_channels=5, kernel=(3, 3), stride=(2, 2), pads=(1, 1, 1, 1), groups=5),
    "all at once": Conv2d(
        in_channels=4, out_channels=8, kernel=(2, 3), stride=(1, 2), pads=(0, 1, 1, 2), dilation=(2, 1), groups=4
    ),
}


def draw(rng, shape, density=0.5):
    return np.where(rng.random(shape) < density, rng.choice(LEVELS, shape), 0).astype(np.float32)


def maps(rng, shape):
    return np.where(rng.random(shape) < 0.6, rng.integers(1, 16, shape) / 8, 0).astype(np.float32)


def dense(conv, weights, bias, x):
    return naive.conv2d(x, weights, bias, conv.stride, conv.pads, conv.dilation, conv.groups)


@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
@pytest.mark.parametrize("n_pe", [1, 4])
def test_a_convolution_gives_what_the_dense_operator_gives(conv, n_pe):
    rng = np.random.default_rng(1)
    weights, bias = draw(rng, conv.weight_shape), draw(rng, conv.out_channels)
    x = maps(rng, (2, conv.in_channels, 7, 8))
    layer = eie.Layer.from_conv(name="c", weights=weights, bias=bias, conv=conv, relu=True)
    expected = np.maximum(dense(conv, weights, bias, x), 0)
    result = eie.simulate(eie.compile(layer, eie.EIE_64PE.replace(n_pe=n_pe)), x)
    one = result.layers[0]
    np.testing.assert_array_equal(one.computed.float32, expected)
    np.testing.assert_allclose(one.outputs, expected, atol=2e-3)
    assert one.products == expected.shape[2] * expected.shape[3]
    assert one.counts["broadcasts"] >= one.products  # the bias column at least


@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
def test_a_kernel_survives_its_lowering(conv):
    weights = draw(np.random.default_rng(2), conv.weight_shape)
    layer = eie.Layer.from_conv(name="c", weights=weights, bias=None, conv=conv)
    np.testing.assert_array_equal(layer.kernel, weights)
    assert layer.matrix.nnz == np.count_nonzero(weights)
    assert layer.weight_density == np.count_nonzero(weights) / weights.size


def test_shared_codes_of_a_convolution():
    rng = np.random.default_rng(3)
    conv = Conv2d(in_channels=4, out_channels=4, kernel=(3, 3), groups=2)
    codebook = np.concatenate(([0], LEVELS))
    codes, bias = rng.integers(0, 16, conv.weight_shape).astype(np.uint8), rng.integers(0, 16, 4).astype(np.uint8)
    layer = eie.Layer.from_conv(name="c", weights=codes, bias=bias, conv=conv, codebook=codebook)
    np.testing.assert_array_equal(layer.kernel, codebook[codes])
    x = maps(rng, (1, 4, 5, 5))
    result = eie.simulate(eie.compile(layer), x)
    np.testing.assert_array_equal(result.layers[0].computed.float32, dense(conv, codebook[codes], codebook[bias], x))


@given(st.data())
def test_slices_of_rows_are_im2col(data):
    sizes = st.integers(1, 3)
    conv = Conv2d(
        in_channels=data.draw(sizes),
        out_channels=1,
        kernel=(data.draw(sizes), data.draw(sizes)),
        stride=(data.draw(sizes), data.draw(sizes)),
        pads=tuple(data.draw(st.integers(0, 2)) for _ in range(4)),
        dilation=(data.draw(st.integers(1, 2)), data.draw(st.integers(1, 2))),
    )
    x = np.random.default_rng(data.draw(st.integers(0, 9))).random((2, conv.in_channels, 6, 7))
    whole = conv.im2col(x)
    rows, columns = conv.output_size(6, 7)
    assert whole.shape == (2 * rows * columns, conv.matrix_shape[1])
    stop = data.draw(st.integers(0, len(whole)))
    start = data.draw(st.integers(0, stop))
    np.testing.assert_array_equal(conv.unroll(conv.windows(x), start, stop), whole[start:stop])
    ones = np.ones(conv.weight_shape)
    folded = conv.fold(whole @ ones.reshape(1, -1).T, 2, (rows, columns))
    np.testing.assert_allclose(folded, dense(conv, ones, None, x))


def test_engines_agree_on_a_convolution():
    rng = np.random.default_rng(4)
    conv = Conv2d(in_channels=3, out_channels=6, kernel=(3, 3), pads=(1, 1, 1, 1))
    layer = eie.Layer.from_conv(name="c", weights=draw(rng, conv.weight_shape, 0.3), bias=draw(rng, 6), conv=conv)
    for lowering in ("im2col", "winograd"):
        program = eie.compile(layer, eie.EIE_64PE.replace(n_pe=4, act_queue_depth=2), lowering=lowering)
        x = maps(rng, (2, 3, 4, 5))
        fast, events = (eie.simulate(program, x, engine=engine) for engine in ("fast", "events"))
        assert fast.records() == events.records()
        for a, b in zip(fast.layers, events.layers, strict=True):
            for name, rows in a.activity.per_pe.items():
                np.testing.assert_array_equal(rows, b.activity.per_pe[name])


def test_a_sample_is_the_sum_of_its_pixels():
    rng = np.random.default_rng(5)
    conv = Conv2d(in_channels=3, out_channels=6, kernel=(3, 3))
    layer = eie.Layer.from_conv(name="c", weights=draw(rng, conv.weight_shape, 0.3), bias=None, conv=conv)
    program = eie.compile(layer, eie.EIE_64PE.replace(n_pe=4))
    x = maps(rng, (3, 3, 5, 6))
    result = eie.simulate(program, x).layers[0]
    single = eie.simulate(program, {"c": conv.im2col(x)}).layers[0]
    assert (result.products, single.products) == (12, 1)
    for name, counts in result.activity.counts.items():
        np.testing.assert_array_equal(counts, single.activity.counts[name].reshape(3, 12).sum(axis=1), err_msg=name)
    np.testing.assert_array_equal(result.activity.cycles, single.activity.cycles.reshape(3, 12).sum(axis=1))
    assert result.dense_us == 12 * single.dense_us
    recorded = eie.Trace(layers={"c": LayerTrace.from_dense(conv.im2col(x), products=12)})
    driven = eie.simulate(program, recorded).layers[0]
    np.testing.assert_array_equal(driven.activity.cycles, result.activity.cycles)
    np.testing.assert_array_equal(
        conv.fold(driven.computed.fixed.raw, 3, (3, 4)),
        result.computed.fixed.raw,
        "trace and execution differ",
    )


def test_slicing_changes_nothing(monkeypatch):
    rng = np.random.default_rng(6)
    conv = Conv2d(in_channels=3, out_channels=6, kernel=(3, 3), pads=(1, 1, 1, 1))
    layer = eie.Layer.from_conv(name="c", weights=draw(rng, conv.weight_shape, 0.3), bias=draw(rng, 6), conv=conv)
    x = maps(rng, (3, 3, 5, 6))

    def run(lowering):
        return eie.simulate(eie.compile(layer, eie.EIE_64PE.replace(n_pe=4), lowering=lowering), x, threads=2)

    for lowering in ("im2col", "winograd"):
        whole = run(lowering)
        with monkeypatch.context() as patch:
            for module in ("layer", "functional"):
                patch.setattr(f"eie.simulator.{module}.SLICE_ELEMENTS", 7 * 64)
            sliced = run(lowering)
        assert sliced.records() == whole.records()
        np.testing.assert_array_equal(sliced.layers[0].outputs, whole.layers[0].outputs)


@pytest.mark.parametrize("size", [(4, 4), (5, 8), (7, 3)])
@pytest.mark.parametrize("pads", [(0, 0, 0, 0), (1, 1, 1, 1), (2, 0, 1, 3)])
def test_winograd_gives_what_the_direct_convolution_gives(size, pads):
    rng = np.random.default_rng(7)
    conv = Conv2d(in_channels=3, out_channels=5, kernel=(3, 3), pads=pads)
    # Two weights: the transformed kernel has few enough values for the codebook.
    weights = rng.choice([0, 0, 0.5], conv.weight_shape).astype(np.float32)
    weights[:, :, 1:] = 0
    layer = eie.Layer.from_conv(name="c", weights=weights, bias=np.full(5, 0.25), conv=conv, relu=True)
    x = maps(rng, (2, 3, *size))
    program = eie.compile(layer, eie.EIE_64PE.replace(n_pe=4), lowering="winograd")
    assert program.layers[0].shared.exact
    result = eie.simulate(program, x)
    expected = np.maximum(dense(conv, weights, np.full(5, 0.25), x), 0)
    np.testing.assert_allclose(result.layers[0].computed.float32, expected, atol=1e-5)
    np.testing.assert_allclose(result.layers[0].outputs, expected, atol=1e-2)
    rows, columns = conv.output_size(*size)
    assert result.layers[0].products == 16 * -(-rows // 2) * -(-columns // 2)
    notes = " ".join(result.notes())
    assert "c by Winograd F(2x2, 3x3), 16 products a tile: non-zero weights " in notes
    assert f"c: non-zero activations {100 * np.count_nonzero(x) / x.size:.1f} % before Winograd's transform" in notes


@given(st.integers(0, 99))
def test_the_winograd_transforms_are_exact(seed):
    rng = np.random.default_rng(seed)
    conv = Conv2d(in_channels=2, out_channels=3, kernel=(3, 3), pads=(1, 1, 0, 2))
    geometry = Winograd(conv)
    weights, x = rng.standard_normal(conv.weight_shape), rng.standard_normal((2, 2, 5, 6))
    windows = geometry.windows(x)
    tiles = geometry.unroll(windows, 0, int(np.prod(windows.shape[:3]))).reshape(-1, 16, 2)
    products = np.einsum("eoc,tec->teo", geometry.transform_kernel(weights), tiles).reshape(len(tiles), -1)
    np.testing.assert_allclose(
        geometry.fold(products, 2, geometry.output_size(5, 6)), dense(conv, weights, None, x), atol=1e-12
    )


def test_winograd_leaves_other_convolutions_alone():
    rng = np.random.default_rng(8)
    for conv in (CONVS["strided"], CONVS["1x1"], CONVS["grouped"]):
        layer = eie.Layer.from_conv(name="c", weights=draw(rng, conv.weight_shape), bias=None, conv=conv)
        program = eie.compile(layer, lowering="winograd")
        assert program.layers[0].geometry == conv
        assert program.notes == ()
    with pytest.raises(eie.EieError, match="lowering='direct': must be 'im2col' or 'winograd'"):
        eie.compile(layer, lowering="direct")


def test_capacity_counts_all_sixteen_matrices():
    rng = np.random.default_rng(9)
    conv = Conv2d(in_channels=24, out_channels=24, kernel=(3, 3), pads=(1, 1, 1, 1))
    layer = eie.Layer.from_conv(name="c", weights=draw(rng, conv.weight_shape), bias=draw(rng, 24), conv=conv)
    spec = eie.EIE_64PE.replace(n_pe=4, spmat_kib=1, act_kib=1)
    program = eie.compile(layer, spec, lowering="winograd")
    assert len(program.layers[0].passes) == 16
    assert program.fit[0].entries == max(sum(one.entries_per_pe for one in program.layers[0].passes))
    assert program.fit[0].passes == 1
    assert not program.fit[0].fits
    x = maps(rng, (1, 24, 6, 6))
    whole = eie.simulate(program, x).layers[0]
    assert whole.place.place == "streamed"
    ideal = eie.simulate(eie.compile(layer, spec.replace(residency="ideal"), lowering="winograd"), x).layers[0]
    assert whole.counts["dram_bits"] > 0 == ideal.counts["dram_bits"]
    np.testing.assert_array_equal(ideal.outputs, whole.outputs)


@pytest.mark.parametrize("reverse", [False, True])
def test_an_lstm_gives_what_the_dense_operator_gives(reverse):
    rng = np.random.default_rng(10)
    inputs, hidden, steps = 5, 6, 7
    x_weights, h_weights, bias = draw(rng, (4 * hidden, inputs)), draw(rng, (4 * hidden, hidden)), draw(rng, 4 * hidden)
    x = np.where(rng.random((3, steps, inputs)) < 0.7, rng.standard_normal((3, steps, inputs)), 0).astype(np.float32)
    layer = eie.Layer.from_lstm(
        name="lstm", input_weights=x_weights, hidden_weights=h_weights, bias=bias, reverse=reverse
    )
    expected = naive.lstm(x, x_weights, h_weights, bias, reverse)
    one = eie.simulate(eie.compile(layer, eie.EIE_64PE.replace(n_pe=4)), x).layers[0]
    np.testing.assert_allclose(one.computed.float32, expected, atol=1e-5)
    np.testing.assert_allclose(one.outputs, expected, atol=5e-3)
    assert one.products == steps
    # Every step broadcasts x's non-zeros, the bias, and the hidden state once there is one.
    first = (x != 0).sum(axis=(1, 2)) + steps
    assert (one.activity.counts["broadcasts"] <= first + (steps - 1) * hidden).all()
    assert (one.activity.counts["broadcasts"] > first).all()


@pytest.mark.parametrize(
    ("build", "text"),
    [
        (
            lambda: Conv2d(in_channels=4, out_channels=6, groups=4),
            r"conv groups=4: must divide the channels, 4 in, 6 out",
        ),
        (
            lambda: Conv2d(in_channels=4, out_channels=6, kernel=(0, 3)),
            r"conv kernel=\(0, 3\): must be 2 integers from 1",
        ),
        (
            lambda: Conv2d(in_channels=4, out_channels=6, pads=(0, -1, 0, 0)),
            r"conv pads=\(0, -1, 0, 0\): must be 4 integers from 0",
        ),
        (lambda: Conv2d(in_channels=0, out_channels=6), "conv in_channels=0: must be an integer from 1"),
        (lambda: Conv2d(in_channels=2, out_channels=2, kernel=(3, 2.5)), r"conv kernel=\(3, 2.5\): must be 2 integers"),
        (
            lambda: Conv2d(in_channels=2, out_channels=2, pads=(1 << 40, 0, 0, 0)),
            "conv pads=.* must be 4 integers from 0 to 1048576",
        ),
        (lambda: Lstm(3, 0), "lstm hidden_size=0: must be an integer from 1"),
        (
            lambda: Conv2d(in_channels=1, out_channels=1, kernel=(5, 5)).output_size(4, 9),
            "a 4 x 9 map with pads .* is too small for kernel",
        ),
        (
            lambda: Winograd(Conv2d(in_channels=1, out_channels=1, kernel=(3, 3), stride=(2, 2))),
            "Winograd F.2x2, 3x3. needs a 3x3 kernel, stride 1",
        ),
        (lambda: eie.Layer.from_conv("c", np.ones((2, 2))), "layer 'c': weights has shape"),
        (
            lambda: eie.Layer.from_conv(
                name="c",
                weights=np.ones((2, 2, 3, 3)),
                bias=None,
                conv=Conv2d(in_channels=3, out_channels=2, kernel=(3, 3)),
            ),
            "layer 'c': weights has",
        ),
        (lambda: eie.Layer.from_conv("c", np.ones((2, 2, 3, 3)), np.ones(3)), r"bias has shape \(3,\): must be \(2,\)"),
        (lambda: eie.Layer.from_lstm("l", np.ones((8, 3)), np.ones((8, 3))), "layer 'l': input_weights"),
        (lambda: eie.Layer.from_weights("f", np.ones((2, 2))).kernel, "layer 'f' is no convolution"),
    ],
)
def test_what_cannot_be_lowered_is_refused(build, text):
    with pytest.raises(eie.EieError, match=text):
        build()


@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
def test_convolutions_against_torch(conv):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(11)
    weights, bias = draw(rng, conv.weight_shape), draw(rng, conv.out_channels)
    x = rng.standard_normal((2, conv.in_channels, 9, 8)).astype(np.float32)
    top, left, bottom, right = conv.pads
    padded = torch.nn.functional.pad(torch.tensor(x), (left, right, top, bottom))
    expected = torch.nn.functional.conv2d(
        padded, torch.tensor(weights), torch.tensor(bias), conv.stride, 0, conv.dilation, conv.groups
    )
    one = eie.simulate(eie.compile(eie.Layer.from_conv(name="c", weights=weights, bias=bias, conv=conv)), x).layers[0]
    np.testing.assert_allclose(one.computed.float32, expected.numpy(), atol=1e-5)


def test_a_bidirectional_lstm_against_torch():
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    rng = np.random.default_rng(12)
    module = torch.nn.LSTM(5, 6, batch_first=True, bidirectional=True)
    directions = []
    for suffix in ("l0", "l0_reverse"):
        parts = [draw(rng, (24, 5)), draw(rng, (24, 6)), draw(rng, 24)]
        names = (f"weight_ih_{suffix}", f"weight_hh_{suffix}", f"bias_ih_{suffix}")
        for name, part in zip(names, parts, strict=True):
            getattr(module, name).data = torch.tensor(part)
        getattr(module, f"bias_hh_{suffix}").data.zero_()
        directions.append(eie.Layer.from_lstm(suffix, *parts, reverse=suffix.endswith("reverse")))
    x = rng.standard_normal((2, 7, 5)).astype(np.float32)
    expected = module(torch.tensor(x))[0].detach().numpy()
    found = [eie.simulate(eie.compile(layer), x).layers[0].computed.float32 for layer in directions]
    np.testing.assert_allclose(np.concatenate(found, axis=2), expected, atol=1e-5)
