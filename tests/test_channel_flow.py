"""Channels followed through operators that split, join, add and scale them, on networks small enough to say which."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import images, outputs, residual

import eie
from eie.compression.pruning.channel_flow import Flow
from eie.compression.pruning.structure import coupled, reasons_to_stay, select_outputs, shrinkable
from eie.errors import ModelError, RecipeError
from eie.model.graph import Graph, Node
from eie.studies.granularity.variants import Variant, prune


def conv(name, inputs, out, seed=0):
    weights = np.random.default_rng([seed, *name.encode()]).standard_normal((out, inputs, 1, 1))
    return eie.Layer.from_conv(name, weights, np.arange(1.0, out + 1))


def node(op, inputs, name, **attributes):
    return Node(op=op, inputs=tuple(inputs), outputs=(name,), attributes=attributes)


def run(layer, x, name):
    return Node(op="layer", inputs=(x,), outputs=(name,), layer=layer)


def splitting(seed=0):
    """A layer of 6 channels parted in two; one half scaled by a layer, both joined, normalised and read."""
    rng = np.random.default_rng(seed)
    nodes = (
        run("a", "image", "a0"),
        node("slice", ["a0"], "low", axis=1, start=0, stop=3),
        node("slice", ["a0"], "high", axis=1, start=3, stop=6),
        run("b", "high", "b0"),
        node("mul", ["b0", "factors"], "b1"),
        node("concat", ["low", "high", "b1"], "all", axis=1),
        node("batch_norm", ["all", "s", "o", "m", "v"], "normal"),
        run("c", "normal", "c0"),
    )
    constants = {"factors": rng.random((4, 1, 1)), **{name: rng.random(10) + 1 for name in "somv"}}
    layers = (conv("a", 1, 6, seed), conv("b", 3, 4, seed), conv("c", 10, 2, seed))
    graph = Graph(inputs=(("image", (1, 8, 8)),), nodes=nodes, outputs=("c0",), constants=constants)
    return eie.Network(name="splitting", layers=layers, graph=graph)


def silent(network, gone):
    """The network with all that reads some channels not reading them: columns of these labels are zero."""
    flow, layers = Flow.of(network), {layer.name: layer for layer in network.layers}
    for entry in flow.graph.nodes:
        read = None if entry.layer is None else flow.tensors[entry.inputs[0]]
        if read is not None:
            layer = layers[entry.layer]
            off = np.repeat(np.isin(flow.class_of[read.labels], gone), layer.inputs // len(read.labels))
            weights = np.where(off, 0, layer.weights)
            made = eie.Layer.from_weights(layer.name, weights, layer.bias)
            layers[entry.layer] = replace(layer, matrix=made.matrix)
    return replace(network, layers=tuple(layers.values()))


@pytest.mark.parametrize("make", [residual, splitting])
@given(st.data())
@settings(max_examples=15, deadline=None)
def test_channels_that_nobody_reads_can_go(make, data):
    """Whatever classes go, the rest computes what the network does with nobody reading them."""
    network = make(data.draw(st.integers(0, 99)))
    flow = Flow.of(network)
    by_way = {}
    for each, way in flow.ways.items():
        by_way.setdefault(way, []).append(each)
    # At least one of each way stays: no tensor is without channels.
    gone = [
        each
        for classes in by_way.values()
        for each in data.draw(st.sets(st.sampled_from(classes)))
        if each != min(classes)
    ]
    smaller = flow.without(gone)
    assert sum(layer.outputs for layer in smaller.layers) < sum(layer.outputs for layer in network.layers) or not gone
    assert outputs(smaller, images()) == pytest.approx(outputs(silent(network, gone), images()), rel=1e-4, abs=1e-4)


def test_what_is_added_goes_together():
    network = residual()
    assert coupled(network) == (("a", "c"), ("b",))
    assert reasons_to_stay(network) == {"d": "its outputs are the network's"}
    smaller = select_outputs(network, "a", np.array([1, 4]))
    assert [layer.matrix.shape for layer in smaller.layers] == [(2, 9), (8, 18), (2, 72), (3, 2)]
    with pytest.raises(RecipeError, match="layer 'a': .*: they are joined with others"):
        select_outputs(network, "a", np.arange(6)[::-1])


def test_parts_of_a_layer_are_ranked_apart():
    """Half of each half goes, whatever the weights: no part of a split is left without channels."""
    network = splitting()
    form = prune(network, Variant.parse("channel:0.5"))
    assert [layer.outputs for layer in form.network.layers] == [4, 2, 2]
    parts = {entry.name: entry.attributes for entry in form.network.graph.nodes if entry.op == "slice"}
    assert [(part["start"], part["stop"]) for part in parts.values()] == [(0, 2), (2, 4)]
    assert {array.shape for array in form.network.graph.constants.values()} == {(2, 1, 1), (6,)}
    with pytest.raises(RecipeError, match="they are parted on the way"):
        select_outputs(network, "a", np.arange(6)[::-1])


def test_a_rule_must_match_all_that_is_tied():
    rule = {"granularity": "channel", "density": 0.5, "layers": "a"}
    with pytest.raises(RecipeError, match="layer 'a': its channels are tied to those of 'c': one rule must match all"):
        eie.compress(residual(), {"name": "r", "step": [{"kind": "prune", "rule": [rule]}]})


def test_a_host_part_lets_no_channel_survive_and_is_named():
    """What runs elsewhere has no rule; the row says what is in it, and so does whoever asks for gradients."""
    network = residual()
    host = node("host", ["b0"], "b1", operators=(("LayerNormalization", 1), ("Erf", 2)))
    nodes = tuple(host if entry.name == "b1" else entry for entry in network.graph.nodes)
    network = replace(network, graph=replace(network.graph, nodes=nodes))
    assert shrinkable(network) == ("a", "c")
    form = prune(network, Variant.parse("channel:0.5"))
    assert "b (node 'b1' (host: LayerNormalization, Erf) reads them)" in form.note
    torch = pytest.importorskip("torch")
    from eie.compression.training.torch_graph import forward

    values = {f"{layer.name}.weight": torch.tensor(layer.weights) for layer in network.layers}
    with pytest.raises(ModelError, match=r"a host part \(LayerNormalization, Erf\) has no gradients.*eie.from_torch"):
        forward(network, values, torch.tensor(images(2)))


def test_a_network_that_splits_and_joins_can_be_trained_through():
    torch = pytest.importorskip("torch")
    from eie.compression.training.torch_graph import forward

    for network in (residual(), splitting()):
        values = {f"{layer.name}.weight": torch.tensor(layer.weights) for layer in network.layers}
        values |= {f"{layer.name}.bias": torch.tensor(layer.bias) for layer in network.layers if layer.bias is not None}
        made = forward(network, values, torch.tensor(images(2))).numpy()
        assert made == pytest.approx(outputs(network, images(2)).reshape(2, -1), rel=1e-4, abs=1e-4)
