"""A granularity study as text, JSON, CSV and a page.

Comes in: a `GranularityStudy`. Goes out: `Section` records and text. Read by the command line and notebooks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from html import escape

from eie.show.page import page, section_html
from eie.show.records import records_csv
from eie.show.sections import Column, Format, Grid, Section, Value
from eie.show.text import section_data, section_lines, tally, wrapped
from eie.studies.granularity.claims import break_even, statements
from eie.studies.granularity.example import example
from eie.studies.granularity.notes import pruning_notes
from eie.studies.granularity.study import FORMATS, GranularityStudy, Row
from eie.studies.search.report import plans_section
from eie.version import package_versions

SCHEMA_NAME = "eie-granularity"
SCHEMA = 1
_HEADS = {"dense": "dense kB", "csr": "CSR kB", "nm": "N:M kB", "eie": "EIE kB"}


def sections(study: GranularityStudy) -> tuple[Section, ...]:
    """Everything the study says, in order."""
    found = [_left(study), _costs(study), _claims(study)]
    if study.search is not None:
        found.append(plans_section(study.search))
    printed = example(study)
    if printed is not None:
        note = "the two compared within 5 %; speedups are of a modelled A100, not of a measured one"
        found.append(Section(name="example", title="The text's ResNet-50", grids=(printed,), notes=(note,)))
    return tuple(found)


def plain(study: GranularityStudy) -> str:
    """Return everything as aligned text."""
    lines = [line for section in sections(study) for line in section_lines(section)]
    return "\n".join([*lines, *wrapped(_tally(study)), ""])


def html(study: GranularityStudy, drawings: dict[str, str]) -> str:
    """Return one self-contained page; ``drawings`` are SVG elements by section name."""
    body = "".join(section_html(section, drawings.get(section.name, "")) for section in sections(study))
    return page(f"Granularities of {study.network}", f"<p>{escape(_tally(study))}</p>", body)


def to_csv(study: GranularityStudy) -> str:
    """Return one row a variant and machine as CSV."""
    return records_csv(study.records())


def to_json(study: GranularityStudy) -> str:
    """Return everything as JSON (schema ``eie-granularity`` 1)."""
    value = {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA,
        "network": study.network,
        "spec": study.spec.model_dump(),
        "epochs": study.epochs,
        "accuracy_source": study.accuracy_source,
        "machines": {name: vars(cost.machine) for name, cost in (study.unpruned.costs or {}).items()},
        "break_even_sparsity": {
            machine: break_even(study, machine) for machine in study.machines if study.yardstick(machine) != machine
        },
        "rows": study.records(),
        "sections": [section_data(section) for section in sections(study)],
        "versions": package_versions(),
    }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _left(study: GranularityStudy) -> Section:
    columns = [
        Column("variant", "variant", "text"),
        Column("kept", "weights %", "percent"),
        Column("compression", "fewer", "factor"),
        *(Column(name, _HEADS[name]) for name in FORMATS),
        Column("macs", "M MACs"),
        Column("kept_macs", "non-zero"),
        Column("eie_macs", "EIE's"),
    ]
    if study.accuracy_source:
        columns.append(Column("accuracy", "accuracy", "percent"))
        columns.append(Column("accuracy_shared", f"{study.spec.weight_bits}-bit", "percent"))
    rows: list[dict[str, Value]] = []
    for row in study.rows:
        cells: dict[str, Value] = {"variant": str(row.variant)}
        if row.costs is not None:
            cells |= {
                "kept": (row.kept or 0) / (study.unpruned.weights or 1),
                "compression": study.compression(row),
                **{name: size / 1e3 for name, size in (row.size_bytes or {}).items()},
                **{name: getattr(row, name) / 1e6 for name in ("macs", "kept_macs", "eie_macs")},
                "accuracy": row.accuracy,
                "accuracy_shared": row.accuracy_shared,
            }
        rows.append(cells)
    tuned = f"fine-tuned for {study.epochs} epochs each" if study.epochs else "not fine-tuned"
    caption = "What is left: weights, bytes (biases included), multiplications a sample"
    if study.accuracy_source:
        caption += f"; accuracy on {study.accuracy_source}, {tuned}"
    said = dict.fromkeys(f"{row.variant.family}: {row.note}" for row in study.rows if row.note)
    return Section(
        name="left", title=f"{study.network}: granularities", grids=(Grid(caption=caption, columns=tuple(columns), rows=tuple(rows)),),
        notes=(*said, *study.notes),
    )  # fmt: skip


def _costs(study: GranularityStudy) -> Section:
    known = study.machines
    priced = [machine for machine in study.machines if study.energy_nj(study.unpruned, machine) is not None]
    grids = [
        _by_machine(
            study=study,
            caption="Speedup over the unpruned network on the same machine",
            value=study.speedup,
            format="factor",
            machines=known,
        ),
        _by_machine(
            study=study, caption="Latency, us a sample", value=study.latency_us, format="number", machines=known
        ),
        _by_machine(
            study=study, caption="Energy, nJ a sample", value=study.energy_nj, format="number", machines=priced
        ),
    ]
    machines = tuple(
        {
            "name": name,
            "machine": cost.machine.name,
            "how": cost.machine.how,
            "mhz": cost.machine.clock_mhz,
            "nm": cost.machine.node_nm,
            "batch": cost.machine.batch,
            "dram": cost.machine.dram,
            "source": cost.machine.source,
        }
        for name, cost in (study.unpruned.costs or {}).items()
    )
    columns = (
        Column("name", "", "text"),
        Column("machine", "machine", "text"),
        Column("how", "how", "text"),
        Column("mhz", "MHz"),
        Column("nm", "nm"),
        Column("batch", "batch"),
        Column("dram", "DRAM"),
        Column("source", "source", "text"),
    )
    grids.append(Grid(caption="The machines", columns=columns, rows=machines))
    notes = [
        f"{machine} is set against the unpruned network on {study.yardstick(machine)}"
        for machine in study.machines
        if study.yardstick(machine) != machine
    ]
    notes.append("machines differ in clock, node, batch and memory: a column is to be read from top to bottom")
    return Section(name="costs", title=f"{study.network}: time and energy", grids=tuple(grids), notes=tuple(notes))


def _by_machine(
    study: GranularityStudy,
    caption: str,
    value: Callable[[Row, str], float | None],
    format: Format,
    machines: Sequence[str],
) -> Grid:
    columns = (Column("variant", "variant", "text"), *(Column(one, one, format) for one in machines))
    rows = tuple({"variant": str(row.variant), **{one: value(row, one) for one in machines}} for row in study.found)
    return Grid(caption=caption, columns=columns, rows=rows)


def _claims(study: GranularityStudy) -> Section:
    notes = pruning_notes()
    sources = (f"granularities: {notes.granularities}", f"lecture: {notes.lecture}")
    return Section(
        name="claims", title="What is said of granularities, checked", statements=statements(study), notes=sources
    )


def _tally(study: GranularityStudy) -> str:
    return tally(statements(study), "Claims")
