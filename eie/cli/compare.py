"""``eie compare``: a result, or a model simulated here and now, beside other machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from eie.cli.options import OF_MODELS, how_to_read, model_options, spec_options

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from eie.model.network import Network
    from eie.results.comparison import Comparison


@click.command()
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
@click.option("--samples", type=click.IntRange(1), help="For a model: use the first samples of the trace only.")
@click.option("--json", "json_file", metavar="FILE", help="Write the comparison as JSON; - for stdout.")
@click.option("--csv", "csv_file", metavar="FILE", help="Write one row a layer and machine as CSV; - for stdout.")
@click.option("--plot", "plot_folder", metavar="DIR", help="Write grouped bars as PNG and SVG.")
def compare(**options: Any) -> None:
    """Set RESULT (.json of eie run) or a model beside dense machines, published figures and reports.

    \b
    dense                       EIE's own PEs without compression
    systolic:32x32:ws           systolic array; ws, os or is; @MHZ sets its clock
    nm:2:4                      A100 tensor cores, as if 2 of 4 weights were kept
    tensor-core                 the same, 2:4 where a layer's weights are so, dense elsewhere
    roofline:titan-x:csr        i7-5930k, titan-x or tegra-k1; dense or csr
    measured:csr                this computer; dense, csr, csc or onnx:FILE
    published:cpu_dense_b1      a row of the paper's Table IV
    COMPUTE_REPORT.csv          a report of SCALE-Sim, ours, or any CSV with --map

    systolic, nm, tensor-core, roofline and measured take a batch: roofline:titan-x:dense:b64.
    """
    from rich.console import Console

    from eie.cli.outputs import write_texts
    from eie.studies.compare import compare as set_side_by_side

    result, network = _result(options)
    comparison = set_side_by_side(
        result, options["baselines"], network=network, reference=options["reference"], column_map=_maps(options["maps"])
    )
    if options["plot_folder"]:
        from eie.plots.comparison import save_comparison

        written = save_comparison(comparison, options["plot_folder"])
        Console(stderr=True, markup=False).print(
            f"wrote {len(written)} figures to {options['plot_folder']}", highlight=False
        )
    out = Console(markup=False)
    wide = out if out.is_terminal else Console(width=200, markup=False)
    texts = {"json_file": comparison.to_json, "csv_file": comparison.to_csv}
    write_texts(texts, options, lambda: _show(comparison, wide))


def _result(options: dict[str, Any]) -> tuple[Any, Network | None]:
    """Read a result, or simulate a model."""
    from eie.cli.commands import read_inputs
    from eie.compiler.program import compile as compile_network
    from eie.errors import EieError
    from eie.importers import load
    from eie.machines.reports import read_result
    from eie.simulation import simulate
    from eie.spec import load_spec

    name = options["result"]
    if name.endswith(".json"):
        if any(options[key] for key in ("spec_name", "overrides", "trace_file", "samples", *OF_MODELS)):
            raise EieError(
                f"{name}: is simulated already; --spec, --set, --trace, --samples and the like apply to models"
            )
        return read_result(name), None
    network = load(name, **how_to_read(options))
    inputs = read_inputs(file=options["trace_file"], samples=options["samples"], network=network, own=network.trace)
    spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
    return simulate(compile_network(network, spec), inputs), network


def _maps(maps: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in maps:
        quantity, equals, column = text.partition("=")
        if not equals or not column:
            raise click.BadParameter(f"{text!r}: must be QUANTITY=COLUMN", param_hint="--map")
        found[quantity.strip()] = column.strip()
    return found


def _show(comparison: Comparison, console: Console) -> None:
    reference = comparison.columns[comparison.reference].machine.name
    console.print(f"{comparison.network}: speedup and energy efficiency over {reference}", highlight=False)
    console.print(_machines(comparison))
    console.print(_layers(comparison))
    for text in comparison.warnings:
        console.print(f"Unfair: {text}.", highlight=False, markup=False)
    for text in comparison.notes:
        console.print(f"Note: {text}.", highlight=False, markup=False)


def _machines(comparison: Comparison) -> Table:
    table = _table("machine", "how", "MHz", "nm", "batch", "DRAM", "mm2", "W", "source")
    for column in comparison.columns:
        one = column.machine
        dram = {True: "yes", False: "no", None: "?"}[one.dram]
        numbers = [_number(value) for value in (one.clock_mhz, one.node_nm, one.batch)]
        table.add_row(one.name, one.how, *numbers, dram, _number(one.area_mm2), _number(one.power_w), one.source)
    return table


def _layers(comparison: Comparison) -> Table:
    table = _table(
        "layer", "machine", "latency us", "speedup", "energy nJ", "energy efficiency", "frames/s/mm2", "utilisation %"
    )
    last = None
    for row in comparison.records():
        share = row["utilisation"]
        table.add_row(
            "" if row["layer"] == last else row["layer"],
            row["machine"],
            _number(row["latency_us"]),
            _number(row["speedup"], "x"),
            _number(row["energy_nj"]),
            _number(row["energy_efficiency"], "x"),
            _number(row["frames_per_s_mm2"]),
            _number(None if share is None else 100 * share),
        )
        last = row["layer"]
    return table


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, padding=(0, 2, 0, 0))
    for heading in headings:
        left = heading in ("layer", "machine", "how", "source")
        table.add_column(heading, justify="left" if left else "right", overflow="fold")
    return table


def _number(value: float | None, unit: str = "") -> str:
    """Four significant digits, no exponent below a million; a dash for what is not known."""
    if value is None:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}{unit}"
    return f"{value:.4g}{unit}"
