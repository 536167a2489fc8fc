"""Samples run part by part: what is counted and computed is what all of them at once give."""

import numpy as np
import pytest

import eie
from eie.simulator import parts
from eie.simulator.agreement import in_agreement


def test_parts_agree_on_the_largest_of_all():
    """The third part needs a wider format than the first two were begun with."""
    begun = []

    def run(part, agree):
        begun.append(part)
        first = agree(part)
        return first, agree(10 * first)

    assert in_agreement([1.0, 0.5, 3.0], run, 16) == [(3.0, 30.0)] * 3
    assert begun[:4] == [1.0, 0.5, 3.0, 1.0]


def test_a_choice_behind_a_wrong_one_is_taken_back():
    """In the first format, a part meets more than in the right one: the guess must not stay."""

    def run(part, agree):
        first = agree(part)
        return first, agree(100.0 if first < 2 else 1.0)

    assert in_agreement([1.0, 3.0], run, 16) == [(3.0, 1.0)] * 2


@pytest.mark.parametrize("batch", [1, 3])
def test_lenet_in_parts_is_lenet_at_once(monkeypatch, batch):
    network = eie.load("lenet-5")
    images = network.trace.layers["input"].dense()[:20] * np.linspace(0.3, 2, 20, dtype=np.float32)[:, None]
    samples = eie.Samples(arrays={"": images.reshape(20, 1, 28, 28)}, labels=network.trace.labels[:20])
    whole = eie.simulate(network, samples, batch=batch, keep_outputs=False)
    monkeypatch.setattr(parts, "PART_NUMBERS", 50_000)
    told = []
    cut = eie.simulate(
        network, samples, batch=batch, keep_outputs=False, progress=lambda name, n, total: told.append((name, n, total))
    )
    assert cut.content() == whole.content()
    assert str(cut) == str(whole)
    for layer in whole.layers:
        (total,) = {total for name, _, total in told if name == layer.name}
        assert sum(n for name, n, _ in told if name == layer.name) == total
        # A fully connected layer has one product a sample.
        assert total == 20 or layer.encoded.scatter is not None


def test_no_batch_is_cut():
    maps = eie.compile(eie.load("lenet-5")).memory.maps
    largest = max(placed.elements for placed in maps.maps)
    cut = parts.sample_parts(20_000, 7, maps)
    assert all(part.start % 7 == 0 for part in cut)
    assert sum(part.stop - part.start for part in cut) == 20_000
    assert max(part.stop - part.start for part in cut) * largest <= parts.PART_NUMBERS
