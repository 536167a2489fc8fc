"""Reports that SCALE-Sim v2 and v3 wrote: COMPUTE_REPORT, DETAILED_ACCESS_REPORT and BANDWIDTH_REPORT.

Comes in: one of the CSV files, or their folder. Goes out: a `Baseline` whose layers are numbered as in the report. The
two versions differ in one column: v3 counts the first prefetch too.
"""

from __future__ import annotations

from pathlib import Path

from eie.errors import EieError
from eie.formats.csv_table import CsvTable
from eie.machines.records import Baseline, LayerCost, Machine

CLOCK_MHZ = 800.0
COMPUTE, ACCESS, BANDWIDTH = "COMPUTE_REPORT.csv", "DETAILED_ACCESS_REPORT.csv", "BANDWIDTH_REPORT.csv"
_OPERANDS = ("IFMAP", "Filter", "OFMAP")


def is_report(table: CsvTable) -> bool:
    """Whether a table has SCALE-Sim's first column."""
    return table.header[0] == "LayerID"


def read(path: str | Path, clock_mhz: float | None = None) -> Baseline:
    """Read a report, with the two others where they stand beside it under their own names.

    Parameters
    ----------
    clock_mhz
        Turns cycles into time; reports do not state it. 800 by default, and noted.

    Raises
    ------
    EieError
        If a file is missing, damaged, or the reports have different layers.
    """
    path = Path(path)
    first_file = path / COMPUTE if path.is_dir() else path
    tables = [CsvTable.read(first_file)]
    if first_file.name in (COMPUTE, ACCESS, BANDWIDTH):
        others = [first_file.parent / name for name in (COMPUTE, ACCESS, BANDWIDTH) if name != first_file.name]
        tables += [CsvTable.read(other) for other in others if other.exists()]
    columns: dict[str, list[float]] = {}
    for table in tables:
        ids = table.numbers("LayerID")
        # Three reports of one run list the same layers; others may be left over from another run in the folder.
        if ids != tables[0].numbers("LayerID"):
            raise EieError(f"{table.path}: its layers are not those of {tables[0].path}: {len(ids)} rows")
        columns |= {name: table.numbers(name) for name in table.header if name not in _ids_and_times(table)}
    if not any(name in columns for name in ("Total Cycles", "SRAM IFMAP Reads", "Avg IFMAP SRAM BW")):
        raise EieError(f"{first_file}: not a SCALE-Sim report: it has {', '.join(tables[0].header)}")
    clock = clock_mhz or CLOCK_MHZ
    notes = [] if clock_mhz else [f"{path.name} states no clock: {clock:g} MHz taken (FILE@MHZ sets another)"]
    if "Total Cycles" not in columns:
        notes.append(f"{path.name} holds no cycles: no latency")
    folder = path if path.is_dir() else path.parent
    machine = Machine(
        name=f"SCALE-Sim {folder.resolve().name}",
        how="imported",
        source=str(path),
        clock_mhz=clock,
        dram=any(columns.get("Stall Cycles", ())),
        memory="own DRAM",
    )
    ids = tables[0].numbers("LayerID")
    layers = tuple(_layer(name=f"layer {number:g}", i=i, columns=columns, clock=clock) for i, number in enumerate(ids))
    return Baseline(machine, layers, tuple(notes))


def _ids_and_times(table: CsvTable) -> set[str]:
    """Columns that are no quantities: the layer's number, and when an SRAM or DRAM was first and last used."""
    return {name for name in table.header if name == "LayerID" or name.endswith(("Start Cycle", "Stop Cycle"))}


def _layer(name: str, i: int, columns: dict[str, list[float]], clock: float) -> LayerCost:
    cycles = columns["Total Cycles"][i] if "Total Cycles" in columns else None
    moved = [
        columns[f"DRAM {operand} {action}"][i]
        for operand, action in zip(_OPERANDS, ("Reads", "Reads", "Writes"), strict=True)
        if f"DRAM {operand} {action}" in columns
    ]
    return LayerCost(
        layer=name,
        latency_us=None if cycles is None else cycles / clock,
        cycles=cycles,
        # Percent in the report, a share here.
        utilisation=columns["Overall Util %"][i] / 100 if "Overall Util %" in columns else None,
        bytes_moved=sum(moved) if moved else None,
        details={column: values[i] for column, values in columns.items()},
    )
