"""The nine benchmark layers, drawn, compiled and timed, each at most once.

Comes in: the published shapes and densities, and fc8's public data if there is a file of it. Goes out: `Activity` of
any layer, mask and machine. Read by every section; this is what they share.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from eie.activity import Activity
from eie.compiler.encoded import EncodedLayer
from eie.errors import ModelError
from eie.formats.npz import read_npz
from eie.model.layer import Layer
from eie.model.layer_trace import LayerTrace
from eie.model.matrix import SparseColumns
from eie.model.trace import Trace
from eie.simulator.batches import batches, register_cycles
from eie.simulator.cache import Cache
from eie.simulator.fast import queue_pass
from eie.simulator.records import Pattern
from eie.simulator.stages import Stages
from eie.simulator.workload import Workload
from eie.spec import EIE_64PE, AcceleratorSpec
from eie.studies.paper.masks import EVEN, draw, measured_spread
from eie.studies.paper.published import BenchmarkLayer, published
from eie.studies.paper.scales import kind_of

Mask = Literal["random", "spread", "low", "high", "real"]
MASKS: tuple[Mask, ...] = ("random", "spread")
REAL_LAYER = "Alex-8"
FC8_NAME = "alexnet_fc8.npz"
FC8_VARIABLE = "EIE_FC8"
SEED = 0


class Bench:
    """Draws and simulates on demand and remembers the counts.

    Parameters
    ----------
    fc8
        The public data of AlexNet fc8 (arrays codes, codebook, bias_codes, act), or None.
    progress
        Called with a line of text when something takes long.

    Masks: ``"random"`` (weights kept independently), ``"spread"`` (as uneven as measured: rows as fc8's, columns by
    what the layer reads), ``"low"`` and ``"high"`` (as ``"spread"``, at the ends of the interval that Table III's
    rounding leaves), ``"real"`` (fc8's own data).
    """

    def __init__(self, fc8: Path | None = None, progress: Callable[[str], None] = lambda _: None) -> None:
        self.fc8 = fc8
        self.progress = progress
        self.published = published()
        self._cache = Cache()
        self._stages: dict[tuple[str, Mask], Stages] = {}
        if fc8 is not None:
            self._stages[REAL_LAYER, "real"] = self._of(*_read_fc8(fc8))

    def best_mask(self, layer: str) -> Mask:
        """The most realistic data there is for a layer."""
        return "real" if (layer, "real") in self._stages else "spread"

    def layer(self, layer: str, mask: Mask) -> Layer:
        """Return a layer with its weights."""
        drawn = self._of_layer(layer, mask).workload.layers[0]
        assert isinstance(drawn, Layer)
        return drawn

    def inputs(self, layer: str, mask: Mask) -> LayerTrace:
        """Return the one input that a layer runs on."""
        return self._of_layer(layer, mask).workload.given.layers[layer]

    def encoded(self, layer: str, mask: Mask, spec: AcceleratorSpec = EIE_64PE) -> EncodedLayer:
        """Compile a layer."""
        return self._of_layer(layer, mask).encoded(0, as_printed(spec))

    def activity(self, layer: str, mask: Mask, spec: AcceleratorSpec = EIE_64PE) -> Activity:
        """Time a layer; machines that differ only in clock or node share their counts."""
        return self._of_layer(layer, mask).activity(0, as_printed(spec))

    def _of_layer(self, layer: str, mask: Mask) -> Stages:
        key = layer, mask
        if key not in self._stages:
            self.progress(f"drawing {layer}, {mask} mask")
            drawn = _draw(self.published.layer(layer), self.published.layers.index(layer), mask)
            self._stages[key] = self._of(*drawn)
        return self._stages[key]

    def _of(self, layer: Layer, inputs: LayerTrace) -> Stages:
        return Stages(Workload.of(layer, Trace(layers={layer.name: inputs})), self._cache)

    def prepare(self, masks: Iterable[Mask], specs: Iterable[AcceleratorSpec], text: str = "simulating") -> None:
        """Time all nine layers with each mask on each machine, layers side by side on the machine's cores."""
        specs = tuple(specs)
        jobs = [(layer, mask) for mask in masks for layer in self._largest_first()]

        def run(job: tuple[str, Mask]) -> None:
            layer, mask = job
            self.progress(f"{text}: {layer}, {mask} mask")
            for spec in specs:
                self.activity(layer, mask, spec)

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            list(pool.map(run, jobs))

    def _largest_first(self) -> list[str]:
        rows = self.published.benchmark
        return [row.name for row in sorted(rows, key=lambda row: -row.inputs * row.outputs * row.weight_pct)]

    def actual_us(self, layer: str, mask: Mask, spec: AcceleratorSpec = EIE_64PE) -> float:
        """Microseconds of one frame by the cycle contract, activations in their registers."""
        return spec.us(float(self.activity(layer, mask, spec).cycles[0]))

    def batched_us(self, layer: str, mask: Mask, spec: AcceleratorSpec = EIE_64PE) -> float:
        """Microseconds of one frame whose activations go through the registers in batches (section IV)."""
        # Counted here: a machine with ideal residency has all activations in place, and charges no batch.
        paper = as_printed(spec).replace(act_batches="paper")
        inputs, whole = self.inputs(layer, mask), self.encoded(layer, mask, spec).passes[0]
        parts = batches(whole, paper)
        drained = [
            queue_pass(part, Pattern.of(inputs.pattern(0, 1), part), paper.act_queue_depth, threads=1).cycles[0]
            for part in parts
        ]
        return spec.us(float(sum(drained) + sum(register_cycles(part, paper) for part in parts)))

    def theoretical_us(self, layer: str, mask: Mask, spec: AcceleratorSpec = EIE_64PE) -> float:
        """Microseconds of a machine that is perfectly balanced and never waits."""
        return spec.us(float(self.activity(layer, mask, spec).theoretical_cycles[0]))

    def efficiency(self, layer: str, mask: Mask, spec: AcceleratorSpec = EIE_64PE) -> float:
        """Theoretical over actual: load-balance efficiency."""
        return self.theoretical_us(layer, mask, spec) / self.actual_us(layer, mask, spec)


def as_printed(spec: AcceleratorSpec) -> AcceleratorSpec:
    """The paper's machine: weights and maps are where they are needed, however large."""
    return spec if "residency" in spec.model_fields_set else spec.replace(residency="ideal")


def rounding_interval(row: BenchmarkLayer) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the (low, high) weight densities and activation densities that Table III's printed digits stand for."""
    weights = ((row.weight_pct - 0.5) / 100, (row.weight_pct + 0.5) / 100)
    if row.act_pct == 100:
        return weights, (1.0, 1.0)
    return weights, ((row.act_pct - 0.05) / 100, (row.act_pct + 0.05) / 100)


def find_fc8() -> Path | None:
    """Return the file that ``EIE_FC8`` names, else fc8's data in the current folder or its ``data`` folder, or None."""
    if named := os.environ.get(FC8_VARIABLE):
        return Path(named)
    return next((path for path in (Path(FC8_NAME), Path("data") / FC8_NAME) if path.is_file()), None)


def _draw(row: BenchmarkLayer, number: int, mask: Mask) -> tuple[Layer, LayerTrace]:
    """Exactly the printed share of inputs is active; the weights' density is met on average."""
    if mask == "real":
        raise ModelError(f"layer {row.name!r}: no real data: only {REAL_LAYER} is public, and needs its file (--fc8)")
    rng = np.random.default_rng([SEED, number])
    weights, acts = row.weight_pct / 100, row.act_pct / 100
    if mask in ("low", "high"):
        end = ("low", "high").index(mask)
        weights, acts = (interval[end] for interval in rounding_interval(row))
    matrix = draw(
        rows=row.outputs,
        columns=row.inputs,
        density=weights,
        spread=EVEN if mask == "random" else measured_spread(),
        rng=rng,
        scale=None if mask == "random" else kind_of(row.name),
    )
    active = np.zeros(row.inputs, np.float32)
    active[rng.permutation(row.inputs)[: round(row.inputs * acts)]] = 1
    return _one_code_layer(row.name, matrix), LayerTrace.from_dense(active).without_values()


def _one_code_layer(name: str, matrix: SparseColumns) -> Layer:
    """Time and counts depend only on where the non-zeros are, so one shared weight serves."""
    return Layer(name=name, matrix=matrix, codebook=np.array([0, 1], np.float32), synthetic=True)


def _read_fc8(path: Path) -> tuple[Layer, LayerTrace]:
    arrays = read_npz(path, ModelError)
    missing = [name for name in ("codes", "codebook", "bias_codes", "act") if name not in arrays]
    if missing:
        raise ModelError(f"{path}: not the data of AlexNet fc8: no array {', '.join(missing)}")
    layer = Layer.from_codes(
        name=REAL_LAYER, codes=arrays["codes"], codebook=arrays["codebook"], bias_codes=arrays["bias_codes"]
    )
    expected = published().layer(REAL_LAYER)
    if (layer.inputs, layer.outputs) != (expected.inputs, expected.outputs):
        raise ModelError(
            f"{path}: codes are {layer.outputs} x {layer.inputs}: AlexNet fc8 is {expected.outputs} x {expected.inputs}"
        )
    inputs = LayerTrace.from_dense(arrays["act"], f"{path}: act")
    if inputs.width != layer.inputs or inputs.rows != 1:
        raise ModelError(
            f"{path}: act holds {inputs.rows} x {inputs.width} values: must be one input of {layer.inputs}"
        )
    return layer, inputs
