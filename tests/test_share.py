"""Weight sharing: exact where it can be, optimal where it claims to be, zero always kept."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compression.share import share


def layer_of(values, bias=None):
    return eie.Layer.from_weights("layer", np.asarray(values, np.float32).reshape(1, -1), bias)


def best_cost(values, k):
    """Least squared error of k clusters, by trying every way to cut the sorted values."""
    values = np.sort(np.asarray(values, float))
    costs = []
    for cuts in itertools.combinations(range(1, len(values)), min(k, len(values)) - 1):
        parts = np.split(values, cuts)
        costs.append(sum(((part - part.mean()) ** 2).sum() for part in parts))
    return min(costs)


@given(st.lists(st.integers(1, 4000), min_size=1, max_size=9, unique=True), st.integers(1, 3))
@settings(max_examples=60)
def test_exact_start_is_optimal(values, bits):
    levels = (1 << bits) - 1
    weights = np.array(values, np.float32) / 4000
    shared, report = share(layer_of(weights), bits)
    ours = float(((shared.weights - weights) ** 2).sum())
    assert ours == pytest.approx(best_cost(weights, levels), abs=1e-6)
    assert report.levels <= levels
    assert report.exact == (len(values) <= levels)


@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
@settings(max_examples=20)
def test_zeros_stay_zero_and_nothing_else_becomes_code_zero(seed, bits):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal((30, 40)) * (rng.random((30, 40)) < 0.3)
    shared, _ = share(eie.Layer.from_weights("layer", weights), bits)
    codes = shared.matrix.dense()
    assert np.array_equal(codes == 0, weights == 0)
    assert codes.max() <= (1 << bits) - 1
    assert shared.codebook[0] == 0


def test_few_values_are_kept_exactly():
    weights = np.random.default_rng(1).choice(np.linspace(-1, 1, 16)[1:], (20, 20)).astype(np.float32)
    shared, report = share(eie.Layer.from_weights("layer", weights))
    assert report.exact
    assert np.array_equal(shared.weights, weights)
    assert report.rms_error == report.max_error == report.relative_error == 0


def test_neighbouring_float32_values_keep_apart():
    """The border between two adjacent float32 numbers lies between them in float64 only."""
    for a in np.float32([1.0, 0.37, 1.0000001]):
        b = np.nextafter(a, np.float32(2))
        weights = np.array([a, b, np.nextafter(b, np.float32(2)), -a], np.float32)
        shared, report = share(layer_of(weights))
        assert shared.weights[0].tolist() == weights.tolist()
        assert report.exact


def test_shared_layers_pass_unchanged():
    codes = np.array([[0, 1], [2, 0]], np.uint8)
    layer = eie.Layer.from_codes(name="layer", codes=codes, codebook=[0, 0.5, -0.5], bias_codes=[1, 2])
    assert share(layer)[0] is layer


def test_every_weight_gets_its_nearest_level():
    weights = np.random.default_rng(2).standard_normal(3000).astype(np.float32)
    for init in ("exact", "linear"):
        shared, report = share(layer_of(weights), init=init)
        levels = shared.codebook[1 : report.levels + 1]
        nearest = np.abs(weights[:, None] - levels).min(axis=1)
        assert np.abs(shared.weights[0] - weights) == pytest.approx(nearest, abs=1e-6)
        assert report.max_error == pytest.approx(nearest.max(), abs=1e-6)


def test_exact_start_is_no_worse_than_linear_on_heavy_tails():
    weights = np.random.default_rng(4).standard_t(2, 20_000).astype(np.float32)
    exact, linear = (share(layer_of(weights), init=init)[1].rms_error for init in ("exact", "linear"))
    print(f"rms error exact {exact:.4f}, linear {linear:.4f}")
    assert exact < linear


def test_bias_takes_spare_levels_and_is_moved_when_there_are_none():
    few = eie.Layer.from_weights("layer", [[0.5], [1.0]], bias=[0.1, 0.2])
    shared, report = share(few)
    assert shared.codebook[shared.bias_codes].tolist() == pytest.approx([0.1, 0.2])
    assert report.exact
    assert report.bias_max_error == 0
    full = eie.Layer.from_weights("layer", np.arange(1.0, 16)[:, None], bias=np.full(15, 0.4))
    shared, report = share(full, bias="column")
    assert report.exact
    assert report.bias_max_error == pytest.approx(0.4)  # to zero, which is nearer than 1.0


def test_an_unpruned_layer_of_zeros():
    shared, report = share(eie.Layer.from_weights("layer", np.zeros((3, 3)), bias=np.zeros(3)))
    assert report.levels == 0
    assert shared.bias_codes.tolist() == [0, 0, 0]


def test_too_many_levels_for_the_bits():
    layer = eie.Layer.from_codes("wide", np.array([[20]]), np.arange(32.0))
    with pytest.raises(eie.EieError, match=r"layer 'wide': uses code 20: 4-bit weights allow at most 15"):
        share(layer)
    with pytest.raises(eie.EieError, match="init='best': must be one of exact, linear, density, random"):
        share(layer_of(np.arange(1.0, 40)), init="best")
