"""``eie warmup``: compile the kernels before they are needed."""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path

import click

from eie.cli.help import examples


@click.command(epilog=examples("eie warmup"))
def warmup() -> None:
    """Compile the kernels now, so that the first run need not."""
    import numpy as np

    from eie.cli.inputs import stderr
    from eie.cli.progress import Progress
    from eie.compiler.compile import compile as compile_network
    from eie.importers import load
    from eie.importers.stored import save
    from eie.model.layer import Layer
    from eie.model.network import Network
    from eie.simulation import simulate
    from eie.spec import AcceleratorSpec

    # Any numbers do; these are the same ones each time.
    rng = np.random.default_rng(0)
    console = stderr()
    with Progress(console) as progress:
        progress.stage("compiling kernels")
        # One layer for each pair of number types that slots and backlogs can have: more rows on one PE make longer
        # columns, deeper queues larger backlogs. Weights stay in place, or they would be streamed: other kernels.
        # 2,100 columns: two inputs of so many are numbers enough for the kernel that rounds.
        for rows, columns, depth in ((20, 2100, 2), (96, 40, 8), (600, 10, 16)):
            weights = rng.standard_normal((rows, columns)).astype(np.float32)
            weights[1:19, 0] = 0  # a gap that takes padding
            layer = Layer.from_weights("warmup", weights, np.ones(rows))
            program = compile_network(layer, AcceleratorSpec(n_pe=1, act_queue_depth=depth, residency="ideal"))
            simulate(program, rng.random((2, columns)), shares=True).timeline(limit=1 << 20)
            # Decoding has kernels of its own, which no simulation calls.
            program.layers[0].decode()
        # Pointers that do not reach the layer's entries: its columns are streamed.
        streamed = AcceleratorSpec(n_pe=1, ptr_bits=4)
        for samples in (1, 2):
            simulate(
                Layer.from_weights("warmup", np.ones((4, 20))),
                np.ones((samples, 20)),
                spec=streamed,
                batch=samples,
                shares=True,
            ).timeline()
        # A convolution that broadcasts each activation once, with its weights in place and streamed.
        for machine in (AcceleratorSpec(n_pe=1), streamed):
            conv = Layer.from_conv("warmup", np.ones((4, 1, 2, 3), np.float32))
            simulate(conv, np.ones((1, 1, 4, 4)), spec=machine, conv="scatter", shares=True).timeline()
        # And for the arithmetic: codes of 4 bits and more, numbers of 16 bits and more, one input and a block of them.
        for weight_bits, data_bits, samples in product((4, 8), (16, 32), (1, 9)):
            spec = AcceleratorSpec(n_pe=1, weight_bits=weight_bits, data_bits=data_bits)
            simulate(Layer.from_weights("warmup", rng.standard_normal((40, 20))), rng.random((samples, 20)), spec=spec)
        far_apart = np.zeros((1, 600))  # entries of one SRAM row, further apart than a byte counts
        far_apart[0, [0, -1]] = 1
        simulate(Layer.from_weights("warmup", far_apart), np.ones(600), spec=AcceleratorSpec(n_pe=1), shares=True)
        # Weights a few of which are zero.
        few = 1 - np.eye(8)
        network_of = Layer.from_weights("warmup", few), Layer.from_codes("warmup", few.astype(np.uint8), np.arange(2.0))
        for layer in network_of:
            simulate(layer, np.ones(8), spec=AcceleratorSpec(n_pe=1))
        # What forms of a study wait as.
        Layer.from_weights("warmup", np.eye(8)).matrix.put_away()
        codes = rng.integers(0, 4, (8, 8)).astype(np.uint8)
        shared = Layer.from_codes("warmup", codes, np.arange(4.0))
        with tempfile.TemporaryDirectory() as folder:
            # By way of a file: reading Huffman words is a kernel, too.
            file = Path(folder) / "warmup.eie"
            save(Network.of(shared), file)
            compile_network(load(file), AcceleratorSpec(n_pe=2))
    console.print("kernels are compiled and cached")
