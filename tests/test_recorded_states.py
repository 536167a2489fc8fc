"""Rows of recurrent layers that begin from states which are fed: recorded by onnxruntime and here alike."""

from __future__ import annotations

import numpy as np
import pytest

import eie
from eie.model.samples import Samples
from eie.recording.record import record

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

STEPS, INPUTS, HIDDEN, SAMPLES = 3, 4, 5, 2


def lstm(path, directions):
    rng = np.random.default_rng(0)
    shapes = {"W": (directions, 4 * HIDDEN, INPUTS), "R": (directions, 4 * HIDDEN, HIDDEN)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    way = "bidirectional" if directions == 2 else "forward"
    node = helper.make_node("LSTM", ["x", "W", "R", "", "", "h", "c"], ["y"], hidden_size=HIDDEN, direction=way)
    inputs = {"x": [STEPS, "n", INPUTS], "h": [directions, "n", HIDDEN], "c": [directions, "n", HIDDEN]}
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", 1, None)],
        weights,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("directions", [1, 2])
def test_the_first_row_holds_the_state_that_is_fed(directions, tmp_path):
    path, rng = lstm(tmp_path / "m.onnx", directions), np.random.default_rng(1)
    state = rng.standard_normal((SAMPLES, directions, HIDDEN)).astype(np.float32)
    arrays = {"x": rng.standard_normal((SAMPLES, STEPS, INPUTS)).astype(np.float32), "h": state, "c": state}
    samples = Samples(arrays=arrays, labels=None, source="drawn", preprocessing="none")
    by_onnxruntime = record(path, samples, values=True)
    by_eie = record(eie.load(path), samples, values=True)
    for i, (name, rows) in enumerate(by_onnxruntime.layers.items()):
        dense = rows.dense().reshape(SAMPLES, STEPS, -1)
        # A walk backwards begins at the last step.
        np.testing.assert_array_equal(dense[:, -1 if i else 0, INPUTS:], state[:, i])
        np.testing.assert_allclose(by_eie.layers[name].dense().reshape(dense.shape), dense, atol=1e-6)


@pytest.mark.parametrize("keyword", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_torch_modules_that_are_given_a_state(kind, directions, batch_first, keyword):
    torch = pytest.importorskip("torch")

    class Fed(torch.nn.Module):
        """The second input is the state, the samples in front as in all arrays."""

        def __init__(self):
            super().__init__()
            sizes = {"bidirectional": directions == 2, "batch_first": batch_first}
            self.cell = getattr(torch.nn, kind)(INPUTS, HIDDEN, **sizes)

        def forward(self, x, h):
            h = h.transpose(0, 1).contiguous()
            state = (h, torch.zeros_like(h)) if kind == "LSTM" else h
            x = x if batch_first else x.transpose(0, 1)
            return self.cell(input=x, hx=state)[0] if keyword else self.cell(x, state)[0]

    rng = np.random.default_rng(2)
    x = rng.standard_normal((SAMPLES, STEPS, INPUTS)).astype(np.float32)
    state = rng.standard_normal((SAMPLES, directions, HIDDEN)).astype(np.float32)
    module = Fed()
    trace = eie.record_torch(module, {"x": x, "h": state}, values=True)
    with torch.no_grad():
        out = module(torch.tensor(x), torch.tensor(state)).numpy()
    out = out if batch_first else out.swapaxes(0, 1)
    for i, rows in enumerate(trace.layers.values()):
        dense = rows.dense().reshape(SAMPLES, STEPS, -1)
        made = out[:, :, i * HIDDEN : (i + 1) * HIDDEN]
        before = np.concatenate([made[:, 1:], state[:, i, None]] if i else [state[:, i, None], made[:, :-1]], axis=1)
        np.testing.assert_allclose(dense, np.concatenate([x, before], axis=2), atol=1e-6)


@pytest.mark.parametrize("fed", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_stacked_layers_of_one_torch_module(kind, directions, batch_first, fed):
    """Level by level as the same layers are that stand in modules of their own."""
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    form = {"batch_first": batch_first, "bidirectional": directions == 2, "dropout": 0.0}
    stack = getattr(torch.nn, kind)(INPUTS, HIDDEN, num_layers=2, **form)
    apart = [getattr(torch.nn, kind)(size, HIDDEN, **form) for size in (INPUTS, HIDDEN * directions)]
    for level, own in enumerate(apart):
        for name, parameter in own.named_parameters():
            parameter.data = getattr(stack, name.replace("_l0", f"_l{level}")).data

    class Alone(torch.nn.Module):
        def __init__(self, parts):
            super().__init__()
            self.parts = torch.nn.ModuleList(parts)

        def forward(self, x, state):
            # (samples, layers times directions, hidden) as all arrays come, into what torch takes.
            state = state.transpose(0, 1).contiguous() if fed else None
            x = x if batch_first else x.transpose(0, 1)
            many = directions * (2 if len(self.parts) == 1 else 1)
            for i, part in enumerate(self.parts):
                own = state[i * many : (i + 1) * many] if fed else None
                x, _ = part(x, (own, own) if fed and kind == "LSTM" else own)
            return x

    rng = np.random.default_rng(2)
    inputs = {
        "x": rng.standard_normal((SAMPLES, STEPS, INPUTS)).astype(np.float32),
        "state": rng.standard_normal((SAMPLES, 2 * directions, HIDDEN)).astype(np.float32),
    }
    stacked, single = (eie.record_torch(Alone(parts), inputs, values=True) for parts in ([stack], apart))
    tails = ["", "_reverse"][:directions]
    assert list(stacked.layers) == [f"parts.0.l{level}{tail}" for level in range(2) for tail in tails]
    assert stacked.unmodelled == single.unmodelled == ()
    for rows, expected in zip(stacked.layers.values(), single.layers.values(), strict=True):
        np.testing.assert_allclose(rows.dense(), expected.dense(), atol=1e-6)


def test_a_stack_is_named_as_its_state_dict_is(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Sequential()
    module.add_module("rnn", torch.nn.LSTM(INPUTS, HIDDEN, num_layers=2))
    torch.save(module.state_dict(), tmp_path / "m.pt")
    trace = eie.record_torch(module, np.ones((SAMPLES, STEPS, INPUTS), np.float32))
    assert list(trace.layers) == [layer.name for layer in eie.load(tmp_path / "m.pt").layers]
