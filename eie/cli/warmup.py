"""``eie warmup``: compile the kernels before they are needed."""

from __future__ import annotations

import tempfile
from pathlib import Path

import click


@click.command()
def warmup() -> None:
    """Compile the kernels now, so that the first run need not."""
    import numpy as np

    from eie.cli.inputs import stderr
    from eie.cli.progress import Progress
    from eie.compiler.program import compile as compile_network
    from eie.importers import load
    from eie.importers.stored import save
    from eie.model.network import Layer, Network
    from eie.simulation import simulate
    from eie.spec import AcceleratorSpec

    rng = np.random.default_rng(0)
    console = stderr()
    with Progress(console) as progress:
        progress.stage("compiling kernels")
        # One layer for each pair of number types that slots and backlogs can have.
        for rows, columns, depth in (
            (20, 10, 2),
            (96, 40, 8),
            (250, 300, 4096),
            (600, 300, 16),
            (600, 300, 4096),
            (70_000, 2, 2),
        ):
            weights = rng.standard_normal((rows, columns)).astype(np.float32)
            layer = Layer.from_weights("warmup", weights, np.ones(rows))
            program = compile_network(layer, AcceleratorSpec(n_pe=1, act_queue_depth=depth))
            # One input is walked alone, sixteen are walked eight at a time: kernels of their own.
            simulate(program, rng.random(columns))
            simulate(program, rng.random((16, columns)))
            program.layers[0].decode()
        codes = rng.integers(0, 4, (8, 8)).astype(np.uint8)
        shared = Layer.from_codes("warmup", codes, np.arange(4.0))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "warmup.eie"
            save(Network.of(shared), file)
            compile_network(load(file), AcceleratorSpec(n_pe=2))
    console.print("kernels are compiled and cached")
