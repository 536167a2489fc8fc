"""A granularity study as sections: what is left, what it costs, what is said of it.

Comes in: `Rows`. Goes out: `Section` records. Read by `GranularityStudy.sections`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from eie.machines import noise
from eie.machines.choose import called
from eie.show.numbers import percent
from eie.show.sections import Column, Format, Grid, Section, Value
from eie.studies.granularity.claims import statements
from eie.studies.granularity.example import example
from eie.studies.granularity.notes import pruning_notes
from eie.studies.granularity.rows import FORMATS, Row, Rows

Noisy = Callable[[Rows, Row, str], Mapping[str, Value]]
_HEADS = {"dense": "dense kB", "csr": "CSR kB", "nm": "N:M kB", "eie": "EIE kB"}


def sections(study: Rows) -> tuple[Section, ...]:
    """Everything the study says, in order."""
    parts = [_left(study), _costs(study), _claims(study)]
    if study.search is not None:
        parts.append(study.search.plans_section())
    printed = example(study)
    if printed is not None:
        note = "the two compared within 5 %; speedups are of an A100's bound, not of a measured one"
        parts.append(Section(name="example", title="The text's ResNet-50", grids=(printed,), notes=(note,)))
    return tuple(parts)


def _left(study: Rows) -> Section:
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
                # Over the unpruned network's weights, not the form's own: half of the channels is then a quarter and
                # not 100 %.
                "kept": (row.kept or 0) / (study.unpruned.weights or 1),
                "compression": study.compression(row),
                # kB of 1,000 bytes.
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
    # By family: the same note for 30, 50 and 70 % of the channels is one line.
    said = dict.fromkeys(f"{row.variant.family}: {row.note}" for row in study.rows if row.note)
    return Section(
        name="left",
        title=f"{study.network}: granularities",
        grids=(Grid(caption=caption, columns=tuple(columns), rows=tuple(rows)),),
        notes=(*said, *study.notes),
    )


def _costs(study: Rows) -> Section:
    known = study.machines
    # Machines that state no energy would be columns of dashes.
    priced = [machine for machine in study.machines if study.energy_nj(study.unpruned, machine) is not None]
    grids = (
        _by_machine(
            study=study,
            caption="Speedup over the unpruned network on the same machine",
            value=study.speedup,
            format="factor",
            machines=known,
            noisy=_speedup_range,
        ),
        _by_machine(
            study=study,
            caption="Latency, us a sample; of measured machines the median of the runs, the least, and how much the "
            "longest was over it",
            value=study.latency_us,
            format="number",
            machines=known,
            noisy=_run_range,
        ),
        _by_machine(
            study=study, caption="Energy, nJ a sample", value=study.energy_nj, format="number", machines=priced
        ),
        _machines(study),
    )
    title = f"{study.network}: time and energy"
    return Section(name="costs", title=title, grids=grids, notes=tuple(_cost_notes(study)))


def _machines(study: Rows) -> Grid:
    machines = tuple(
        {
            "name": called(name),
            "machine": cost.machine.name,
            "how": cost.machine.how,
            "mhz": cost.machine.clock_mhz,
            "nm": cost.machine.node_nm,
            "batch": cost.machine.batch,
            "dram": cost.machine.dram,
            "memory": cost.machine.memory,
            "bits": cost.machine.weight_bits,
            "source": cost.machine.source,
        }
        # Machines are the same for every form, so the first row's say it.
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
        Column("memory", "memory", "word"),
        Column("bits", "weight bits", "count"),
        Column("source", "source", "prose"),
    )
    return Grid(caption="The machines", columns=columns, rows=machines)


def _cost_notes(study: Rows) -> list[str]:
    notes = [
        f"{machine} is set against the unpruned network on {study.yardstick(machine)}"
        for machine in study.machines
        if study.yardstick(machine) != machine
    ]
    runs = {len(study.runs_us(row, machine)) for row in study.found for machine in study.machines} - {0}
    if runs:
        many = " to ".join(map(str, sorted({min(runs), max(runs)})))
        notes.append(
            f"measured speedups are medians over {many} pairs of runs taken in turns; from to: where the median "
            f"is, {percent(noise.CONFIDENCE, 0)} % sure; statements are judged by it"
        )
    notes += [f"no total of the network: {reason}" for reason in study.incomplete]
    notes.append("machines differ in clock, node, batch and memory: a column is to be read from top to bottom")
    if any(called(machine) != machine for machine in study.machines):
        notes.append(
            "a bound reaches its peak arithmetic or its full bandwidth and launches nothing: no program is faster"
        )
    return notes


def _speedup_range(study: Rows, row: Row, machine: str) -> dict[str, Value]:
    """Say from where to where the speedup may be, of what was measured."""
    value = study.speedup_interval(row, machine)
    return {f"{machine} range": str(value)} if study.runs_us(row, machine) and value is not None else {}


def _run_range(study: Rows, row: Row, machine: str) -> dict[str, Value]:
    """Return the shortest run and how much longer the longest was, of what was measured."""
    runs = study.runs_us(row, machine)
    return {f"{machine} least": min(runs), f"{machine} spread": noise.spread(runs)} if runs else {}


def _columns_of(study: Rows, machine: str, *, format: Format, noisy: Noisy | None) -> list[Column]:
    """Return a machine's column, and beside it those of its noise if it was measured."""
    known: Mapping[str, tuple[str, Format]] = {
        f"{machine} range": ("from to", "word"),
        f"{machine} least": ("least", "number"),
        f"{machine} spread": ("spread %", "percent"),
    }
    beside = {} if noisy is None else noisy(study, study.unpruned, machine)
    return [Column(machine, called(machine), format), *(Column(key, *known[key]) for key in beside)]


def _by_machine(
    study: Rows,
    caption: str,
    value: Callable[[Row, str], float | None],
    format: Format,
    machines: Sequence[str],
    noisy: Noisy | None = None,
) -> Grid:
    columns = (
        Column("variant", "variant", "text"),
        *(column for machine in machines for column in _columns_of(study, machine, format=format, noisy=noisy)),
    )
    # A dash where there is a reason for it, which stands under the tables.
    blank = "-" if study.incomplete else None
    rows: tuple[dict[str, Value], ...] = tuple(
        {
            "variant": str(row.variant),
            **{machine: blank if (cell := value(row, machine)) is None else cell for machine in machines},
            **{key: cell for machine in machines if noisy for key, cell in noisy(study, row, machine).items()},
        }
        for row in study.found
    )
    return Grid(caption=caption, columns=columns, rows=rows)


def _claims(study: Rows) -> Section:
    notes = pruning_notes()
    sources = (f"granularities: {notes.granularities}", f"lecture: {notes.lecture}")
    return Section(
        name="claims", title="What is said of granularities, checked", statements=statements(study), notes=sources
    )
