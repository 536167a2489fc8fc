"""Nothing vanishes: what a model multiplies and no layer does is a row, and then there is no total."""

import csv
import io
import json

import numpy as np
import pytest

import eie
from eie.model.host import host_work

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
import onnx_models as make  # noqa: E402 - needs onnx, which may be missing


def with_unknown(tmp_path):
    """A Gemm, 4 x 8, then an operator of somebody's that holds 4 x 24 weights, then a Gemm, 2 x 4."""
    rng = np.random.default_rng(0)
    weights = {"a": make.drawn(rng, 8, 4), "k": make.drawn(rng, 4, 24), "b": make.drawn(rng, 4, 2)}
    nodes = [
        make.node("Gemm", ["x", "a"], ["h"], name="first"),
        make.node("Mystery", ["h", "k"], ["m"], name="odd", domain="some.where"),
        make.node("Gemm", ["m", "b"], ["y"], name="last"),
    ]
    proto = make.model(nodes, {"x": [1, 8]}, {"y": [1, 2]}, weights)
    proto.opset_import.append(onnx.helper.make_opsetid("some.where", 1))
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def test_a_node_with_weights_that_is_not_known_is_a_row_everywhere(tmp_path):
    network = eie.load(with_unknown(tmp_path), unsupported="skip")
    # 96 of 32 + 96 + 8 weights.
    row = "some.where.Mystery (odd): 71 % of the weights, multiplications not known"
    assert network.unmodelled == (row,)
    result = eie.simulate(network, {"first": np.ones(8), "last": np.ones(4)})
    text, answer = str(result), json.loads(result.to_json())
    assert f"not modelled: {row}" in text
    assert answer["unmodelled"] == [row]
    assert answer["latency_us"] is None
    records = list(csv.DictReader(io.StringIO(result.to_csv())))
    assert [record["layer"] for record in records] == ["first", "last", f"not modelled: {row}"]
    assert records[2]["cycles"] == ""
    (total,) = [line for line in text.splitlines() if line.startswith("total")]
    assert set(total.split()[1:]) == {"-"}


def test_products_of_two_activations_are_counted_on_the_host(tmp_path):
    rng = np.random.default_rng(0)
    weights = {"q": make.drawn(rng, 16, 8, density=1)}
    nodes = [
        make.node("MatMul", ["x", "q"], ["a"], name="q"),
        make.node("Transpose", ["a"], ["t"], perm=[0, 2, 1]),
        make.node("MatMul", ["a", "t"], ["y"], name="scores"),
    ]
    path = tmp_path / "net.onnx"
    path.write_bytes(make.model(nodes, {"x": [1, 5, 16]}, {"y": [1, 5, 5]}, weights).SerializeToString())
    network = eie.load(path)
    assert network.unmodelled == ()
    assert (host_work(network.graph).products, host_work(network.graph).multiplications) == ({"MatMul": 1}, 5 * 5 * 8)


class TestTorch:
    @pytest.fixture
    def torch(self):
        return pytest.importorskip("torch", reason="needs the torch extra")

    def test_modules_and_functions_that_are_not_recorded_are_rows(self, torch, tmp_path):
        class Net(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.volume = torch.nn.ConvTranspose3d(1, 2, 3)
                self.fc = torch.nn.Linear(432, 4)
                self.loose = torch.nn.Parameter(torch.ones(4, 4))

            def forward(self, x):
                return torch.nn.functional.linear(self.fc(self.volume(x).flatten(1)), self.loose)

        trace = eie.record_torch(Net(), np.ones((2, 1, 4, 4, 4), np.float32))
        # Of 54 + 1728 + 16 weights; of 64 * 54 + 1728 + 16 products a sample.
        assert trace.unmodelled == (
            "ConvTranspose3d (volume): 3 % of the weights, 66 % of the multiplications",
            "functions outside of modules (Net): 1 % of the weights, 0 % of the multiplications",
        )
        trace.save(tmp_path / "t.npz")
        assert eie.Trace.load(tmp_path / "t.npz").unmodelled == trace.unmodelled
        # A network of the layers that were recorded has no total either.
        layer = eie.Layer.from_weights("fc", np.ones((4, 432)))
        result = eie.simulate(layer, trace)
        assert result.unmodelled == trace.unmodelled
        assert json.loads(result.to_json())["latency_us"] is None

    def test_a_module_that_is_recorded_whole_misses_nothing(self, torch):
        parts = [torch.nn.LSTM(3, 4, batch_first=True)]
        trace = eie.record_torch(torch.nn.Sequential(*parts), np.ones((2, 5, 3), np.float32))
        assert trace.unmodelled == ()
        assert eie.record_torch(torch.nn.Linear(5, 3), np.ones((2, 5), np.float32)).unmodelled == ()

    @pytest.mark.parametrize(
        ("make_module", "shape"),
        [
            (lambda nn: nn.Conv3d(2, 4, (2, 3, 2), stride=(1, 2, 1), padding=(1, 0, 1), groups=2), (2, 4, 5, 3)),
            (lambda nn: nn.ConvTranspose2d(2, 4, 3, stride=2, padding=1, output_padding=1, groups=2), (2, 4, 5)),
            (lambda nn: nn.ConvTranspose1d(2, 4, 3, stride=2), (2, 5)),
        ],
        ids=["Conv3d", "ConvTranspose2d", "ConvTranspose1d"],
    )
    def test_rows_of_convolutions_times_their_matrix_are_what_torch_computes(self, torch, make_module, shape):
        module = make_module(torch.nn)
        x = np.random.default_rng(0).standard_normal((3, *shape)).astype(np.float32)
        trace = eie.record_torch(torch.nn.Sequential(module), x, values=True)
        assert trace.unmodelled == ()
        weights = module.weight.detach().numpy()
        if module.transposed:
            # (in, out / groups, ...), stamped on the result, to (out, in / groups, ...), turned by half.
            parts = np.flip(weights, tuple(range(2, weights.ndim))).reshape(module.groups, -1, *weights.shape[1:])
            weights = parts.swapaxes(1, 2).reshape(4, -1, *weights.shape[2:])
        inputs = weights.shape[1]
        matrix = np.zeros((4, 2, *weights.shape[2:]), np.float32)
        for out in range(4):
            first = inputs * (out * module.groups // 4)
            matrix[out, first : first + inputs] = weights[out]
        wanted = module(torch.from_numpy(x)).detach().numpy()
        rows = trace.layers["0"].dense() @ matrix.reshape(4, -1).T + module.bias.detach().numpy()
        assert np.allclose(rows, np.moveaxis(wanted, 1, -1).reshape(-1, 4), atol=1e-5)

    def test_what_a_gru_reads_beside_its_input_is_its_state_before(self, torch):
        module = torch.nn.GRU(3, 4, batch_first=True, bidirectional=True)
        x = np.random.default_rng(0).standard_normal((2, 5, 3)).astype(np.float32)
        trace = eie.record_torch(torch.nn.Sequential(module), x, values=True)
        states = module(torch.from_numpy(x))[0].detach().numpy()
        forward, reverse = (trace.layers[f"0_{way}"].dense().reshape(2, 5, 7) for way in ("forward", "reverse"))
        assert np.array_equal(forward[..., :3], x)
        assert np.allclose(forward[:, 1:, 3:], states[:, :-1, :4])
        assert np.allclose(reverse[:, :-1, 3:], states[:, 1:, 4:])
