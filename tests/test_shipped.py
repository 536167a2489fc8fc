"""The shipped LeNets: as small and as right as docs/compression.md says."""

import numpy as np
import pytest

import eie
from eie.compression.coding.size import size_report
from eie.compression.training.dataset import FASHION_MNIST, idx_examples
from eie.model.layer_trace import LayerTrace
from eie.results.accuracy import float32_accuracy

# Right answers in 16-bit fixed point and in float32 on the stored images; in float32 on all 10,000 test images.
RIGHT = {"lenet-300-100": (227, 227, 8961), "lenet-5": (115, 115, 9133)}
DENSITIES = {"lenet-300-100": [0.08, 0.09, 0.26], "lenet-5": [0.66, 0.12, 0.09, 0.19]}
FEWER_WEIGHTS = {"lenet-300-100": 12, "lenet-5": 10}
MODELS = sorted(RIGHT)
# Before compression, in half precision: of the 1,000 stored images, of all 10,000.
DENSE = {"lenet-300-100-dense": (899, 8962), "lenet-5-dense": (915, 9163)}


@pytest.mark.parametrize("name", MODELS)
def test_right_answers_on_the_stored_trace(name):
    accuracy = eie.simulate(eie.compile(eie.load(name))).accuracy
    assert (round(accuracy.fixed * accuracy.samples), round(accuracy.float32 * accuracy.samples)) == RIGHT[name][:2]


@pytest.mark.parametrize("name", DENSE)
def test_right_answers_before_compression(name):
    network = eie.load(name)
    assert network.trace.samples == 1000
    assert abs(float32_accuracy(network) * 1000 - DENSE[name][0]) <= 1  # another BLAS may break a near tie
    assert min(layer.weight_density for layer in network.layers) > 0.9999


@pytest.mark.parametrize("name", [*MODELS, *DENSE])
def test_right_answers_on_the_whole_test_set(name):
    if not FASHION_MNIST.is_dir():
        pytest.skip(f"{FASHION_MNIST} is not here (apt install dataset-fashion-mnist)")
    network, test = eie.load(name), idx_examples(part="test")
    entrance = next(iter(network.trace.layers))
    right = 0
    for start in range(0, 10_000, 1000):
        chosen = slice(start, start + 1000)
        trace = eie.Trace(layers={entrance: LayerTrace.from_dense(test.values[chosen])}, labels=test.labels[chosen])
        right += round(float32_accuracy(network, trace) * 1000)
    wanted = RIGHT[name][2] if name in RIGHT else DENSE[name][1]
    assert abs(right - wanted) <= 2  # another BLAS may break a near tie the other way


@pytest.mark.parametrize("name", MODELS)
def test_nothing_is_lost_at_compile(name):
    """Every weight and every bias is a value of its layer's 4-bit codebook already."""
    for layer in eie.compile(eie.load(name)).layers:
        assert layer.shared.exact
        assert layer.shared.bias_max_error == 0
        assert layer.shared.levels <= 15


@pytest.mark.parametrize("name", MODELS)
def test_weights_and_bytes(name):
    network = eie.load(name)
    assert [layer.weight_density for layer in network.layers] == pytest.approx(DENSITIES[name], abs=0.0005)
    shared = [eie.compression.share.share(layer, 4)[0] for layer in network.layers]
    total = size_report(
        eie.Network(name=name, layers=tuple(shared), sequential=network.sequential, graph=network.graph), 5
    ).total
    assert total.weights / total.kept >= FEWER_WEIGHTS[name]
    assert total.ratio >= 30


def test_the_traces_hold_the_same_images():
    small, large, largest = (eie.load(name).trace for name in ("lenet-5", "lenet-300-100", "lenet-5-dense"))
    assert (small.samples, large.samples) == (128, 256)
    one, other = (next(iter(trace.layers.values())).dense() for trace in (small, large))
    np.testing.assert_array_equal(one, other[:128])
    np.testing.assert_array_equal(small.labels, large.labels[:128])
    np.testing.assert_array_equal(large.labels, largest.labels[:256])
    np.testing.assert_array_equal(other, largest.head(256).layers["input"].dense())
