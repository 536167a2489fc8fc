"""The numbers: fixed point against pure Python integers, float32 against numpy, chains of layers."""

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.simulator.functional import FixedPoint, fraction_bits, largest_difference, to_raw
from eie.simulator.network import Tensor
from eie.simulator.products import run_layer


@st.composite
def layers(draw):
    rows, columns = draw(st.integers(1, 24)), draw(st.integers(1, 16))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    scale = draw(st.sampled_from([1e-3, 0.3, 1.0, 40.0]))
    levels = np.sort(rng.standard_normal(15)).astype(np.float32) * np.float32(scale)
    weights = rng.choice(levels, (rows, columns)) * (rng.random((rows, columns)) < 0.6)
    bias = rng.choice(levels, rows) if draw(st.booleans()) else None
    inputs = (
        rng.standard_normal((2, columns)) * (rng.random((2, columns)) < 0.7) * draw(st.sampled_from([0.01, 1, 300]))
    )
    return weights.astype(np.float32), bias, inputs.astype(np.float32)


def computed(weights, bias, inputs, n_pe=3, data_bits=16, relu=False, **spec):
    spec = eie.EIE_64PE.replace(n_pe=n_pe, data_bits=data_bits, **spec)
    layer = eie.compile(eie.Layer.from_weights("layer", weights, bias, relu=relu), spec).layers[0]
    fixed = FixedPoint.quantise(inputs, data_bits, largest=float(layer.has_bias))
    return run_layer(layer=layer, fixed_inputs=fixed, float_inputs=inputs, data_bits=data_bits), layer


@given(layers(), st.sampled_from([1, 3, 64]), st.sampled_from([8, 16, 24]))
@settings(max_examples=60)
def test_bit_exact_against_python_integers(case, n_pe, data_bits):
    weights, bias, inputs = case
    found, _ = computed(weights, bias, inputs, n_pe, data_bits)
    clipped = 0
    for s, values in enumerate(inputs):
        expected, count = naive.fixed_point_layer(
            weights,
            bias,
            values,
            found.weight_fraction_bits,
            found.activation_fraction_bits,
            found.fixed.fraction_bits,
            data_bits,
        )
        assert found.fixed.raw[s].tolist() == expected
        clipped += count
    assert found.saturations == clipped


@given(layers())
@settings(max_examples=30)
def test_float32_is_the_product(case):
    weights, bias, inputs = case
    found, _ = computed(weights, bias, inputs)
    expected = inputs.astype(float) @ weights.T.astype(float) + (0 if bias is None else bias)
    scale = np.abs(inputs).astype(float) @ np.abs(weights).T + 1
    assert (np.abs(found.float32 - expected) <= 1e-5 * scale).all()


@given(layers())
@settings(max_examples=20)
def test_passes_compute_the_same_bits(case):
    weights, bias, inputs = case
    whole, _ = computed(weights, bias, inputs)
    cut, layer = computed(weights, bias, inputs, act_registers=2, spmat_kib=1)
    assert cut.fixed.raw.tolist() == whole.fixed.raw.tolist()
    assert cut.float32.tolist() == whole.float32.tolist()
    assert np.array_equal(layer.decode(), weights)


def test_saturation_is_counted():
    """The accumulator's format fits the float path's largest sum: so the two paths get different inputs."""
    codes = np.ones((1, 4), np.uint8)
    layer = eie.compile(eie.Layer.from_codes("layer", codes, [0, 1]), eie.EIE_64PE.replace(n_pe=1)).layers[0]
    big = FixedPoint(np.full((1, 4), 30000, np.int64), 15)
    small = np.full((1, 4), 0.001, np.float32)
    found = run_layer(layer=layer, fixed_inputs=big, float_inputs=small, data_bits=16)
    assert found.saturations > 0
    assert found.fixed.raw.tolist() == [[32767]]


@pytest.mark.parametrize(
    ("largest", "bits", "fraction"),
    [
        (1.0, 16, 14),
        (0.99, 16, 15),
        (0, 16, 15),
        (32767, 16, 0),
        (32768, 16, -1),
        (0.5, 16, 15),
        (1.0, 8, 6),
        (1e-9, 16, 30),
        (5e-324, 16, 30),
    ],
)
def test_fraction_bits(largest, bits, fraction):
    assert fraction_bits(largest, bits) == fraction


@given(st.floats(2**-20, 2**40), st.sampled_from([8, 16, 32]))
def test_the_largest_magnitude_fits_and_half_of_it_would_not_need_the_format(largest, bits):
    fraction = fraction_bits(largest, bits)
    top = (1 << (bits - 1)) - 1
    assert to_raw(np.array([largest]), fraction, bits)[0] <= top
    assert np.floor(largest * 2.0**fraction + 0.5) <= top
    if fraction < 30:
        assert np.floor(largest * 2.0 ** (fraction + 1) + 0.5) > top


def test_room_for_a_larger_number_costs_its_bits():
    """9 fraction bits in 8-bit numbers hold up to 0.248; 1.0 leaves 6, so three bits are rounded away, halves up."""
    fine = FixedPoint(np.array([9, 12, -12, 127]), 9)
    wider = fine.with_room_for(1.0, 8)
    assert wider.fraction_bits == 6
    assert wider.raw.tolist() == [1, 2, -1, 16]
    assert fine.with_room_for(0.1, 8) is fine
    assert fine.with_room_for(0.0, 8) is fine


@given(st.floats(2**-12, 2**12), st.sampled_from([0.5, 1.0, 64.0]))
def test_a_tensor_has_the_finest_format_that_holds_its_values(peak, asked):
    """Of those the accumulators have; a larger number costs bits only where it is asked for."""
    values = np.array([peak / 3, -peak, 0.0])
    assert Tensor.of(values, 16).fixed.fraction_bits == fraction_bits(float(np.float32(peak)), 16)
    assert Tensor.of(values, 16, asked).fixed.fraction_bits == fraction_bits(max(float(np.float32(peak)), asked), 16)


def test_rounding_is_half_up():
    assert to_raw(np.array([0.5, -0.5, 1.5, -1.5]), 0, 16).tolist() == [1, 0, 2, -1]


class TestChain:
    """Layers that feed each other."""

    rng = np.random.default_rng(3)
    first = rng.choice([-0.5, 0, 0, 0.25, 0.5], (20, 12))
    second = rng.choice([-0.5, 0, 0, 0.25, 0.5], (5, 20))
    inputs = rng.random((4, 12))

    def network(self):
        layers = (eie.Layer.from_weights("a", self.first, relu=True), eie.Layer.from_weights("b", self.second))
        return eie.Network(name="net", layers=layers, sequential=True)

    def test_outputs_feed_the_next_layer(self):
        result = eie.simulate(eie.compile(self.network()), self.inputs)
        hidden = np.maximum(self.inputs @ self.first.T, 0)
        expected = hidden @ self.second.T
        assert result.drive == "execution"
        assert np.allclose(result.layers[1].outputs, expected, atol=2e-3)
        assert np.allclose(result.layers[1].computed.float32, expected, atol=1e-5)
        assert result.layers[1].activity.active_inputs.tolist() == (result.layers[0].outputs > 0).sum(axis=1).tolist()

    def test_single_sample_has_flat_outputs_and_integer_cycles(self):
        result = eie.simulate(eie.compile(self.network()), self.inputs[0])
        assert result.layers[0].outputs.shape == (20,)
        assert isinstance(result.layers[0].cycles, int)
        assert all(isinstance(value, int) for value in result.layers[0].counts.values())

    def test_trace_driven_when_every_layer_is_recorded(self):
        hidden = np.zeros((4, 20))
        hidden[:, 7] = 1.0
        result = eie.simulate(eie.compile(self.network()), {"a": self.inputs, "b": hidden})
        assert result.drive == "trace"
        assert result.layers[1].activity.active_inputs.tolist() == [1] * 4

    def test_datapath_chooses_whose_zeros_count(self):
        """A hidden value too small for 8-bit numbers is a zero there, and not in float32."""
        first = np.array([[1.0, 0], [0, 1.0]])
        layers = (eie.Layer.from_weights("a", first, relu=True), eie.Layer.from_weights("b", first))
        program = eie.compile(
            eie.Network(name="net", layers=layers, sequential=True), eie.EIE_64PE.replace(data_bits=8)
        )
        tiny = [1.0, 0.001]
        fixed = eie.simulate(program, tiny, datapath="fixed")
        exact = eie.simulate(program, tiny, datapath="float32")
        assert fixed.layers[1].activity.active_inputs.tolist() == [1]
        assert exact.layers[1].activity.active_inputs.tolist() == [2]

    def test_bias_keeps_its_value_when_activations_are_tiny(self):
        """The bias column's activation is 1.0: a format chosen for tiny inputs alone could not hold it."""
        layer = eie.Layer.from_weights("a", np.eye(2), bias=[1.0, 1.0])
        result = eie.simulate(eie.compile(layer), [1e-4, 0])
        assert np.allclose(result.layers[0].outputs, [1.0001, 1.0], atol=1e-3)


@given(st.integers(0, 40), st.integers(-3, 30), st.integers(0, 2**32 - 1), st.booleans())
def test_the_largest_difference_is_that_of_float32(count, fraction, seed, turned):
    rng = np.random.default_rng(seed)
    raw = rng.integers(-(1 << 40), 1 << 40, (count, 3))
    real = (raw * 2.0**-fraction + rng.standard_normal(raw.shape)).astype(np.float32)
    raw, real = (raw.T, real.T) if turned else (raw, real)
    steps = np.abs(raw.astype(np.float32) * np.float32(2.0**-fraction) - real)
    assert largest_difference(FixedPoint(raw, fraction), real) == steps.max(initial=0)


def test_a_difference_beyond_float32_is_one():
    fixed = FixedPoint(np.array([[1 << 15, 0]]), -113)
    assert largest_difference(fixed, np.array([[-3e38, 0]], np.float32)) == pytest.approx(2.0**128 + 3e38)
    assert np.isnan(largest_difference(FixedPoint(np.zeros((1, 3), np.int64), 3), np.array([[1, np.nan, 2]], "f4")))
