"""Nothing vanishes: what a model multiplies and no layer does is a row, and then there is no total."""

import csv
import io
import json

import numpy as np
import pytest

import eie
from eie.model.host import host_work
from eie.simulator.reference import run_given

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


CONTRIB = onnx.helper.make_opsetid("com.microsoft", 1)
LEARNING = onnx.helper.make_opsetid("ai.onnx.ml", 3)


def loaded(nodes, shape, arrays, tmp_path, *, domains=(), opset=18, out=None):
    proto = make.model(nodes, {"x": shape}, {"y": out}, arrays, opset=opset)
    proto.opset_import.extend(domains)
    (tmp_path / "net.onnx").write_bytes(proto.SerializeToString())
    return eie.load(tmp_path / "net.onnx")


class TestOnTheHost:
    """Weights on a host are no less left out: each node that multiplies by some is a row, whatever it is called."""

    def test_experts_of_onnxruntime(self, tmp_path):
        rng = np.random.default_rng(0)
        arrays = {name: make.drawn(rng, *shape) for name, shape in (("g", (8, 4)), ("v", (8, 2)))}
        arrays |= {"f1": make.drawn(rng, 4, 16, 8), "f2": make.drawn(rng, 4, 8, 16)}
        nodes = [
            make.node("MatMul", ["x", "g"], ["p"]),
            make.node("MoE", ["x", "p", "f1", "", "f2"], ["m"], "experts", domain="com.microsoft", k=2),
            make.node("MatMul", ["m", "v"], ["y"]),
        ]
        network = loaded(nodes, (3, 8), arrays, tmp_path, domains=[CONTRIB])
        # 1,024 of 32 + 1,024 + 16; how many experts a row meets is theirs to know.
        assert network.unmodelled == ("com.microsoft.MoE (experts): 96 % of the weights, multiplications not known",)
        assert host_work(network.graph).products == {}

    def test_attention_that_projects_is_weights_and_a_product_of_activations(self, tmp_path):
        rng = np.random.default_rng(0)
        nodes = [
            # With keys and values for the next step it is not taken apart.
            make.node("Attention", ["x", "w", "b"], ["a", "present"], "att", domain="com.microsoft", num_heads=2),
            make.node("MatMul", ["a", "v"], ["y"]),
        ]
        arrays = {"w": make.drawn(rng, 8, 24), "b": make.drawn(rng, 24), "v": make.drawn(rng, 8, 4)}
        network = loaded(nodes, (1, 5, 8), arrays, tmp_path, domains=[CONTRIB])
        # 5 rows of 8 x 24 and of 8 x 4; 5 queries meet 5 keys of 8 numbers, and as many values.
        assert network.unmodelled == (
            "com.microsoft.Attention (att): 86 % of the weights, 86 % of the multiplications",
        )
        assert host_work(network.graph).products == {"Attention": 1}
        assert host_work(network.graph).multiplications == 2 * 5 * 5 * 8

    def test_a_deformable_convolution_has_its_multiplications(self, tmp_path):
        rng = np.random.default_rng(0)
        arrays = {name: make.drawn(rng, *shape) for name, shape in (("o", (18, 2, 3, 3)), ("w", (3, 2, 3, 3)))}
        nodes = [
            make.node("Conv", ["x", "o"], ["off"], pads=[1, 1, 1, 1]),
            make.node("DeformConv", ["x", "w", "off"], ["y"], "bent", pads=[1, 1, 1, 1]),
        ]
        network = loaded(nodes, (1, 2, 7, 7), arrays, tmp_path, opset=19)
        # 3 filters beside 18 of the same size and over the same map.
        assert network.unmodelled == ("DeformConv (bent): 14 % of the weights, 14 % of the multiplications",)

    def test_support_vectors_are_an_attribute(self, tmp_path):
        words = {"kernel_type": "RBF", "kernel_params": [0.5, 0.0, 0.0], "n_supports": 4, "rho": [0.1]}
        vectors = {"coefficients": [1.0, 2, 3, 4], "support_vectors": [0.5] * 20}
        nodes = [
            make.node("MatMul", ["x", "w"], ["h"]),
            make.node("SVMRegressor", ["h"], ["y"], "svm", domain="ai.onnx.ml", **words, **vectors),
        ]
        arrays = {"w": make.drawn(np.random.default_rng(0), 6, 5)}
        network = loaded(nodes, (2, 6), arrays, tmp_path, domains=[LEARNING])
        # Four vectors of five numbers, beside 6 x 5.
        assert network.unmodelled == (
            "ai.onnx.ml.SVMRegressor (svm): 40 % of the weights, 40 % of the multiplications",
        )

    @pytest.mark.parametrize(
        ("op", "domains", "inputs", "words", "opset"),
        [
            ("Attention", [], ["mask"], {"q_num_heads": 2, "kv_num_heads": 2}, 23),
            ("MultiHeadAttention", [CONTRIB], ["", "", "mask"], {"num_heads": 2, "domain": "com.microsoft"}, 18),
        ],
    )
    def test_a_constant_mask_is_no_weights(self, tmp_path, op, domains, inputs, words, opset):
        rng = np.random.default_rng(0)
        arrays = {name: make.drawn(rng, 8, 8) for name in "qkv"} | {"mask": np.zeros((1, 2, 5, 5), np.float32)}
        nodes = [make.node("MatMul", ["x", name], [name.upper()]) for name in "qkv"]
        nodes.append(make.node(op, ["Q", "K", "V", *inputs], ["y"], **words))
        network = loaded(nodes, (1, 5, 8), arrays, tmp_path, domains=domains, opset=opset, out=(1, 5, 8))
        assert network.unmodelled == ()
        assert len(network.layers) == 3

    def test_grouped_queries_are_counted(self, tmp_path):
        rng = np.random.default_rng(0)
        arrays = {"q": make.drawn(rng, 32, 32), "k": make.drawn(rng, 32, 16), "v": make.drawn(rng, 32, 16)}
        arrays |= {"o": make.drawn(rng, 32, 4), "last": np.array([4], np.int32), "all": np.array(5, np.int32)}
        nodes = [make.node("MatMul", ["x", name], [name.upper()]) for name in "qkv"]
        words = {"domain": "com.microsoft", "num_heads": 4, "kv_num_heads": 2}
        nodes.append(make.node("GroupQueryAttention", ["Q", "K", "V", "", "", "last", "all"], ["a", "s", "t"], **words))
        nodes.append(make.node("MatMul", ["a", "o"], ["y"]))
        work = host_work(loaded(nodes, (1, 5, 32), arrays, tmp_path, domains=[CONTRIB]).graph)
        assert (work.products, work.multiplications) == ({"GroupQueryAttention": 1}, 2 * 5 * 5 * 32)


class TestLinearModels:
    """Linear models of ONNX's domain for machine learning are products as any."""

    @pytest.mark.parametrize("post", ["NONE", "SOFTMAX", "LOGISTIC"])
    @pytest.mark.parametrize("op", ["LinearRegressor", "LinearClassifier"])
    def test_is_a_layer(self, tmp_path, op, post):
        rng = np.random.default_rng(0)
        words = {"coefficients": rng.standard_normal(15).tolist(), "intercepts": rng.standard_normal(3).tolist()}
        words |= {"targets": 3} if op == "LinearRegressor" else {"classlabels_ints": [0, 1, 5]}
        outputs = ["s"] if op == "LinearRegressor" else ["label", "s"]
        nodes = [
            make.node("MatMul", ["x", "w"], ["h"]),
            make.node(op, ["h"], outputs, "linear", domain="ai.onnx.ml", post_transform=post, **words),
            make.node("MatMul", ["s", "v"], ["y"]),
        ]
        arrays = {"w": make.drawn(rng, 6, 5), "v": make.drawn(rng, 3, 2)}
        network = loaded(nodes, (1, 6), arrays, tmp_path, domains=[LEARNING], out=(1, 2))
        assert [layer.matrix.shape for layer in network.layers] == [(5, 6), (3, 5), (2, 3)]
        assert network.unmodelled == ()
        x = np.random.default_rng(1).standard_normal((1, 6)).astype(np.float32)
        proto = onnx.load(str(tmp_path / "net.onnx"))
        (made,) = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"x": x})
        np.testing.assert_allclose(made, make.run(proto, x, ["y"])["y"], atol=1e-6)

    def test_one_row_for_two_classes_stays_a_row_of_the_report(self, tmp_path):
        words = {"coefficients": [1.0] * 6, "intercepts": [0.5], "classlabels_ints": [0, 1]}
        nodes = [
            make.node("LinearClassifier", ["x"], ["l", "s"], "linear", domain="ai.onnx.ml", **words),
            make.node("MatMul", ["s", "v"], ["y"]),
        ]
        network = loaded(nodes, (1, 6), {"v": np.eye(2, dtype=np.float32) + 1}, tmp_path, domains=[LEARNING])
        # Six weights beside four.
        assert [row.partition(",")[0] for row in network.unmodelled] == [
            "ai.onnx.ml.LinearClassifier (linear): 60 % of the weights"
        ]


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
