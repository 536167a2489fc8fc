"""The dense equivalent: the same PEs, every weight and every activation, one MAC a PE and cycle.

Comes in: a layer's shape and the spec. Goes out: cycles. Read by the report, for the speedup over no compression.
"""

from __future__ import annotations

from eie.spec import AcceleratorSpec


def dense_cycles(outputs: int, inputs: int, spec: AcceleratorSpec, *, has_bias: bool = False, products: int = 1) -> int:
    """Cycles of a layer without compression: the PE with the most rows spends one cycle on each of its weights.

    The bias is one more column, as it is on EIE. Queues never wait, since every column costs every PE the same.
    """
    rows_of_busiest_pe = -(-outputs // spec.n_pe)
    return rows_of_busiest_pe * (inputs + has_bias) * products
