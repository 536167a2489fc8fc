"""Reports as baselines: our own result JSON and CSV, and any CSV through a column map.

Comes in: a path. Goes out: a `Baseline`. SCALE-Sim's reports are read by `scalesim`; `read` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from eie.compiler.places import IDEAL
from eie.errors import EieError
from eie.formats.answers import read_answer
from eie.formats.csv_table import CsvTable
from eie.formats.files import unmet
from eie.machines import scalesim
from eie.machines.records import Baseline, LayerCost, Machine
from eie.machines.rows import NOT_MODELLED, ResultRow, ResultRows
from eie.show.numbers import number
from eie.spec.apart import labels

# What a column may hold, and what it is multiplied by to get the unit of the record.
QUANTITIES: Mapping[str, tuple[str, float]] = {
    "latency_us": ("latency_us", 1.0),
    "latency_ns": ("latency_us", 1e-3),
    "latency_ms": ("latency_us", 1e3),
    "latency_s": ("latency_us", 1e6),
    "cycles": ("cycles", 1.0),
    "energy_nj": ("energy_nj", 1.0),
    "energy_pj": ("energy_nj", 1e-3),
    "energy_uj": ("energy_nj", 1e3),
    "energy_mj": ("energy_nj", 1e6),
    "energy_j": ("energy_nj", 1e9),
    "utilisation": ("utilisation", 1.0),
    "utilisation_pct": ("utilisation", 0.01),
    "bytes_moved": ("bytes_moved", 1.0),
}


def read(path: str | Path, column_map: Mapping[str, str] | None = None, clock_mhz: float | None = None) -> Baseline:
    """Read a report, whichever it is.

    Parameters
    ----------
    column_map
        Quantity (``layer``, ``outputs``, ``inputs``, ``products`` or one of `QUANTITIES`) to column name, for a CSV
        that is neither SCALE-Sim's nor ours.
    clock_mhz
        For reports in cycles.

    Raises
    ------
    EieError
        If the file is missing, damaged or of an unknown kind.
    """
    path = Path(path)
    if path.is_dir():
        return scalesim.read(path, clock_mhz)
    if path.suffix == ".json":
        return of_result(read_result(path), path.name)
    table = CsvTable.read(path)
    if column_map:
        return _generic(table, column_map, clock_mhz)
    if scalesim.is_report(table):
        return scalesim.read(path, clock_mhz)
    if table.has("layer") and (table.has("latency_us") or table.has("cycles")):
        if table.has("weight_density"):
            return _own_csv(table)
        known = ("layer", "outputs", "inputs", "products", *QUANTITIES)
        return _generic(table, {name: name for name in table.header if name in known}, clock_mhz)
    raise EieError(
        f"{path}: neither SCALE-Sim's columns nor ours: say which column holds what, as --map layer=COLUMN "
        f"--map latency_us=COLUMN (it has {', '.join(table.header)})"
    )


def read_result(path: str | Path) -> ResultRows:
    """Read our result JSON.

    Raises
    ------
    EieError
        If it is missing, damaged or of another schema.
    """
    document = read_answer(path, "eie-result")
    notes = [*document.values.get("notes", ()), *(f"{Path(path).name}: {note}" for note in document.notes)]
    return ResultRows.of_json(
        {"schema": document.schema, "schema_version": document.schema_version, **document.values, "notes": notes},
        str(path),
    )


def of_result(rows: ResultRows, source: str) -> Baseline:
    """Turn a result into a baseline: EIE as one machine among others.

    Parameters
    ----------
    source
        Where its figures come from, for the table of machines.
    """
    machine = Machine(
        name=labels([rows.spec])[0],
        how="modelled",
        source=source,
        clock_mhz=rows.spec.clock_mhz,
        node_nm=rows.spec.node_nm,
        batch=rows.batch,
        dram=any(row.reload_cycles or row.dram_bits for row in rows.layers),
        memory="not paid" if rows.spec.residency == "ideal" else "same DRAM",
        weight_bits=rows.spec.weight_bits,
        area_mm2=rows.area_mm2,
        spec=rows.spec,
    )
    priced = rows.priced_by
    # Its key says the method: energy_activity_nj, energy_published_power_nj.
    notes = [] if priced is None else [f"energy by {priced.removeprefix('energy_').removesuffix('_nj')}"]
    if rows.energy_bounds_nj is not None and not rows.incomplete:
        low, high = map(number, rows.energy_bounds_nj)
        notes[0] += f", {low} to {high} nJ in all by two readings of how much of it is static (docs/energy.md)"
    if rows.spec.residency == "ideal":
        notes.append(IDEAL)
    costs = tuple(_cost(row) for row in rows.layers)
    return Baseline(machine, costs, (*notes, *rows.notes))


def _cost(row: ResultRow) -> LayerCost:
    return LayerCost(
        layer=row.layer,
        latency_us=row.latency_us,
        cycles=row.cycles,
        energy_nj=row.energy_nj,
        energy_bounds_nj=row.energy_bounds_nj,
        utilisation=row.efficiency,
        dram_bytes=row.dram_bits / 8,
        shape=row.shape,
    )


def _own_csv(table: CsvTable) -> Baseline:
    table.check_columns(table.header)
    records = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    # Rows of what no layer does have no cycles: a note of them, and no cost.
    missing = tuple(record["layer"] for record in records if record["layer"].startswith(NOT_MODELLED))
    try:
        layers = tuple(_cost(ResultRow.of_record(record)) for record in records if record["layer"] not in missing)
    except (KeyError, ValueError, TypeError, ArithmeticError) as error:
        raise EieError(f"{table.path}: damaged result: {unmet(error)}") from None
    name = Path(table.path).name
    note = f"{name} states no machine: clock, node and area are not known (the JSON has them)"
    return Baseline(Machine(name=f"EIE ({name})", how="modelled", source=name), layers, (note, *missing))


def _generic(table: CsvTable, column_map: Mapping[str, str], clock_mhz: float | None) -> Baseline:
    allowed = ("layer", "outputs", "inputs", "products", *QUANTITIES)
    for name in column_map:
        if name not in allowed:
            raise EieError(f"--map {name}=...: must be one of {', '.join(allowed)}")
    if "layer" not in column_map:
        raise EieError(f"{table.path}: which column names the layers? Say --map layer=COLUMN")
    values: dict[str, list[float]] = {}
    for quantity, column in column_map.items():
        if quantity in QUANTITIES:
            field, factor = QUANTITIES[quantity]
            values[field] = [number * factor for number in table.numbers(column)]
    notes = []
    if "latency_us" not in values and "cycles" in values:
        clock = clock_mhz or scalesim.CLOCK_MHZ
        values["latency_us"] = [cycles / clock for cycles in values["cycles"]]
        if not clock_mhz:
            notes.append(f"{Path(table.path).name} states no clock: {clock:g} MHz taken (FILE@MHZ sets another)")
        clock_mhz = clock
    names = table.texts(column_map["layer"])
    sizes = [table.numbers(column_map[name]) for name in ("outputs", "inputs") if name in column_map]
    products = table.numbers(column_map["products"]) if "products" in column_map else [1.0] * len(names)
    layers = tuple(
        LayerCost(
            layer=name,
            latency_us=values["latency_us"][i] if "latency_us" in values else None,
            cycles=values["cycles"][i] if "cycles" in values else None,
            energy_nj=values["energy_nj"][i] if "energy_nj" in values else None,
            utilisation=values["utilisation"][i] if "utilisation" in values else None,
            bytes_moved=values["bytes_moved"][i] if "bytes_moved" in values else None,
            shape=(int(sizes[0][i]), int(sizes[1][i]), int(products[i])) if len(sizes) == 2 else None,
        )
        for i, name in enumerate(names)
    )
    machine = Machine(name=Path(table.path).stem, how="imported", source=table.path, clock_mhz=clock_mhz, batch=None)
    return Baseline(machine, layers, tuple(notes))
