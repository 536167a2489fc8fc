"""What the commands do: load, compile, simulate, show."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from eie.cli.inputs import write_texts
from eie.cli.options import how_to_read
from eie.cli.progress import Progress
from eie.compiler.lower import Lowering
from eie.compiler.program import Program
from eie.compiler.program import compile as compile_network
from eie.compression.coding import huffman
from eie.compression.share import Initialisation
from eie.errors import EieError, ProgramError, TraceError
from eie.formats.files import read_npy
from eie.importers import load
from eie.kernels.jit import kernels_are_cached
from eie.model.network import Layer, Network, dataflow
from eie.model.trace import Trace
from eie.results.result import Result
from eie.results.table import show
from eie.simulation import simulate, with_given_accuracy
from eie.simulator.inputs import Inputs, rows_or_maps
from eie.spec import AcceleratorSpec, load_spec

out = Console(markup=False)
err = Console(stderr=True, markup=False)


def run(
    model: str,
    spec_name: str | None,
    overrides: Iterable[str],
    winograd: bool,
    **options: Any,
) -> None:
    """Compile, simulate and report in one go."""
    keep_apart(_outputs(options), (model, options["trace_file"], options["mask"], options["shapes"]))
    spec = load_spec(spec_name or "EIE_64PE", overrides)
    announce_compilation()
    with Progress(err) as progress:
        progress.stage(f"reading {model}")
        network = load(model, **how_to_read(options))
        inputs = _inputs(options, network, network.trace)
        progress.stage("compiling")
        program = compile_network(network, spec, lowering=lowering(winograd))
        result = _simulate(program=program, inputs=inputs, progress=progress, options=options)
        result = with_given_accuracy(result, network, inputs)
    _report(result, options)


def compile_model(
    model: str,
    spec_name: str | None,
    overrides: Iterable[str],
    output: str,
    init: str,
    winograd: bool,
    **how: Any,
) -> None:
    """Compile a model into a program file."""
    if Path(output).suffix != ".safetensors":
        raise ProgramError(f"{output}: a program file ends in .safetensors")
    keep_apart([output], (model, how["mask"], how["shapes"]))
    spec = load_spec(spec_name or "EIE_64PE", overrides)
    announce_compilation()
    with Progress(err) as progress:
        progress.stage(f"reading {model}")
        network = load(model, **how_to_read(how))
        progress.stage("compiling")
        chosen: Initialisation = "linear" if init == "linear" else "exact"
        program = compile_network(network, spec, init=chosen, lowering=lowering(winograd))
        progress.stage(f"writing {output}")
        program.save(output)
    _describe(program)


def simulate_program(program: str, spec_name: str | None, overrides: Iterable[str], **options: Any) -> None:
    """Simulate a program file."""
    keep_apart(_outputs(options), (program, options["trace_file"]))
    compiled = Program.load(program)
    overrides = tuple(overrides)
    if spec_name or overrides:
        compiled = compiled.on(load_spec(spec_name or compiled.spec, overrides))
    inputs = _inputs(options, compiled, None)
    announce_compilation()
    with Progress(err) as progress:
        result = _simulate(program=compiled, inputs=inputs, progress=progress, options=options)
    _report(result, options)


def inspect(file: str, spec_name: str | None, overrides: Iterable[str], **how: Any) -> None:
    """Describe a program file, or a model compiled here and now."""
    overrides = tuple(overrides)
    if not Program.is_program(file):
        program = compile_network(load(file, **how_to_read(how)), load_spec(spec_name or "EIE_64PE", overrides))
    elif spec_name or overrides or any(how.values()):
        raise ProgramError(f"{file}: is compiled already; --spec, --set, --mask and the like apply to models")
    else:
        program = Program.load(file)
    _describe(program)


def warmup() -> None:
    """Run every kernel once on small data, so that all of them are compiled and cached."""
    rng = np.random.default_rng(0)
    with Progress(err) as progress:
        progress.stage("compiling kernels")
        # one layer for each pair of number types that slots and backlogs can have
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
            spec = AcceleratorSpec(n_pe=1, act_queue_depth=depth)
            program = compile_network(layer, spec)
            simulate(program, rng.random((2, columns)))
            program.layers[0].decode()
        # and for the arithmetic: codes of 4 bits and more, numbers of 16 bits and more, one input and a block of them
        for weight_bits, data_bits, samples in product((4, 8), (16, 32), (1, 9)):
            spec = AcceleratorSpec(n_pe=1, weight_bits=weight_bits, data_bits=data_bits)
            program = compile_network(Layer.from_weights("warmup", rng.standard_normal((40, 20))), spec)
            simulate(program, rng.random((samples, 20)))
        far_apart = np.zeros((1, 600))  # entries of one SRAM row, further apart than a byte counts
        far_apart[0, [0, -1]] = 1
        simulate(compile_network(Layer.from_weights("warmup", far_apart), AcceleratorSpec(n_pe=1)), np.ones(600))
        codes = rng.integers(0, 4, (8, 8)).astype(np.uint8)
        compile_network(Layer.from_codes("warmup", codes, np.arange(4.0)), AcceleratorSpec(n_pe=2))
        huffman.decode(huffman.encode(codes, 4))
    err.print("kernels are compiled and cached")


def lowering(winograd: bool) -> Lowering:
    """Name the lowering that a command's switch chose."""
    return "winograd" if winograd else "im2col"


def _simulate(program: Program, inputs: Inputs, progress: Progress, options: dict[str, Any]) -> Result:
    log = None
    if options["log_cycles"]:
        if options["engine"] != "events":
            raise EieError("--cycles needs --engine events")

        def log(line: str) -> None:
            sys.stderr.write(line + "\n")

    return simulate(
        program,
        inputs,
        engine=options["engine"],
        datapath=options["datapath"],
        threads=options["threads"],
        keep_outputs=False,
        progress=progress.advance,
        log=log,
    )


def _report(result: Result, options: dict[str, Any]) -> None:
    cell = options["sram_cell"]
    if options["plot_folder"]:
        from eie.plots.result import save_all

        written = save_all(result, options["plot_folder"], cell)
        err.print(f"wrote {len(written)} figures to {options['plot_folder']}", highlight=False)
    texts = {"json_file": lambda: result.to_json(cell=cell), "csv_file": lambda: result.to_csv(cell=cell)}
    write_texts(texts, options, lambda: show(result, out, cell))


def _describe(program: Program) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in (
        "layer",
        "out x in",
        "weights",
        "entries",
        "padding",
        "passes",
        "entries a PE, min / mean / max",
        "image KiB",
        "fits",
    ):
        table.add_column(heading, justify="left" if heading == "layer" else "right", no_wrap=True)
    spec = program.spec
    for layer, fit in zip(program.layers, program.fit, strict=True):
        held = np.concatenate([one.entries_per_pe for one in layer.passes])
        table.add_row(
            layer.name,
            f"{layer.outputs} x {layer.inputs}",
            f"{layer.weights:,}",
            f"{layer.entries:,}",
            f"{layer.padding:,}",
            str(layer.rounds),
            f"{held.min():,} / {held.mean():,.1f} / {held.max():,}",
            f"{layer.image_bits(spec) / 8192:,.1f}",
            "yes" if fit.fits else "no: " + "; ".join(fit.problems),
        )
    wide = Console(width=max(out.width, 160), markup=False)  # a narrow terminal wraps lines, it does not lose digits
    wide.print(
        f"{program.name} for {spec.name}: {spec.n_pe} PEs, content {program.content_hash[:16]}",
        highlight=False,
    )
    wide.print(table)
    for note in program.notes:
        wide.print(f"Note: {note}.", highlight=False)


def _inputs(options: dict[str, Any], network: Network | Program, own: Trace | None) -> Inputs:
    return read_inputs(file=options["trace_file"], samples=options["samples"], network=network, own=own)


def read_inputs(file: str | None, samples: int | None, network: Network | Program, own: Trace | None) -> Inputs:
    """Return the activations asked for: those of a file, else the model's own; at most ``samples`` of them."""
    trace = own
    if file is not None:
        suffix = Path(file).suffix
        if suffix == ".npz":
            trace = Trace.load(file)
        elif suffix == ".npy":
            array = read_npy(file, TraceError)
            found = rows_or_maps(layers=network.layers, dataflow=dataflow(network), array=array, source=Path(file).name)
            if not isinstance(found, Trace):
                return {name: maps[:samples] for name, maps in found.items()}
            trace = found
        else:
            raise TraceError(f"{file}: unknown suffix {suffix!r}: activations are a trace (.npz) or an array (.npy)")
    return trace.head(samples) if trace is not None and samples else trace


def keep_apart(outputs: Sequence[str], inputs: Iterable[str | None]) -> None:
    """Refuse to write one file twice, or over a file that is being read."""
    written: set[Path] = set()
    read = {Path(one).resolve() for one in inputs if one is not None}
    for output in outputs:
        target = Path(output).resolve()
        if target in read:
            raise EieError(f"{output}: is read by this command: write to another file")
        if target in written and (target.is_file() or not target.exists()):
            raise EieError(f"{output}: is written twice by this command: name two files")
        written.add(target)


def _outputs(options: Mapping[str, Any]) -> list[str]:
    return [options[name] for name in ("json_file", "csv_file") if options[name] not in (None, "", "-")]


def announce_compilation() -> None:
    """Say why nothing happens for a while, if kernels are still to be compiled."""
    if not kernels_are_cached():
        err.print("compiling kernels, once (about 10 s; eie warmup does it beforehand)", style="dim")
