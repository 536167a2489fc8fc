"""Record a trace: the one way in, whatever runs the model.

Comes in: a model and `Samples`. Goes out: a `Trace` that states where it is from. Called by ``eie trace record``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eie.errors import ModelError, TraceError
from eie.formats.arguments import taken
from eie.formats.files import file_sha256
from eie.importers import find, load, takes
from eie.importers.entrance import Model, as_network
from eie.importers.options import FedShapes, InputShape
from eie.model.fitting import Layout, checked_layout
from eie.model.network import Network
from eie.model.samples import Samples
from eie.model.trace import Trace
from eie.recording.inputs import as_samples
from eie.recording.rows import Ran, Recorder
from eie.simulator.inputs import Inputs

# Bounds the memory: what all layers read of one batch is there at a time, and no more.
BATCH = 16


@taken
def record(
    model: Model,
    samples: Samples | Inputs,
    *,
    values: bool = False,
    layout: Layout | None = None,
    input_shape: InputShape | None = None,
    batch: int = BATCH,
    seed: int | None = None,
) -> Trace:
    """Run a model on samples and record what every weight layer reads.

    Parameters
    ----------
    model
        ``.onnx`` files run in onnxruntime; whatever else `eie.load` reads, and networks, run here. Either way as given.
    samples
        `Samples`, an array (samples, ...), a mapping of the inputs' names to such, or a file as of `eie.read_samples`.
    values
        Whether values are kept beside the bits of non-zeros.
    layout
        ``"nhwc"`` where samples have their channels last and the model takes them first, ``"nchw"`` for the reverse.
    input_shape
        Of one sample, or by input, where an ``.onnx`` file leaves sizes open and the samples are not to state them.
    batch
        Samples at a time: bounds the memory.
    seed
        That chose the samples, for the header.

    Returns
    -------
    Trace
        Layer by layer in the order in which they run.

    Raises
    ------
    ModelError
        If the model cannot be read or run.
    TraceError
        If the samples do not fit it.
    """
    if batch < 1:
        raise TraceError(f"batch={batch}: must be >= 1")
    layout, recorder = checked_layout(layout), Recorder(values=values)
    # Found, not loaded: onnxruntime reads the file itself.
    path = find(model) if isinstance(model, str | Path) else None
    samples = as_samples(samples)
    run: dict[str, Any] = {"samples": samples, "batch": batch, "recorder": recorder, "layout": layout}
    done = None if path is None or path.suffix.lower() != ".onnx" else _in_onnxruntime(path, run, input_shape)
    how, sha256, ran = done or _in_eie(model, run, input_shape)
    return Trace(
        layers=recorder.layers(),
        labels=samples.labels,
        source="; ".join(filter(None, (f"{samples.source}, through {how}", ran.said))),
        preprocessing=samples.preprocessing,
        seed=seed,
        model_sha256=sha256,
        input_shapes=ran.shapes,
    )


def _in_eie(model: Model, run: Mapping[str, Any], input_shape: InputShape | None) -> tuple[str, str | None, Ran]:
    """Record with eie itself; return how in words, and the file's hash."""
    from eie.recording.run_own import run_own

    if isinstance(model, str | Path):
        network = _loaded(model, run, input_shape)
    else:
        network = as_network(model, examples=run["samples"])
    return f"{network.source} in eie, float32", network.sha256, run_own(network=network, **run)


def _in_onnxruntime(
    path: Path, run: Mapping[str, Any], input_shape: InputShape | None
) -> tuple[str, str | None, Ran] | None:
    """Record with onnxruntime; return how in words and the file's hash, None where it has no kernel."""
    from eie.recording.run_onnx import NoKernelError, run_onnx

    try:
        ran = run_onnx(path=path, input_shape=input_shape, **run)
    except NoKernelError as error:
        try:
            whole = _loaded(path, run, input_shape).graph is not None
        except ModelError:
            whole = False
        # What is not whole cannot run here either: the first reason is the one to mend.
        if not whole:
            raise error from None
        return None
    # Which program ran it is part of the source: sums may differ in the last bit, and so may a zero.
    return f"{path.name} in onnxruntime", file_sha256(path), ran


def _loaded(model: str | Path, run: Mapping[str, Any], input_shape: InputShape | None) -> Network:
    """Load a model; sizes that its file leaves open are the samples', unless they are stated."""
    fed: Any = FedShapes.of(run["samples"], run["layout"]) if takes(model, "input_shape") else None
    return load(model, input_shape=fed if input_shape is None else input_shape)
