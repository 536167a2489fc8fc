"""Where a bias goes: a column of codes or the accumulators; its weights' levels are theirs, whatever it is."""

import itertools
import json
from dataclasses import replace

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compiler import program_file
from eie.compression.bias import MOST_POINTS, bias_column, free_levels
from eie.compression.coding import coded_file
from eie.compression.coding.size import size_report
from eie.compression.share import share
from eie.energy.estimate import prices_pj
from eie.formats.safetensors import read_safetensors, write_safetensors
from eie.importers import stored
from eie.model.geometry import Conv2d

PLACES = ("auto", "column", "accumulator")
# Dyadic: float32 sums of them are exact in any order.
LEVELS = np.concatenate((np.arange(-7, 0), np.arange(1, 9))).astype(np.float32) / 8


def drawn(rng, shape, density=0.5, scale=0.05):
    return (rng.normal(0, scale, shape) * (rng.random(shape) < density)).astype(np.float32)


def layer_of(weights, bias, **changes):
    return eie.Layer.from_weights("layer", weights, bias, **changes)


def inputs_of(rng, shape, density=0.4):
    return np.where(rng.random(shape) < density, np.abs(rng.standard_normal(shape)), 0).astype(np.float32)


# What sharing decides


@given(st.integers(0, 2**32 - 1), st.sampled_from([1e-3, 0.05, 1.0, 400.0]), st.integers(2, 6), st.sampled_from(PLACES))
@settings(max_examples=40)
def test_no_bias_moves_a_weight(seed, scale, bits, place):
    rng = np.random.default_rng(seed)
    weights = drawn(rng, (30, 20), rng.random())
    if rng.random() < 0.3:
        weights = np.where(weights != 0, rng.choice(LEVELS[:5], weights.shape), 0)
    bias = drawn(rng, 30, scale=scale)
    alone, before = share(layer_of(weights, None), bits)
    shared, report = share(layer_of(weights, bias), bits, bias=place)
    assert np.array_equal(shared.weights, alone.weights)
    assert (report.tenths, report.relative_error) == (before.tenths, before.relative_error)
    assert len(shared.codebook) <= 1 << bits
    assert (shared.bias is None) != (shared.bias_codes is None)
    if shared.bias is not None:
        assert np.array_equal(shared.bias, bias)
        assert np.array_equal(shared.codebook, alone.codebook)
        assert report.bias_max_error == 0
    else:
        # the nearest of all levels, zero among them
        errors = np.abs(shared.codebook.astype(float)[:, None] - bias)
        assert np.abs(shared.codebook[shared.bias_codes] - bias) == pytest.approx(errors.min(axis=0), rel=1e-6)
        assert report.levels == len(np.setdiff1d(np.union1d(shared.matrix.data, shared.bias_codes), [0]))


def relative(error, values):
    total = np.square(values.astype(float)).sum()
    return np.sqrt(np.square(error.astype(float)).sum() / total) if total else 0.0


@given(st.integers(0, 2**32 - 1), st.sampled_from(["few values", "many values"]), st.floats(0, 2))
@settings(max_examples=40)
def test_auto_takes_the_column_where_it_is_as_exact_as_the_weights(seed, kind, off):
    """Biases that lie ``off`` a level's distance from levels: near 0 the column holds them, beyond it does not."""
    rng = np.random.default_rng(seed)
    weights = rng.choice(LEVELS, (20, 20)) if kind == "few values" else drawn(rng, (20, 20), 1.0)
    levels = share(layer_of(weights, None))[0].codebook
    bias = (rng.choice(levels, 20) + off * rng.uniform(-0.02, 0.02, 20)).astype(np.float32)
    shared, report = share(layer_of(weights, bias))
    column = share(layer_of(weights, bias), bias="column")[0]
    error = relative(column.codebook[column.bias_codes] - bias, bias)
    assert report.bias_relative_error == pytest.approx(error, rel=1e-6, abs=1e-12)
    assert (shared.bias_codes is not None) == (error <= report.relative_error)
    assert off > 0 or shared.bias_codes is not None


def test_a_bias_of_400_leaves_the_weights_their_levels():
    weights = drawn(np.random.default_rng(1), (300, 20), 1.0)
    bias = np.zeros(300, np.float32)
    bias[7] = -400
    plain = share(layer_of(weights, None))[1]
    for place in PLACES:
        report = share(layer_of(weights, bias), bias=place)[1]
        assert report.levels == plain.levels == 15
        assert report.relative_error == plain.relative_error
        assert 0.08 < report.relative_error < 0.15
    assert share(layer_of(weights, bias))[0].bias[7] == -400


def best_error(values, fixed, count):
    """Least squared error of any ``count`` levels more, by trying every run of sorted values for each of them."""
    values = np.sort(np.asarray(values, float))
    runs = [values[a:b].mean() for a, b in itertools.combinations(range(len(values) + 1), 2)]
    costs = []
    for more in itertools.combinations(runs, min(count, len(runs))):
        levels = np.array([*fixed, *more])
        costs.append((np.abs(values[:, None] - levels).min(axis=1) ** 2).sum())
    return min(costs)


@given(
    st.lists(st.integers(-60, 60), min_size=1, max_size=7),
    st.lists(st.integers(-60, 60), max_size=3),
    st.integers(0, 2),
)
@settings(max_examples=80)
def test_free_levels_serve_the_biases_best(values, fixed, count):
    fixed = np.unique([0, *fixed]).astype(np.float32)
    values = np.array(values, np.float32)
    chosen = free_levels(values, fixed, count)
    assert len(chosen) <= count
    levels = np.concatenate((fixed, chosen)).astype(float)
    ours = (np.abs(values[:, None] - levels).min(axis=1) ** 2).sum()
    assert ours == pytest.approx(best_error(values, fixed.astype(float), count), rel=1e-5, abs=1e-6)


def test_one_free_level_goes_to_the_bias_that_needs_it():
    """Biases beside a weight's level are held by it; the mean of all that lie on none would serve nobody."""
    own = np.float32([-0.1, 0.1])
    bias = np.append(np.full(100, 0.1001), 400).astype(np.float32)
    column = bias_column(bias, own, 3)
    assert column.codebook.tolist() == [0, *own.tolist(), 400]
    assert column.max_error == pytest.approx(1e-4, rel=1e-2)


def test_levels_of_empty_clusters_are_free():
    """Evenly spaced starts beside an outlier leave thirteen of fifteen empty."""
    weights = np.append(np.random.default_rng(0).normal(0, 0.02, 2999), 1e4).astype(np.float32)[:, None]
    bias = np.append(np.arange(1, 14) / 8, np.zeros(2987)).astype(np.float32)
    shared, report = share(layer_of(weights, bias), init="linear")
    assert report.bias_max_error == 0
    assert report.levels == 15
    assert np.array_equal(shared.weights, share(layer_of(weights, None), init="linear")[0].weights)


def test_more_biases_than_the_programme_takes_are_binned():
    rng = np.random.default_rng(3)
    bias = np.append(rng.standard_normal(MOST_POINTS * 3), [1e4]).astype(np.float32)
    own = np.float32([-1, 1])
    column = bias_column(bias, own, 6)
    assert len(column.codebook) == 7
    assert 1e4 in column.codebook
    # four levels and zero over a normal distribution's middle
    assert np.abs(column.codebook[column.codes] - bias)[:-1].mean() < 0.25


def test_where_a_bias_is_asked_for_is_one_of_three():
    text = "bias='row': must be one of auto, column, accumulator"
    layer = layer_of([[1.0]], [1.0])
    for call in (
        lambda: share(layer, bias="row"),
        lambda: eie.compile(layer, bias="row"),
        lambda: eie.simulate(layer, np.ones(1), bias="row"),
        lambda: eie.sweep((layer, np.ones(1)), {"n_pe": [1]}, bias="row"),
    ):
        with pytest.raises(eie.EieError, match=text):
            call()
    program = eie.compile(layer)
    with pytest.raises(eie.EieError, match="bias='column': program 'layer' is compiled already: leave bias out"):
        eie.simulate(program, np.ones(1), bias="column")


def test_shared_layers_keep_what_they_have_and_a_note_says_so():
    rng = np.random.default_rng(0)
    coded = eie.Layer.from_codes("coded", rng.integers(0, 3, (5, 4)), [0, 0.5, 1], rng.integers(0, 3, 5))
    numbers = eie.Layer.from_codes(
        "numbers", rng.integers(0, 3, (5, 4)), [0, 0.5, 1], accumulator_bias=rng.standard_normal(5)
    )
    for layer, asked, where in ((coded, "accumulator", "column"), (numbers, "column", "accumulators")):
        assert share(layer, bias=asked)[0] is layer
        kept = eie.compile(layer, bias=asked)
        assert kept.notes == (f"bias {asked}: {layer.name} shared already, with the bias in the {where}, and kept so",)
        assert eie.compile(layer).notes == ()
    with pytest.raises(eie.EieError, match="layer 'two': accumulator_bias: has bias_codes too"):
        eie.Layer.from_codes("two", [[1]], [0, 1], [1], accumulator_bias=[0.5])
    with pytest.raises(eie.EieError, match=r"layer 'long': bias has shape \(2,\): must be \(1,\)"):
        eie.Layer.from_codes("long", [[1]], [0, 1], accumulator_bias=[0.5, 1])


# What is computed and counted


def column_as_ever(weights, bias):
    """The layer as 0.1 made it where both together take few enough values: one codebook of all of them, codes by it."""
    table = np.unique(np.concatenate(([0], weights.ravel(), bias))).astype(np.float32)
    table = np.concatenate(([0], table[table != 0])).astype(np.float32)
    code = {value: at for at, value in enumerate(table.tolist())}
    codes = np.array([[code[value] for value in row] for row in weights.tolist()], np.uint8)
    return eie.Layer.from_codes("layer", codes, table, [code[value] for value in bias.tolist()])


@given(st.integers(0, 2**32 - 1), st.sampled_from(["auto", "column"]), st.sampled_from(["fast", "events"]))
@settings(max_examples=15)
def test_the_column_is_what_it_was_where_the_levels_are_the_same(seed, place, engine):
    rng = np.random.default_rng(seed)
    weights = rng.choice(LEVELS[:10], (11, 7)) * (rng.random((11, 7)) < 0.5)
    bias = rng.choice(np.append(LEVELS[5:15], 0), 11).astype(np.float32)
    spec, x = eie.EIE_64PE.replace(n_pe=3), inputs_of(rng, (3, 7))
    ours, theirs = (
        eie.simulate(eie.compile(layer, spec, bias=place), x, engine=engine).layers[0]
        for layer in (layer_of(weights, bias), column_as_ever(weights.astype(np.float32), bias))
    )
    assert ours.encoded.has_bias
    assert ours.encoded.accumulator_bias is None
    assert ours.encoded.codebook.tobytes() == theirs.encoded.codebook.tobytes()
    for mine, old in zip(ours.encoded.passes, theirs.encoded.passes, strict=True):
        assert (mine.codes.tobytes(), mine.runs.tobytes()) == (old.codes.tobytes(), old.runs.tobytes())
    assert {name: values.tolist() for name, values in ours.activity.counts.items()} == {
        name: values.tolist() for name, values in theirs.activity.counts.items()
    }
    assert ours.activity.cycles.tolist() == theirs.activity.cycles.tolist()
    assert ours.computed.fixed.raw.tobytes() == theirs.computed.fixed.raw.tobytes()


@given(st.data())
@settings(max_examples=25)
def test_engines_agree_and_accumulators_cost_no_cycle(data):
    """Counts with accumulators are those without a bias, to the last; with a column those of the naive recurrence."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    n_pe, outputs, inputs = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 23)), data.draw(st.integers(1, 17))
    place = data.draw(st.sampled_from(PLACES[1:]))
    spec = eie.EIE_64PE.replace(n_pe=n_pe, act_queue_depth=data.draw(st.integers(2, 5)), index_bits=2)
    weights, bias = rng.choice(LEVELS, (outputs, inputs)) * (rng.random((outputs, inputs)) < 0.4), drawn(rng, outputs)
    x = inputs_of(rng, (2, inputs))
    program = eie.compile(layer_of(weights, bias), spec, bias=place)
    fast, events = (eie.simulate(program, x, engine=engine).layers[0] for engine in ("fast", "events"))
    bare = eie.simulate(eie.compile(layer_of(weights, None), spec), x).layers[0]
    encoding = program.layers[0].passes[0]
    images = [encoding.pe_image(pe) for pe in range(n_pe)]
    for sample, active in enumerate(x != 0):
        expected = naive.timing(
            images=images, active=active, inputs=inputs, n_pe=n_pe, depth=spec.act_queue_depth,
            has_bias=place == "column", entries_per_row=spec.entries_per_row,
        )  # fmt: skip
        for layer in (fast, events):
            naive.assert_timing(layer.activity, sample, expected)
    for layer in (fast, events):
        writes = outputs if place == "accumulator" else 0
        assert layer.activity.counts["bias_writes"].tolist() == [writes] * 2
    if place == "accumulator":
        assert fast.activity.cycles.tolist() == bare.activity.cycles.tolist()
        assert encoding.codes.tobytes() == bare.encoded.passes[0].codes.tobytes()


@given(st.data())
@settings(max_examples=40)
def test_fixed_point_begins_with_the_bias_to_the_bit(data):
    """Singles and blocks of 8, narrow and wide formats, sums that saturate: plain Python's integers."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    bits = data.draw(st.sampled_from([4, 8, 16, 17, 26]))
    samples = data.draw(st.sampled_from([1, 3, 8, 19]))
    outputs, inputs = data.draw(st.integers(1, 12)), data.draw(st.integers(1, 9))
    # The last two are beyond every product: shifted into their format, products are zero.
    scale = data.draw(st.sampled_from([0.0, 0.1, 1.0, 400.0, 4e15, 1e36]))
    weights = (rng.choice(LEVELS, (outputs, inputs)) * (rng.random((outputs, inputs)) < 0.7)).astype(np.float32)
    bias = rng.normal(0, 1, outputs).astype(np.float32) * np.float32(scale)
    x = inputs_of(rng, (samples, inputs), data.draw(st.sampled_from([0.0, 0.3, 1.0])))
    program = eie.compile(layer_of(weights, bias), eie.EIE_64PE.replace(n_pe=2, data_bits=bits), bias="accumulator")
    for _ in range(2):  # the second call knows how large the sums of the first were
        computed = eie.simulate(program, x).layers[0].computed
        clipped = 0
        for sample, values in enumerate(x):
            raw, more = naive.fixed_point_layer(
                weights=weights, bias=None, values=values, start=bias, bits=bits,
                frac_w=computed.weight_fraction_bits, frac_a=computed.activation_fraction_bits,
                frac_out=computed.fixed.fraction_bits,
            )  # fmt: skip
            assert computed.fixed.raw[sample].tolist() == raw
            clipped += more
        assert computed.saturations == clipped
        exact = x.astype(float) @ weights.T.astype(float) + bias
        assert np.abs(computed.float32 - exact).max() <= 1e-5 * max(1.0, np.abs(exact).max())
        # A bias is met like any sum: no format that does not hold it.
        assert np.abs(bias).max() <= 2.0 ** (bits - 1 - computed.fixed.fraction_bits)


@pytest.mark.parametrize("samples", [1, 16])
@pytest.mark.parametrize("power", [40, 48, 49, 50, 51, 52, 53, 60, 90, 126, 127])
def test_a_bias_beyond_every_product(power, samples):
    """2^power leaves no bit of the products: accumulators end as they begin, and nothing overflows on the way."""
    rng = np.random.default_rng(power)
    weights, bias = drawn(rng, (6, 8), 0.7, 1.0), np.full(6, 0.4, np.float32)
    bias[2] = 1.5 * 2.0**power
    result = eie.simulate(
        layer_of(weights, bias), inputs_of(rng, (samples, 8), 0.9), bias="accumulator", spec=eie.EIE_64PE
    )
    assert np.atleast_2d(result.layers[0].outputs).tolist() == [[0, 0, bias[2], 0, 0, 0]] * samples
    assert np.isfinite(result.layers[0].computed.max_abs_error)


def test_an_input_of_zeros_gives_the_bias():
    bias = np.float32([0.5, -2.25, 0])
    result = eie.simulate(layer_of(np.eye(3), bias), np.zeros((9, 3)), bias="accumulator", spec=eie.EIE_64PE)
    assert result.layers[0].outputs.tolist() == [bias.tolist()] * 9
    assert result.layers[0].cycles == 2
    assert result.layers[0].counts["bias_writes"] == 3


@pytest.mark.parametrize("samples", [1, 3, 16])
@pytest.mark.parametrize("data_bits", [16, 26])
def test_a_bias_without_weights_is_met_too(samples, data_bits):
    """Nothing is ever added to it, so it is in no sum on the way: the format has to hold it all the same."""
    weights = np.zeros((5, 40), np.float32)
    weights[1:] = 0.125
    bias = np.float32([-400, 0.25, 0, 0, 0])
    spec = eie.EIE_64PE.replace(data_bits=data_bits)
    result = eie.simulate(eie.compile(layer_of(weights, bias), spec, bias="accumulator"), np.ones((samples, 40)))
    computed = result.layers[0].computed
    assert computed.saturations == 0
    assert computed.fixed.value[:, 0].tolist() == [-400] * samples
    assert computed.fixed.value[:, 1] == pytest.approx(5.25, abs=0.02 * 40)


@pytest.mark.parametrize("outputs", [3, 4100])
def test_float_sums_beyond_their_range_stay_what_they_are(outputs):
    """Infinite sums take the slow kernel, which begins with the bias as well."""
    weights = np.full((outputs, 2), 3e38, np.float32)
    result = eie.simulate(layer_of(weights, np.ones(outputs)), np.ones((8, 2), np.float32), bias="accumulator")
    assert np.isposinf(result.layers[0].computed.float32).all()


CONVS = {
    "plain": Conv2d(in_channels=3, out_channels=4, kernel=(3, 3), pads=(1, 1, 1, 1)),
    "grouped": Conv2d(in_channels=4, out_channels=6, kernel=(3, 3), groups=2, stride=(2, 1)),
    "depthwise": Conv2d(in_channels=5, out_channels=5, kernel=(3, 3), pads=(1, 1, 1, 1), groups=5),
}


@pytest.mark.parametrize("conv", CONVS.values(), ids=CONVS)
@pytest.mark.parametrize("lowering", ["im2col", "winograd"])
def test_convolutions(conv, lowering):
    rng = np.random.default_rng(1)
    weights = rng.choice(LEVELS, conv.weight_shape) * (rng.random(conv.weight_shape) < 0.5)
    bias = rng.normal(0, 1, conv.out_channels).astype(np.float32)
    x = rng.integers(0, 16, (2, conv.in_channels, 7, 8)).astype(np.float32) / 8
    layer = eie.Layer.from_conv(name="c", weights=weights, bias=bias, conv=conv, relu=True)
    program = eie.compile(layer, eie.EIE_64PE.replace(n_pe=4, weight_bits=8), lowering=lowering, bias="accumulator")
    runs = [eie.simulate(program, x, engine=engine).layers[0] for engine in ("fast", "events")]
    expected = np.maximum(naive.conv2d(x, weights, bias, conv.stride, conv.pads, conv.dilation, conv.groups), 0)
    for run in runs:
        assert not run.encoded.has_bias
        np.testing.assert_allclose(run.computed.float32, expected, atol=1e-4)
        np.testing.assert_allclose(run.outputs, expected, atol=0.02)
    tiled = run.encoded.products_per_row == 16
    assert tiled == (lowering == "winograd" and conv.stride == (1, 1) and conv.groups == 1)
    products = 16 if tiled else expected.shape[2] * expected.shape[3]
    assert run.counts["bias_writes"] == products * conv.out_channels
    assert {name: rows.tolist() for name, rows in runs[0].activity.counts.items()} == {
        name: rows.tolist() for name, rows in runs[1].activity.counts.items()
    }


@pytest.mark.parametrize("reverse", [False, True])
def test_an_lstm_adds_its_bias_in_every_step(reverse):
    rng = np.random.default_rng(2)
    x_weights, h_weights = drawn(rng, (20, 4), 0.6, 0.5), drawn(rng, (20, 5), 0.6, 0.5)
    bias = rng.normal(0, 1, 20).astype(np.float32)
    x = rng.normal(0, 1, (3, 6, 4)).astype(np.float32)
    layer = eie.Layer.from_lstm(name="l", input_weights=x_weights, hidden_weights=h_weights, bias=bias, reverse=reverse)
    program = eie.compile(layer, eie.EIE_64PE.replace(n_pe=3, weight_bits=8), bias="accumulator")
    kept = program.layers[0].decode()
    run = eie.simulate(program, x).layers[0]
    expected = naive.lstm(x, kept[:, :4], kept[:, 4:], bias, reverse)
    expected = expected[0] if isinstance(expected, tuple) else expected
    np.testing.assert_allclose(run.computed.float32, expected, atol=1e-5)
    np.testing.assert_allclose(run.outputs, expected, atol=0.01)
    assert run.counts["bias_writes"] == 6 * 20


@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 9]))
@settings(max_examples=10)
def test_capacity_passes_begin_each_row_group_once(seed, samples):
    rng = np.random.default_rng(seed)
    small = eie.EIE_64PE.replace(
        n_pe=2, act_registers=4, act_kib=1, data_bits=16, spmat_kib=1, ptr_kib=1, spmat_row_bits=64
    )
    weights, bias = drawn(rng, (21, 900), 0.3), drawn(rng, 21, 1.0)
    layer, x = layer_of(weights, bias), inputs_of(rng, (samples, 900))
    whole, cut = (
        eie.compile(layer, small.replace(residency=residency), bias="accumulator") for residency in ("ideal", "auto")
    )
    passes = cut.layers[0].passes
    assert len(passes) >= 3
    begun = [np.arange(one.row_start, one.row_stop) for one in passes if one.accumulator_bias is not None]
    assert np.concatenate(begun).tolist() == list(range(21))
    for one in passes:
        assert (one.accumulator_bias is not None) == (one.column_start == 0)
    one_pass, several = (eie.simulate(program, x).layers[0] for program in (whole, cut))
    assert several.counts["bias_writes"] == one_pass.counts["bias_writes"] == 21
    assert several.computed.fixed.raw.tobytes() == one_pass.computed.fixed.raw.tobytes()
    assert (
        cut.layers[0].image_bits(small)
        == whole.layers[0].image_bits(small)
        + sum((len(one.pointers)) * 2 * small.ptr_bits for one in passes)
        - 901 * 2 * small.ptr_bits
    )


# What it takes: memory, energy, bytes


def test_the_activation_sram_holds_a_word_an_output():
    """3 PEs: 12 outputs take 4 words of each beside 252 rows of 3 inputs."""
    spec = eie.EIE_64PE.replace(n_pe=3, act_kib=1, data_bits=32)
    program = eie.compile(layer_of(np.ones((12, 756)), np.full(12, 0.3)), spec, bias="accumulator")
    assert program.layers[0].passes[0].bias_words == 4
    assert program.fit[0].inputs == 252 + 4
    assert eie.compile(layer_of(np.ones((13, 756)), np.full(13, 0.3)), spec, bias="accumulator").fit[0].inputs == 257


def test_biases_that_stay_leave_that_much_less_for_maps():
    """256 words a PE: 252 of the input and 4 of the first map fill them; 4 + 3 of biases drive the input out."""
    spec = eie.EIE_64PE.replace(n_pe=3, act_kib=1, data_bits=32)
    layers = [
        eie.Layer.from_weights("a", np.ones((12, 756)), np.full(12, 0.3), relu=True),
        eie.Layer.from_weights("b", np.ones((9, 12)), np.full(9, 0.3)),
    ]
    network = eie.Network(name="two", layers=tuple(layers), sequential=True)
    plan = eie.compile(network, spec, bias="accumulator").memory
    row = next(row for row in plan.memories if row.memory == "activations")
    assert [layer.bias_words for layer in plan.layers] == [4, 3]
    assert (plan.maps.wanted, plan.maps.used) == ((252 + 4 + 7, 4 + 3 + 7), (4 + 7, 4 + 3 + 7))
    assert [placed.in_sram for placed in plan.maps.maps] == [False, True, True]
    assert (row.stays_kib, row.stays_kib + row.comes_kib, row.wanted_kib, row.fits) == (
        7 / 256,
        14 / 256,
        263 / 256,
        False,
    )
    assert eie.compile(network, spec, bias="column").memory.maps.fits
    # Alternatives have the chip to themselves: neither layer sees the other's.
    alone = replace(network, sequential=False, alternatives=True)
    assert eie.compile(alone, spec, bias="accumulator").memory.maps.wanted == (252 + 4 + 4, 4 + 3 + 3)


@pytest.mark.parametrize("engine", ["fast", "events"])
def test_biases_of_a_streamed_layer_come_with_it_once_a_batch(engine):
    """20 words of 16 bits are a burst of 64 bytes, 8 cycles of the bus, beside those of the columns."""
    spec = eie.EIE_64PE.replace(n_pe=2, spmat_row_bits=8, spmat_kib=1, ptr_kib=1, stream_kib=0.25, ptr_bits=6)
    weights, x = np.ones((20, 10)), np.ones((4, 10), np.float32)

    def run(bias, batch):
        return eie.simulate(
            eie.compile(layer_of(weights, bias), spec, bias="accumulator"), x, batch=batch, engine=engine
        )

    for batch, comes in ((1, [1, 1, 1, 1]), (3, [1, 0, 0, 1])):
        result, without = run(np.full(20, 0.3), batch), run(None, batch)
        place = result.memory.layers[0]
        assert (place.place, place.bias_words, place.bias_bits) == ("streamed", 10, 512)
        row = next(row for row in result.memory.memories if row.memory == "activations")
        assert row.stays_kib == 0
        assert row.comes_kib - without.memory.memories[2].comes_kib == 10 * 16 / 8192
        counts, before = result.layers[0].activity.counts, without.layers[0].activity.counts
        assert (counts["dram_bits"] - before["dram_bits"]).tolist() == [512 * each for each in comes]
        assert (counts["bus_cycles"] - before["bus_cycles"]).tolist() == [8 * each for each in comes]
        assert result.layers[0].activity.cycles.tolist() == without.layers[0].activity.cycles.tolist()


def test_a_bias_costs_a_read_and_a_write_and_its_bits():
    weights, bias, x = np.eye(5, 4), np.full(5, 0.3), np.ones(4, np.float32)
    with_bias, without = (
        eie.simulate(eie.compile(layer_of(weights, values), eie.EIE_64PE.replace(n_pe=2), bias="accumulator"), x)
        for values in (bias, None)
    )
    more = with_bias.energy().total_nj - without.energy().total_nj
    assert more == pytest.approx(5 * prices_pj(with_bias.program.spec)["act_rw"] * 1e-3)
    images = [run.program.layers[0].image_bits(run.program.spec) for run in (with_bias, without)]
    assert images[0] - images[1] == 5 * 16
    assert with_bias.layers[0].cycles == without.layers[0].cycles


@pytest.mark.parametrize("suffix", ["eie", "npz", "safetensors"])
@pytest.mark.parametrize("place", PLACES)
def test_networks_keep_where_the_bias_is(tmp_path, suffix, place):
    rng = np.random.default_rng(5)
    conv = Conv2d(in_channels=2, out_channels=3, kernel=(3, 3))
    layers = (
        eie.Layer.from_conv("a", drawn(rng, (3, 2, 3, 3), 0.7), drawn(rng, 3), conv=conv),
        eie.Layer.from_weights("b", drawn(rng, (40, 30), 0.4), drawn(rng, 40)),
    )
    network = eie.Network(name="n", layers=tuple(share(layer, bias=place)[0] for layer in layers))
    file = tmp_path / f"n.{suffix}"
    eie.save(network, file)
    again = eie.load(file)
    for layer, read in zip(network.layers, again.layers, strict=True):
        assert np.array_equal(read.weights, layer.weights)
        for part in ("bias", "bias_codes"):
            wanted, got = getattr(layer, part), getattr(read, part)
            assert (wanted is None) == (got is None)
            assert wanted is None or wanted.tobytes() == got.tobytes()
    if suffix == "eie":
        _, texts = read_safetensors(file.rename(tmp_path / "n.safetensors"), eie.EieError)
        assert texts
    sizes = {size.name: size for size in size_report(network).layers}
    bare = {
        size.name: size
        for size in size_report(
            eie.Network(name="n", layers=tuple(replace(layer, bias=None, bias_codes=None) for layer in network.layers))
        ).layers
    }
    bits = 32 if network.layers[1].bias is not None else 4
    assert sizes["b"].huffman_bytes - bare["b"].huffman_bytes == 40 * bits // 8


def test_a_state_dict_with_codes_and_a_float_bias(tmp_path):
    arrays = {
        "a.codes": np.array([[0, 1], [2, 0], [1, 1]], np.uint8),
        "a.codebook": np.float32([0, 0.5, -1]),
        "a.bias": np.float32([3, 4, 5]),
    }
    np.savez(tmp_path / "n.npz", **arrays)
    (layer,) = eie.load(tmp_path / "n.npz").layers
    assert layer.bias.tolist() == [3, 4, 5]
    assert layer.bias_codes is None


# Program files


def program_of(tmp_path, **changes):
    rng = np.random.default_rng(4)
    layer = layer_of(drawn(rng, (9, 6), 0.6), drawn(rng, 9))
    program = eie.compile(layer, eie.EIE_64PE.replace(n_pe=2), bias="accumulator", **changes)
    program.save(tmp_path / "p.safetensors")
    return program


def test_a_program_file_holds_the_bias(tmp_path):
    program = program_of(tmp_path)
    again = eie.Program.load(tmp_path / "p.safetensors")
    assert again.content_hash == program.content_hash
    assert again.layers[0].accumulator_bias.tobytes() == program.layers[0].accumulator_bias.tobytes()
    x = inputs_of(np.random.default_rng(0), (2, 6), 1.0)
    ours, theirs = (eie.simulate(one, x).layers[0].outputs for one in (program, again))
    assert np.array_equal(ours, theirs)
    moved = replace(program.layers[0].passes[0], accumulator_bias=np.zeros(9, np.float32))
    other = replace(program, layers=(replace(program.layers[0], passes=(moved,)),))
    assert other.content_hash != program.content_hash


def test_a_column_is_not_stated_so_that_old_and_new_files_are_alike(tmp_path):
    layer = layer_of(np.eye(3) / 2, np.float32([0.5, 0, 0.5]))
    program = eie.compile(layer)
    program.save(tmp_path / "p.safetensors")
    arrays, texts = read_safetensors(tmp_path / "p.safetensors", eie.EieError)
    assert "accumulator_bias" not in texts["eie"]
    assert "bias_relative_error" not in texts["eie"]
    assert not [name for name in arrays if "accumulator" in name]


def edited(tmp_path, change):
    """Change a program file's arrays and header, with a hash that is right again."""
    file = tmp_path / "p.safetensors"
    arrays, texts = read_safetensors(file, eie.EieError)
    header = json.loads(texts["eie"])
    arrays = dict(arrays)
    change(arrays, header)
    header.pop("content_hash")
    versions = header.pop("versions")
    header |= {"content_hash": program_file.digest(arrays, header), "versions": versions}
    write_safetensors(file, arrays, {"eie": json.dumps(header)})
    return file


def put(name, value):
    return lambda arrays, _: arrays.__setitem__(name, value)


def as_column(_, header):
    header["layers"][0]["passes"][0]["has_bias"] = True


def twice(arrays, header):
    """The same pass once more: its rows would begin twice."""
    passes = header["layers"][0]["passes"]
    passes.append(dict(passes[0]))
    arrays |= {name.replace("0.0.", "0.1."): array for name, array in arrays.items() if name.startswith("0.0.")}


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (put("0.0.accumulator_bias", np.zeros(8, np.float32)), "not one finite number a row"),
        (put("0.0.accumulator_bias", np.zeros((9, 1), np.float32)), "not one finite number a row"),
        (put("0.0.accumulator_bias", np.full(9, np.nan, np.float32)), "not one finite number a row"),
        (put("0.0.accumulator_bias", np.full(9, np.inf, np.float32)), "not one finite number a row"),
        (put("0.0.accumulator_bias", np.zeros(9)), "has dtype float64: must be float32"),
        (lambda arrays, _: arrays.pop("0.0.accumulator_bias"), "0.0.accumulator_bias"),
        (as_column, "do not belong together"),
        (twice, "start from a bias twice"),
    ],
)
def test_files_that_state_another_bias_are_refused(tmp_path, change, text):
    program_of(tmp_path)
    with pytest.raises(eie.EieError, match=text):
        eie.Program.load(edited(tmp_path, change))


# The verbs


def test_every_verb_takes_it(cli, tmp_path):
    rng = np.random.default_rng(6)
    layer = layer_of(drawn(rng, (12, 8), 0.8), drawn(rng, 12))
    x = inputs_of(rng, (2, 8))
    eie.save(eie.Network.of(layer), tmp_path / "n.npz")
    np.save(tmp_path / "x.npy", x)
    broadcasts = {}
    for place in PLACES:
        run = eie.simulate(layer, x, bias=place)
        assert eie.simulate(eie.compile(layer, bias=place), x).to_json() == run.to_json()
        swept = eie.sweep((layer, x), {"n_pe": [64]}, bias=place)
        assert swept.layers[0]["broadcasts"] == run.layers[0].counts["broadcasts"]
        broadcasts[place] = run.layers[0].counts["broadcasts"]
        code, _, _ = cli("run", "n.npz", "--trace", "x.npy", "--bias", place, "--json", "r.json")
        assert code == 0
        assert json.loads((tmp_path / "r.json").read_text())["layers"][0]["broadcasts"] == broadcasts[place]
        assert cli("compile", "n.npz", "--bias", place, "-o", "p.safetensors")[0] == 0
        assert eie.Program.load(tmp_path / "p.safetensors").layers[0].has_bias == (place == "column")
        assert cli("sweep", "n.npz", "--trace", "x.npy", "--vary", "n_pe=64", "--bias", place, "-o", place)[0] == 0
        recipe = {"step": [{"kind": "share", "rule": [{"bias": place}]}]}
        compressed = eie.compress(eie.Network.of(layer), recipe)[0]
        assert (compressed.layers[0].bias is None) == (place == "column")
    assert broadcasts["column"] == broadcasts["auto"] + 1 == broadcasts["accumulator"] + 1
    notes = eie.simulate(layer, x).notes()
    (note,) = [note for note in notes if "accumulators" in note]
    assert "layer: accumulators start from the bias; the levels would hold it at a relative error of " in note
    assert not [note for note in eie.simulate(layer, x, bias="accumulator").notes() if "accumulators" in note]


def test_a_recipe_refuses_another_place():
    with pytest.raises(eie.EieError, match=r"recipe.step.0.rule.0.bias='row': must be"):
        eie.compress(eie.Network.of(layer_of([[1.0]], [1.0])), {"step": [{"kind": "share", "rule": [{"bias": "row"}]}]})


def test_lenet_does_not_mind_a_bias_of_400():
    """Of a hidden unit that never fires: -400. Both datapaths, since only the accumulators have to hold it."""
    network = eie.load("lenet-300-100")
    first = network.layers[0]
    weights, bias = first.matrix.dense().astype(np.float32), np.array(first.bias)
    unit = int(np.argmin(np.abs(network.layers[1].matrix.dense()).sum(axis=0)))
    bias[unit] = -400
    changed = eie.Layer.from_weights(first.name, weights, bias, relu=first.relu)
    spoilt = replace(network, layers=(changed, *network.layers[1:]))
    before, after = (eie.simulate(net) for net in (network, spoilt))
    print(f"float32 {before.accuracy.float32:.2%} -> {after.accuracy.float32:.2%}, "
          f"fixed {before.accuracy.fixed:.2%} -> {after.accuracy.fixed:.2%}")  # fmt: skip
    assert after.accuracy.float32 == pytest.approx(before.accuracy.float32, abs=0.015)
    assert after.layers[0].encoded.accumulator_bias[unit] == -400
    assert np.array_equal(after.layers[0].encoded.decode(), before.layers[0].encoded.decode())


def test_fine_tuning_moves_the_bias_beside_the_codebook():
    pytest.importorskip("torch")
    from eie.compression.pruning.parameters import LayerParameters

    rng = np.random.default_rng(8)
    layer = share(layer_of(drawn(rng, (6, 5), 0.8), drawn(rng, 6)), bias="accumulator")[0]
    parameters = LayerParameters.of(layer)
    assert len(parameters.movable) == 2
    for value in parameters.values.values():
        value.grad = value.detach() * 0 + 1
    parameters.collect()
    for moved in parameters.movable:
        moved.data -= 0.25 * moved.grad
    parameters.spread()
    tuned = parameters.layer()
    assert tuned.bias == pytest.approx(layer.bias - 0.25)
    assert np.array_equal(tuned.matrix.data, layer.matrix.data)
    assert tuned.codebook[0] == 0
    assert not np.array_equal(tuned.codebook, layer.codebook)


def test_a_file_with_a_column_and_accumulators_is_refused(tmp_path):
    rng = np.random.default_rng(4)
    layer = layer_of(drawn(rng, (9, 6), 0.6), drawn(rng, 9))
    eie.compile(layer, eie.EIE_64PE.replace(n_pe=2), bias="column").save(tmp_path / "p.safetensors")

    def both(arrays, header):
        header["layers"][0]["passes"][0]["accumulator_bias"] = True
        arrays["0.0.accumulator_bias"] = np.zeros(9, np.float32)

    with pytest.raises(eie.EieError, match="it has a bias column, and accumulators that start from a bias"):
        eie.Program.load(edited(tmp_path, both))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"bias": np.zeros(8, np.float32)}, r"bias has shape \(8,\): must be \(9,\)"),
        ({"bias": np.full(9, np.nan, np.float32)}, "bias holds NaN or infinity"),
        ({"bias": np.zeros(9)}, "bias is float64"),
        ({"bias_codes": np.zeros(5, np.uint8)}, "must have"),
    ],
)
def test_coded_files_that_state_another_bias_are_refused(change, text):
    rng = np.random.default_rng(4)
    layer = share(layer_of(drawn(rng, (9, 6), 0.6), drawn(rng, 9)), bias="accumulator")[0]
    form, arrays = coded_file.pack(layer, 4)
    outline = coded_file.outline_of(layer)
    assert coded_file.unpack(outline, form, arrays).bias.tobytes() == layer.bias.tobytes()
    with pytest.raises(eie.EieError, match=text):
        coded_file.unpack(outline, form, arrays | change)


def test_readers_that_know_columns_only_are_told(tmp_path):
    """They would find the codes, pass the numbers over and compute without a bias."""
    rng = np.random.default_rng(4)
    layer = layer_of(drawn(rng, (9, 6), 0.6), drawn(rng, 9))
    for network, schema in (
        (layer, 1),
        (share(layer, bias="column")[0], 1),
        (share(layer, bias="accumulator")[0], 2),
    ):
        arrays = stored.to_arrays(eie.Network.of(network))
        assert json.loads(arrays[stored.KEY].tobytes())["schema"] == schema
    program_of(tmp_path)
    header = json.loads(read_safetensors(tmp_path / "p.safetensors", eie.EieError)[1]["eie"])
    assert [one["accumulator_bias"] for one in header["layers"][0]["passes"]] == [True]


def test_a_journal_does_not_mix_places(tmp_path):
    rng = np.random.default_rng(6)
    layer, x = layer_of(drawn(rng, (12, 8), 0.8), drawn(rng, 12)), inputs_of(rng, (2, 8))
    cycles = {}
    for place in ("column", "accumulator", "column"):
        swept = eie.sweep((layer, x), {"n_pe": [4]}, bias=place, journal=tmp_path / "j.jsonl")
        assert cycles.setdefault(place, swept.totals[0]["broadcasts"]) == swept.totals[0]["broadcasts"]
    assert cycles["column"] == cycles["accumulator"] + 1
    assert len((tmp_path / "j.jsonl").read_bytes().splitlines()) == 1 + 2


def test_compression_says_whose_bias_no_level_is_near_to():
    rng = np.random.default_rng(7)
    network = eie.Network(
        name="n",
        layers=(layer_of(drawn(rng, (9, 6), 0.9), drawn(rng, 9)), replace(layer_of(np.eye(3), np.ones(3)), name="b")),
    )
    compressed, report = eie.compress(network, {"step": [{"kind": "share", "rule": [{}]}]})
    assert "accumulators start from the biases of layer, which no level is near to" in compressed.notes
    assert report.steps[0].shared["layer"].bias_relative_error > report.steps[0].shared["layer"].relative_error
    asked, _ = eie.compress(network, {"step": [{"kind": "share", "rule": [{"bias": "accumulator"}]}]})
    assert not [note for note in asked.notes if "accumulators" in note]
