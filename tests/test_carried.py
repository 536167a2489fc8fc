"""Files whose activations are integers: read as floats under the names of floats, and equal to onnxruntime."""

import numpy as np
import pytest

import eie
from eie.importers.onnx.reader import read_onnx
from eie.simulator.reference import run_given

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
ort = pytest.importorskip("onnxruntime", reason="needs the onnx extra")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT, INT64, UINT8 = 1, 7, 2
# One scale throughout: then moved integers are exactly what moved floats are.
STEP, ZERO = np.float32(1 / 16), np.uint8(128)
SCALE = ["s", "z"]


def node(op, inputs, output, domain="", **attributes):
    return helper.make_node(op, inputs, [output], output, domain=domain, **attributes)


def saved(path, nodes, shape, outputs, constants, kind=FLOAT, opset=13):
    """A file with an input x; scales and zero points are there."""
    constants = {"s": STEP, "z": ZERO, **constants}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, shape)],
        [helper.make_tensor_value_info(name, element, None) for name, element in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path


def check(path, x, atol=1e-5, names=("y",)):
    """Whole, under the file's names, and what onnxruntime says."""
    network = eie.load(path)
    assert not network.unmodelled
    assert network.graph.outputs == names
    made = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"x": x})
    right = ort.InferenceSession(path).run(list(names), {"x": x})
    for ours, wanted in zip(made, right, strict=True):
        np.testing.assert_allclose(ours.reshape(wanted.shape), wanted, atol=atol)


def drawn(*shape):
    """Floats that the scale holds exactly, and few enough that sums are too."""
    return (np.random.default_rng(0).integers(-3, 4, shape) * STEP).astype(np.float32)


def weights(*shape):
    return {"w": np.random.default_rng(1).integers(125, 132, shape).astype(np.uint8)}


LAST = node("QuantizeLinear", ["h", *SCALE], "q"), node("DequantizeLinear", ["q", *SCALE], "y")


def test_what_is_dequantised_last_has_the_files_name(tmp_path):
    real = node("DequantizeLinear", ["w", *SCALE], "real")
    path = saved(
        tmp_path / "m.onnx", [real, node("MatMul", ["x", "real"], "h"), *LAST], [2, 4], {"y": FLOAT}, weights(4, 3)
    )
    check(path, drawn(2, 4), atol=STEP)


def test_two_names_of_one_quantised_tensor(tmp_path):
    real = node("DequantizeLinear", ["w", *SCALE], "real")
    nodes = [
        *(real, node("MatMul", ["x", "real"], "h"), *LAST, node("DequantizeLinear", ["q", *SCALE], "again")),
        node("MatMul", ["again", "real"], "out"),
    ]
    path = saved(tmp_path / "m.onnx", nodes, [2, 4], {"y": FLOAT, "out": FLOAT}, weights(4, 4))
    check(path, drawn(2, 4), atol=STEP, names=("y", "out"))


class TestMoved:
    """QOperator files: only the first and the last node see floats."""

    BEGIN = node("QuantizeLinear", ["x", *SCALE], "a")

    @pytest.mark.parametrize(
        ("moves", "sizes"),
        [
            ([node("Reshape", ["a", "flat"], "b")], [0, -1]),
            ([node("MaxPool", ["a"], "p", kernel_shape=[2, 2]), node("Reshape", ["p", "flat"], "b")], [0, -1]),
            ([node("Pad", ["a", "pads", "five"], "p"), node("Reshape", ["p", "flat"], "b")], [0, -1]),
            ([node("Pad", ["a", "pads"], "p"), node("Reshape", ["p", "flat"], "b")], [0, -1]),
            (
                [
                    helper.make_node("Split", ["a"], ["l", "r"], "split", axis=1),
                    node("Concat", ["r", "l"], "p", axis=1),
                    node("Reshape", ["p", "flat"], "b"),
                ],
                [0, -1],
            ),
            ([node("Transpose", ["a"], "p", perm=[0, 2, 3, 1]), node("Reshape", ["p", "flat"], "b")], [0, -1]),
        ],
        ids=["reshape", "pool", "pad with a value", "pad", "split and concat", "transpose"],
    )
    def test_integers_that_are_moved(self, tmp_path, moves, sizes):
        pads = np.array([0, 0, 1, 1, 0, 0, 0, 0])
        grown = {"MaxPool": 2 * 4, "Pad": 2 * 16}.get(moves[0].op_type, 2 * 9)
        constants = {"flat": np.array(sizes), "pads": pads, "five": np.uint8(140), **weights(grown, 3)}
        used = {name for part in moves for name in part.input} | {"w"}
        product = node("QLinearMatMul", ["b", *SCALE, "w", *SCALE, *SCALE], "q")
        nodes = [self.BEGIN, *moves, product, node("DequantizeLinear", ["q", *SCALE], "y")]
        path = saved(
            tmp_path / "m.onnx",
            nodes,
            [2, 2, 3, 3],
            {"y": FLOAT},
            {name: array for name, array in constants.items() if name in used},
        )
        check(path, drawn(2, 2, 3, 3), atol=STEP)

    def test_one_of_two_is_taken(self, tmp_path):
        real = node("DequantizeLinear", ["w", *SCALE], "real")
        nodes = [
            *(self.BEGIN, real, node("MatMul", ["x", "real"], "h"), node("QuantizeLinear", ["h", *SCALE], "b")),
            *(node("Where", ["mask", "a", "b"], "c"), node("QLinearMatMul", ["c", *SCALE, "w", *SCALE, *SCALE], "q")),
            node("DequantizeLinear", ["q", *SCALE], "y"),
        ]
        constants = {"mask": np.array([True, False, True, False]), **weights(4, 4)}
        check(saved(tmp_path / "m.onnx", nodes, [2, 4], {"y": FLOAT}, constants), drawn(2, 4), atol=2 * STEP)

    def test_moved_behind_the_last_layer(self, tmp_path):
        product = node("QLinearMatMul", ["a", *SCALE, "w", *SCALE, *SCALE], "q")
        nodes = [
            *(self.BEGIN, product, node("Reshape", ["q", "flat"], "f")),
            node("DequantizeLinear", ["f", *SCALE], "y"),
        ]
        path = saved(tmp_path / "m.onnx", nodes, [2, 3, 4], {"y": FLOAT}, {"flat": np.array([0, -1]), **weights(4, 3)})
        check(path, drawn(2, 3, 4), atol=STEP)

    def test_a_host_part_between_integers(self, tmp_path):
        """A nearest Resize is nothing of ours."""
        conv = node("QLinearConv", ["a", *SCALE, "w", *SCALE, *SCALE], "c")
        again = node("QLinearConv", ["r", *SCALE, "w", *SCALE, *SCALE], "q")
        size = node("Resize", ["c", "", "twice"], "r", mode="nearest", coordinate_transformation_mode="asymmetric")
        nodes = [self.BEGIN, conv, size, again, node("DequantizeLinear", ["q", *SCALE], "y")]
        constants = {"twice": np.array([1, 1, 2, 2], np.float32), **weights(2, 2, 1, 1)}
        path = saved(tmp_path / "m.onnx", nodes, [1, 2, 3, 3], {"y": FLOAT}, constants)
        check(path, drawn(1, 2, 3, 3), atol=2 * STEP)

    def test_integers_that_the_file_gives_out_are_not_carried(self, tmp_path):
        product = node("QLinearMatMul", ["a", *SCALE, "w", *SCALE, *SCALE], "q")
        nodes = [self.BEGIN, product, node("Reshape", ["q", "flat"], "f"), node("DequantizeLinear", ["f", *SCALE], "y")]
        path = saved(
            tmp_path / "m.onnx",
            nodes,
            [2, 3, 4],
            {"y": FLOAT, "f": UINT8},
            {"flat": np.array([0, -1]), **weights(4, 3)},
        )
        normal = read_onnx(path, "skip").proto.graph
        assert [part.op_type for part in normal.node if "f" in (*part.input, *part.output)] == [
            "Reshape",
            "DequantizeLinear",
        ]


def integer_product(first, second, factor):
    return [
        node("MatMulInteger", [first, second, f"{first}_z", f"{second}_z"], "i"),
        node("Cast", ["i"], "f", to=FLOAT),
        node("Mul", ["f", factor], "y"),
    ]


class TestIntegerProducts:
    """MatMulInteger whose first input is no DynamicQuantizeLinear of an activation."""

    SCALES = node("Mul", ["t_s", "w_s"], "both")

    @staticmethod
    def constants(*shape):
        rng = np.random.default_rng(0)
        return {
            "t": rng.integers(0, 256, shape).astype(np.uint8),
            "w": rng.integers(-9, 9, (shape[-1], 3)).astype(np.int8),
            **{"t_s": np.float32(0.1), "t_z": np.uint8(7), "w_s": np.float32(0.05), "w_z": np.int8(1)},
        }

    @pytest.mark.parametrize("folded", [False, True])
    def test_out_of_a_table(self, tmp_path, folded):
        nodes = [node("Gather", ["t", "x"], "r"), *integer_product("r", "w", "both")]
        nodes[1].input[2] = "t_z"
        constants = self.constants(10, 4)
        # onnxruntime's optimiser multiplies the scales out.
        if folded:
            constants["both"] = np.float32(0.005)
        else:
            nodes.insert(0, self.SCALES)
        path = saved(tmp_path / "m.onnx", nodes, [2, 5], {"y": FLOAT}, constants, kind=INT64)
        network = eie.load(path)
        assert not network.unmodelled
        ids = np.random.default_rng(0).integers(0, 10, (2, 5))
        (made,) = run_given(network.graph, {layer.name: layer for layer in network.layers}, {"x": ids})
        np.testing.assert_allclose(made, ort.InferenceSession(path).run(["y"], {"x": ids})[0], atol=1e-4)

    def test_two_products_by_one_factor(self, tmp_path):
        """Of steps that share their weights, once onnxruntime has multiplied the scales out."""
        nodes = []
        for i in range(2):
            part = [node("Gather", ["t", f"x{i}"], "r"), *integer_product("r", "w", "both")]
            part[1].input[2] = "t_z"
            for made in part:
                made.name = f"{made.name} {i}"
                made.output[0] = f"{made.output[0]}{i}"
                if made.input[0] in ("r", "i", "f"):
                    made.input[0] = f"{made.input[0]}{i}"
            nodes += part
        picks = [node("Gather", ["x", f"at{i}"], f"x{i}", axis=1) for i in range(2)]
        nodes = [*picks, *nodes, node("Add", ["y0", "y1"], "y")]
        constants = self.constants(10, 4) | {"both": np.float32(0.005), "at0": np.array(0), "at1": np.array(1)}
        path = saved(tmp_path / "m.onnx", nodes, [2, 5], {"y": FLOAT}, constants, kind=INT64)
        network = eie.load(path)
        assert not network.unmodelled
        assert [len(network.layers), len(network.graph.uses)] == [1, 2]

    @pytest.mark.parametrize("alpha", [1.0, 2.5])
    def test_a_quantised_gemm_with_a_factor(self, tmp_path, alpha):
        gemm = helper.make_node(
            "QGemm",
            ["a", *SCALE, "w", *SCALE, "c", *SCALE],
            ["q"],
            "gemm",
            domain="com.microsoft",
            alpha=alpha,
        )
        nodes = [node("QuantizeLinear", ["x", *SCALE], "a"), gemm, node("DequantizeLinear", ["q", *SCALE], "y")]
        constants = weights(4, 3) | {"c": np.array([40, -90, 300], np.int32)}
        path = saved(tmp_path / "m.onnx", nodes, [2, 4], {"y": FLOAT}, constants)
        check(path, drawn(2, 4), atol=STEP)

    def test_weights_that_are_a_product_of_integers(self, tmp_path):
        """As of an adapter that is merged while the file runs."""
        nodes = [self.SCALES, *integer_product("t", "w", "both"), node("MatMul", ["x", "y"], "out")]
        path = saved(tmp_path / "m.onnx", nodes, [2, 6], {"out": FLOAT}, self.constants(6, 4))
        check(path, drawn(2, 6), names=("out",))

    def test_weights_that_are_quantised_as_the_file_runs(self, tmp_path):
        def quantise(name):
            return helper.make_node("DynamicQuantizeLinear", [name], [f"{name}_q", f"{name}_q_s", f"{name}_q_z"])

        # What comes before is constant, but DynamicQuantizeLinear is not folded.
        nodes = [quantise("x"), quantise("real"), node("Mul", ["x_q_s", "real_q_s"], "both")]
        nodes += integer_product("x_q", "real_q", "both")
        real = {"real": np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)}
        path = saved(tmp_path / "m.onnx", nodes, [2, 4], {"y": FLOAT}, real)
        check(path, np.random.default_rng(1).standard_normal((2, 4)).astype(np.float32), atol=0.05)
