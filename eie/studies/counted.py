"""What EIE took for a form of a network, in plain numbers: a study's longest step, which a journal can keep.

Comes in: a network whose weights are shared. Goes out: a frozen `Counted`, also as JSON and back. Read by
`eie.studies.machines`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from eie.compiler.compile import compile as compile_network
from eie.compiler.places import memory_line
from eie.machines.rows import ResultRow, ResultRows
from eie.model.network import Network
from eie.simulation import simulate
from eie.spec import AcceleratorSpec
from eie.studies.compare import rows_of

Advanced = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False, kw_only=True)
class Counted:
    """A form on EIE.

    Attributes
    ----------
    image_bits, codebook_values, macs
        What EIE stored and multiplied. Programs and results of all forms together would be most of a study's memory.
    memory
        Where its weights are, in words, if they do not all fit or the spec says where; else empty.
    """

    rows: ResultRows
    image_bits: int
    codebook_values: int
    macs: float
    memory: str
    synthetic_inputs: bool
    inputs_source: str

    def plain(self) -> dict[str, Any]:
        """Return everything but the spec as JSON."""
        own = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "rows"}
        rows = {field.name: getattr(self.rows, field.name) for field in fields(self.rows) if field.name != "spec"}
        return {**own, "rows": {**rows, "layers": [asdict(row) for row in self.rows.layers]}}

    @classmethod
    def of_plain(cls, value: Mapping[str, Any], spec: AcceleratorSpec) -> Counted:
        """Undo `plain`."""
        rows = {**value["rows"], "layers": tuple(ResultRow(**row) for row in value["rows"]["layers"])}
        # JSON has lists where a record has tuples.
        lists = {key: tuple(rows[key]) for key in ("notes", "incomplete")}
        return cls(**{**value, "rows": ResultRows(**{**rows, **lists, "spec": spec})})


def count(network: Network, spec: AcceleratorSpec, *, samples: int, advanced: Advanced) -> Counted:
    """Compile and simulate a form on the first ``samples`` of its trace."""
    program = compile_network(network, spec)
    # The first samples and not drawn ones: every form then runs on the same.
    inputs = None if network.trace is None else network.trace.head(samples)
    # Counts only are read from here on; accuracy is measured in float32 elsewhere.
    result = simulate(program, inputs, keep_outputs=False, progress=advanced)
    plan = result.memory
    told = not plan.fits or plan.residency != "auto"
    return Counted(
        rows=rows_of(result),
        image_bits=int(sum(layer.image_bits(spec) for layer in program.layers)),
        codebook_values=int(sum(layer.codebook.size for layer in program.layers)),
        macs=float(sum(layer.counts["macs"] for layer in result.layers)),
        memory=memory_line(plan).removesuffix(".") if told else "",
        synthetic_inputs=result.synthetic_inputs,
        inputs_source=result.inputs_source,
    )
