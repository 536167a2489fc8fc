"""Samples run part by part: what is counted and computed is what all of them at once give."""

import numpy as np
import pytest

import eie
from eie.model.graph import Graph, Node
from eie.simulator import keeping, parts
from eie.simulator.agreement import in_agreement
from eie.simulator.keeping import last_layers


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


class TestKeptOutputs:
    """Of a run too large for all outputs those of the last layer stay, and the result says so."""

    # Of LeNet-5 a sample's outputs take 12 bytes x (20 x 24 x 24 + 50 x 8 x 8 + 500 + 10).
    A_SAMPLE = 12 * 15_230

    @pytest.fixture
    def runs(self, monkeypatch):
        """Six samples with all that is computed, and with room for five samples' outputs."""
        network = eie.load("lenet-5")
        images = network.trace.layers["input"].dense()[:6].reshape(6, 1, 28, 28)
        whole = eie.simulate(network, images, keep_outputs=True)
        monkeypatch.setattr(parts, "PART_NUMBERS", 50_000)
        monkeypatch.setattr(keeping, "MOST_BYTES", 6 * self.A_SAMPLE - 1)
        return whole, eie.simulate(network, images)

    def test_the_last_layers_are_the_same(self, runs):
        whole, cut = runs
        assert [layer.outputs is None for layer in cut.layers] == [True, True, True, False]
        np.testing.assert_array_equal(cut.layers[3].outputs, whole.layers[3].outputs)
        np.testing.assert_array_equal(cut.layers[3].computed.float32, whole.layers[3].computed.float32)
        assert [layer.cycles for layer in cut.layers] == [layer.cycles for layer in whole.layers]

    def test_it_is_said(self, runs):
        whole, cut = runs
        (note,) = set(cut.notes()) - set(whole.notes())
        assert note.startswith("outputs of 6 samples take 0.0 GB: those of ip2 are kept")
        with pytest.raises(eie.EieError, match="ask with simulate"):
            _ = cut.layers[0].shares

    def test_what_has_room_is_kept(self, monkeypatch):
        monkeypatch.setattr(keeping, "MOST_BYTES", 6 * self.A_SAMPLE)
        result = eie.simulate("lenet-5", np.ones((6, 1, 28, 28), np.float32))
        assert all(layer.outputs is not None for layer in result.layers)

    def test_one_sample_and_patterns_alone_are_kept(self, monkeypatch):
        monkeypatch.setattr(keeping, "MOST_BYTES", 0)
        layer = eie.Layer.from_weights("fc", np.ones((4, 3)))
        assert eie.simulate(layer, np.ones(3)).layers[0].outputs is not None
        counted = eie.simulate(layer, np.ones((5, 3)), datapath="none")
        assert counted.layers[0].shares["useful"] > 0

    def test_several_heads_are_all_last(self):
        nodes = [
            Node(op="layer", inputs=("x",), outputs=("a",), layer="trunk"),
            Node(op="relu", inputs=("a",), outputs=("b",), layer=None),
            Node(op="layer", inputs=("b",), outputs=("c",), layer="left"),
            Node(op="layer", inputs=("b",), outputs=("d",), layer="right"),
            Node(op="add", inputs=("c", "d"), outputs=("e",), layer=None),
        ]
        graph = Graph(inputs=(("x", (3,)),), nodes=tuple(nodes), outputs=("e",))
        assert last_layers(graph) == {"left", "right"}
