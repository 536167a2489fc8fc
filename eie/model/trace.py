"""Recorded activations of a network: what each of its layers read of some samples.

Comes in: a `LayerTrace` a layer, or a file. Goes out: a frozen `Trace`. Read by the simulator, machines and studies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.errors import TraceError, clean_texts, printable
from eie.formats.arguments import take_fields, taken
from eie.formats.files import Arrays
from eie.model import trace_file
from eie.model.layer_trace import LayerTrace, recorded_grid
from eie.show.face import View
from eie.show.sections import Section


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Trace(View):
    """Inputs of some or all layers of a network, by layer name.

    Attributes
    ----------
    layers
        Name to `LayerTrace`; all hold the same number of samples.
    labels
        int64 (samples,), the right class of each sample, or None.
    source
        What was recorded, in words, for reports.
    synthetic
        Whether it was drawn at random.
    preprocessing
        How the inputs were made into numbers, in words; empty where nothing was done or it is not known.
    seed
        Of the random numbers that chose or made the inputs, or None.
    model_sha256
        SHA-256 of the model file it was recorded from, or None.
    unmodelled
        Layers of the model that were not recorded, each in words: without them a total would be of a part.
    input_shapes
        Of one sample, by the model's input, as it was run; empty where it is not known.
    """

    layers: Mapping[str, LayerTrace]
    labels: NDArray[np.int64] | None = None
    source: str = "arrays"
    synthetic: bool = False
    preprocessing: str = ""
    seed: int | None = None
    model_sha256: str | None = None
    unmodelled: tuple[str, ...] = ()
    input_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        take_fields(self)
        clean_texts(self, ("source", "preprocessing", "unmodelled", "model_sha256"))
        if not self.layers:
            raise TraceError(f"trace {self.source!r}: no layers")
        if unprintable := [name for name in self.layers if not name.isprintable()]:
            raise TraceError(f"trace {self.source!r}: layer {unprintable[0]!r}: must be printable text")
        if not all(map(str.isprintable, self.input_shapes)):
            shown = {printable(name): shape for name, shape in self.input_shapes.items()}
            object.__setattr__(self, "input_shapes", shown)
        counts = {name: layer.samples for name, layer in self.layers.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"{name} {count}" for name, count in counts.items())
            raise TraceError(f"trace {self.source!r}: layers hold different numbers of samples: {listed}")
        if self.labels is not None and self.labels.shape != (self.samples,):
            raise TraceError(f"trace {self.source!r}: labels has shape {self.labels.shape}: must be ({self.samples},)")

    @property
    def samples(self) -> int:
        """Number of samples."""
        return next(iter(self.layers.values())).samples

    @taken
    def head(self, samples: int) -> Trace:
        """Return the first samples only."""
        if samples < 1:
            raise TraceError(f"trace {self.source!r}: {samples} samples asked for: it holds {self.samples}")
        layers = {name: layer.head(samples) for name, layer in self.layers.items()}
        labels = None if self.labels is None else self.labels[:samples]
        return replace(self, layers=layers, labels=labels)

    @taken
    def save(self, path: str | Path) -> None:
        """Write the trace as ``.npz``."""
        trace_file.save(path, self)

    def to_arrays(self) -> Arrays:
        """Return what `save` writes. Values that are whole multiples of 1/255 are kept as int16."""
        return trace_file.pack(self)

    @classmethod
    @taken
    def load(cls, path: str | Path) -> Trace:
        """Read a trace file.

        Raises
        ------
        TraceError
            If it is missing, damaged or not a trace.
        """
        return trace_file.load(path, cls)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], path: str) -> Trace:
        """Undo `to_arrays`; ``path`` heads every error, raised as by `load`."""
        return trace_file.unpack(arrays, path, cls)

    def headline(self) -> str:
        """Say what was recorded, and for how many samples."""
        many = "1 sample" if self.samples == 1 else f"{self.samples} samples"
        return f"{many}{'' if self.labels is None else ' with labels'}: {self.source}."

    def sections(self) -> tuple[Section, ...]:
        """Return each layer's density over the samples, and where all of it is from."""
        lines = []
        if self.preprocessing:
            lines.append(f"Preprocessing: {self.preprocessing}.")
        if self.input_shapes:
            said = (f"{name} {' x '.join(map(str, shape)) or 'one value'}" for name, shape in self.input_shapes.items())
            lines.append(f"Inputs of one sample: {', '.join(said)}.")
        if self.seed is not None:
            lines.append(f"Seed: {self.seed}.")
        if self.synthetic:
            lines.append("Synthetic: drawn at random, not recorded.")
        if self.model_sha256 is not None:
            lines.append(f"Model file, SHA-256: {self.model_sha256}.")
        lines += [f"Not modelled: {text}." for text in self.unmodelled]
        return (Section(name="layers", grids=(recorded_grid(self.layers),), lines=tuple(lines)),)
