"""The verb: a pruned network compiled for one machine.

Comes in: a model and an `AcceleratorSpec`. Goes out: a `Program`, lowered, its weights shared, its entries on their
PEs. Read by callers, the simulation, the command line and studies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from eie.compiler.choice import Conv, check_conv, encode_conv, note_of, sizes_of
from eie.compiler.encoded import EncodedLayer
from eie.compiler.lower import Lowering, lower
from eie.compiler.memory import stated_by
from eie.compiler.program import Program
from eie.compression.bias import BiasPlace
from eie.compression.cluster import Initialisation
from eie.compression.share import share
from eie.errors import ModelError
from eie.formats.arguments import taken
from eie.importers.entrance import Model, as_network
from eie.model.layer import Layer
from eie.spec import EIE_64PE, AcceleratorSpec


@taken
def compile(
    model: Model,
    spec: AcceleratorSpec = EIE_64PE,
    *,
    init: Initialisation = "exact",
    conv: Conv = "auto",
    lowering: Lowering | None = None,
    bias: BiasPlace = "auto",
    sizes: Mapping[str, tuple[int, ...]] | None = None,
) -> Program:
    """Compile pruned layers into per-PE images.

    Parameters
    ----------
    model
        A path, the name of a shipped model, a `Layer` or a `Network`. Float weights are clustered to
        ``spec.weight_bits`` first; shared weights pass unchanged.
    spec
        The machine.
    init
        How clustering starts, see `eie.compression.share.share`.
    conv
        How convolutions over maps run (docs/lowering.md): ``"im2col"``, a product an output pixel; ``"scatter"``, each
        activation broadcast once; ``"auto"``, whichever of the two takes fewer cycles, im2col where neither graph nor
        ``sizes`` say the size of the map; ``"winograd"``, 16 smaller products per 2x2 output pixels on a denser matrix,
        for 3x3 kernels of stride 1. Where a way does not apply a layer runs by im2col.
    lowering
        As version 0.1 called it, ``"im2col"`` or ``"winograd"``; overrules ``conv``.
    bias
        Where float biases go: ``"column"``, one more column of the matrix, in the weights' levels and those they leave
        free; ``"accumulator"``, the accumulators start from them in their own format; ``"auto"``, the column where it
        holds them within the weights' own relative error, else the accumulators. Layers that are shared already keep
        what they have.
    sizes
        Height and width of the map that a convolution will read, by its name, where the model leaves them open.

    Returns
    -------
    Program
        Holds the machine, every PE's memories and how full they are; saved and loaded as one file.

    Raises
    ------
    ModelError
        If shared weights have more levels than ``spec.weight_bits`` can name.
    ProgramError
        If a layer has to be streamed and one of its columns exceeds half of the stream buffer.

    Examples
    --------
    The example of the EIE paper, section III-B: a zero run longer than 15 costs a padding entry.

    >>> import numpy as np, eie
    >>> column = np.array([0, 0, 1, 2] + 18 * [0] + [3.0])[:, None]
    >>> program = eie.compile(eie.Layer.from_weights("v", column), eie.EIE_64PE.replace(n_pe=1))
    >>> codes, runs, pointers = program.layers[0].passes[0].pe_image(0)
    >>> codes.tolist(), runs.tolist()
    ([1, 2, 0, 3], [2, 0, 15, 2])
    """
    network = as_network(model)
    spec = stated_by(network, spec)
    if lowering not in (None, *get_args(Lowering)):
        raise ModelError(f"lowering={lowering!r}: must be 'im2col' or 'winograd'")
    conv = lowering or conv
    check_conv(conv)
    lowered = [lower(layer, "winograd" if conv == "winograd" else "im2col") for layer in network.layers]
    # Only the choice asks for sizes, and following a large graph takes a while.
    known = {**(sizes or {}), **sizes_of(network)} if conv == "auto" else {}
    layers = _encoded([layer for layer, _ in lowered], spec, conv=conv, init=init, bias=bias, sizes=known)
    program = Program(
        name=network.name,
        spec=spec,
        layers=layers,
        sequential=network.sequential,
        source=network.source,
        notes=(
            *network.notes,
            *(note for _, note in lowered if note),
            *note_of(layers, conv),
            *_kept_biases([layer for layer, _ in lowered], bias),
        ),
        trace=network.trace,
        graph=network.graph,
        sha256=network.sha256,
        alternatives=network.alternatives,
        unmodelled=network.unmodelled,
    )
    program.check_columns()
    return program


def _encoded(
    lowered: Sequence[Layer],
    spec: AcceleratorSpec,
    *,
    conv: Conv,
    init: Initialisation,
    bias: BiasPlace,
    sizes: Mapping[str, tuple[int, ...]],
) -> tuple[EncodedLayer, ...]:
    """Share and encode the layers of a network, lowered already."""
    return tuple(
        encode_conv(*share(layer, spec.weight_bits, init, bias=bias), spec, conv=conv, size=sizes.get(layer.name, ()))
        for layer in lowered
    )


def _kept_biases(layers: Sequence[Layer], bias: BiasPlace) -> list[str]:
    """Name the layers whose bias stays elsewhere than was asked, since they are shared already."""
    if bias == "auto":
        return []
    shared = [layer for layer in layers if layer.codebook is not None]
    where, part = ("accumulators", "bias") if bias == "column" else ("column", "bias_codes")
    names = [layer.name for layer in shared if getattr(layer, part) is not None]
    return (
        [f"bias {bias}: {', '.join(names)} shared already, with the bias in the {where}, and kept so"] if names else []
    )
