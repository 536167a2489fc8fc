"""The one entrance: whatever a caller calls a model, as a `Network`.

Comes in: a path, the name of a shipped model, a `Layer`, a `Network`. Goes out: a `Network`, or an error that says what
is taken. Called first by every function that users call with a model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from eie.errors import ModelError
from eie.importers import find, load, takes
from eie.importers.options import FedShapes
from eie.model.fitting import Layout
from eie.model.network import Layer, Network

Model = Network | Layer | str | Path


def as_network(model: object, instead: str = "", *, examples: object = None, layout: Layout | None = None) -> Network:
    """Return a `Model` as a network.

    Parameters
    ----------
    model
        Any object, so that what is none is refused by name.
    instead
        What else the caller takes, for the error: ``"an eie.Program"``.
    examples, layout
        What the model will run on: it states the sizes that an ``.onnx`` file leaves open.

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
    # Refused by name: torch is not imported to find out, and a caller may not have it.
    bases = {f"{kind.__module__}.{kind.__qualname__}" for kind in type(model).__mro__}
    if "torch.nn.modules.module.Module" in bases:
        raise ModelError(
            f"{type(model).__name__}: a torch module is not read: save its state_dict() or export it to ONNX, and give "
            "the file"
        )
    if "eie.compiler.program.Program" in bases:
        raise ModelError("a Program: its weights are encoded for one machine: give the model it was compiled from")
    kinds = ["a path", "the name of a shipped model", "an eie.Layer", "an eie.Network", *([instead] if instead else [])]
    raise ModelError(f"{type(model).__name__}: must be {', '.join(kinds[:-1])} or {kinds[-1]}")
