"""Record a trace: the one way in for files, whatever runs them.

Comes in: a model file and `Samples`. Goes out: a `Trace` that states where it is from. Called by ``eie trace record``.
"""

from __future__ import annotations

from pathlib import Path

from eie.importers import file_sha256, find, load
from eie.recording.inputs import Samples
from eie.recording.rows import Recorder
from eie.trace import Trace

BATCH = 16


def record(
    model: str | Path, samples: Samples, *, values: bool = False, batch: int = BATCH, seed: int | None = None
) -> Trace:
    """Run a model on samples and record what every weight layer reads.

    Parameters
    ----------
    model
        ``.onnx`` files run in onnxruntime; whatever else `eie.load` reads runs here. Either way as it was given.
    values
        Whether values are kept beside the bits of non-zeros.
    batch
        Samples at a time: bounds the memory.
    seed
        That chose the samples, for the header.

    Raises
    ------
    ModelError
        If the model cannot be read or run.
    TraceError
        If the samples do not fit it.
    """
    path = find(model)
    recorder = Recorder(values=values)
    if path.suffix == ".onnx":
        from eie.recording.run_onnx import run_onnx

        run_onnx(path, samples, batch, recorder)
        engine = "onnxruntime"
    else:
        from eie.recording.run_own import run_own

        run_own(load(path), samples, batch, recorder)
        engine = "eie, float32"
    return Trace(
        recorder.layers(),
        samples.labels,
        f"{samples.source}, through {path.name} in {engine}",
        preprocessing=samples.preprocessing,
        seed=seed,
        model_sha256=file_sha256(path),
    )
