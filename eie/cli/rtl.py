"""``eie rtl``: layers written out as Verilog, and run in a Verilog simulator beside the other engines."""

from __future__ import annotations

from typing import Any

import click

from eie.cli.help import examples
from eie.cli.options import bias_option, conv_option, how_to_read, layout_option, model_options, spec_options
from eie.cli.outputs import TEXTS, check_files, deliver, note, output_options


@click.command(epilog=examples("eie rtl lenet-300-100 --layer ip3 -o rtl --check"))
@click.argument("model")
@click.option("-o", "--output", "folder", metavar="DIR", help="Folder to write the design to, one a layer.")
@click.option(
    "--input", "input_file", metavar="FILE", help="Activations: an array (.npy), or a trace or arrays (.npz)."
)
@click.option("--layer", metavar="NAME", help="This layer only.")
@click.option("--sample", type=click.IntRange(0), default=0, show_default=True, help="Which sample of the inputs.")
@click.option("--check", is_flag=True, help="Run it with Icarus or Verilator and compare every count and output.")
@click.option("--resources", is_flag=True, help="Count LUT, FF, block RAM and DSP of an FPGA by Yosys.")
@click.option("--simulator", type=click.Choice(["icarus", "verilator"]), help="For --check [default: what is here].")
@model_options
@spec_options
@layout_option
@bias_option
@conv_option
@output_options
def rtl(model: str, folder: str | None, input_file: str | None, **options: Any) -> None:
    """Write layers of MODEL, or of a compiled program, as Verilog with their weights in its memories.

    A self-checking bench, expected counts and outputs and a README lie beside it. --check runs it; --resources
    says what it takes of an FPGA.
    """
    from eie.cli.inputs import announce_compilation, load_for, open_inputs, read_inputs, stderr
    from eie.cli.progress import Progress
    from eie.compiler.compile import compile as compile_network
    from eie.compiler.program import Program
    from eie.errors import ProgramError
    from eie.rtl.check import check_rtl
    from eie.rtl.resources import rtl_resources
    from eie.rtl.write import write_rtl
    from eie.simulator.workload import open_sizes
    from eie.spec import load_spec

    if folder is None and not (options["check"] or options["resources"]):
        raise click.UsageError("-o DIR says where to, or --check or --resources what to do without it")
    if any(options[name] for name in (*TEXTS, "plot_folder")) and options["check"] == options["resources"]:
        raise click.UsageError("--json, --csv, --html and --plot write one answer: that of --check or of --resources")
    check_files(options, model, input_file)
    announce_compilation()
    opened = open_inputs(input_file)
    if Program.is_program(model):
        if options["spec_name"] or options["overrides"]:
            raise ProgramError(f"{model}: is compiled already; --spec and --set apply to models")
        program = Program.load(model)
        inputs = read_inputs(file=opened, samples=None, network=program, own=program.trace, layout=options["layout"])
    else:
        spec, conv = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"]), options["conv"]
        network = load_for(model, how_to_read(options), opened, layout=options["layout"])
        inputs = read_inputs(file=opened, samples=None, network=network, own=network.trace, layout=options["layout"])
        sizes = open_sizes(network, inputs) if conv == "auto" else {}
        program = compile_network(network, spec, conv=conv, bias=options["bias"], sizes=sizes)
    chosen = {"layer": options["layer"], "sample": options["sample"]}
    if folder is not None and not options["check"]:
        for written in write_rtl(program, folder, inputs, **chosen):
            note(f"wrote {written}")
    if options["resources"]:
        with Progress(stderr()) as progress:
            counted = rtl_resources(program, inputs, layer=options["layer"], progress=progress.stage)
        deliver(counted, options)
    if not options["check"]:
        return
    with Progress(stderr()) as progress:
        checked = check_rtl(
            program, inputs, folder=folder, simulator=options["simulator"], progress=progress.stage, **chosen
        )
    deliver(checked, options)
    if not checked.equal:
        # A difference is a failure of the design, for scripts too.
        raise click.exceptions.Exit(1)
