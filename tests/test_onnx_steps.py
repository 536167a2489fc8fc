"""Recurrent nodes that no layer has, step by step, and both branches of an If, against onnxruntime; made here."""

import numpy as np
import pytest

import eie

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
import onnx_models as make  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from eie.simulator.reference import run_given  # noqa: E402

node = make.node
SAMPLES, STEPS, INPUTS, HIDDEN = 3, 6, 4, 5
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


def drawn(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def as_in_onnxruntime(path, feed, batches):
    """Run the file as it was read, and compare each output with onnxruntime's, samples last in both."""
    # Of one sample; all other sizes are stated in the file, or are the batch.
    network = eie.load(path, input_shape={"h": (feed["h"].shape[0], HIDDEN)} if "h" in feed else None)
    assert network.unmodelled == ()
    layers = {layer.name: layer for layer in network.layers}
    taken = {name: np.moveaxis(feed[name], batches.get(name, 0), 0) for name, _ in network.graph.inputs}
    made = dict(zip(network.graph.outputs, run_given(network.graph, layers, taken), strict=True))
    session = onnxruntime.InferenceSession(str(path))
    for entry, wanted in zip(session.get_outputs(), session.run(None, feed), strict=True):
        ours = made[entry.name]
        # Whichever axis the file has the samples in: rows of numbers, sample by sample.
        at = wanted.shape.index(SAMPLES) if SAMPLES in wanted.shape else 0
        ours, right = (x.reshape(len(x), -1) for x in (ours, np.moveaxis(wanted, at, 0)))
        assert np.abs(ours - right).max() <= 1e-5 * max(1, np.abs(right).max())
    return network


def recurrent(op, *, direction="forward", opset=17, lengths=False, state=False, peepholes=False, **attributes):
    """A recurrent node, and a layer behind each of its outputs, so that all of them are needed."""
    ways, gates = 1 + (direction == "bidirectional"), GATES[op]
    weights = {
        "w": drawn(ways, gates * HIDDEN, INPUTS),
        "r": drawn(ways, gates * HIDDEN, HIDDEN, seed=1),
        "b": drawn(ways, 2 * gates * HIDDEN, seed=2),
        "v": drawn(HIDDEN, 7, seed=3),
        "p": drawn(ways, 3 * HIDDEN, seed=4),
    }
    inputs = ["x", "w", "r", "b", "lengths" if lengths else "", "h" if state else "", "", "p" if peepholes else ""]
    outputs = ["y", "last", "cell"][: 2 + (op == "LSTM")]
    inputs = inputs if op == "LSTM" else inputs[:6]
    nodes = [
        node(op, inputs, outputs, "cell", hidden_size=HIDDEN, direction=direction, **attributes),
        *(node("MatMul", [out, "v"], [f"z {out}"]) for out in outputs),
    ]
    given = {"x": [STEPS, "n", INPUTS], **({"h": [ways, "n", HIDDEN]} if state else {})}
    results = {f"z {out}": [ways, "n", 7] for out in outputs} | {"z y": [STEPS, ways, "n", 7]}
    proto = make.model(nodes, given, results, weights, opset=opset)
    feed = {"x": drawn(STEPS, SAMPLES, INPUTS, seed=5)}
    if state:
        feed["h"] = drawn(ways, SAMPLES, HIDDEN, seed=6)
    if lengths:
        proto.graph.input.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, ["n"]))
        feed["lengths"] = np.array([STEPS, 2, 4], np.int32)
    return proto, feed


FORMS = {
    "a GRU that resets before its product": ("GRU", {}),
    "both ways": ("GRU", {"direction": "bidirectional"}),
    "backwards, from a state": ("GRU", {"direction": "reverse", "state": True}),
    "before Unsqueeze took its axes as an input": ("GRU", {"opset": 11, "direction": "bidirectional"}),
    "lengths of a GRU that resets behind": (
        "GRU",
        {"lengths": True, "linear_before_reset": 1, "direction": "bidirectional"},
    ),
    "lengths of a GRU that resets before": ("GRU", {"lengths": True, "state": True}),
    "lengths of an LSTM": ("LSTM", {"lengths": True, "direction": "bidirectional"}),
    "peepholes": ("LSTM", {"peepholes": True}),
    "peepholes, lengths, both ways": ("LSTM", {"peepholes": True, "lengths": True, "direction": "bidirectional"}),
    "a clip": ("LSTM", {"clip": 0.5}),
    "a forget gate that is what the input gate leaves": ("LSTM", {"input_forget": 1}),
    "other functions": ("LSTM", {"activations": ["HardSigmoid", "Softsign", "Relu"]}),
    "functions with parameters": (
        "LSTM",
        {
            "direction": "bidirectional",
            "activations": ["HardSigmoid", "Tanh", "LeakyRelu", "sigmoid", "Elu", "Tanh"],
            "activation_alpha": [0.3, 0.05, 0.7],
            "activation_beta": [0.4],
        },
    ),
    "ReLU": ("RNN", {"activations": ["Relu"], "direction": "bidirectional", "lengths": True}),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_recurrent_node_that_is_no_layer_runs_step_by_step(tmp_path, form):
    op, attributes = FORMS[form]
    proto, feed = recurrent(op, **attributes)
    path = make.saved(proto, tmp_path / "net.onnx")
    network = as_in_onnxruntime(path, feed, {"x": 1, "h": 1})
    # Each matrix is one layer, however many steps there are.
    parts = 3 if op == "GRU" else 2
    ways = 2 if attributes.get("direction") == "bidirectional" else 1
    assert len(network.layers) == parts * ways + 1
    hidden = next(layer for layer in network.layers if " R" in layer.name)
    uses = sum(part.layer == hidden.name for part in network.graph.nodes)
    # From a state of zeros there is nothing to multiply at first.
    assert uses == STEPS - (not attributes.get("state") and not attributes.get("lengths"))
    assert any(f"cell ({op}) runs step by step, {STEPS} times" in text for text in network.notes)
