"""Inputs to record with: arrays, IDX data sets, pictures.

Comes in: a file or folder. Goes out: frozen `eie.Samples`, read batch by batch. Read by `record`, and by
every verb that takes inputs: a file stands for what it holds.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError
from eie.formats import idx
from eie.formats.arguments import shown, taken
from eie.formats.budget import afford
from eie.formats.files import open_plain
from eie.formats.npz import read_npy, read_npz
from eie.model.fitting import Layout, fits
from eie.model.samples import FileArray, Lazy, Samples
from eie.model.trace import Trace
from eie.model.trace_file import is_trace
from eie.recording.preprocess import Preprocess
from eie.simulator.inputs import Inputs

_PIXEL_BYTES = 33
PICTURES = (".png", ".jpg", ".jpeg")


@taken
def read_samples(path: str | Path, labels: str | Path | None = None, steps: Preprocess | None = None) -> Samples:
    """Open inputs.

    Parameters
    ----------
    path
        ``.npy`` (samples, ...); ``.npz`` with one array, one called ``inputs`` or one for each of the model's inputs by
        its name (and perhaps ``labels``), or a trace whose first layer has values; an IDX file, raw or ``.gz``; a PNG
        or JPEG file, or a folder of them, in the order of their names.
    labels
        ``.npy`` or IDX file with the class of each sample.
    steps
        How pictures and numbers are prepared.

    Returns
    -------
    Samples
        Read piece by piece as they are asked for, as far as the format allows.

    Raises
    ------
    TraceError
        If a file is missing, damaged, of another kind, or labels and samples differ in number.
    """
    path, steps = Path(path), steps or Preprocess()
    # First: a wrong labels file is told before a folder of pictures is looked through.
    classes = None if labels is None else _labels(Path(labels))
    if path.is_dir():
        return _pictures(path, steps, classes)
    suffix = path.suffix.lower()
    if suffix in PICTURES:
        return _pictures(path, steps, classes)
    if suffix == ".npy":
        return _arrays(values=read_npy(path, TraceError), labels=classes, source=path.name, steps=steps, scale=1.0)
    if suffix == ".npz":
        return _from_npz(path, steps, classes)
    # Whatever has no suffix that is known: the files of MNIST have none, or .gz.
    values = idx.read(path)
    return _arrays(
        values=values, labels=classes, source=path.name, steps=steps, scale=1 / 255 if values.dtype == np.uint8 else 1.0
    )


def opened(inputs: Inputs) -> Inputs:
    """Return inputs as a verb takes them: of a path, the trace or the samples in its file; anything else as it is.

    Raises
    ------
    TraceError
        If the file cannot be used.
    """
    if not isinstance(inputs, str | Path):
        return inputs
    path = Path(inputs)
    if path.suffix.lower() == ".npz" and is_trace(arrays := read_npz(path, TraceError)):
        return Trace.from_arrays(arrays, str(path))
    samples = read_samples(path)
    # As of an array: the only input, whatever it is called.
    own = samples.arrays.get("inputs")
    return samples if own is None else replace(samples, arrays={"": own})


def as_samples(inputs: Samples | Inputs) -> Samples:
    """Return what is to be recorded as `Samples`: of a path, those of its file; of an array, a mapping, itself.

    Raises
    ------
    TraceError
        If it is none, or its file cannot be used.
    """
    if isinstance(inputs, str | Path):
        return read_samples(inputs)
    if inputs is None or isinstance(inputs, Trace):
        raise TraceError(f"samples={shown(inputs)}: must be an array, a mapping to arrays, a path or eie.Samples")
    return inputs if isinstance(inputs, Samples) else Samples.of(inputs)


def with_batch(samples: Samples, wanted: tuple[int, ...], layout: Layout | None = None) -> Samples:
    """Return samples as they are, or the one sample of the shape ``wanted`` that an array is without a batch axis."""
    if samples.batched or len(samples.arrays) != 1:
        return samples
    (array,) = samples.arrays.values()
    shape = (samples.count, *array[:1].shape[1:])
    if fits(shape, wanted, layout=layout, batched=True) or not fits(shape, wanted, layout=layout):
        return samples
    return replace(samples, arrays=dict.fromkeys(samples.arrays, array[:][None]))


def _labels(path: Path) -> NDArray[np.int64]:
    values = read_npy(path, TraceError) if path.suffix == ".npy" else idx.read(path)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise TraceError(f"{path}: labels have shape {values.shape} {values.dtype}: must be whole numbers (samples,)")
    # As `Samples` and traces hold them; IDX has bytes.
    return values.astype(np.int64)


def _from_npz(path: Path, steps: Preprocess, classes: NDArray[np.int64] | None) -> Samples:
    arrays = read_npz(path, TraceError)
    # Told by its content: a trace and an array file have the same suffix.
    if is_trace(arrays):
        trace = Trace.from_arrays(arrays, str(path))
        recorded = next(iter(trace.layers.values())).dense()
        if recorded is None:
            raise TraceError(f"{path}: a trace without values: it cannot drive a network")
        # What the first layer saw is the network's input only if nothing stands before it; `fitted` checks the size.
        rows = recorded.reshape(trace.samples, -1)
        samples = _arrays(
            values=rows,
            labels=trace.labels if classes is None else classes,
            source=trace.source,
            steps=steps,
            scale=1.0,
        )
        # Both are stated: what was done before the recording was done to these numbers as well.
        before = [text for text in (trace.preprocessing, samples.preprocessing) if text not in ("", "none")]
        return replace(samples, preprocessing="; ".join(before) or "none")
    # Out of the way first, so that one array is left to be the inputs, whatever it is called.
    labels = arrays.pop("labels", None)
    if not arrays:
        raise TraceError(f"{path}: holds {'labels only' if labels is not None else 'nothing'}: must hold inputs")
    if labels is not None and (labels.ndim != 1 or labels.dtype.kind not in "iu"):
        raise TraceError(f"{path}: labels have shape {labels.shape} {labels.dtype}: must be whole numbers (samples,)")
    own = None if labels is None else labels.astype(np.int64)
    words: dict[str, Any] = {"source": path.name, "steps": steps, "scale": 1.0}
    parts = {
        name: _arrays(values=values, labels=own if classes is None else classes, **words)
        for name, values in arrays.items()
        # What lies beside the inputs of one network need not be as many.
        if "inputs" not in arrays or name == "inputs" or _as_many(values, arrays["inputs"])
    }
    first = next(iter(parts.values()))
    return first if len(parts) == 1 else replace(first, arrays={n: part.arrays[""] for n, part in parts.items()})


def _as_many(values: NDArray[Any], others: NDArray[Any]) -> bool:
    return values.ndim > 0 and others.ndim > 0 and len(values) == len(others)


def _arrays(
    values: NDArray[Any], labels: NDArray[np.int64] | None, source: str, steps: Preprocess, scale: float
) -> Samples:
    if values.dtype.kind not in "fiub" or values.ndim == 0 or values.size == 0:
        raise TraceError(f"{source}: inputs have shape {values.shape} {values.dtype}: must be numbers (samples, ...)")

    # Ids have no scale; whole numbers that are no ids become fractions where the model takes those.
    whole = values.dtype.kind in "iub" and steps == Preprocess() and scale == 1

    def read(places: NDArray[np.int64]) -> NDArray[Any]:
        # Only the samples of a batch become float32: a whole data set of bytes would take four times its size.
        return values[places] if whole else steps.array(values[places], scale, source)

    return Samples(
        arrays={"": FileArray(len(values), read)},
        labels=labels,
        source=source,
        preprocessing=steps.stated(scale, pictures=False),
    )


def _pictures(path: Path, steps: Preprocess, labels: NDArray[np.int64] | None) -> Samples:
    files = [path]
    if path.is_dir():
        # By name: the order of a folder's entries differs between machines, and labels go by place.
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in PICTURES)
    if not files:
        raise TraceError(f"{path}: holds no {', '.join(PICTURES)} files")

    def read(places: NDArray[np.int64]) -> NDArray[np.float32]:
        chosen = [files[place] for place in places]
        pictures = [_picture(file, steps) for file in chosen]
        for file, picture in zip(chosen, pictures, strict=True):
            # Within a batch only, the others are not read yet; the recorder compares the rows that come of them.
            if picture.shape != pictures[0].shape:
                raise TraceError(
                    f"{file}: {picture.shape} after preprocessing, {chosen[0].name} {pictures[0].shape}: "
                    f"set --preprocess resize=WIDTHxHEIGHT"
                )
        return np.stack(pictures)

    source = path.name if len(files) == 1 else f"{len(files)} pictures in {path.name}"
    return Samples(
        arrays={"": Lazy(len(files), read)},
        labels=labels,
        source=source,
        preprocessing=steps.stated(1 / 255, pictures=True),
    )


def _picture(file: Path, steps: Preprocess) -> NDArray[np.float32]:
    from PIL import Image, UnidentifiedImageError

    try:
        with open_plain(file, TraceError) as plain, warnings.catch_warnings():
            # Of many pixels: ours to judge.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(plain)
            width, height = picture.size
            # Unpacked, turned, cut and as float32: measured on a PNG of 13,000 x 13,000.
            afford(_PIXEL_BYTES * width * height, file, TraceError)
            return steps.image(picture, str(file))
    # What Pillow raises on damaged files, SyntaxError for a broken PNG among them.
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, EOFError) as error:
        raise TraceError(f"{file}: not a usable picture: {str(error)[:120]}") from None
    except OSError as error:
        raise TraceError(f"{file}: cannot be read: {error.strerror or error}") from None
