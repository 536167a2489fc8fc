"""The compiled network: every PE's images, the codebooks and the machine they were made for.

Comes in: what `eie.compiler.compile` made, or a file. Goes out: a frozen `Program`, which knows its demands and its
memory plan. Read by the simulator and the report.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from eie.compiler import program_file
from eie.compiler.demand import Demand
from eie.compiler.encoded import STORED, EncodedLayer, stored_row
from eie.compiler.memory import placed, plan_of
from eie.compiler.passes import Fit, fit
from eie.compiler.places import MemoryPlan
from eie.errors import ProgramError
from eie.formats.arguments import taken
from eie.model.dataflow import dataflow
from eie.model.drawn import drawn_layers, drawn_notes
from eie.model.graph import Graph
from eie.model.trace import Trace
from eie.show.face import View
from eie.show.notes import note_lines
from eie.show.numbers import of
from eie.show.sections import Column, Grid, Section
from eie.spec import AcceleratorSpec, fields_of


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class Program(View):
    """A network compiled for one machine. Build it with `compile`, keep it with `save` and `load`.

    Attributes
    ----------
    sha256
        Of the model file it was compiled from, or None.
    alternatives
        Whether the layers are no network but alternatives, of which each has the chip to itself.
    unmodelled
        Layers of the model that are not among ``layers``, each in words.
    """

    name: str
    spec: AcceleratorSpec
    layers: tuple[EncodedLayer, ...]
    sequential: bool
    source: str = "arrays"
    notes: tuple[str, ...] = ()
    trace: Trace | None = None
    graph: Graph | None = None
    sha256: str | None = None
    alternatives: bool = False
    unmodelled: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [layer.name for layer in self.layers]
        if not names or len(set(names)) < len(names):
            raise ProgramError(f"program {self.name!r}: has layers {', '.join(names) or '(none)'}: names must differ")
        if self.graph is not None and sorted(self.graph.layers) != sorted(names):
            raise ProgramError(f"program {self.name!r}: its graph names other layers than it has")

    @cached_property
    def dataflow(self) -> Graph | None:
        """How tensors flow, see `eie.model.dataflow.dataflow`."""
        return dataflow(self)

    @taken
    def on(self, spec: AcceleratorSpec) -> Program:
        """Return the same images on another machine that stores them alike (other queues, clock, node, row width).

        Raises
        ------
        ProgramError
            If ``spec`` would need other images: compile again.
        """
        stored_by = fields_of("encoded", spec)
        changed = [name for name in stored_by if getattr(spec, name) != getattr(self.spec, name)]
        if changed:
            raise ProgramError(f"the program was compiled for another {', '.join(changed)}: compile it again")
        return replace(self, spec=spec)

    @cached_property
    def fit(self) -> tuple[Fit, ...]:
        """Each layer's demands against the machine's memories."""
        return tuple(
            fit(layer.name, layer.passes, self.spec, reloads=layer.reloads, rounds=layer.rounds)
            for layer in self.layers
        )

    @property
    def memory(self) -> MemoryPlan:
        """What stays on the chip and what comes when, for the whole network, a sample at a time."""
        return self.planned(1)

    @taken
    def planned(
        self,
        batch: int = 1,
        shapes: Mapping[str, tuple[int, ...]] | None = None,
        products: Mapping[str, int] | None = None,
        sizes: Mapping[str, tuple[int, ...]] | None = None,
    ) -> MemoryPlan:
        """Return the memory plan for ``batch`` samples to each load of a layer; made once.

        Parameters
        ----------
        shapes, products, sizes
            As `eie.compiler.memory.plan_of` takes them: what a run knows of the sizes of maps.

        Raises
        ------
        ProgramError
            If a column of a layer that has to be streamed exceeds a half of the stream buffer.
        """
        key = batch, tuple((shapes or {}).items()), tuple((products or {}).items()), tuple((sizes or {}).items())
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = plan_of(
                demands=self._demands,
                spec=self.spec,
                batch=batch,
                graph=self.dataflow,
                alternatives=self.alternatives,
                shapes=shapes,
                products=products,
                sizes=sizes,
            )
        return plan

    def check_columns(self) -> None:
        """Refuse a program that no run could stream.

        Raises
        ------
        ProgramError
            If a column of a layer that has to be streamed exceeds a half of the stream buffer.
        """
        # Without the maps, which take longer and refuse nothing.
        placed(demands=self._demands, spec=self.spec, batch=1, graph=self.dataflow, alternatives=self.alternatives)

    @cached_property
    def _plans(self) -> dict[tuple[Hashable, ...], MemoryPlan]:
        return {}

    @cached_property
    def _demands(self) -> list[Demand]:
        return [Demand.of(layer) for layer in self.layers]

    def headline(self) -> str:
        """Say what was compiled for what; equal programs have equal content."""
        return f"{self.brief()}, content {self.content_hash[:16]}"

    def brief(self) -> str:
        """Say the same without a hash over every image."""
        return f"{self.name} for {self.spec.name}: {of(self.spec.n_pe, 'PE')}{self.spec.stated_residency}"

    def sections(self) -> tuple[Section, ...]:
        """Return what the PEs store of each layer, and where the whole network is in their memories."""
        # Of a layer alone: what the layers are together is the plan's to say.
        names = [layer.name for layer in self.layers]
        reasons = note_lines(
            (f"{fit.layer}: alone too large: {'; '.join(fit.problems)}" for fit in self.fit if not fit.fits), names
        )
        rows = tuple(
            {**stored_row(layer, self.spec), "fits": fit.fits} for layer, fit in zip(self.layers, self.fit, strict=True)
        )
        grid = Grid(columns=(*STORED, Column("fits", "fits alone", "yes")), rows=rows, notes=reasons)
        notes = note_lines((*self.notes, *drawn_notes(drawn_layers(self.layers))), names)
        (plan,) = self.memory.sections()
        return (
            Section(name="layers", grids=(grid,), notes=notes),
            replace(plan, lines=(*plan.lines, self.memory.headline())),
        )

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over every tensor and the description; equal programs have equal hashes."""
        return program_file.content_hash(self)

    @taken
    def save(self, path: str | Path) -> None:
        """Write the program as safetensors; the trace is not part of it."""
        program_file.save(path, self)

    @staticmethod
    def is_program(path: str | Path) -> bool:
        """Say whether ``path`` is a readable file with a program's header, damaged or not."""
        return program_file.is_program(path)

    @classmethod
    @taken
    def load(cls, path: str | Path) -> Program:
        """Read a program file.

        Raises
        ------
        ProgramError
            If the file is missing, foreign, damaged or of another schema.
        """
        return program_file.load(path, cls)
