"""``eie compare``: a result, or a model simulated here and now, beside other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eie.cli.help import examples
from eie.cli.options import OF_MODELS, conv_option, layout_option, model_options, spec_options
from eie.cli.outputs import check_files, deliver, output_options

if TYPE_CHECKING:
    from eie.model.network import Network


@click.command(
    epilog=examples(
        "eie compare lenet-300-100 --baseline systolic:32x32:ws",
        "eie compare result.json --baseline dense --csv compare.csv",
    )
)
@click.argument("result")
@click.option(
    "--baseline",
    "baselines",
    multiple=True,
    required=True,
    metavar="NAME|FILE",
    help="A machine to compare with; repeatable. See above.",
)
@click.option("--reference", metavar="NAME", help="Speedups are over this baseline, or eie [default: the first].")
@click.option("--map", "maps", multiple=True, metavar="QUANTITY=COLUMN", help="What a CSV's columns hold; repeatable.")
@spec_options
@model_options
@click.option("--trace", "trace_file", metavar="FILE", help="For a model: its activations (.npz, .npy).")
@layout_option
@click.option("--samples", type=click.IntRange(1), help="For a model: use the first samples of the trace only.")
@click.option("--threads", type=click.IntRange(1), help="For a model: worker threads [default: all cores].")
@conv_option
@output_options
def compare(**options: Any) -> None:
    """Set RESULT (.json of eie run) or a model beside dense machines, published figures and reports.

    \b
    dense                       EIE's own PEs without compression
    systolic:32x32:ws           systolic array; ws, os or is; @MHZ sets its clock
    nm:2:4                      bound of A100 tensor cores, as if 2 of 4 were kept
    tensor-core                 the same, 2:4 where weights are so, else dense
    roofline:titan-x:csr        of i7-5930k, titan-x or tegra-k1; dense or csr
    measured:csr                this computer, timed; dense, csr, csc or onnx:FILE
    published:cpu_dense_b1      a row of the paper's Table IV
    COMPUTE_REPORT.csv          a report of SCALE-Sim, ours, or any CSV with --map

    systolic, nm, tensor-core, roofline and measured take a batch: roofline:titan-x:dense:b64.
    """
    from eie.studies.compare import compare as set_side_by_side

    # A result that is read must not be written over.
    check_files(options, options["result"])
    result, network = _result(options)
    comparison = set_side_by_side(
        result, options["baselines"], network=network, reference=options["reference"], column_map=_maps(options["maps"])
    )
    deliver(comparison, options)


def _result(options: dict[str, Any]) -> tuple[Any, Network | None]:
    """Read a result, or simulate a model."""
    from eie.cli.inputs import read_model
    from eie.errors import WordError
    from eie.machines.reports import read_result
    from eie.simulation import simulate
    from eie.spec import load_spec

    name = options["result"]
    if name.endswith(".json"):
        # Refused, not ignored: they would seem to have had an effect. `auto` is what --conv is where it is not said.
        of_models = ("spec_name", "overrides", "trace_file", "layout", "samples", "threads", *OF_MODELS)
        if any(options[key] for key in of_models) or options["conv"] != "auto":
            raise WordError(
                f"{name}: is simulated already; --spec, --set, --trace, --samples, --conv and the like apply to models"
            )
        # Without the network, machines that need its weights say so themselves.
        return read_result(name), None
    network, inputs = read_model(name, options)
    spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
    # Counts alone are compared.
    return simulate(
        network, inputs, spec=spec, conv=options["conv"], threads=options["threads"], keep_outputs=False
    ), network


def _maps(maps: tuple[str, ...]) -> dict[str, str]:
    columns = {}
    for text in maps:
        quantity, equals, column = text.partition("=")
        # An empty column name would match none, and the error would come from the CSV instead.
        if not equals or not column:
            raise click.BadParameter(f"{text!r}: must be QUANTITY=COLUMN", param_hint="--map")
        columns[quantity.strip()] = column.strip()
    return columns
