"""A roofline, a bound: the larger of arithmetic at peak rate and memory at full bandwidth, for dense and CSR weights.

Comes in: a `Workload`. Goes out: a `Baseline`. Nothing but the machine's documented rates enters; `deviations` says how
far Table IV's measurements are from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import geometric_mean
from typing import Literal, get_args

from eie.errors import EieError
from eie.machines import published
from eie.machines.presets import Preset, preset
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.workload import LayerWork, Workload

Storage = Literal["dense", "csr"]
# float32 values and int32 indices, as BLAS and CSR libraries take them.
VALUE_BYTES = 4
INDEX_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class Deviation:
    """A published time beside the roofline; ``ratio`` is published over model, 1 if they agree."""

    column: str
    layer: str
    published_us: float
    model_us: float

    @property
    def ratio(self) -> float:
        """Published over model."""
        return self.published_us / self.model_us


def run(workload: Workload, machine: str, storage: Storage = "dense", batch: int = 1) -> Baseline:
    """Run every layer in float32; ``batch`` samples share the weights, costs are per sample.

    Power, area and node are Table V's, the power for the whole time.

    Raises
    ------
    EieError
        For an unknown machine or storage.
    """
    if storage not in get_args(Storage):
        raise EieError(f"roofline storage {storage!r}: must be dense or csr")
    parts = preset(machine, "roofline")
    place = published.platform(parts.name)
    described = Machine(
        # In the name, which is all that a figure or a row shows of the machine.
        name=f"{parts.name} roofline {storage} b{batch} (bound)",
        how="bound",
        source=parts.source,
        clock_mhz=place.mhz,
        node_nm=place.node_nm,
        batch=batch,
        dram=True,
        memory="own DRAM",
        weight_bits=8 * VALUE_BYTES,
        area_mm2=place.area_mm2,
        power_w=place.power_w,
    )
    return Baseline(
        described,
        _layers(workload=workload, machine=machine, storage=storage, batch=batch),
        (_distance(machine, storage, batch),),
    )


def deviations(machine: str) -> list[Deviation]:
    """Set Table IV's rows of this machine, dense and sparse, batch 1 and 64, beside the roofline."""
    parts = preset(machine, "roofline")
    compared = []
    for storage, word in (("dense", "dense"), ("csr", "sparse")):
        for batch in (1, 64):
            column = f"{parts.published}_{word}_b{batch}"
            modelled = _layers(
                workload=_table3(), machine=machine, storage="dense" if storage == "dense" else "csr", batch=batch
            )
            for ours, theirs in zip(modelled, published.run(column).layers, strict=True):
                assert ours.latency_us is not None
                assert theirs.latency_us is not None
                compared.append(
                    Deviation(column=column, layer=ours.layer, published_us=theirs.latency_us, model_us=ours.latency_us)
                )
    return compared


def _distance(machine: str, storage: Storage, batch: int) -> str:
    column = f"{preset(machine, 'roofline').published}_{'dense' if storage == 'dense' else 'sparse'}_b{batch}"
    ratios = (
        [deviation.ratio for deviation in deviations(machine) if deviation.column == column] if batch in (1, 64) else []
    )
    if not ratios:
        return "a roofline assumes full bandwidth and peak arithmetic; nothing is published for this batch size"
    return (
        f"a roofline assumes full bandwidth and peak arithmetic: Table IV's {column} takes "
        f"{geometric_mean(ratios):.1f} times as long ({min(ratios):.1f} to {max(ratios):.1f})"
    )


def _table3() -> Workload:
    return Workload(
        "Table III",
        tuple(
            LayerWork(name=name, outputs=outputs, inputs=inputs, kept_weights=round(density * outputs * inputs))
            for name, (outputs, inputs, density) in published.shapes().items()
        ),
    )


def _layers(workload: Workload, machine: str, storage: Storage, batch: int) -> tuple[LayerCost, ...]:
    parts = preset(machine, "roofline")
    place = published.platform(parts.name)
    return tuple(
        _layer(layer=layer, parts=parts, place=place, storage=storage, batch=batch) for layer in workload.layers
    )


def _layer(layer: LayerWork, parts: Preset, place: published.Platform, storage: Storage, batch: int) -> LayerCost:
    vectors = layer.products * batch
    dense = layer.outputs * layer.inputs
    # CSR per group: value and column of each non-zero, and where each row begins.
    kept = dense if storage == "dense" else layer.kept_weights / layer.groups
    weight_bytes = kept * VALUE_BYTES
    if storage == "csr":
        weight_bytes += kept * INDEX_BYTES + (layer.outputs + 1) * INDEX_BYTES
    # Dense products read each activation once; CSR gathers the activations of each non-zero anew, without reuse.
    gathered = layer.fetched_inputs if storage == "dense" else kept
    moved = weight_bytes + (gathered + layer.outputs) * vectors * VALUE_BYTES
    # Steps and groups follow each other, samples of a batch share everything: costs are a sample's.
    times = layer.steps * layer.groups / batch
    # Two operations a multiply-add; peak is in Gop/s and bandwidth in GB/s, so 1e3 a us.
    arithmetic_us = 2 * kept * vectors / (parts["peak"] * 1e3) * times
    memory_us = moved / (parts["bandwidth"] * 1e3) * times
    latency_us = max(arithmetic_us, memory_us)
    return LayerCost(
        layer=layer.name,
        latency_us=latency_us,
        cycles=latency_us * place.mhz if place.mhz else None,
        # us x W = uJ, and 1e3 makes nJ of them.
        energy_nj=latency_us * place.power_w * 1e3,
        utilisation=arithmetic_us / latency_us,
        bytes_moved=moved * times,
        shape=layer.shape,
        details={"arithmetic_us": arithmetic_us, "memory_us": memory_us},
    )
