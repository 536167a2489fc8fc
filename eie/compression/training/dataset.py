"""Labelled images to train and to measure accuracy on.

Comes in: a folder with the four IDX files of MNIST or Fashion-MNIST. Goes out: `eie.Samples`. Read by fine-tuning
and by the example scripts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from eie.errors import TraceError
from eie.formats import idx
from eie.formats.arguments import taken
from eie.model.matrix import frozen
from eie.model.samples import Samples

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
_STEMS = {"train": "train", "test": "t10k"}


@taken
def idx_examples(folder: str | Path = FASHION_MNIST, part: Literal["train", "test"] = "train") -> Samples:
    """Read one half of an IDX data set; pixels are divided by 255.

    Parameters
    ----------
    folder
        Holds ``train-images-idx3-ubyte``, ``t10k-labels-idx1-ubyte`` and so on, raw or with ``.gz``; by default
        where the Debian package dataset-fashion-mnist puts them.
    part
        ``"train"`` (60,000 images) or ``"test"`` (10,000).

    Returns
    -------
    Samples
        float32 (N, pixels) from 0 to 1, with int64 (N,) labels.

    Raises
    ------
    TraceError
        If a file is missing or damaged, or images and labels do not belong together.
    """
    if part not in _STEMS:
        raise TraceError(f"part={part!r}: must be {' or '.join(map(repr, _STEMS))}")
    images = idx.read(_file(Path(folder), _STEMS[part], "images-idx3"))
    labels = idx.read(_file(Path(folder), _STEMS[part], "labels-idx1"))
    if len(images) != labels.size or labels.ndim != 1 or images.dtype != np.uint8:
        raise TraceError(f"{folder}: {part} has images {images.shape} {images.dtype} but labels {labels.shape}")
    pixels = images.reshape(len(images), -1) / np.float32(255)
    return Samples.of(frozen(pixels, np.float32), source=f"{folder}, {part}", labels=frozen(labels, np.int64))


def _file(folder: Path, stem: str, kind: str) -> Path:
    # MNIST's own site and its mirrors differ in one character.
    names = [f"{stem}-{kind}-ubyte", f"{stem}-{kind.replace('-idx', '.idx')}-ubyte"]
    for name in names:
        for path in (folder / f"{name}.gz", folder / name):
            if path.is_file():
                return path
    raise TraceError(f"{folder}: no {names[0]} or {names[0]}.gz (Fashion-MNIST: apt install dataset-fashion-mnist)")
