"""The answer: a network's activities on a machine, as tables, notes, records and files.

Comes in: what `Totals` are of. Goes out: `Result`. Read by callers, tables, exports and figures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from eie.compiler.map_rows import maps_grid
from eie.compiler.places import memories_grid, memory_line
from eie.energy.area import area_mm2
from eie.energy.clock import timing_met, timing_notes
from eie.energy.prices import prices_pj
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.machines.dense import placement
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.host import work_lines
from eie.results.beside import transfers_grid
from eie.results.layer_notes import run_notes, sharing_notes
from eie.results.layer_record import layer_record, shares_record
from eie.results.pages import cycles_sections, machine_section
from eie.results.priced import known_or_none
from eie.results.table import energy_lines, host_grid, layers_grid, unmodelled_row
from eie.results.timeline import Timeline
from eie.results.told import LIMIT
from eie.results.totals import Totals
from eie.show.face import Answer
from eie.show.notes import note_lines
from eie.show.numbers import count, factor, number, of, percent
from eie.show.sections import Section, Value


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Result(Totals, Answer):
    """A simulated network.

    Attributes
    ----------
    layers
        One `LayerResult` each.
    engine
        Which timing engine counted.
    drive
        ``"execution"``: each layer's outputs fed the next; ``"trace"``: every layer had recorded inputs.
    inputs_source
        What the inputs were, in words.
    synthetic_inputs
        Whether they were drawn at random.
    memory
        What stayed on the chip and what came when, for the whole network.
    accuracy
        Where the trace has labels and the network ran in sequence.
    input_notes
        What a reader must know about the inputs.
    inputs_sha256
        Of all inputs' masks and values.
    cell
        CACTI memory cell by which tables, records and files price SRAMs; see `on_cell`.
    incomplete
        Why the layers do not add up to the network, in words: then every number of the whole is NaN, None in files.
    unmodelled
        Layers of the model that were not run, in words; each is a row of tables and records.
    """

    SCHEMA: ClassVar[str] = "eie-result"

    def on_cell(self, cell: Cell) -> Result:
        """Return the same result with SRAMs priced by another memory cell in all it shows and writes."""
        # Activities know nothing of cells: no cycle has to be counted again.
        return replace(self, cell=cell)

    def notes(self, cell: Cell | None = None) -> tuple[str, ...]:
        """What a reader must know before believing the numbers: synthetic data, capacity, clock, saturation."""
        # From the most general to the narrowest: the model, the inputs, single layers, the clock, prices.
        notes = [*self.program.notes, *drawn_notes(drawn_layers(layer.encoded for layer in self.layers))]
        if self.synthetic_inputs:
            notes.append(f"synthetic inputs: {self.inputs_source}")
        notes += self.input_notes
        notes += [f"no total of the network: {reason}" for reason in self.incomplete]
        notes += [note for layer in self.layers for note in run_notes(layer)]
        notes += [note for layer in self.layers for note in sharing_notes(layer)]
        return (*notes, *timing_notes(self.spec, cell or self.cell), *self.energies(cell)[1])

    def timeline(self, *, cycles: range | None = None, pes: range | None = None, limit: int = LIMIT) -> Timeline:
        """Tell what every PE did in every cycle, in cycles from 1 on over all layers and samples.

        Parameters
        ----------
        cycles, pes
            What of it: ``range(1000, 3000)`` are cycles 1,000 to 2,999; all by default.
        limit
            Events of a file; where there are more, the window ends earlier, and the timeline says so.

        Raises
        ------
        EieError
            If a window is empty or lies outside the run or the machine; as `LayerResult.shares`.
        """
        from eie.results import retelling

        graph = self.program.dataflow
        names = () if graph is None else tuple(graph.uses)
        order = retelling.Order.of(self.layers, batch=self.memory.batch, names=names)
        return retelling.told(self.program.name, order, self.layers, cycles=cycles, pes=pes, limit=limit)

    def records(self, cell: Cell | None = None) -> list[dict[str, Any]]:
        """One flat record a layer, units in the keys, and one a layer that was not run: what CSV and pandas show."""
        rows = self._layer_records(cell)
        # Every record has every key: whoever reads a column need not ask which rows have it.
        blank = dict.fromkeys(rows[0])
        unmodelled = [{**blank, **unmodelled_row(text)} for text in self.unmodelled]
        return [*rows, *unmodelled, *({**blank, "layer": line} for line in work_lines(self.host))]

    def _layer_records(self, cell: Cell | None = None) -> list[dict[str, Any]]:
        energies, _ = self.energies(cell)
        met = timing_met(self.spec, cell or self.cell)
        rows = [
            layer_record(layer, {method: energy.layers[i] for method, energy in energies.items()}, timing_met=met)
            | shares_record(layer)
            for i, layer in enumerate(self.layers)
        ]
        # Behind the other keys, and only where it says something: files of networks without such a layer stay the same.
        tied = any(layer.uses > 1 for layer in self.layers)
        return [{**row, "uses": layer.uses} if tied else row for row, layer in zip(rows, self.layers, strict=True)]

    def headline(self) -> str:
        """Say what was run, on what, with which inputs."""
        spec = self.spec
        batch = "1 sample" if self.samples == 1 else f"{self.samples} samples, means"
        if self.memory.batch > 1:
            batch += f", in batches of {self.memory.batch}"
        own = "each layer on inputs drawn for it" if self.synthetic_inputs else "each layer on its own recorded inputs"
        drive = "each layer feeds the next" if self.drive == "execution" else own
        # With one layer there is nothing between layers to say.
        if len(self.layers) == 1:
            drive = "one layer"
        return (
            f"{self.program.name} on {spec.name}: {of(spec.n_pe, 'PE')}, {spec.clock_mhz:g} MHz, "
            f"queue {spec.act_queue_depth}, {spec.weight_bits}+{spec.index_bits}-bit entries, {spec.node_nm} nm"
            f"{spec.stated_residency}. "
            f"{batch}; {drive}; engine {self.engine}."
        )

    def sections(self) -> tuple[Section, ...]:
        """Return one row a layer, the totals, and the lines under them."""
        energies, _ = self.energies()
        lines = energy_lines(energies)
        if self.accuracy is not None:
            accuracy = self.accuracy
            before = (
                "" if accuracy.given is None else f", {percent(accuracy.given, 2)} % as given (float32, before sharing)"
            )
            lines.append(
                f"Accuracy over {accuracy.samples} samples: {percent(accuracy.fixed, 2)} % in "
                f"{self.spec.data_bits}-bit fixed point, {percent(accuracy.float32, 2)} % in float32{before}."
            )
        computed = [layer.computed for layer in self.layers if layer.computed is not None]
        if computed:
            # The worst and not a mean: one output that is far off can change an answer.
            worst = max(outputs.max_abs_error for outputs in computed)
            lines.append(f"Fixed point against float32: largest difference of an output {worst:.2g}.")
        if self.host is not None:
            lines.append("The totals are of the accelerator: what a host computes between its layers is not in them.")
        # Of synthetic ones a note says so already.
        lines += [] if self.synthetic_inputs else [f"Inputs: {self.inputs_source}."]
        whole = None if self.incomplete else self.latency
        batch = self.memory.batch
        layers = layers_grid(self.layers, energies, whole, batch=batch, unmodelled=self.unmodelled)
        beside = () if self.host is None else (host_grid(self.host),)
        # Grouped where they are shown; `notes` and the files have each.
        notes = note_lines(self.notes(), (layer.name for layer in self.layers))
        table = Section(name="layers", grids=(layers, *beside), lines=tuple(lines), notes=notes)
        grids = [memories_grid(self.memory)]
        if any(not placed.in_sram for placed in self.memory.maps.maps):
            grids.append(maps_grid(self.memory.maps))
        if self.transfers:
            grids.append(transfers_grid(self.transfers))
        # The first things to know: what memory was assumed, and over what a speedup is.
        first = [memory_line(self.memory), self._speedup_line()]
        if batch > 1 and whole is not None:
            first.insert(1, self._batch_line())
        return (table, Section(name="memory", grids=tuple(grids), lines=tuple(first)))

    def page_sections(self) -> tuple[Section, ...]:
        """Return the same, where the cycles of all PEs went if that was counted, and the machine."""
        titles = {"layers": "Layer by layer", "memory": "Memory"}
        table, *others = (replace(part, title=titles.get(part.name, part.title)) for part in self.sections())
        went = cycles_sections(self.layers, whole=not self.incomplete) if self._accounted else ()
        return (table, *went, *others, Section(name="figures", title="Figures"), machine_section(self.spec))

    def provenance(self) -> Mapping[str, Value]:
        """Return the model's file and hashes, and what the inputs were."""
        return {
            "model": self.program.source,
            "SHA-256 of the model's file": self.program.sha256 or "",
            "hash of the compiled program": self.program.content_hash,
            "inputs": self.inputs_source,
            "SHA-256 of the inputs": self.inputs_sha256,
            "engine": self.engine,
        }

    @property
    def _accounted(self) -> bool:
        return all(layer.account is not None for layer in self.layers)

    def _speedup_line(self) -> str:
        said = placement([layer.dense for layer in self.layers], self.spec)
        if self.incomplete:
            return f"Speedup: no total; of a layer over the dense equivalent: {said}."
        times = factor(self.dense_us / self.latency_us)
        return f"Speedup: {times} over the dense equivalent; {said}."

    def _batch_line(self) -> str:
        batch = self.batch_latency
        full, ran = self.memory.batch, len(self.batch_us)
        spread = f" (p50 {number(batch.p50)}, p99 {number(batch.p99)})" if ran > 1 else ""
        last = self.samples - (ran - 1) * full
        # Nobody shall read the time of one sample as that of a whole batch.
        short = "" if last == full else f" ({'the last' if ran > 1 else 'the only one'} of {last})"
        return (
            f"Batches of {full}{short}: {number(batch.mean)} us a batch{spread}, {count(self.samples_per_s)} "
            "samples a second. What is streamed is loaded once a batch: that saves DRAM traffic, not issue cycles."
        )

    def content(self) -> dict[str, Any]:
        """Return everything a later reader needs to say where a number came from."""
        energies, _ = self.energies()
        accuracy = self.accuracy
        return {
            "network": self.program.name,
            "source": self.program.source,
            "program_hash": self.program.content_hash,
            "spec": self.spec.model_dump(),
            "engine": self.engine,
            "drive": self.drive,
            "model_sha256": self.program.sha256,
            "inputs": {
                "source": self.inputs_source,
                "synthetic": self.synthetic_inputs,
                "samples": self.samples,
                "sha256": self.inputs_sha256,
            },
            "batch": self.memory.batch,
            "batch_latency_us": known_or_none(self.batch_latency.mean),
            "batch_latency_p50_us": known_or_none(self.batch_latency.p50),
            "batch_latency_p99_us": known_or_none(self.batch_latency.p99),
            "samples_per_s": known_or_none(self.samples_per_s),
            "latency_us": known_or_none(self.latency_us),
            "lower_bound_us": known_or_none(self.lower_bound_us),
            "bound_by": self.bound_by or None,
            "bound_parts": {name: known_or_none(share) for name, share in self.bound_parts.items()},
            "shares": {name: known_or_none(share) for name, share in self.shares.items()} if self._accounted else None,
            "dense_us": known_or_none(self.dense_us),
            "incomplete": list(self.incomplete),
            "unmodelled": list(self.unmodelled),
            "host": None if self.host is None else vars(self.host),
            "memory": self.memory.content(),
            "beside": [vars(row) for row in self.transfers],
            "energy": {
                method: {
                    "table": energy.table,
                    "cell": energy.cell,
                    **energy.totals(),
                }
                for method, energy in energies.items()
            },
            # Through functions, since both raise where a table has no row: the file then says null and is written all
            # the same.
            "area_mm2": _or_none(lambda: area_mm2(self.spec, self.cell)),
            "prices_pj": _or_none(lambda: prices_pj(self.spec, self.cell)),
            "accuracy": None if accuracy is None else vars(accuracy),
            "notes": list(self.notes()),
            "layers": [
                # Per PE only here: a CSV row has no room for P numbers a kind.
                {
                    **record,
                    "bound_parts": layer.bound_parts,
                    "per_pe": {name: cycles.tolist() for name, cycles in layer.per_pe.items()},
                    "pe_cycles": _listed(layer.pe_cycles) if layer.account is not None else None,
                }
                for record, layer in zip(self._layer_records(), self.layers, strict=True)
            ],
        }


def _listed(arrays: Mapping[str, NDArray[np.int64]]) -> dict[str, list[int]]:
    return {name: values.tolist() for name, values in arrays.items()}


def _or_none(compute: Callable[[], dict[str, float]]) -> dict[str, float] | None:
    try:
        return dict(compute())
    except EnergyError:
        return None
