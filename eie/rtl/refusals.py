"""What this hardware cannot do, said by name before anything is written.

Comes in: a program and its layers. Goes out: nothing, or a `ProgramError`. Read by `work`.
"""

from __future__ import annotations

from eie.compiler.encoded import EncodedLayer
from eie.compiler.program import Program
from eie.errors import ProgramError
from eie.rtl.batches import Batches

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


def check_layer(layer: EncodedLayer, program: Program) -> None:
    """Refuse what a layer would need and the hardware has not: feedback, transforms, streaming in several passes.

    Raises
    ------
    ProgramError
        Saying which layer, what is missing and what to do.
    """
    where = f"layer {layer.name!r}"
    if layer.geometry.recurrence is not None:
        raise ProgramError(f"{where}: its steps read their own results, which the hardware's bench does not: no rtl")
    if layer.conv == "winograd":
        raise ProgramError(
            f"{where}: a convolution by winograd, whose tiles the hardware does not transform: compile it with "
            "conv='im2col' or 'scatter' (--conv)"
        )
    if layer.reloads:
        raise ProgramError(f"{where}: its passes are loaded one by one, as in version 0.1: compile it anew")
    streamed = program.memory.by_name[layer.name].place == "streamed"
    if streamed and (layer.scatter is not None or len(layer.passes) > 1):
        way = "by scatter" if layer.scatter is not None else f"in {len(layer.passes)} passes"
        raise ProgramError(
            f"{where}: its weights are streamed and it runs {way}, the hardware streams single passes: more spmat_kib or "
            "ptr_kib, or residency=ideal keep them in place"
        )
    Batches.of(layer, program.spec)
