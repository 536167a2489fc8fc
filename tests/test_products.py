"""The arithmetic of a layer, whichever kernel walks it: plain Python's integers, to the bit, and numpy's float32 sums.

Drawn layers are wide and nearly empty, or hold many entries in few columns: that is what number types, bands of
accumulators and packed entries could get wrong.
"""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.errors import TraceError
from eie.kernels import datapath
from eie.model.geometry import Conv2d
from eie.model.graph import Graph
from eie.simulator import products, singles, sums
from eie.simulator.functional import FixedPoint, Rows

SHAPES = {
    "wide, nearly empty": ((3, 4000), 0.002),
    "tall, few columns": ((9000, 3), 0.4),
    "short columns": ((30, 60), 0.1),
    "dense": ((40, 30), 1.0),
    "a band and one row": ((datapath.BAND + 1, 2), 0.5),
}


def layer_of(shape, density, seed, *, weight_bits=4, n_pe=4, bias=True, scale=1.0, **spec):
    rng = np.random.default_rng(seed)
    levels = (rng.standard_normal((1 << weight_bits) - 1) * scale).astype(np.float32)
    weights = rng.choice(levels, shape) * (rng.random(shape) < density)
    biases = rng.choice(levels, shape[0]) if bias else None
    spec = eie.EIE_64PE.replace(n_pe=n_pe, weight_bits=weight_bits, **spec)
    layer = eie.compile(eie.Layer.from_weights("layer", weights, biases), spec).layers[0]
    return layer, weights, biases


def inputs_of(samples, width, seed, density=0.4, scale=1.0):
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((samples, width)) * (rng.random((samples, width)) < density) * scale
    return values.astype(np.float32)


def rows_of(inputs, data_bits=16, *, raw_factor=1):
    """Both formats; with a factor the fixed-point inputs are larger than the real ones, so that sums saturate."""
    fixed = FixedPoint.quantise(inputs, data_bits, largest=1.0)
    largest = (1 << (data_bits - 1)) - 1
    return Rows.of(FixedPoint(np.clip(fixed.raw * raw_factor, -largest, largest), fixed.fraction_bits), inputs)


def by_column(weights, biases, inputs):
    """float32 sums in broadcast order, and the largest magnitude on the way."""
    sums, peak = np.zeros((len(inputs), len(weights)), np.float32), 0.0
    columns = [(weights[:, j], inputs[:, j]) for j in range(weights.shape[1])]
    columns += [] if biases is None else [(biases, np.ones(len(inputs), np.float32))]
    for column, values in columns:
        sums += np.outer(values, column).astype(np.float32)
        peak = max(peak, float(np.abs(sums).max()))
    return sums, peak


def same(left, right):
    assert left.fixed.fraction_bits == right.fixed.fraction_bits
    assert left.fixed.raw.tobytes() == right.fixed.raw.tobytes()
    assert left.float32.tobytes() == right.float32.tobytes()
    assert left.saturations == right.saturations


def exactly(layer, rows, data_bits):
    """The slow kernels: one addition at a time."""
    threads, lanes = 1, datapath.LANES
    datapath.LANES = 1 << 30  # no batch fills a block, so none is walked as one
    try:
        float32, peak = sums.float_sums(layer=layer, count=rows.count, rows=rows.float32, threads=threads)
        fixed, saturations = sums.fixed_sums(
            layer=layer,
            count=rows.count,
            rows=rows.fixed,
            activation_fraction_bits=rows.fraction_bits,
            peak=peak,
            data_bits=data_bits,
            threads=threads,
        )
    finally:
        datapath.LANES = lanes
    return products.Sums(
        fixed=fixed,
        float32=float32,
        saturations=saturations,
        activation_fraction_bits=rows.fraction_bits,
        weight_fraction_bits=0,
    )


@pytest.mark.parametrize("shape", SHAPES)
@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.sampled_from([1, 2, 8, 11, 25]),
    density=st.sampled_from([0.02, 0.4, 1]),
    weight_bits=st.sampled_from([2, 4, 7]),
    data_bits=st.sampled_from([8, 16, 20, 28]),
    raw_factor=st.sampled_from([1, 1, 3]),
)
@settings(max_examples=12)
def test_every_kernel_gives_the_same_bits(shape, seed, samples, density, weight_bits, data_bits, raw_factor):
    size, filled = SHAPES[shape]
    layer, weights, biases = layer_of(size, filled, seed, weight_bits=weight_bits, bias=seed % 2 == 0)
    inputs = inputs_of(samples, size[1], seed + 1, density)
    rows = rows_of(inputs, data_bits, raw_factor=raw_factor)
    expected = exactly(layer, rows, data_bits)
    added, _ = by_column(weights.astype(np.float32), biases, inputs)
    assert np.array_equal(expected.float32, added)
    same(products.multiply(layer, rows, data_bits), expected)
    if data_bits <= products.WIDEST_EXACT:
        fixed, float32, saturations = singles.walk_singles(
            layer=layer, rows=rows, data_bits=data_bits, threads=1, agree=float
        )
        same(
            products.Sums(
                fixed=fixed,
                float32=float32,
                saturations=saturations,
                activation_fraction_bits=0,
                weight_fraction_bits=0,
            ),
            expected,
        )
    float32, peak = sums.float_sums(layer, samples, rows.float32)
    fixed, saturations = sums.fixed_sums(
        layer=layer,
        count=samples,
        rows=rows.fixed,
        activation_fraction_bits=rows.fraction_bits,
        peak=peak,
        data_bits=data_bits,
    )
    same(
        products.Sums(
            fixed=fixed, float32=float32, saturations=saturations, activation_fraction_bits=0, weight_fraction_bits=0
        ),
        expected,
    )


def check_against_integers(layer, weights, biases, rows, data_bits):
    made = products.multiply(layer, rows, data_bits)
    clipped = 0
    for s in range(rows.count):
        real_raw = rows.fixed(s, s + 1)[0] / 2.0**rows.fraction_bits
        expected, count = naive.fixed_point_layer(
            weights,
            biases,
            real_raw,
            made.weight_fraction_bits,
            rows.fraction_bits,
            made.fixed.fraction_bits,
            data_bits,
        )
        assert made.fixed.raw[s].tolist() == expected
        clipped += count
    assert made.saturations == clipped
    return clipped


@pytest.mark.parametrize("samples", [1, 9])
@pytest.mark.parametrize("size", [((2, 300), 0.02), ((600, 2), 0.5), ((7, 9), 1.0)])
def test_plain_integers_agree(size, samples):
    """Small enough for plain Python kernels too."""
    layer, weights, biases = layer_of(*size, seed=3)
    inputs = inputs_of(samples, size[0][1], seed=4)
    check_against_integers(layer, weights, biases, rows_of(inputs), 16)


@pytest.mark.parametrize("samples", [1, 20])
@pytest.mark.parametrize("data_bits", [8, 16])
def test_saturations_are_counted_one_by_one(samples, data_bits):
    """Some rows saturate and some do not; those that do are computed again, and no other."""
    layer, weights, biases = layer_of((20, 30), 0.8, seed=6)
    inputs = inputs_of(samples, 30, seed=7)
    inputs[1::2] *= 0.01
    assert check_against_integers(layer, weights, biases, rows_of(inputs, data_bits, raw_factor=4), data_bits) > 0


@pytest.mark.parametrize("guess", [0.0, 1e-30, 0.3, 1.0, 77.0, 1e30, float("inf")])
@pytest.mark.parametrize("samples", [1, 3, 30])
def test_no_number_depends_on_what_was_guessed(monkeypatch, guess, samples):
    layer, _, _ = layer_of((50, 40), 0.3, seed=1)
    rows = rows_of(inputs_of(samples, 40, seed=2, density=0.1))
    expected = exactly(layer, rows, 16)
    monkeypatch.setattr(singles, "_guess", lambda **_: guess)
    fixed, float32, saturations = singles.walk_singles(layer=layer, rows=rows, data_bits=16, threads=1, agree=float)
    same(
        products.Sums(
            fixed=fixed, float32=float32, saturations=saturations, activation_fraction_bits=0, weight_fraction_bits=0
        ),
        expected,
    )


@given(st.lists(st.sampled_from([1e-3, 0.2, 1.0, 1.9, 60.0, 0.0]), min_size=1, max_size=4), st.sampled_from([1, 20]))
@settings(max_examples=20)
def test_no_number_depends_on_what_ran_before(scales, samples):
    """The guess is remembered from call to call."""
    program = eie.compile(eie.Layer.from_weights("layer", layer_of((50, 40), 0.3, seed=1)[1]))
    again = eie.compile(eie.Layer.from_weights("layer", layer_of((50, 40), 0.3, seed=1)[1]))
    inputs = inputs_of(samples, 40, seed=2)
    for scale in scales:
        eie.simulate(program, inputs * scale)
    left, right = (eie.simulate(each, inputs).layers[0].computed for each in (program, again))
    same(left, right)


def test_no_number_depends_on_threads():
    layer, _, _ = layer_of((70, 50), 0.3, seed=1)
    for density in (0.05, 0.9):  # one by one, and in blocks
        rows = rows_of(inputs_of(101, 50, seed=2, density=density))
        expected = products.multiply(layer=layer, rows=rows, data_bits=16, threads=1)
        for threads in (2, 3, 7):
            same(products.multiply(layer=layer, rows=rows, data_bits=16, threads=threads), expected)


@pytest.mark.parametrize("samples", [1, 12])
def test_sums_beyond_float32_are_those_of_one_addition_at_a_time(samples):
    """Infinities, and what they cancel to, are left to the kernel that knows of them."""
    layer, _, _ = layer_of((5, 8), 1.0, seed=1, scale=1e37, bias=False)
    with np.errstate(all="ignore"):
        rows = rows_of(inputs_of(samples, 8, seed=2, scale=1e3))
        made, expected = products.multiply(layer, rows, 16), exactly(layer, rows, 16)
    assert not np.isfinite(made.float32).all()
    same(made, expected)


class TestCountsOnly:
    """``datapath="none"``: nothing is computed."""

    rng = np.random.default_rng(3)
    first = rng.choice([-0.5, 0, 0, 0.25, 0.5], (20, 12))
    second = rng.choice([-0.5, 0, 0, 0.25, 0.5], (5, 20))
    chain = eie.Network(
        name="net",
        layers=(eie.Layer.from_weights("a", first, relu=True), eie.Layer.from_weights("b", second)),
        sequential=True,
    )

    def counted(self, result):
        return [(layer.activity.cycles.tolist(), layer.counts, layer.activity.active_inputs.tolist())
                for layer in result.layers]  # fmt: skip

    def test_one_layer_counts_the_same(self, monkeypatch):
        program, inputs = eie.compile(self.chain.layers[0]), inputs_of(3, 12, seed=1)
        full = eie.simulate(program, inputs)
        monkeypatch.setattr("eie.simulator.run.run_products", None)
        bare = eie.simulate(program, inputs, datapath="none")
        assert self.counted(bare) == self.counted(full)
        assert bare.layers[0].computed is None
        assert bare.layers[0].outputs is None
        assert "layer" in str(bare)

    def test_recorded_layers_count_the_same(self):
        trace = {"a": inputs_of(3, 12, seed=1), "b": inputs_of(3, 20, seed=2)}
        program = eie.compile(self.chain)
        bare = eie.simulate(program, trace, datapath="none")
        assert self.counted(bare) == self.counted(eie.simulate(program, trace))
        assert bare.accuracy is None

    @pytest.mark.parametrize("lowering", ["im2col", "winograd"])
    def test_a_convolution_counts_the_same(self, lowering):
        conv = eie.Layer.from_conv(
            name="c",
            weights=self.rng.choice([0, 1.0, 2.0], (3, 2, 3, 3)),
            bias=None,
            conv=Conv2d(in_channels=2, out_channels=3, kernel=(3, 3)),
        )
        program = eie.compile(conv, lowering=lowering)
        maps = self.rng.choice([0, 0.5, 1.0], (2, 2, 6, 7))
        full = eie.simulate(program, maps, datapath="float32")
        assert self.counted(eie.simulate(program, maps, datapath="none")) == self.counted(full)

    def test_layers_that_feed_each_other_are_refused(self):
        with pytest.raises(TraceError, match=r"inputs of 2 layers that follow .* give a trace that names every layer"):
            eie.simulate(eie.compile(self.chain), inputs_of(1, 12, seed=1), datapath="none")
        steps = [("relu", {}), ("layer", "c")]
        conv = eie.Layer.from_conv("c", np.ones((3, 2, 3, 3)))
        network = eie.Network(name="net", layers=(conv,), graph=Graph.sequence("x", (2, 5, 5), steps))
        with pytest.raises(TraceError, match="give a trace that names every layer"):
            eie.simulate(eie.compile(network), np.ones((1, 2, 5, 5)), datapath="none")

    def test_another_word_is_refused(self):
        with pytest.raises(eie.EieError, match="datapath 'nothing': must be 'fixed', 'float32' or 'none'"):
            eie.simulate(eie.compile(self.chain), datapath="nothing")

    def test_from_the_command_line(self, cli, tmp_path):
        np.savez(tmp_path / "layer.npz", fc=self.first.astype(np.float32))
        code, out, err = cli("run", tmp_path / "layer.npz", "--datapath", "none", "--json", "-")
        assert code == 0, err
        assert '"cycles"' in out
