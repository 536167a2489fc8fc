"""A ``torch.nn.Module`` or a ``torch.export`` program as a `Network`; needs the ``torch`` extra.

Comes in: a module with example inputs, or an exported program. Goes out: a `Network`, by way of an ONNX file that lives
as long as the call. Called by users, by `entrance` and by `pt2`. Layers are called as their modules are.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from eie.errors import ModelError
from eie.formats.arguments import taken
from eie.formats.files import file_sha256, first_line
from eie.formats.quiet import quiet
from eie.importers.meta_weights import labelled, with_numbers
from eie.importers.onnx.reader import read_onnx
from eie.importers.onnx.work import multiplies
from eie.importers.options import Unsupported
from eie.model.network import Network
from eie.model.samples import Samples

if TYPE_CHECKING:
    import onnx
    import torch

# Where torch's newer exporter writes the modules that a node stands in, outermost first, each with its whole path.
_SCOPES = "pkg.torch.onnx.name_scopes"
# What an exporter raises on a module that it does not know; its own errors are RuntimeErrors, as torch's are.
_REFUSED = (
    RuntimeError,
    ValueError,
    TypeError,
    NotImplementedError,
    AttributeError,
    KeyError,
    IndexError,
    AssertionError,
)

Examples = ArrayLike | Samples | Sequence[Any] | Mapping[str, Any]
Export = Callable[[Path], None]


@taken
def from_torch(
    module: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: Examples | None = None,
    *,
    name: str = "",
    unsupported: Unsupported = "refuse",
    density: float | None = None,
) -> Network:
    """Read a module as it runs on example inputs.

    Parameters
    ----------
    module
        Is put into evaluation mode for the export, and back. Or what ``torch.export.export`` made of one.
    example_inputs
        What the module is called with, the batch in front: an array or tensor, a tuple of them, a mapping by the names
        of its parameters, or `Samples`. Only shapes and types matter, but where the module decides by numbers. None
        for an exported program, which knows its own.
    name
        Of the network; the module's class by default.
    unsupported
        As of `eie.load`, for operators that are not known.
    density
        Of weights that are on the meta device and so have no numbers: they are drawn, and every report says so.

    Returns
    -------
    Network
        Layers go by their modules' dotted names (``encoder.layers.0.linear1``); a second product inside a module, as a
        MultiheadAttention's, gets a number.

    Raises
    ------
    ModelError
        If torch or what it exports with is not installed, torch cannot export the module, or its graph is not
        supported.
    """
    torch = _torch()
    name = name or type(module).__name__
    if isinstance(module, torch.export.ExportedProgram):
        program, drawn = with_numbers(module, density, name)
        return labelled(
            _first_that_reads([lambda path: _export_program(program, path)], name, unsupported), drawn, density
        )
    if not isinstance(module, torch.nn.Module):
        raise ModelError(f"{type(module).__name__}: must be a torch.nn.Module or a torch.export.ExportedProgram")
    if example_inputs is None:
        raise ModelError(
            f"{name}: a torch module says nothing of its inputs: give some: eie.from_torch(module, example_inputs)"
        )
    args, kwargs = _tensors(example_inputs, _kind(module))
    # Part by part: a module may be trained with some of its layers frozen, and goes back as it was.
    trained = [part for part in module.modules() if part.training]
    module.eval()
    try:
        whole, drawn = with_numbers(_with_weights(module), density, name)
        return labelled(_first_that_reads(_exports(whole, args, kwargs), name, unsupported), drawn, density)
    finally:
        for part in trained:
            part.training = True


def _torch() -> Any:
    try:
        import onnx  # noqa: F401 - asked for here, so that one line says what is missing
        import onnxscript  # noqa: F401
        import torch
    except ImportError as error:
        raise ModelError(f"a torch module needs {error.name}: pip install 'eie[torch]'") from None
    return torch


def _with_weights(module: torch.nn.Module) -> torch.nn.Module:
    """Return the module, its weights computed where they are parametrised: as norms and orthogonal matrices are."""
    from torch.nn.utils import parametrize

    if not any(parametrize.is_parametrized(part) for part in module.modules()):
        return module
    return _plain(module, {})


def _plain(module: torch.nn.Module, done: dict[torch.nn.Module, torch.nn.Module]) -> torch.nn.Module:
    """Copy a tree of modules but not its tensors: torch's own way back would change the class that copies share."""
    import torch
    from torch.nn.utils import parametrize

    if module in done:
        return done[module]
    computed = list(module.parametrizations) if parametrize.is_parametrized(module) else []
    # What torch makes of a class when it is parametrised is derived from it.
    kind: Any = type(module).__bases__[0] if computed else type(module)
    made: torch.nn.Module = kind.__new__(kind)
    done[module] = made
    made.__dict__.update(module.__dict__)
    # A child may stand under two names, and a name may be left free.
    made.__dict__["_modules"] = {
        name: child if child is None else _plain(child, done)
        for name, child in module.__dict__["_modules"].items()
        if not (computed and name == "parametrizations")
    }
    weights = {name: torch.nn.Parameter(getattr(module, name).detach()) for name in computed}
    made.__dict__["_parameters"] = {**module.__dict__["_parameters"], **weights}
    return made


def _exports(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[Export]:
    """Return ways to export, the best first: an open batch, sizes as in the examples, in parts, the older exporter.

    In parts: of some operators torch has no form in ONNX, but a decomposition. The older one prints what it cannot do.
    """
    opened = _open_batch(args, kwargs)
    return [
        *([lambda path: _export(module, args, kwargs, path=path, shapes=opened)] if opened is not None else []),
        lambda path: _export(module, args, kwargs, path=path, shapes=None),
        *([lambda path: _export_parts(module, args, kwargs, path=path, shapes=opened)] if opened is not None else []),
        lambda path: _export_parts(module, args, kwargs, path=path, shapes=None),
        lambda path: _export_old(module, args, kwargs, path=path),
    ]


def _open_batch(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any] | tuple[Any, ...] | None:
    import torch

    def opened(value: Any) -> Any:
        return {0: torch.export.Dim.DYNAMIC} if isinstance(value, torch.Tensor) and value.ndim > 1 else None

    # Of a batch of one, torch takes the size for a constant.
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, torch.Tensor) and value.ndim > 1]
    if not tensors or min(len(value) for value in tensors) < 2 or (args and kwargs):
        return None
    return tuple(map(opened, args)) if args else {key: opened(value) for key, value in kwargs.items()}


def _export(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, path: Path, shapes: Any
) -> None:
    import torch

    with quiet("torch.onnx"):
        torch.onnx.export(
            module,
            args,
            str(path),
            kwargs=dict(kwargs) or None,
            dynamo=True,
            external_data=True,
            verbose=False,
            dynamic_shapes=shapes,
        )


def _export_parts(
    module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, path: Path, shapes: Any
) -> None:
    import torch
    from torch._decomp import decomposition_table

    with quiet("torch.onnx"):
        program = torch.export.export(module, args, dict(kwargs) or None, dynamic_shapes=shapes)
        table = torch.export.default_decompositions()
        # Of pooling to a stated size only where windows are of equal size has ONNX an operator.
        table.update({op: rule for op, rule in decomposition_table.items() if "adaptive" in str(op)})
        torch.onnx.export(
            program.run_decompositions(table), f=str(path), dynamo=True, external_data=True, verbose=False
        )


def _export_old(module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, path: Path) -> None:
    import torch

    with quiet("torch.onnx"):
        torch.onnx.export(module, args, str(path), kwargs=dict(kwargs) or None, dynamo=False)


def _export_program(program: torch.export.ExportedProgram, path: Path) -> None:
    import torch

    with quiet("torch.onnx"):
        torch.onnx.export(program, f=str(path), dynamo=True, external_data=True, verbose=False)


def _first_that_reads(exports: Sequence[Export], name: str, unsupported: Unsupported) -> Network:
    """Return the network of the first export that torch makes and the reader takes whole; else the first reason.

    One with rows for what is not modelled is returned where no export does without.
    """
    reasons: list[str] = []
    partly: Network | None = None
    for export in exports:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "module.onnx"
            try:
                export(path)
            except _REFUSED as error:
                reasons.append(f"torch cannot export it: {_reason(error)}")
                continue
            _name_by_modules(path)
            try:
                network = read_onnx(path, unsupported).network
            except ModelError as error:
                # The file is gone when this is read.
                reasons.append(str(error).removeprefix(f"{path}: "))
                continue
            network = replace(network, name=name, source=f"{name}, a torch module", sha256=file_sha256(path))
        if not network.unmodelled:
            return network
        partly = partly or network
    if partly is not None:
        return partly
    # A reader's reason comes first: it can be mended here, and says what torch made of the module.
    raise ModelError(f"{name}: {min(reasons, key=lambda reason: reason.startswith('torch cannot'))}")


def _reason(error: BaseException) -> str:
    """Return what an exporter stumbled over: its own error is a page on how to report it."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def _name_by_modules(path: Path) -> None:
    """Give every node that may become a layer the dotted name of the module it stands in."""
    import onnx

    proto = onnx.load(str(path), load_external_data=False)
    for node in proto.graph.node:
        if multiplies(node.op_type):
            node.name = _module_of(node) or node.name
    onnx.save(proto, str(path))


def _module_of(node: onnx.NodeProto) -> str:
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            # "['', 'seq', 'seq.1', 'linear']": the last is the operation, the one before it the module.
            scopes = [part.strip(" '\"") for part in entry.value.strip("[]").split(",")]
            return scopes[-2] if len(scopes) > 1 else ""
    # The older exporter: /seq/seq.1/MatMul, where a part of a list says its whole name within the list's parent.
    dotted: list[str] = []
    for part in node.name.strip("/").split("/")[:-1]:
        if dotted and part.startswith(f"{dotted[-1]}."):
            dotted[-1] = part
        else:
            dotted.append(part)
    return ".".join(dotted)


def _kind(module: torch.nn.Module) -> Any:
    """Return the type of floating-point parameters: inputs of another are refused by torch."""
    import torch

    kinds = [part.dtype for part in module.parameters() if part.is_floating_point()]
    return kinds[0] if kinds else torch.float32


def _tensors(examples: Examples, kind: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return what the module is called with: tensors by place, and by name."""
    if isinstance(examples, Samples):
        # Two, since of one torch would take the batch for a constant.
        first = {name: array[slice(2)] for name, array in examples.arrays.items()}
        examples = first[""] if list(first) == [""] else first
    if isinstance(examples, Mapping):
        return (), {str(name): _tensor(value, kind) for name, value in examples.items()}
    if isinstance(examples, tuple):
        return tuple(_tensor(value, kind) for value in examples), {}
    return (_tensor(examples, kind),), {}


def _tensor(value: Any, kind: Any) -> Any:
    import torch

    if value is None or isinstance(value, bool | int | float | str):
        return value
    tensor = value if isinstance(value, torch.Tensor) else torch.from_numpy(np.array(value))
    return tensor.detach().to(kind) if tensor.is_floating_point() else tensor.detach()
