"""The per-layer table: on a terminal, as plain text, as HTML.

Comes in: a `Result`. Goes out: text. One list of columns serves all three; README explains each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from textwrap import wrap

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from eie.energy.estimate import Method
from eie.energy.tables import Cell
from eie.results.layer import LayerResult
from eie.results.result import Energy, Result

GAP = 3  # characters that rich puts around a column
_PRICED: dict[Method, str] = {"published-power": "nJ by power", "activity": "nJ by activity"}


@dataclass(frozen=True)
class Column:
    """One column: its heading, a cell for each layer, and the cell of the totals row."""

    heading: str
    cells: list[str]
    total: str = ""


def columns(result: Result, cell: Cell = "itrs-lop") -> list[Column]:
    """Return the table's columns, ready formatted."""
    rows = result.layers
    energies, _ = result.energies(cell)
    listed = [
        Column("layer", [row.name for row in rows], "total"),
        Column("out x in", ["{} x {}".format(*row.shape) for row in rows]),
        *([Column("products", [f"{row.products:,}" for row in rows])] if any(row.products > 1 for row in rows) else []),
        Column("weights %", [_percent(row.encoded.weight_density) for row in rows]),
        Column("acts %", [_percent(row.activity.activation_density) for row in rows]),
        Column("cycles", [f"{row.cycles:,.0f}" for row in rows], f"{sum(row.cycles for row in rows):,.0f}"),
        Column("latency us", [_number(row.latency_us) for row in rows], _number(result.latency_us)),
    ]
    if result.samples > 1:
        spread = [row.latency for row in rows]
        whole = type(spread[0]).of(result.sample_us)
        listed.append(Column("p50 us", [_number(one.p50) for one in spread], _number(whole.p50)))
        listed.append(Column("p99 us", [_number(one.p99) for one in spread], _number(whole.p99)))
    theoretical = sum(row.theoretical_us for row in rows)
    listed += [
        Column("theory us", [_number(row.theoretical_us) for row in rows], _number(theoretical)),
        Column(
            "effic. %",
            [_percent(row.efficiency) for row in rows],
            _percent(theoretical / _compute_us(result)),
        ),
        Column("padding %", [_percent(row.padding_share) for row in rows]),
        Column("busiest / mean PE", [f"{row.imbalance:.2f}" for row in rows]),
    ]
    for method, energy in energies.items():
        cells = [_number(float(layer.nj.mean())) for layer in energy.layers]
        listed.append(Column(_PRICED[method], cells, _number(energy.total_nj)))
    return [
        *listed,
        Column("dense us", [_number(row.dense_us) for row in rows], _number(result.dense_us)),
        Column(
            "speedup", [f"{row.speedup_over_dense:.1f}x" for row in rows], f"{result.dense_us / result.latency_us:.1f}x"
        ),
        Column("fits", [_fits(row) for row in rows]),
    ]


def heading(result: Result) -> str:
    """Say in one line what was run, on what, with which inputs."""
    spec = result.spec
    batch = "1 sample" if result.samples == 1 else f"{result.samples} samples, means"
    own = "each layer on inputs drawn for it" if result.synthetic_inputs else "each layer on its own recorded inputs"
    drive = "each layer feeds the next" if result.drive == "execution" else own
    if len(result.layers) == 1:
        drive = "one layer"
    return (
        f"{result.program.name} on {spec.name}: {spec.n_pe} PEs, {spec.clock_mhz:g} MHz, queue {spec.act_queue_depth}, "
        f"{spec.weight_bits}+{spec.index_bits}-bit entries, {spec.node_nm} nm. {batch}; {drive}; "
        f"engine {result.engine}."
    )


def footer(result: Result, cell: Cell = "itrs-lop") -> list[str]:
    """Return the lines under the table: energy method and table, accuracy, inputs, notes."""
    energies, _ = result.energies(cell)
    lines = []
    for method, energy in energies.items():
        lines.append(f"Energy by {method}: table {energy.table}{_cell(energy)}; {_units(energy)}.")
    if result.accuracy is not None:
        accuracy = result.accuracy
        given = "" if accuracy.given is None else f", {accuracy.given:.2%} as given (float32, before sharing)"
        lines.append(
            f"Accuracy over {accuracy.samples} samples: {accuracy.fixed:.2%} in {result.spec.data_bits}-bit "
            f"fixed point, {accuracy.float32:.2%} in float32{given}."
        )
    computed = [row.computed for row in result.layers if row.computed is not None]
    if computed:
        worst = max(one.max_abs_error for one in computed)
        lines.append(f"Fixed point against float32: largest difference of an output {worst:.2g}.")
    lines.append(f"Inputs: {result.inputs_source}.")
    return lines + [f"Note: {note}." for note in result.notes(cell)]


def show(result: Result, console: Console, cell: Cell = "itrs-lop") -> None:
    """Print the table; on a terminal too narrow for it, as several tables under each other."""
    if console.is_terminal:
        console.print(rendered(result, console.width, cell))
    else:
        console.print(plain(result, cell), end="", soft_wrap=True, highlight=False, markup=False)


def rendered(result: Result, width: int, cell: Cell = "itrs-lop") -> RenderableType:
    """Return the table and its footer for a terminal ``width`` characters wide."""
    first, *rest = columns(result, cell)
    room = width - _width(first) - GAP
    groups: list[list[Column]] = [[]]
    for column in rest:
        if groups[-1] and sum(_width(one) + GAP for one in (*groups[-1], column)) > room:
            groups.append([])
        groups[-1].append(column)
    tables: list[RenderableType] = [Text(heading(result), style="bold")]
    for group in groups:
        table = Table(box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_footer=True)
        for i, column in enumerate((first, *group)):
            table.add_column(
                Text("\n".join(wrap(column.heading, _width(column)))),
                Text(column.total),
                justify="left" if i == 0 else "right",
                no_wrap=True,
                footer_style="bold",
                vertical="bottom",
            )
        for cells in zip(first.cells, *(column.cells for column in group), strict=True):
            table.add_row(*(Text(one) for one in cells))
        tables.append(table)
    return Group(*tables, *(Text(line) for line in footer(result, cell)))


def plain(result: Result, cell: Cell = "itrs-lop") -> str:
    """Return the same as plain text, one line a layer, for files and pipes."""
    listed = columns(result, cell)
    lines = []
    table = zip(*([one.heading, *one.cells, one.total] for one in listed), strict=True)
    widths = [max(map(len, (one.heading, *one.cells, one.total))) for one in listed]
    for row in table:
        first, *rest = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        lines.append("  ".join((first, *rest)).rstrip())
    return "\n".join([heading(result), "", *lines, "", *footer(result, cell)]) + "\n"


def html(result: Result, cell: Cell = "itrs-lop") -> str:
    """Return an HTML fragment with the table: what a notebook shows."""
    listed = columns(result, cell)

    def row(cells: list[str], tag: str, style: str = "") -> str:
        aligned = (
            f'<{tag} style="text-align:{"left" if i == 0 else "right"};{style}">{escape(cell)}</{tag}>'
            for i, cell in enumerate(cells)
        )
        return f"<tr>{''.join(aligned)}</tr>"

    body = "".join(row(list(cells), "td") for cells in zip(*(one.cells for one in listed), strict=True))
    notes = "".join(f"<li>{escape(line)}</li>" for line in footer(result, cell))
    return (
        f'<div class="eie-result"><p><b>{escape(heading(result))}</b></p><table>'
        f"<thead>{row([one.heading for one in listed], 'th')}</thead><tbody>{body}</tbody>"
        f"<tfoot>{row([one.total for one in listed], 'td', 'font-weight:bold')}</tfoot></table><ul>{notes}</ul></div>"
    )


def _width(column: Column) -> int:
    longest_word = max(map(len, column.heading.split()))
    return max(longest_word, len(column.total), *map(len, column.cells))


def _compute_us(result: Result) -> float:
    return sum(result.spec.us(float(layer.activity.cycles.mean())) for layer in result.layers)


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _number(value: float) -> str:
    """Four significant digits, no exponent below a million."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}" if abs(value) >= 1e-3 else f"{value:.1e}"


def _fits(row: LayerResult) -> str:
    if not row.fit.fits:
        return "no"
    return "yes" if row.fit.passes == 1 else f"{row.fit.passes} passes"


def _cell(energy: Energy) -> str:
    return f", SRAM ratios CACTI 7 {energy.cell}" if energy.method == "activity" else ""


def _units(energy: Energy) -> str:
    if not energy.total_nj:
        return "nothing was done"
    total = energy.total_nj
    shares = {unit: nj / total for unit, nj in energy.unit_nj().items() if nj}
    return ", ".join(f"{unit} {share:.0%}" for unit, share in sorted(shares.items(), key=lambda item: -item[1]))
