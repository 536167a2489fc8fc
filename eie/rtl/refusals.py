"""What this hardware cannot do, said by name before anything is written.

Comes in: a program and its layers. Goes out: nothing, or a `ProgramError`. Read by `work`.
"""

from __future__ import annotations

from eie.compiler.encoded import EncodedLayer
from eie.compiler.program import Program
from eie.errors import ProgramError

WIDEST_DATA = 24  # bits of raw numbers that float32 records hold exactly


def check_program(program: Program) -> None:
    """Refuse machines that the hardware is not.

    Raises
    ------
    ProgramError
        Saying which field of the spec is in the way.
    """
    spec = program.spec
    if spec.data_bits > WIDEST_DATA:
        raise ProgramError(f"spec.data_bits={spec.data_bits}: must be <= {WIDEST_DATA} for the hardware")


def check_layer(layer: EncodedLayer) -> None:
    """Refuse what a layer would need and the hardware has not: passes, another way to run a convolution.

    Raises
    ------
    ProgramError
        Saying which layer, what is missing and what to do.
    """
    where = f"layer {layer.name!r}"
    if layer.geometry.recurrence is not None:
        raise ProgramError(f"{where}: its steps read their own results, which the hardware's bench does not: no rtl")
    if layer.conv in ("scatter", "winograd"):
        raise ProgramError(
            f"{where}: a convolution by {layer.conv}, the hardware does a product for each row of inputs: compile it "
            "with conv='im2col' (--conv im2col)"
        )
    if len(layer.passes) > 1:
        raise ProgramError(
            f"{where}: {len(layer.passes)} passes, the hardware does one: more act_registers, more PEs, or "
            "residency=ideal give one"
        )
