"""The one entrance: whatever a caller calls a model, as a `Network`.

Comes in: a path, the name of a shipped model, a `Layer`, a `Network`, a torch module. Goes out: a `Network`, or an
error that says what is taken. Called first by every function that users call with a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eie.errors import ModelError
from eie.importers import find, load, takes
from eie.importers.options import FedShapes
from eie.model.fitting import Layout
from eie.model.layer import Layer
from eie.model.network import Network
from eie.model.samples import Samples

if TYPE_CHECKING:
    import torch

    Model = Network | Layer | str | Path | torch.nn.Module | torch.export.ExportedProgram
else:
    # Whoever has no torch has no modules either; its names are for type checkers. `as_network` refuses what is none.
    Model = Network | Layer | str | Path | Any

_MODULE = "torch.nn.modules.module.Module"
_EXPORTED = "torch.export.exported_program.ExportedProgram"


def as_network(model: object, instead: str = "", *, examples: object = None, layout: Layout | None = None) -> Network:
    """Return a `Model` as a network.

    Parameters
    ----------
    model
        Any object, so that what is none is refused by name.
    instead
        What else the caller takes, for the error: ``"an eie.Program"``.
    examples, layout
        What the model will run on, an array or tensor (samples, ...), a mapping or tuple of them, or `Samples`: it
        states the sizes that an ``.onnx`` file leaves open, and a torch module is read with it as example inputs.

    Raises
    ------
    ModelError
        If it is none of these, or cannot be read.
    """
    if isinstance(model, str | Path):
        file = find(model)
        fed: Any = FedShapes.of(examples, layout) if takes(file, "input_shape") else None
        return load(file, input_shape=fed)
    if isinstance(model, Network | Layer):
        return Network.of(model)
    # By name: torch is not imported to find out, and a caller may not have it.
    bases = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(model).__mro__}
    if _MODULE in bases or _EXPORTED in bases:
        return _from_torch(model, examples)
    if "eie.compiler.program.Program" in bases:
        raise ModelError("a Program: its weights are encoded for one machine: give the model it was compiled from")
    kinds = ["a path", "the name of a shipped model", "an eie.Layer", "an eie.Network", *([instead] if instead else [])]
    raise ModelError(f"{type(model).__name__}: must be {', '.join(kinds[:-1])} or {kinds[-1]}")


def _from_torch(model: Any, examples: Any) -> Network:
    from eie.importers.torch_module import from_torch

    if isinstance(examples, Mapping | tuple | Samples) or hasattr(examples, "__array__") or isinstance(examples, list):
        # A mapping may also be of recorded rows by layer: those are no inputs of a module, and it says so itself.
        return from_torch(model, examples)
    return from_torch(model)
