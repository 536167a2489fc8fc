"""``eie run``: a model compiled, simulated and shown in one go."""

from __future__ import annotations

from typing import Any

import click

from eie.cli.help import examples
from eie.cli.options import bias_option, model_options, spec_options, winograd_option
from eie.cli.outputs import check_files, deliver
from eie.cli.simulate import run_options, simulated
from eie.cli.timeline import WithCycles, check_timeline, write_timeline


@click.command(
    cls=WithCycles,
    epilog=examples("eie run lenet-300-100", "eie run model.onnx --trace trace.npz --set n_pe=16 --html result.html"),
)
@click.argument("model")
@model_options
@spec_options
@run_options
@winograd_option
@bias_option
def run(model: str, winograd: bool, **options: Any) -> None:
    """Compile MODEL, simulate it and print one row a layer.

    MODEL is a .toml, .npz, .safetensors, .onnx, .pt, .keras, .eie, .net, .smtx, .mtx, .csv or .yaml file, or one of
    another kind in docs/formats.md, a folder of .safetensors files, or the name of a shipped model.

    \b
    eie run lenet-300-100 --samples 2 --timeline out.json.gz   for ui.perfetto.dev
    """
    from eie.cli.inputs import announce_compilation, lowering, read_model, stderr
    from eie.cli.progress import Progress
    from eie.compiler.compile import compile as compile_network
    from eie.simulation import with_given_accuracy
    from eie.simulator.workload import open_sizes
    from eie.spec import load_spec

    check_files(options, model)
    check_timeline(options)
    # Before the kernels and the model: a wrong --set is the fastest to tell.
    spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
    announce_compilation()
    with Progress(stderr()) as progress:
        progress.stage(f"reading {model}")
        network, inputs = read_model(model, options)
        progress.stage("compiling")
        conv = lowering(winograd, options["conv"])
        sizes = open_sizes(network, inputs) if conv == "auto" else {}
        program = compile_network(network, spec, conv=conv, bias=options["bias"], sizes=sizes)
        result = simulated(program=program, inputs=inputs, progress=progress, options=options)
        # With the network as it was given: the program has shared weights only.
        result = with_given_accuracy(result, network, inputs)
    write_timeline(result, options)
    deliver(result.on_cell(options["sram_cell"]), options)
