"""Channels and layers that really go, rows that move: the network computes the same."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import cnn, images, mlp, outputs

import eie
from eie.compression.pruning import structure
from eie.compression.pruning.balance import permute
from eie.compression.pruning.structure import readers, remove_layer, select_outputs
from eie.errors import RecipeError
from eie.model.dataflow import dataflow
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node

KEPT = "layer '{}': its outputs are the network's: its rows cannot be taken out or moved"


def without_rows(layer, rows):
    """Zero some rows and their biases."""
    weights, bias = layer.weights.copy(), layer.bias.copy()
    weights[rows], bias[rows] = 0, 0
    return replace(eie.Layer.from_weights(layer.name, weights, bias, relu=layer.relu), geometry=layer.geometry)


@pytest.mark.parametrize(("name", "rows"), [("conv1", [0, 2]), ("conv2", [5]), ("fc1", [1, 2, 4])])
def test_channels_that_were_zero_can_go(name, rows):
    net = cnn()
    zeroed = replace(net, layers=tuple(without_rows(one, rows) if one.name == name else one for one in net.layers))
    count = next(one.outputs for one in net.layers if one.name == name)
    smaller = select_outputs(zeroed, name, np.setdiff1d(np.arange(count), rows))
    shapes = {one.name: one.matrix.shape for one in smaller.layers}
    assert shapes[name][0] == count - len(rows)
    assert sum(one.matrix.shape[0] * one.matrix.shape[1] for one in smaller.layers) < sum(
        one.matrix.shape[0] * one.matrix.shape[1] for one in net.layers
    )
    assert outputs(smaller, images()) == pytest.approx(outputs(zeroed, images()), rel=1e-5, abs=1e-4)
    assert not np.allclose(outputs(smaller, images()), outputs(net, images()))


def test_shapes_follow_from_conv_to_conv_and_over_the_flattening():
    net = select_outputs(cnn(), "conv1", np.array([3, 1]))
    net = select_outputs(net, "conv2", np.array([0, 4, 5]))
    one, two, three, _ = net.layers
    assert one.geometry == Conv2d(in_channels=1, out_channels=2, kernel=(3, 3), pads=(1, 1, 1, 1))
    assert two.geometry == Conv2d(in_channels=2, out_channels=3, kernel=(3, 3))
    assert three.matrix.shape == (5, 12)
    assert np.array_equal(two.kernel, cnn().layers[1].kernel[[0, 4, 5]][:, [3, 1]])
    assert outputs(net, images()).shape == (5, 3)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=15)
def test_a_permutation_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    net = cnn(seed % 1000)
    x = images(seed=seed)
    expected = outputs(net, x)
    for name, count in (("conv1", 4), ("conv2", 6), ("fc1", 5)):
        net = select_outputs(net, name, rng.permutation(count))
    assert outputs(net, x) == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_shared_layers_move_with_their_codes():
    codes = np.array([[1, 0], [2, 3], [0, 1]], np.uint8)
    first = eie.Layer.from_codes(
        name="a", codes=codes, codebook=np.array([0, 0.5, 1, 2]), bias_codes=np.array([1, 2, 3]), relu=True
    )
    net = eie.Network(name="n", layers=(first, eie.Layer.from_weights("b", np.eye(3))), sequential=True)
    moved = select_outputs(net, "a", np.array([2, 0]))
    assert moved.layers[0].matrix.dense().tolist() == [[0, 1], [1, 0]]
    assert moved.layers[0].bias_codes.tolist() == [3, 1]
    assert moved.layers[1].weights.tolist() == [[0, 1], [0, 0], [1, 0]]


def test_recorded_inputs_follow():
    net = mlp([4, 3, 2])
    recorded = np.array([[1.0, 0, 2], [0, 3, 4]])
    trace = eie.Trace(
        layers={"fc0": eie.LayerTrace.from_dense(np.ones((2, 4))), "fc1": eie.LayerTrace.from_dense(recorded)},
        labels=np.array([0, 1]),
    )
    moved = select_outputs(replace(net, trace=trace), "fc0", np.array([2, 0]))
    assert moved.trace.layers["fc1"].dense().tolist() == [[2, 1], [4, 0]]
    assert moved.trace.layers["fc0"].width == 4
    assert moved.trace.labels.tolist() == [0, 1]


def test_layers_that_branch_are_all_found():
    nodes = (
        Node(op="layer", inputs=("x",), outputs=("a",), layer="squeeze"),
        Node(op="relu", inputs=("a",), outputs=("b",)),
        Node(op="layer", inputs=("b",), outputs=("c",), layer="left"),
        Node(op="layer", inputs=("b",), outputs=("d",), layer="right"),
        Node(op="concat", inputs=("c", "d"), outputs=("e",), layer=None, attributes={"axis": 1}),
    )
    conv = {name: np.ones((2, 2, 1, 1)) for name in ("squeeze", "left", "right")}
    layers = tuple(eie.Layer.from_conv(name, kernel) for name, kernel in conv.items())
    net = eie.Network(name="fire", layers=layers, graph=Graph(inputs=(("x", (2, 3, 3)),), nodes=nodes, outputs=("e",)))
    assert sorted(readers(net, "squeeze")) == ["left", "right"]
    smaller = select_outputs(net, "squeeze", np.array([1]))
    assert [layer.matrix.shape for layer in smaller.layers] == [(1, 2), (2, 1), (2, 1)]
    with pytest.raises(eie.EieError, match=r"layer 'left': its outputs are the network's"):
        readers(net, "left")


def test_what_cannot_be_followed_is_refused():
    net = mlp([4, 3, 2])
    with pytest.raises(eie.EieError, match="layer 'fc1': its outputs are the network's"):
        readers(net, "fc1")
    with pytest.raises(eie.EieError, match="layer 'fc0': nothing says which layer reads its outputs"):
        readers(replace(net, sequential=False), "fc0")
    grouped = eie.Layer.from_conv(
        "conv2", np.ones((4, 2, 3, 3)), conv=Conv2d(in_channels=4, out_channels=4, kernel=(3, 3), groups=2)
    )
    with pytest.raises(eie.EieError, match="channels of 'conv2', a grouped convolution, are tied"):
        readers(replace(cnn(), layers=(cnn().layers[0], grouped, *cnn().layers[2:])), "conv1")


@pytest.mark.parametrize(
    "steps",
    [
        [("global_average_pool", {}), ("flatten", {})],
        [("relu", {}), ("global_average_pool", {}), ("squeeze", {"axes": (2, 3)})],
        [("mean", {"axes": (-1, -2)})],
        [("average_pool", {"kernel": (8, 8)}), ("reshape", {"shape": (0, -1)})],
    ],
)
def test_ways_from_maps_to_vectors(steps):
    layers = (cnn().layers[0], mlp([4, 3]).layers[0])
    graph = Graph.sequence("image", (1, 8, 8), [("layer", "conv1"), *steps, ("layer", "fc0")])
    net = eie.Network(name="n", layers=layers, graph=graph)
    moved = select_outputs(net, "conv1", np.array([2, 0, 3, 1]))
    assert outputs(moved, images()) == pytest.approx(outputs(net, images()), abs=1e-5)


@pytest.mark.parametrize(
    "step",
    [
        ("transpose", {"axes": (0, 2, 3, 1)}),
        ("reshape", {"shape": (0, 16, 16)}),
        ("flatten", {"axis": 2}),
        ("mean", {"axes": (1,)}),
    ],
)
def test_operators_that_mix_channels_are_refused(step):
    layers = (cnn().layers[0], mlp([4, 3]).layers[0])
    graph = Graph.sequence("image", (1, 8, 8), [("layer", "conv1"), step, ("layer", "fc0")])
    with pytest.raises(eie.EieError, match=rf"layer 'conv1': .* node '{step[0]}_1' \({step[0]}\) reads them"):
        readers(eie.Network(name="n", layers=layers, graph=graph), "conv1")


def test_a_layer_that_keeps_its_shape_can_go():
    net = mlp([3, 3, 3, 2])
    shorter = remove_layer(net, "fc1")
    assert [layer.name for layer in shorter.layers] == ["fc0", "fc2"]
    with pytest.raises(eie.EieError, match="layer 'fc2': cannot be taken out: its outputs do not have the shape"):
        remove_layer(net, "fc2")
    by_graph = replace(net, graph=dataflow(net), sequential=False)
    x = np.ones((2, 3), np.float32)
    assert outputs(remove_layer(by_graph, "fc1"), x) == pytest.approx(outputs(shorter, x))


class TestPermutation:
    def test_outputs_are_equal_and_cycles_fewer_on_lenet(self):
        net = eie.load("lenet-300-100")
        even = permute(net, 64)
        assert sorted(even.orders) == ["ip1", "ip2"]
        assert even.output_order is None
        assert even.kept == {"ip3": KEPT.format("ip3")}
        x = net.trace.layers["ip1"].dense()
        assert outputs(even.network, x) == pytest.approx(outputs(net, x), rel=1e-5, abs=1e-4)
        before, after = (eie.simulate(eie.compile(one)) for one in (net, even.network))
        assert after.layers[0].cycles < 0.95 * before.layers[0].cycles
        assert after.layers[1].cycles < before.layers[1].cycles
        assert after.accuracy.float32 == before.accuracy.float32

    def test_the_last_layer_may_move_when_asked(self):
        net = eie.load("lenet-300-100")
        spec = eie.EIE_64PE.replace(n_pe=4)
        even = permute(net, 4, outputs=True)
        x = net.trace.layers["ip1"].dense()
        assert sorted(even.output_order.tolist()) == list(range(10))
        assert even.output_order.tolist() != list(range(10))
        assert outputs(even.network, x) == pytest.approx(outputs(net, x)[:, even.output_order], rel=1e-5, abs=1e-4)
        before, after = (eie.simulate(eie.compile(one, spec)) for one in (net, even.network))
        assert after.accuracy.float32 == before.accuracy.float32
        assert after.latency_us < before.latency_us
        assert "not in the order of the original" in even.network.notes[-1]

    @pytest.mark.parametrize(("op", "moves"), [("softmax", True), ("relu", True), ("concat", False)])
    def test_outputs_move_only_where_their_order_is_the_networks(self, op, moves):
        net = mlp([4, 3, 2])
        nodes = (
            Node(op="layer", inputs=("x",), outputs=("a",), layer="fc0"),
            Node(op="layer", inputs=("a",), outputs=("b",), layer="fc1"),
            Node(
                op=op,
                inputs=("b", "a") if op == "concat" else ("b",),
                outputs=("y",),
                layer=None,
                attributes={"axis": -1},
            ),
        )
        net = replace(net, sequential=False, graph=Graph(inputs=(("x", (4,)),), nodes=nodes, outputs=("y",)))
        if moves:
            even = permute(net, 2, outputs=True)
            assert sorted(even.output_order.tolist()) == [0, 1]
            x = np.ones((1, 4), np.float32)
            assert outputs(even.network, x) == pytest.approx(outputs(net, x)[:, even.output_order], abs=1e-6)
        else:
            with pytest.raises(eie.EieError, match="layer 'fc1': its outputs are the network's"):
                permute(net, 2, outputs=True)

    def test_alexnet_fc8_takes_fewer_cycles(self, fc8):
        layer, activations = fc8
        before = eie.simulate(eie.compile(layer), activations).layers[0]
        even = permute(eie.Network.of(layer), 64, outputs=True)
        after = eie.simulate(eie.compile(even.network), activations).layers[0]
        print(f"fc8: {before.cycles} cycles as it comes, {after.cycles} with its rows permuted")
        assert before.cycles == 7926
        assert after.cycles <= 7620
        assert np.array_equal(after.computed.float32[0], before.computed.float32[0][even.output_order])

    def test_recorded_inputs_say_which_columns_matter(self, fc8):
        layer, activations = fc8
        trace = eie.Trace(layers={"fc8": eie.LayerTrace.from_dense(activations)})
        net = eie.Network(name="fc8", layers=(layer,), sequential=True, trace=trace)
        even = permute(net, 64, outputs=True)
        assert eie.simulate(eie.compile(even.network)).layers[0].cycles <= 7450

    @pytest.mark.parametrize("n_pe", [1, 3, 64, 100])
    def test_any_number_of_pes(self, n_pe):
        net = mlp([7, 11, 4], density=0.3)
        even = permute(net, n_pe)
        assert sorted(even.orders["fc0"].tolist()) == list(range(11))
        x = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
        assert outputs(even.network, x) == pytest.approx(outputs(net, x), abs=1e-5)

    def test_nothing_to_move(self):
        with pytest.raises(eie.EieError, match="layer 'a': its outputs are the network's"):
            permute(eie.Network.of(eie.Layer.from_weights("a", np.eye(3))), 2)


def test_which_layers_can_go_or_shrink():
    network = cnn()
    assert structure.shrinkable(network) == ("conv1", "conv2", "fc1")
    assert structure.removable(network) == ()
    square = mlp([6, 6, 6, 3])
    assert structure.removable(square) == ("fc0", "fc1")
    assert structure.removable(replace(square, sequential=False)) == ()
    conv = Conv2d(in_channels=4, out_channels=4, kernel=(3, 3), pads=(1, 1, 1, 1))
    layer = eie.Layer.from_conv(name="c", weights=np.ones(conv.weight_shape), bias=None, conv=conv)
    assert structure.keeps_shape(layer)
    assert not structure.keeps_shape(replace(layer, geometry=replace(conv, pads=(0, 0, 0, 0))))
    assert not structure.keeps_shape(replace(layer, geometry=replace(conv, stride=(2, 2))))
    wide = Conv2d(in_channels=1, out_channels=1, kernel=(200, 1), pads=(0, 0, 0, 0))
    assert not structure.keeps_shape(
        eie.Layer.from_conv(name="w", weights=np.ones(wide.weight_shape), bias=None, conv=wide)
    )


def test_narrowed_shapes():
    rng = np.random.default_rng(0)
    layers = (
        eie.Layer.from_conv("a", rng.standard_normal((8, 3, 3, 3))),
        eie.Layer.from_weights("b", rng.standard_normal((10, 8)), np.ones(10)),
    )
    found = structure.narrowed(eie.Network(name="n", layers=layers), 0.3)
    assert [layer.matrix.shape for layer in found.layers] == [(2, 27), (10, 2)]
    np.testing.assert_array_equal(found.layers[1].weights, layers[1].weights[:, :2])
    grouped = eie.Layer.from_conv(
        name="g", weights=np.ones((4, 2, 1, 1)), bias=None, conv=Conv2d(in_channels=4, out_channels=4, groups=2)
    )
    with pytest.raises(RecipeError, match="a grouped convolution, are tied"):
        structure.narrowed(eie.Network(name="n", layers=(grouped,)), 0.5)
