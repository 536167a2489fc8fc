"""Random layers of several passes and random convolutions by scatter, for the hardware that runs both."""

import numpy as np
from rtl_layers import Case, compiled

import eie

ROOMY = {"residency": "auto", "spmat_kib": 256, "ptr_kib": 64, "act_kib": 64}  # all weights stay


def random_passes(seed: int) -> Case:
    """Draw a layer of one to five groups of rows, the last of them seldom full."""
    rng = np.random.default_rng([seed, 1])
    n_pe, registers = int(rng.choice([1, 2, 3, 4, 7, 8, 16])), int(rng.choice([1, 2, 3, 5, 8]))
    rows = int(rng.integers(1, 5 * n_pe * registers + 1))
    columns = int(rng.integers(1, 30))
    weights = (rng.random((rows, columns)) < rng.choice([0.05, 0.3, 1])) * rng.standard_normal((rows, columns))
    products = int(rng.integers(1, 4))
    inputs = rng.standard_normal((products, columns)) * (rng.random((products, columns)) < rng.choice([0.2, 0.6, 1]))
    bias = rng.standard_normal(rows) if rng.random() < 0.6 else None
    program = compiled(
        weights,
        bias,
        place="auto" if bias is None else str(rng.choice(["column", "accumulator"])),
        relu=bool(rng.random() < 0.3),
        n_pe=n_pe,
        **{**ROOMY, **_machine(rng), "act_registers": registers},
    )
    return Case(name=f"passes {seed}", program=program, inputs=inputs.astype(np.float32))


def random_map(seed: int) -> Case:
    """Draw a convolution: kernel, stride, dilation, pads, groups, the map, and accumulators for few columns of it or many."""
    rng = np.random.default_rng([seed, 2])
    n_pe, groups = int(rng.choice([1, 2, 3, 4, 5, 8, 12])), int(rng.choice([1, 1, 1, 2, 3]))
    pair = lambda low, high: tuple(int(n) for n in rng.integers(low, high + 1, 2))  # noqa: E731
    kernel, dilation = pair(*rng.choice([(1, 5), (2, 4), (3, 5)])), pair(1, 2) if rng.random() < 0.3 else (1, 1)
    conv = eie.Conv2d(
        in_channels=groups * int(rng.integers(1, 5)),
        out_channels=groups * int(rng.integers(1, 14 // groups)),
        kernel=kernel,
        stride=pair(1, 3),
        pads=tuple(int(n) for n in rng.integers(0, 1 + max(kernel) // 2, 4)),
        dilation=dilation,
        groups=groups,
    )
    span = [gap * (size - 1) + 1 for size, gap in zip(kernel, dilation, strict=True)]
    # Large enough for one window without pads, so that there is always an output.
    size = tuple(int(least + rng.integers(0, 6)) for least in span)
    shape = conv.weight_shape
    weights = (rng.random(shape) < rng.choice([0.1, 0.4, 1])) * rng.standard_normal(shape)
    bias = rng.standard_normal(conv.out_channels) if rng.random() < 0.6 else None
    layer = eie.Layer.from_conv("layer", weights.astype(np.float32), bias, conv=conv, relu=bool(rng.random() < 0.3))
    ring = -(-span[0] // conv.stride[0])
    machine = {**ROOMY, **_machine(rng), "act_registers": int(ring * rng.choice([1, 2, 3, 4, 8, 16]))}
    if rng.random() < 0.2:
        machine["residency"] = "ideal"
    program = eie.compile(
        layer,
        eie.EIE_64PE.replace(n_pe=n_pe, **machine),
        conv="scatter",
        bias="auto" if bias is None else str(rng.choice(["column", "accumulator"])),
    )
    samples = int(rng.integers(1, 3))
    drawn = rng.standard_normal((samples, conv.in_channels, *size))
    inputs = drawn * (rng.random(drawn.shape) < rng.choice([0.1, 0.5, 1]))
    return Case(name=f"map {seed}", program=program, inputs=inputs.astype(np.float32))


def _machine(rng):
    """The knobs that every layer may meet."""
    index_bits, weight_bits = int(rng.integers(1, 7)), int(rng.integers(1, 7))
    return {
        "act_queue_depth": int(rng.choice([2, 3, 4, 8, 16])),
        "index_bits": index_bits,
        "weight_bits": weight_bits,
        "data_bits": int(rng.choice([4, 8, 12, 16, 24])),
        "spmat_row_bits": int(max(index_bits + weight_bits, rng.choice([8, 16, 32, 64, 100]))),
    }
