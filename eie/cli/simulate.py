"""``eie simulate``: a program compiled before, on its inputs; ``eie run`` simulates with the same options."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from eie.cli.help import examples
from eie.cli.options import layout_option, spec_options
from eie.cli.outputs import check_files, deliver, output_options
from eie.cli.timeline import WithCycles, check_pes, check_timeline, timeline_options, write_timeline

if TYPE_CHECKING:
    from eie.cli.progress import Progress
    from eie.compiler.program import Program
    from eie.results.result import Result
    from eie.simulator.inputs import Inputs

F = TypeVar("F", bound=Callable[..., Any])


def run_options(command: F) -> F:
    """Add how a program is simulated."""
    for option in (
        click.option(
            "--trace",
            "trace_file",
            metavar="FILE",
            help="Activations: a trace or arrays by the inputs' names (.npz), or an array (.npy).",
        ),
        click.option("--samples", type=click.IntRange(1), help="Use the first samples of the trace only."),
        click.option(
            "--batch",
            type=click.IntRange(1),
            default=1,
            show_default=True,
            metavar="B",
            help="Samples that go through a layer before the next: what does not fit is loaded once for them.",
        ),
        click.option(
            "--engine",
            type=click.Choice(["fast", "events", "rtl"]),
            default="fast",
            show_default=True,
            help="Timing engine; all give the same numbers. rtl: small runs, in a Verilog simulator.",
        ),
        click.option(
            "--datapath",
            type=click.Choice(["fixed", "float32", "none"]),
            default="fixed",
            show_default=True,
            help="Whose zeros the next layer sees; none: count only, with recorded inputs of every layer.",
        ),
        click.option(
            "--sram-cell",
            type=click.Choice(["itrs-lop", "itrs-lstp"]),
            default="itrs-lop",
            show_default=True,
            help="CACTI cell that scales SRAM energy to other sizes.",
        ),
        click.option("--threads", type=click.IntRange(1), help="Worker threads [default: all cores]."),
    ):
        command = option(command)
    return layout_option(output_options(timeline_options(command)))


@click.command(cls=WithCycles, epilog=examples("eie simulate lenet-5.safetensors --set act_queue_depth=16"))
@click.argument("program")
@spec_options
@run_options
def simulate(program: str, **options: Any) -> None:
    """Simulate a compiled PROGRAM. --spec and --set may change what its images do not depend on."""
    from eie.cli.inputs import announce_compilation, read_inputs, stderr
    from eie.cli.progress import Progress
    from eie.compiler.program import Program
    from eie.spec import load_spec

    check_files(options, program)
    check_timeline(options)
    compiled = Program.load(program)
    # Over the program's own machine, so that --set changes one field of that and not of a default.
    if options["spec_name"] or options["overrides"]:
        compiled = compiled.on(load_spec(options["spec_name"] or compiled.spec, options["overrides"]))
    inputs = read_inputs(
        file=options["trace_file"],
        samples=options["samples"],
        network=compiled,
        own=None,
        layout=options["layout"],
    )
    announce_compilation()
    with Progress(stderr()) as progress:
        result = simulated(program=compiled, inputs=inputs, progress=progress, options=options)
    write_timeline(result, options)
    deliver(result.on_cell(options["sram_cell"]), options)


def simulated(program: Program, inputs: Inputs, progress: Progress, options: dict[str, Any]) -> Result:
    """Simulate as `run_options` say."""
    from eie.errors import WordError
    from eie.simulation import simulate as simulate_program

    check_pes(options, program.spec)
    log = None
    if check_timeline(options):
        # The fast engine has no cycles to print, it never walks them.
        if options["engine"] != "events":
            raise WordError("--cycles needs --engine events")

        def log(line: str) -> None:
            sys.stderr.write(line + "\n")

    in_verilog = options["engine"] == "rtl"
    result = simulate_program(
        program,
        inputs,
        batch=options["batch"],
        engine="fast" if in_verilog else options["engine"],
        datapath=options["datapath"],
        threads=options["threads"],
        # The command line prints counts; outputs of a large batch would be held for nobody.
        keep_outputs=False,
        # Timelines and figures are told from which inputs were non-zero.
        keep_patterns=any(options.get(name) for name in ("timeline_file", "plot_folder")),
        # The table says what binds, which needs no counting anew; files say where each cycle went.
        shares=any(options.get(name) for name in ("json_file", "csv_file", "html_file")),
        progress=progress.advance,
        log=log,
    )
    if in_verilog:
        from eie.rtl.engine import confirmed

        return confirmed(result, program, inputs, progress=progress.stage)
    return result
