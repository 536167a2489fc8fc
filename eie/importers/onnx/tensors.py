"""Arrays out of an ``.onnx`` file: dense, sparse and external tensors, none of them trusted.

Comes in: the bytes of a model, protobuf tensors. Goes out: a parsed model, NumPy arrays. Read by `constants`. Sizes
are checked against what is there before anything is allocated, and no path leaves the model's folder.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from itertools import chain
from mmap import mmap
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import ModelError
from eie.formats.budget import afford
from eie.formats.files import first_line, regular_file
from eie.importers.onnx.naming import clean_names
from eie.importers.onnx.slim import without_weights
from eie.model.operators.from_onnx import LARGEST_TENSOR

if TYPE_CHECKING:
    import onnx

# protobuf's own bound, on lengths of 31 bits; larger models keep their weights beside them.
LARGEST_FILE = (1 << 31) - 1


class MissingDataError(ModelError):
    """Weights lie in a file that is not there."""


# Where the shapes alone are wanted, the numbers need not be there.
_DRAWN = "--density D (density=D) draws them instead"


def read_model(path: Path) -> onnx.ModelProto:
    """Parse ``path``; external data stay where they are, and so do large initialisers, which then look like such.

    Raises
    ------
    ModelError
        If onnx is not installed, or the file is missing, larger than protobuf allows, or not an ONNX model.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise ModelError(f"{path}: reading .onnx needs the onnx extra: pip install 'eie[onnx]'") from None
    try:
        # Asked before it is read: the bytes would be in memory before protobuf refuses them.
        size = regular_file(path, ModelError)
        if size > LARGEST_FILE:
            raise ModelError(f"{path}: {size:,} bytes: an .onnx file holds at most {LARGEST_FILE:,}")
        afford(size, path, ModelError, what="has")
        # Weights stay where they are: parsed with the rest, they would be in memory once more.
        content = without_weights(path)
        if content is None:
            content = path.read_bytes()
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    try:
        model: onnx.ModelProto = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError):
        raise ModelError(f"{path}: damaged, truncated or not an ONNX file") from None
    # Almost any bytes are some protobuf message: an empty graph is how a foreign file shows.
    if not model.graph.node:
        raise ModelError(f"{path}: not an ONNX model: its graph has no nodes")
    # protobuf gives bytes for text that is not UTF-8.
    texts = list(_texts(model))
    if any(isinstance(text, bytes) for text in texts):
        raise ModelError(f"{path}: damaged: it holds a name that is not UTF-8")
    clean_names(model, map(str, texts))
    # Weights outside of what was parsed, in files beside the model or left in its own: all of them, since many small
    # tensors may name one large file.
    outside = sum(_external_bytes(tensor) for tensor in _tensors(model.graph))
    afford(len(content) + outside, path, ModelError, what="has, with the weights that it names,")
    return model


def _external_bytes(tensor: onnx.TensorProto) -> int:
    """Return how many bytes an external tensor takes by its own length, or else by its shape."""
    if tensor.data_location != type(tensor).EXTERNAL:
        return 0
    length = next((entry.value for entry in tensor.external_data if entry.key == "length"), "")
    # A length that is no number, or no amount of bytes, is refused where the tensor is read.
    if length.isascii() and length.isdecimal() and len(length) < 20:
        return int(length)
    return 4 * max(0, math.prod(map(int, tensor.dims)))


def _texts(model: onnx.ModelProto) -> Iterator[str | bytes]:
    """Yield every name that reading the model uses, those of functions and of bodies within nodes among them."""
    yield from (entry.domain for entry in model.opset_import)
    yield from _graph_texts(model.graph)
    for function in model.functions:
        yield from (function.name, function.domain, *function.input, *function.output, *function.attribute)
        yield from (entry.domain for entry in function.opset_import)
        yield from _node_texts(function.node)


def _graph_texts(graph: onnx.GraphProto) -> Iterator[str | bytes]:
    yield from (entry.name for entry in (*graph.input, *graph.output))
    yield from _node_texts(graph.node)
    for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)):
        yield tensor.name
        yield from (text for entry in tensor.external_data for text in (entry.key, entry.value))


def _node_texts(nodes: Iterable[onnx.NodeProto]) -> Iterator[str | bytes]:
    for node in nodes:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        for attribute in node.attribute:
            yield attribute.name
            for inner in (attribute.g, *attribute.graphs):
                # An attribute that holds no graph has an empty one; those would be walked for nothing.
                if inner.node or inner.initializer or inner.output:
                    yield from _graph_texts(inner)


def dense_array(tensor: onnx.TensorProto, where: str, folder: Path) -> NDArray[Any]:
    """Return a tensor's values in its declared shape.

    Parameters
    ----------
    where
        For errors: the file and the tensor.
    folder
        Where external data may lie.

    Raises
    ------
    ModelError
        If type, shape and the amount of data do not belong together, or external data are missing or outside.
    """
    from onnx import TensorProto, helper, numpy_helper

    # Checked first, since all that follows allocates by it.
    shape = _shape(tensor.dims, where)
    kind = tensor.data_type
    if kind in (TensorProto.UNDEFINED, TensorProto.STRING) or kind not in TensorProto.DataType.values():
        raise ModelError(f"{where}: element type {kind} is not a number")
    if tensor.data_location == TensorProto.EXTERNAL:
        kind_read = np.dtype(helper.tensor_dtype_to_np_dtype(kind))
        if kind_read.kind in "fiub" and kind_read.isbuiltin == 1 and sys.byteorder == "little":
            return _plain(_from_file(tensor, where, folder, kind=kind_read).reshape(shape))
        tensor = _with_external(tensor, where, folder)
    try:
        # Raw bytes fail when they are given a shape that they do not fit; typed fields are counted here, before.
        if not tensor.HasField("raw_data"):
            _check_count(
                stored=len(getattr(tensor, helper.tensor_dtype_to_field(kind))), tensor=tensor, shape=shape, where=where
            )
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, OverflowError, MemoryError) as error:
        raise ModelError(f"{where}: damaged tensor: {first_line(error)}") from None
    if array.shape != shape:
        raise ModelError(f"{where}: holds {array.shape} values: its shape says {shape}")
    return _plain(array)


def native_array(tensor: onnx.TensorProto, where: str, folder: Path) -> NDArray[Any] | None:
    """Return external data in the file's own type, as they lie there; None for a type that numpy has not.

    Not by way of protobuf: its copies come from the heap, which keeps what they leave.

    Raises
    ------
    ModelError
        As `dense_array` does.
    """
    from onnx import TensorProto, helper

    known = tensor.data_type in TensorProto.DataType.values() and tensor.data_type != TensorProto.UNDEFINED
    if not known or tensor.data_location != TensorProto.EXTERNAL or sys.byteorder != "little":
        return None
    kind = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    if kind.kind not in "fiub" or kind.isbuiltin != 1:
        return None
    shape = _shape(tensor.dims, where)
    return _from_file(tensor, where, folder, kind=kind).reshape(shape)


def native_tensor(tensor: onnx.TensorProto, where: str, folder: Path) -> onnx.TensorProto:
    """Return a tensor that holds its own bytes, in the file's type but for bfloat16, which becomes float32.

    Raises
    ------
    ModelError
        As `dense_array` does.
    """
    from onnx import TensorProto, numpy_helper

    if tensor.data_type == TensorProto.BFLOAT16:
        return numpy_helper.from_array(dense_array(tensor, where, folder), tensor.name)
    if tensor.data_location != TensorProto.EXTERNAL:
        return tensor
    _shape(tensor.dims, where)
    loaded = _with_external(tensor, where, folder)
    loaded.name = tensor.name
    return loaded


def sparse_array(sparse: onnx.SparseTensorProto, where: str, folder: Path) -> NDArray[Any]:
    """Return a sparse tensor as a dense array; its indices are linear (nnz,) or coordinates (nnz, rank)."""
    shape = _shape(sparse.dims, where)
    values = dense_array(sparse.values, f"{where}: values", folder)
    indices = dense_array(sparse.indices, f"{where}: indices", folder)
    if values.ndim != 1 or indices.dtype != np.int64:
        raise ModelError(f"{where}: a sparse tensor needs 1-D values and int64 indices")
    # Bounds before ravel_multi_index, whose error would not say which tensor.
    if indices.shape == (len(values), len(shape)) and indices.ndim == 2:
        if (indices < 0).any() or (indices >= np.array(shape)).any():
            raise ModelError(f"{where}: a coordinate lies outside its shape {shape}")
        indices = np.ravel_multi_index(tuple(indices.T), shape) if len(values) else np.zeros(0, np.int64)
    if indices.shape != values.shape:
        raise ModelError(f"{where}: {values.shape} values with indices of shape {indices.shape}")
    if len(indices) and not 0 <= indices.min() <= indices.max() < math.prod(shape):
        raise ModelError(f"{where}: an index lies outside its shape {shape}")
    # Flat, since by now all indices are linear.
    dense = np.zeros(math.prod(shape), values.dtype)
    dense[indices] = values
    return dense.reshape(shape)


def _shape(dims: Any, where: str) -> tuple[int, ...]:
    shape = tuple(int(size) for size in dims)
    # More axes than any operator here takes; printing thousands of them is no message.
    if len(shape) > 8 or any(size < 0 for size in shape):
        raise ModelError(f"{where}: impossible shape {shape[:9]}")
    if math.prod(shape) > LARGEST_TENSOR:
        raise ModelError(f"{where}: {math.prod(shape):,} values declared: at most {LARGEST_TENSOR:,}")
    return shape


def _check_count(stored: int, tensor: onnx.TensorProto, shape: tuple[int, ...], where: str) -> None:
    """Typed fields hold one number a value, two for complex ones, half a one or less for packed 4-bit ones."""
    if stored > 2 * math.prod(shape) or stored * 8 < math.prod(shape):
        raise ModelError(f"{where}: {stored} values stored for shape {shape} of type {tensor.data_type}")


def _with_external(tensor: onnx.TensorProto, where: str, folder: Path) -> onnx.TensorProto:
    """Return the tensor with its bytes brought in from the file beside the model."""
    from onnx import TensorProto

    loaded = TensorProto(dims=tensor.dims, data_type=tensor.data_type)
    loaded.raw_data = _from_file(tensor, where, folder).tobytes()
    return loaded


def _from_file(
    tensor: onnx.TensorProto, where: str, folder: Path, *, kind: np.dtype[Any] | None = None
) -> NDArray[Any]:
    """Return external data as they lie there, bytes without ``kind``."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    file = _inside(entries.get("location", ""), where, folder)
    try:
        available = file.stat().st_size
        offset = int(entries.get("offset") or 0)
        # Without a length it is all the rest of the file.
        length = int(entries.get("length") or available - offset)
    except OSError:
        raise MissingDataError(
            f"{where}: its weights are in {file}, which is missing or cannot be read: {_DRAWN}"
        ) from None
    except ValueError:
        raise ModelError(f"{where}: offset and length of external data must be integers") from None
    # 8 bytes a value is the widest real type: what is declared to be longer is not read.
    widest, exact = 8 * math.prod(tensor.dims), kind is not None
    if kind is not None:
        widest = kind.itemsize * math.prod(tensor.dims)
    fits = length == widest if exact else 0 <= length <= widest
    if offset < 0 or not fits or offset + length > available:
        raise ModelError(f"{where}: {length} bytes at {offset} of {file} ({available} bytes) do not fit its shape")
    try:
        with file.open("rb") as stream:
            stream.seek(offset)
            # Memory of its own, which goes back as soon as nobody needs it: a heap would keep holes between layers.
            content = mmap(-1, max(1, length))
            read = stream.readinto(memoryview(content)[:length])
    except OSError as error:
        raise ModelError(f"{file}: cannot be read: {error.strerror or error}") from None
    if read != length:
        raise ModelError(f"{file}: was cut short while it was read")
    return np.frombuffer(memoryview(content)[:length], np.uint8 if kind is None else kind)


def is_missing(tensor: onnx.TensorProto, where: str, folder: Path) -> bool:
    """Whether the file with a tensor's external data is not there; one outside the folder is refused all the same."""
    try:
        _inside({entry.key: entry.value for entry in tensor.external_data}.get("location", ""), where, folder)
    except MissingDataError:
        return True
    return False


def _inside(location: str, where: str, folder: Path) -> Path:
    """Resolve an external-data location; whatever leaves the folder, symbolic links included, is refused."""
    # By the rules of both systems: a drive or a backslash leaves the folder on one of them.
    parts = PurePosixPath(location).parts if isinstance(location, str) else ()
    if not parts or not location.isprintable() or "\\" in location or PureWindowsPath(location).drive:
        raise ModelError(f"{where}: external data at {location!r}: must be the name of a file beside the model")
    if location.startswith("/") or ".." in parts:
        raise ModelError(f"{where}: external data at {location!r}: leaves the model's folder, which is not followed")
    file = folder / location
    try:
        # Links are followed before the comparison: a name without ".." can still be one that points out.
        resolved = file.resolve()
        regular = resolved.is_file()
    except (OSError, RuntimeError):
        raise ModelError(f"{where}: external data at {location!r}: cannot be resolved") from None
    if not resolved.is_relative_to(folder.resolve()):
        raise ModelError(f"{where}: external data at {location!r}: a link out of the model's folder is not followed")
    if not regular:
        raise MissingDataError(f"{where}: its weights are in {file}, which is missing: {_DRAWN}")
    return resolved


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Widen types NumPy has no kernels for (bfloat16, float8, 4-bit integers) and half precision."""
    # isbuiltin tells numpy's own types from the 4-bit integers that other packages add.
    if array.dtype.kind in "biu" and array.dtype.itemsize >= 1 and array.dtype.isbuiltin == 1:
        return array
    if array.dtype in (np.float32, np.float64):
        return array
    name = array.dtype.name
    if name.startswith(("int", "uint")):
        return array.astype(np.int8 if name.startswith("int") else np.uint8)
    if array.dtype.kind == "c":
        raise ModelError(f"tensor of type {name}: complex numbers are not supported")
    # float16, bfloat16 and float8 all fit float32 without loss.
    return array.astype(np.float32)


def embed_external(model: onnx.ModelProto, path: Path) -> None:
    """Bring all external data into ``model`` itself, so that no other program has to follow a path of the file's.

    Raises
    ------
    ModelError
        If a file is missing or outside, the whole outgrows protobuf, or a subgraph has external data.
    """
    from onnx import TensorProto

    # Counted down as it grows: many small files may outgrow what one message can hold.
    room = LARGEST_FILE
    inside = (_attribute_tensors(function.node) for function in model.functions)
    for tensor in chain(_tensors(model.graph), *inside):
        if tensor.data_location == TensorProto.EXTERNAL:
            where = f"{path}: tensor {tensor.name!r}"
            _shape(tensor.dims, where)
            loaded = _with_external(tensor, where, path.parent)
            room -= len(loaded.raw_data)
            if room < 0:
                raise ModelError(f"{path}: more than {LARGEST_FILE:,} bytes of weights: too large to be run")
            # The copy replaces all fields, the name among them.
            loaded.name = tensor.name
            tensor.CopyFrom(loaded)


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Yield every tensor of a graph and its subgraphs."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _attribute_tensors(graph.node)


def _attribute_tensors(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                # An attribute that holds no graph has an empty one; those would be walked for nothing.
                if inner.node or inner.initializer:
                    yield from _tensors(inner)
