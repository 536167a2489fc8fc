"""How a layer's columns come over the bus when its weights are not in place: sizes, bus cycles, and what fits a buffer.

Comes in: an `Encoding` and the spec's DRAM and stream buffer. Goes out: a frozen `Stream`. Read by both timing engines,
and by the memory plan, which decides which layers are streamed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eie.compiler.encode import Encoding
from eie.errors import ProgramError
from eie.model.matrix import frozen
from eie.show.brief import Brief
from eie.spec import AcceleratorSpec


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Stream(Brief):
    """One pass as it comes over the bus.

    Attributes
    ----------
    bits
        int64 (J,): of each column, bias included: the entries of all PEs with padding, and a pointer a PE, in whole
        bursts.
    cycles
        int64 (J,): for which a column occupies the bus.
    half
        Entries that a PE holds in one half of the buffer.
    latency_cycles
        From a request to its first byte.
    whole
        Whether all columns come, or those of the non-zero activations.
    held
        Whether what has come stays for the inputs that follow: there is room for all of it.
    """

    bits: NDArray[np.int64]
    cycles: NDArray[np.int64]
    half: int
    latency_cycles: int
    whole: bool
    held: bool = False

    def __repr__(self) -> str:
        which = "all" if self.whole else "active"
        return f"<Stream: {which} of {len(self.bits):,} columns, {self.half:,} entries a half>"

    @classmethod
    def of(cls, encoding: Encoding, spec: AcceleratorSpec, layer: str = "", *, held: bool = False) -> Stream:
        """Measure the columns of a pass on a machine's bus.

        Parameters
        ----------
        layer
            Its name, for the error.
        held
            Whether the whole layer has room on the chip while it is at work.

        Raises
        ------
        ProgramError
            If a column does not fit a half of the buffer.
        """
        check_columns(layer, encoding, spec)
        bits = column_bits(encoding, spec)
        return cls(
            bits=frozen(bits, np.int64),
            cycles=frozen(bus_cycles(bits, spec), np.int64),
            half=spec.stream_half_entries,
            latency_cycles=spec.dram_latency_cycles,
            whole=spec.stream == "layer",
            held=held,
        )

    def first_half(self, encoding: Encoding) -> int:
        """Columns, from the first on, that one half of the buffer holds: those that are there when a layer begins."""
        # None of a PE's sums falls from column to column, so a search finds the last that fits.
        return int(np.searchsorted(encoding.pointers[1:].max(axis=1), self.half, "right"))


def column_bits(encoding: Encoding, spec: AcceleratorSpec) -> NDArray[np.int64]:
    """int64 (J,): bits that come over the bus for each column, whole bursts."""
    return burst_bits(encoding.column_entries[0], spec)


def burst_bits(entries: NDArray[np.int64], spec: AcceleratorSpec) -> NDArray[np.int64]:
    """int64 (J,): the same for columns of so many entries, over all PEs."""
    bits = entries * spec.entry_bits + spec.n_pe * spec.ptr_bits
    burst = 8 * spec.dram_burst_bytes
    bursts: NDArray[np.int64] = -(-bits // burst) * burst
    return bursts


def bus_cycles(bits: NDArray[np.int64], spec: AcceleratorSpec) -> NDArray[np.int64]:
    """int64 (J,): cycles for which transfers of so many bits each occupy the bus."""
    rate = spec.dram_bytes_per_cycle * 8
    # In whole numbers, rounded up: bits over bits a cycle, which is a fraction.
    cycles: NDArray[np.int64] = np.maximum(-(-bits * rate.denominator // rate.numerator), 1)
    return cycles


def check_columns(layer: str, encoding: Encoding, spec: AcceleratorSpec) -> None:
    """Refuse a pass that cannot be streamed.

    Raises
    ------
    ProgramError
        If a column does not fit a half of the buffer.
    """
    longest = encoding.column_entries[1]
    column = int(longest.argmax())
    check_column(layer, (int(longest[column]), encoding.column_start + column), spec)


def check_column(layer: str, longest: tuple[int, int], spec: AcceleratorSpec) -> None:
    """Refuse a layer whose longest column, (entries of a PE, number), does not fit a half of the buffer.

    Raises
    ------
    ProgramError
        If it does not.
    """
    entries, column = longest
    if entries > spec.stream_half_entries:
        raise ProgramError(
            f"layer {layer!r}: column {column} has {entries:,} entries in one PE, half a stream buffer holds "
            f"{spec.stream_half_entries:,}: use a larger stream_kib or more PEs"
        )
