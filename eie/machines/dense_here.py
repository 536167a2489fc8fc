"""The dense layer that people run on a CPU: onnxruntime on the layer's own operator, zeros in place.

Comes in: a layer's work and a batch. Goes out: a call to be timed, and how often a sample needs it. Read by
`measured`. Without the ``onnx`` extra numpy's BLAS does the products instead.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import EieError
from eie.machines.workload import LayerWork
from eie.model.geometry.dense_form import DenseForm, float32

# Of the operators alone, old enough for every onnxruntime that the extra allows.
OPSET, IR_VERSION = 17, 8
# One, as scipy's products have: more would set threads against storage.
THREADS = 1
# Inputs by shape.
Drawn = dict[tuple[int, ...], NDArray[np.float32]]


def has_onnxruntime() -> bool:
    """Whether the ``onnx`` extra is installed: looked for, not imported."""
    return find_spec("onnx") is not None and find_spec("onnxruntime") is not None


def library() -> str:
    """Return onnxruntime's name and version."""
    import onnxruntime as ort

    return f"onnxruntime {ort.__version__}"


def operator_call(
    layer: LayerWork, batch: int, rng: np.random.Generator, *, drawn: Drawn
) -> tuple[Callable[[], Any], float]:
    """Return a run of the layer's operator on a batch, and how often a sample needs one; ``drawn`` keeps inputs.

    Raises
    ------
    EieError
        Where onnxruntime refuses the operator.
    """
    rows, times = _rows(layer)
    form = form_of(layer, rows, batch=batch, rng=rng)
    session = _session(form, layer.name)
    feeds = {"x": inputs_of(form.input_shape, rng, drawn)}
    return lambda: session.run(None, feeds), times / batch


def inputs_of(shape: tuple[int, ...], rng: np.random.Generator, drawn: Drawn) -> NDArray[np.float32]:
    """Return random inputs of a shape, the same for all that ask with one ``drawn``."""
    if shape not in drawn:
        drawn[shape] = rng.standard_normal(shape, np.float32)
    return drawn[shape]


def _rows(layer: LayerWork) -> tuple[int, int]:
    """Return the products of one run, and the runs: a use at a time, where the uses are alike."""
    # Without its kind nothing walks the steps: one run each, which is how they depend on each other.
    if layer.geometry is None:
        return layer.products, layer.steps
    rows = layer.products * layer.steps
    return (rows // layer.uses, layer.uses) if rows % layer.uses == 0 else (rows, 1)


def form_of(layer: LayerWork, rows: int, *, batch: int, rng: np.random.Generator) -> DenseForm:
    """Return the layer as its own operator; as a product, or one a group, where its kind is not known."""
    form = None
    if layer.geometry is not None:
        form = layer.geometry.dense_form(_weights(layer, rng), rows, batch)
    return form or _product_form(layer, rows, batch=batch, rng=rng)


def _weights(layer: LayerWork, rng: np.random.Generator) -> NDArray[Any]:
    """Return the layer's own weights, zeros in place, or drawn ones of the same shape."""
    matrix = layer.columns
    if matrix is not None and layer.geometry is not None:
        return layer.geometry.gathered(matrix).dense()
    return rng.standard_normal((layer.outputs * layer.groups, layer.inputs), np.float32)


def _product_form(layer: LayerWork, rows: int, *, batch: int, rng: np.random.Generator) -> DenseForm:
    if layer.groups == 1:
        weights = rng.standard_normal((layer.outputs, layer.inputs), np.float32)
        if (matrix := layer.columns) is not None:
            weights = float32(matrix.dense())
        return DenseForm(
            op="Gemm", weights=(weights,), input_shape=(rows * batch, layer.inputs), attributes={"transB": 1}
        )
    # Groups side by side are a convolution of one pixel: one operator, as a framework would run them.
    drawn = rng.standard_normal((layer.outputs * layer.groups, layer.inputs, 1, 1), np.float32)
    shape = (batch, layer.inputs * layer.groups, 1, rows)
    return DenseForm(op="Conv", weights=(drawn,), input_shape=shape, attributes={"group": layer.groups})


def _session(form: DenseForm, name: str) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = THREADS
    # Warnings of the optimiser would go to stderr, among our own lines.
    options.log_severity_level = 3
    try:
        # By a file: a session that is given bytes keeps them, a second copy of the weights for as long as it lives.
        with TemporaryDirectory(prefix="eie-") as folder:
            file = Path(folder) / "layer.onnx"
            file.write_bytes(_model(form))
            return ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    except OSError as error:
        raise EieError(f"layer {name!r}: no temporary file to run it from: {error.strerror or error}") from None
    except Exception as error:  # onnxruntime's own exceptions share no other base
        reason = str(error).splitlines()[0]
        raise EieError(f"layer {name!r}: onnxruntime cannot run it as {form.op}: {reason}") from None


def _model(form: DenseForm) -> bytes:
    """Return a file of the one operator."""
    from onnx import TensorProto, helper, numpy_helper

    names = [f"w{i}" for i in range(len(form.weights))]
    node = helper.make_node(form.op, ["x", *names], ["y"], **form.attributes)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, form.input_shape)
    # Of no stated shape: onnxruntime finds it.
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(array, key) for key, array in zip(names, form.weights, strict=True)]
    graph = helper.make_graph(nodes=[node], name="layer", inputs=[x], outputs=[y], initializer=stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    serialised: bytes = model.SerializeToString()
    return serialised
