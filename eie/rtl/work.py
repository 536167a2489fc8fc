"""What one layer is to do in hardware: its inputs as raw numbers, and what the engines say comes of them.

Comes in: a `Program` and its inputs. Goes out: `LayerWork`, one for each use of a layer. Read by `design`, which writes
it down as images and expectations.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.activity import Activity
from eie.compiler.encoded import EncodedLayer
from eie.compiler.program import Program
from eie.errors import ProgramError, TraceError
from eie.model.fitting import Layout
from eie.model.layer_trace import LayerTrace
from eie.rtl import strips
from eie.rtl.batches import Batches, counted
from eie.rtl.passes import Passes, row_groups
from eie.rtl.refusals import check_layer, check_program
from eie.rtl.streams import Streaming, streaming_of
from eie.simulator.functional import FixedPoint, LayerOutputs, Rows, fraction_bits, to_raw
from eie.simulator.inputs import Inputs
from eie.simulator.network import Settings, run_network
from eie.simulator.products import run_products
from eie.simulator.scale import quantised_codebook
from eie.simulator.stages import time_layer
from eie.simulator.starts import raw_start
from eie.simulator.sums import fixed_sums
from eie.simulator.workload import Workload
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class LayerWork:
    """Some products of one use of a layer, N of them.

    Attributes
    ----------
    use
        Name of the use; the layer's own where it runs once.
    inputs
        int64 (rows, inputs): raw activations, a row a product; by scatter a sample's pixels, as im2col unrolls them.
    size
        By scatter, height and width of the map.
    unit
        1.0 in their format: what a bias column is multiplied with.
    levels
        int64 (2**weight_bits,): the codebook, raw.
    starts
        int64 (outputs,): what accumulators start from, raw.
    fractions
        Fraction bits of the activations and of the accumulators.
    shift
        Bits by which a product is shifted right into the accumulators' format.
    outputs
        int64 (rows, outputs): what the fixed-point datapath gives, after ReLU; added up in the hardware's order.
    saturations
        int64 (N,): additions that saturated.
    activity
        What the fast engine counts, a product a sample.
    reordered
        By scatter: outputs that are not those of the run, whose sums saturated on the way in another order.
    streaming
        How its weights come; None where they are in place.
    """

    use: str
    layer: EncodedLayer
    spec: AcceleratorSpec
    inputs: NDArray[np.int64]
    unit: int
    levels: NDArray[np.int64]
    starts: NDArray[np.int64]
    fractions: tuple[int, int]
    shift: int
    outputs: NDArray[np.int64]
    saturations: NDArray[np.int64]
    activity: Activity
    size: tuple[int, int] | None = None
    reordered: int = 0
    streaming: Streaming | None = None

    @property
    def batches(self) -> Batches:
        """The batches in which activations go through the registers."""
        return Batches.of(self.layer, self.spec)

    @property
    def products(self) -> int:
        """N."""
        return len(self.saturations)

    @cached_property
    def layout(self) -> Passes:
        """The passes, and what of the numbers lies where."""
        if self.size is None:
            return row_groups(
                self.layer.passes, inputs=self.inputs, unit=self.unit, starts=self.starts, outputs=self.outputs
            )
        rows = (self.products, len(self.inputs) // self.products, -1)
        inputs, outputs = self.inputs.reshape(rows), self.outputs.reshape(rows)
        return strips.lay_out(self.layer, self.size, self.spec, inputs=inputs, starts=self.starts, outputs=outputs)

    @classmethod
    def of(
        cls,
        *,
        use: str,
        layer: EncodedLayer,
        spec: AcceleratorSpec,
        inputs: NDArray[np.int64],
        fractions: tuple[int, int],
        size: tuple[int, int] | None = None,
        streaming: Streaming | None = None,
    ) -> LayerWork:
        """Count and compute the products of raw inputs (rows, inputs).

        ``fractions`` are the fraction bits of the activations and of the accumulators, as a run has chosen them;
        ``size`` that of the map, for a convolution by scatter.
        """
        starts = _starts(layer, fractions, spec)
        if layer.scatter is None:
            sums, saturations = _by_rows(layer, inputs, fractions=fractions, data_bits=spec.data_bits)
            activity = counted(layer, LayerTrace.from_dense(inputs), spec=spec, streaming=streaming)
        else:
            assert size is not None
            sums, saturations = _by_pixels(layer, inputs, starts=starts, size=size, fractions=fractions, spec=spec)
            seen = LayerTrace.from_dense(inputs, products=layer.scatter.conv.products(*size))
            activity = time_layer(layer=layer, inputs=replace(seen, size=size), spec=spec, threads=1)
        return cls(
            use=use,
            layer=layer,
            spec=spec,
            inputs=inputs,
            unit=_unit(fractions, spec),
            levels=quantised_codebook(layer, spec.data_bits).raw,
            starts=starts,
            fractions=fractions,
            shift=_shift(layer, fractions, spec),
            outputs=np.maximum(sums, 0) if layer.relu else sums,
            saturations=saturations,
            activity=activity,
            size=size,
            streaming=streaming,
        )


def _unit(fractions: tuple[int, int], spec: AcceleratorSpec) -> int:
    return int(to_raw(np.ones(1), fractions[0], spec.data_bits)[0])


def _shift(layer: EncodedLayer, fractions: tuple[int, int], spec: AcceleratorSpec) -> int:
    activations, sums = fractions
    # Beyond twice the width every product is shifted to zero, halves included.
    return min(activations + quantised_codebook(layer, spec.data_bits).fraction_bits - sums, 2 * spec.data_bits)


def _starts(layer: EncodedLayer, fractions: tuple[int, int], spec: AcceleratorSpec) -> NDArray[np.int64]:
    """Return what accumulators start from, int64 (outputs,)."""
    starts = raw_start(layer, fractions[1], spec.data_bits)
    if starts is None:
        return np.zeros(layer.outputs, np.int64)
    if not layer.coded_bias:
        return starts
    assert layer.accumulator_bias is not None
    # A level of the codebook, rounded as its product with 1.0 is.
    codes = (layer.codebook[:, None] == layer.accumulator_bias).argmax(axis=0)
    products = quantised_codebook(layer, spec.data_bits).raw[codes] * _unit(fractions, spec)
    shift, largest = _shift(layer, fractions, spec), (1 << (spec.data_bits - 1)) - 1
    rounded: NDArray[np.int64] = np.clip((products + ((1 << shift) >> 1)) >> shift, -largest - 1, largest)
    return rounded


def _by_rows(
    layer: EncodedLayer, inputs: NDArray[np.int64], *, fractions: tuple[int, int], data_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up row by row, as the fixed-point datapath does; sums (rows, outputs), and (rows,) how many saturated."""
    activations, sums = fractions
    top = (1 << (data_bits - 1)) - 1
    made = [
        fixed_sums(
            layer=layer,
            count=1,
            rows=_row(inputs, row),
            activation_fraction_bits=activations,
            # The largest number of that format, so that it is the one chosen.
            peak=float(np.ldexp(float(top), -sums)),
            data_bits=data_bits,
            threads=1,
        )
        for row in range(len(inputs))
    ]
    assert all(product.fraction_bits == sums for product, _ in made)
    return np.concatenate([product.raw for product, _ in made]), np.array([saturated for _, saturated in made])


def _by_pixels(
    layer: EncodedLayer,
    inputs: NDArray[np.int64],
    *,
    starts: NDArray[np.int64],
    size: tuple[int, int],
    fractions: tuple[int, int],
    spec: AcceleratorSpec,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Add up a convolution pixel by pixel; sums (rows, outputs), and (samples,) how many additions saturated."""
    assert layer.scatter is not None
    conv = layer.scatter.conv
    codes = layer.gathered.passes[0].decode().dense()[:, : layer.inputs]
    sums, saturations = strips.in_order(
        quantised_codebook(layer, spec.data_bits).raw[codes],
        inputs.reshape(-1, conv.products(*size), layer.inputs),
        starts,
        taps=conv.kernel[0] * conv.kernel[1],
        shift=_shift(layer, fractions, spec),
        data_bits=spec.data_bits,
    )
    return sums.reshape(-1, layer.outputs), saturations


def works(
    program: Program,
    inputs: Inputs = None,
    *,
    layout: Layout | None = None,
    samples: int | None = None,
    sample: int = 0,
    layers: Collection[str] | None = None,
) -> list[LayerWork]:
    """Run a program and return what each use of its layers does, in order.

    Parameters
    ----------
    inputs, layout
        As `eie.simulate` takes them.
    samples
        How many samples, from ``sample`` on; all of them by default. Formats are those of all samples together.
    layers
        Names of the layers that are wanted; all of them by default.

    Raises
    ------
    ProgramError
        If the hardware cannot do a layer that is wanted; says which and why.
    TraceError
        If there is no such sample, or the inputs hold no values.
    """
    wanted = _chosen(program, layers)
    check_program(program)
    for layer in wanted.values():
        check_layer(layer, program)
    workload = Workload.of(program, inputs, layout=layout)
    count = workload.given.samples_in_all
    if not 0 <= sample < count:
        raise TraceError(f"sample {sample}: must be 0..{count - 1}, the inputs hold {count}")
    stop = count if samples is None else min(count, sample + samples)
    made: list[LayerWork] = []

    def ran(use: str, seen: LayerTrace, outputs: LayerOutputs) -> None:
        layer = by_use[use]
        if layer.name not in wanted:
            return
        rows = seen.dense(sample * seen.products, stop * seen.products)
        assert rows is not None
        # Exact: check_program has seen to it that float32 holds raw numbers.
        raw = np.ldexp(rows.astype(np.float64), outputs.activation_fraction_bits).astype(np.int64)
        fractions = outputs.activation_fraction_bits, outputs.fixed.fraction_bits
        height_width = (seen.size or workload.map_sizes[use]) if layer.scatter is not None else ()
        size = (height_width[0], height_width[1]) if height_width else None
        work = LayerWork.of(
            use=use,
            layer=layer,
            spec=program.spec,
            inputs=raw,
            fractions=fractions,
            size=size,
            streaming=streaming_of(layer, program, inputs=raw, turn=seen.products),
        )
        if size is not None:
            # Folded into maps, or a row a pixel where they were recorded.
            own = np.moveaxis(outputs.fixed.raw, 1, -1)
            own = own.reshape(-1, layer.outputs)[sample * seen.products : stop * seen.products]
            work = replace(work, reordered=int((work.outputs != own).sum()))
        made.append(work)

    by_use = {use: layer for layer in program.layers for use in workload.uses[layer.name]}
    settings = Settings(data_bits=program.spec.data_bits, keep_values=True)
    if workload.given.layers:
        for use, recorded in workload.given.layers.items():
            if by_use[use].name in wanted:
                ran(use, *_recorded(by_use[use], recorded, program.spec))
        return made
    graph = program.dataflow
    assert graph is not None
    run_network(
        graph=graph,
        layers={layer.name: layer for layer in program.layers},
        inputs=workload.given.loaded(),
        settings=settings,
        ran=ran,
    )
    return made


def _row(inputs: NDArray[np.int64], row: int) -> Callable[[int, int], NDArray[np.int64]]:
    """Return one row of inputs as `fixed_sums` asks for rows."""
    return lambda start, stop: inputs[row + start : row + stop]


def _chosen(program: Program, names: Collection[str] | None) -> dict[str, EncodedLayer]:
    known = {layer.name: layer for layer in program.layers}
    if unknown := [name for name in names or () if name not in known]:
        raise ProgramError(f"layer {unknown[0]!r}: must be one of {', '.join(known)}")
    return known if names is None else {name: known[name] for name in names}


def _recorded(layer: EncodedLayer, recorded: LayerTrace, spec: AcceleratorSpec) -> tuple[LayerTrace, LayerOutputs]:
    """Compute a layer on its recorded inputs, in the format that holds them and the bias column's 1.0."""
    values: NDArray[Any] | None = recorded.dense()
    if values is None:
        raise TraceError(f"layer {layer.name!r}: its trace holds no values: record it with values to run the hardware")
    largest = max(float(layer.has_bias), float(np.abs(values).max(initial=0)))
    fraction = fraction_bits(largest, spec.data_bits)
    fixed = FixedPoint(to_raw(values, fraction, spec.data_bits), fraction)
    outputs = run_products(layer=layer, rows=Rows.of(fixed, values), data_bits=spec.data_bits, threads=1)
    # As the hardware gets them: rounded.
    return LayerTrace.from_dense(fixed.value, products=recorded.products), outputs
