"""Whose rows are whose: invented networks, whatever they do to the batch, have every row counted to its own sample."""

import math

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

import eie
from eie.errors import TraceError
from eie.model.samples import Samples
from eie.recording.owners import MixedError, UnclearError, owned_places
from eie.recording.record import record

# From (samples, time, width) to rows; beside it which sample each row is of, given the samples' numbers in its place.
FORMS = {
    "batch first": lambda x: x.reshape(-1, x.shape[-1]),
    "time first": lambda x: x.swapaxes(0, 1).reshape(-1, x.shape[-1]),
    "windows": lambda x: np.stack([x[:, i : i + 2] for i in range(x.shape[1] - 1)], 1).reshape(-1, 2 * x.shape[-1]),
    "windows, time first": lambda x: np.stack([x[:, i : i + 2] for i in range(x.shape[1] - 1)]).reshape(
        -1, 2 * x.shape[-1]
    ),
    "two halves of time, each with its batch": lambda x: np.concatenate(
        [x[:, : x.shape[1] // 2].reshape(-1, x.shape[-1]), x[:, x.shape[1] // 2 :].reshape(-1, x.shape[-1])]
    ),
    "mean over time": lambda x: x.mean(axis=1),
    "one order, drawn": lambda x: x.reshape(-1, x.shape[-1])[
        np.random.default_rng(7).permutation(x.shape[0] * x.shape[1])
    ],
}


def attention(x):
    """Mix within each sample."""
    scores = np.exp(x @ x.swapaxes(1, 2) / 4)
    return (scores / scores.sum(axis=-1, keepdims=True)) @ x


def relu(x):
    """Let whole rows die."""
    return np.maximum(x, 0)


def mixing(x):
    """Mix between samples."""
    return x - x.mean(axis=0)


@settings(max_examples=80, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    within=st.sampled_from([lambda x: x, attention, relu, lambda x: np.cumsum(x, axis=1)]),
    shape=st.tuples(st.integers(1, 19), st.integers(2, 6), st.integers(1, 4)),
    seed=st.integers(0, 99),
)
def test_rows_are_counted_to_their_samples(form, within, shape, seed):
    x = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    owners = np.broadcast_to(np.arange(shape[0], dtype=np.float64)[:, None, None], shape)
    expected = FORMS[form](owners)[:, 0]
    try:
        (places,) = owned_places(lambda batch: [FORMS[form](within(batch["x"]))], {"x": x}, ["a"])
    # Rows that stay at zero are told by the order of the others, if enough of them move.
    except UnclearError:
        assert within is relu
        reject()
    assert sorted(places.ravel()) == list(range(len(expected)))
    np.testing.assert_array_equal(
        np.rint(expected[places]), np.broadcast_to(np.arange(shape[0])[:, None], places.shape)
    )
    assert (np.diff(places, axis=1) > 0).all()


@given(samples=st.integers(2, 40))
@settings(max_examples=20, deadline=None)
def test_what_mixes_samples_is_told(samples):
    x = np.random.default_rng(0).standard_normal((samples, 3, 2)).astype(np.float32)
    with pytest.raises(MixedError, match="'b': its rows depend on several samples"):
        owned_places(lambda b: [b["x"][:, 0], mixing(b["x"])[:, 0]], {"x": x}, ["a", "b"])


def test_two_neighbours_that_mix_are_told():
    """Each pair of samples alone, so that no third one's runs could stand for theirs."""
    x = np.random.default_rng(0).standard_normal((7, 2)).astype(np.float32)
    for i in range(7):
        for j in range(i):

            def run(batch, i=i, j=j):
                rows = batch["x"].copy()
                rows[i] += rows[j]
                return [rows]

            with pytest.raises(MixedError):
                owned_places(run, {"x": x}, ["a"])


@pytest.mark.parametrize(("samples", "runs"), [(1, 1), (2, 3), (4, 5), (16, 7), (64, 9)])
def test_it_takes_few_runs(samples, runs):
    ran = []
    x = np.random.default_rng(0).standard_normal((samples, 4)).astype(np.float32)
    owned_places(lambda batch: [batch["x"], ran.append(0) or batch["x"]], {"x": x}, ["a", "b"])
    assert len(ran) == runs
    assert samples == 1 or math.comb(runs - 1, (runs - 1) // 2) >= samples


def test_rows_that_no_sample_moves():
    x = np.ones((3, 2), np.float32)
    same = np.arange(4, dtype=np.float32).reshape(4, 1)
    # A table once for all samples, once for each, batch first and last; and one row in front of the samples' own.
    tensors = [same, np.tile(same, (3, 1)), np.repeat(same, 3, axis=0)]
    run = lambda batch: [*tensors, np.concatenate([same[:1].repeat(2, axis=1), batch["x"]])]  # noqa: E731
    all_of, first, last, front = owned_places(run, {"x": x}, list("abcd"))
    np.testing.assert_array_equal(all_of, np.tile(np.arange(4), (3, 1)))
    np.testing.assert_array_equal(first, np.arange(12).reshape(3, 4))
    np.testing.assert_array_equal(last, np.arange(12).reshape(4, 3).T)
    np.testing.assert_array_equal(front, [[0, 1], [0, 2], [0, 3]])


def test_dead_rows_lie_as_the_others_do():
    """Half of all rows are behind a ReLU that lets nothing through."""
    x = np.random.default_rng(0).standard_normal((4, 6, 3)).astype(np.float32)
    dead = np.tile([1.0, 0.0], 12)[:, None]
    (places,) = owned_places(lambda b: [FORMS["time first"](b["x"]) * dead], {"x": x}, ["a"])
    np.testing.assert_array_equal(places, np.arange(24).reshape(6, 4).T)


def test_ids_stay_among_those_that_occur():
    table = np.random.default_rng(0).standard_normal((9, 2))
    ids = np.array([[1, 8, 3], [2, 2, 8]])
    (places,) = owned_places(lambda batch: [table[batch["ids"]].reshape(-1, 2)], {"ids": ids}, ["a"])
    np.testing.assert_array_equal(places, [[0, 1, 2], [3, 4, 5]])


# Through onnxruntime

onnx = pytest.importorskip("onnx")
models = __import__("onnx_models")
RNG = np.random.default_rng(3)
W = {"fc.weight": models.drawn(RNG, 6, 4)}


def saved(tmp_path, nodes, inputs, outputs, weights=None):
    proto = models.model(nodes, inputs, outputs, W if weights is None else weights)
    # Unchecked: the outputs state no shape.
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    return tmp_path / "m.onnx"


def some_of(shape=(5, 5, 6)):
    """Samples, as many as steps, of which only the first is not all zeros."""
    x = np.zeros(shape, np.float32)
    x[0] = 1
    return x


@pytest.mark.parametrize("merged", [False, True])
def test_time_before_the_batch(merged, tmp_path):
    """The behaviour that was silent: five samples of five steps, swapped."""
    nodes = [models.node("Transpose", ["x"], ["t"], perm=[1, 0, 2]), models.node("Elu", ["t"], ["e"])]
    if merged:
        nodes += [models.node("Reshape", ["e", "flat"], ["r"])]
    nodes += [models.node("MatMul", ["r" if merged else "e", "fc.weight"], ["y"])]
    weights = W | ({"flat": np.array([-1, 6], np.int64)} if merged else {})
    path = saved(tmp_path, nodes, {"x": ["b", 5, 6]}, {"y": None}, weights)
    trace = record(path, Samples.of(some_of()))
    np.testing.assert_array_equal(trace.layers["fc"].sample_density, [1, 0, 0, 0, 0])
    assert trace.layers["fc"].products == 5
    assert trace.input_shapes == {"x": (5, 6)}


def test_a_network_that_mixes_its_samples(tmp_path):
    """It is recorded one sample at a time, and the trace says so; all of a fixed batch is one sample."""
    nodes = [
        models.node("ReduceMean", ["x", "first"], ["m"], keepdims=1),
        models.node("Sub", ["x", "m"], ["c"]),
        models.node("MatMul", ["c", "fc.weight"], ["y"]),
    ]
    weights = W | {"first": np.array([0], np.int64)}
    x = np.random.default_rng(0).standard_normal((3, 6)).astype(np.float32)
    trace = record(saved(tmp_path, nodes, {"x": ["b", 6]}, {"y": None}, weights), Samples.of(x))
    assert "one sample at a time, since a batch does not tell them apart (layer 'fc'" in trace.source
    # Of one sample, the mean is itself.
    assert trace.layers["fc"].density == 0
    layer = record(saved(tmp_path, nodes, {"x": [3, 6]}, {"y": None}, weights), Samples.of(x)).layers["fc"]
    assert (layer.samples, layer.products, layer.density) == (1, 3, 1)


@pytest.mark.parametrize("samples", [1, 3])
def test_an_input_with_time_first_behind_an_operator(samples, tmp_path):
    """Open sizes do not say which is the batch; fed the other way, the LSTM would mix the samples."""
    rng = np.random.default_rng(0)
    weights = {"w": models.drawn(rng, 1, 28, 6, density=1), "r": models.drawn(rng, 1, 28, 7, density=1)}
    nodes = [
        models.node("Elu", ["x"], ["e"]),
        models.node("LSTM", ["e", "w", "r"], ["h"], "rnn", hidden_size=7),
    ]
    path = saved(tmp_path, nodes, {"x": ["t", "b", 6]}, {"h": None}, weights)
    x = rng.integers(-1, 2, (samples, 5, 6)).astype(np.float32)
    trace = record(path, Samples.of(x))
    layer = trace.layers["rnn"]
    assert (layer.products, layer.samples) == (5, samples)
    np.testing.assert_array_equal(layer.mask[:, :6].reshape(samples, 5, 6), x != 0)
    assert "time before the batch" in trace.source


def test_convolutions_over_merged_axes(tmp_path):
    """Frames of a film, time first: each is a map, and five of them a sample."""
    weights = {
        "c.weight": models.drawn(RNG, 4, 2, 3, 3, density=1),
        "flat": np.array([-1, 2, 6, 6], np.int64),
    }
    nodes = [
        models.node("Transpose", ["x"], ["t"], perm=[1, 0, 2, 3, 4]),
        models.node("Reshape", ["t", "flat"], ["r"]),
        models.node("Conv", ["r", "c.weight"], ["y"]),
    ]
    path = saved(tmp_path, nodes, {"x": ["b", 5, 2, 6, 6]}, {"y": None}, weights)
    layer = record(path, Samples.of(some_of((4, 5, 2, 6, 6)))).layers["c"]
    assert layer.products == 5 * 16
    np.testing.assert_array_equal(layer.sample_density, [1, 0, 0, 0])


def test_the_last_batch_is_as_large_as_the_others(tmp_path):
    """Seven samples in batches of three, time first."""
    nodes = [
        models.node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        models.node("MatMul", ["t", "fc.weight"], ["y"]),
    ]
    x = np.random.default_rng(1).integers(-1, 2, (7, 4, 6)).astype(np.float32)
    path = saved(tmp_path, nodes, {"x": ["b", 4, 6]}, {"y": None})
    for batch in (3, 7):
        layer = record(path, Samples.of(x), batch=batch).layers["fc"]
        np.testing.assert_array_equal(layer.mask.reshape(7, 4, 6), x != 0)


def test_the_shared_case(shared):
    folder = shared / "cases" / "models"
    trace = record(folder / "timefirst.onnx", eie.read_samples(folder / "tf5.npy"))
    (layer,) = trace.layers.values()
    np.testing.assert_array_equal(layer.sample_density, [1, 0, 0, 0, 0])


# Through torch


class TestTorch:
    torch = pytest.importorskip("torch", reason="torch is not installed (make test-torch)")

    def net(self, parts, forward):
        """Return a module of named parts."""

        class Net(self.torch.nn.Module):
            def forward(self, *inputs, **named):
                return forward(self, *inputs, **named)

        made = Net()
        for name, part in parts.items():
            setattr(made, name, part)
        return made

    def test_ids_stay_whole(self):
        nn = self.torch.nn
        net = self.net({"table": nn.Embedding(9, 4), "fc": nn.Linear(4, 2)}, lambda m, ids: m.fc(m.table(ids)))
        net.table.weight.data[3] = 0
        ids = np.array([[1, 3, 3, 2], [8, 0, 1, 3]])
        layer = eie.record_torch(net, ids).layers["fc"]
        np.testing.assert_array_equal(layer.mask.any(axis=1).reshape(2, 4), ids != 3)
        with pytest.raises(TraceError, match=r"Net: cannot run on input \(1, 1\) torch.int64: index out of range"):
            eie.record_torch(net, np.array([[9]]))
        with pytest.raises(TraceError, match=r"takes whole numbers|scalar types"):
            eie.record_torch(net, np.array([[0.5]]))

    def test_whole_numbers_that_are_no_ids(self):
        x = np.arange(12).reshape(3, 4)
        assert eie.record_torch(self.torch.nn.Linear(4, 2), x).layers["linear"].density == 11 / 12

    def test_several_inputs(self):
        nn = self.torch.nn
        net = self.net({"a": nn.Linear(4, 2), "b": nn.Linear(3, 2)}, lambda m, x, y: m.a(x) + m.b(y))
        x, y = np.eye(5, 4), np.eye(5, 3)
        trace = eie.record_torch(net, {"y": y, "x": x})
        np.testing.assert_array_equal(trace.layers["a"].mask, x != 0)
        np.testing.assert_array_equal(trace.layers["b"].mask, y != 0)
        assert trace.input_shapes == {"y": (3,), "x": (4,)}
        with pytest.raises(TraceError, match="cannot run on x"):
            eie.record_torch(net, {"x": x})

    @pytest.mark.parametrize("samples", [1, 5])
    def test_time_before_the_batch(self, samples):
        nn = self.torch.nn
        net = self.net({"fc": nn.Linear(6, 2), "rnn": nn.LSTM(6, 3)}, lambda m, x: (m.rnn(x), m.fc(x)))
        x = np.random.default_rng(0).integers(-1, 2, (samples, 5, 6)).astype(np.float32)
        trace = eie.record_torch(net, x)
        np.testing.assert_array_equal(trace.layers["fc"].mask.reshape(samples, 5, 6), x != 0)
        np.testing.assert_array_equal(trace.layers["rnn"].mask[:, :6].reshape(samples, 5, 6), x != 0)
        assert "time before the batch" in trace.source
