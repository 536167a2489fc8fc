"""A granularity study as an answer: its rows with the face that every answer has.

Comes in: `Rows`. Goes out: a frozen `GranularityStudy`. Made by `eie.studies.granularity.study`, read by the
command line, notebooks and figures.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from eie.machines import noise
from eie.show.face import Answer
from eie.show.sections import Section
from eie.show.text import section_data
from eie.studies.granularity.claims import break_even
from eie.studies.granularity.rows import FORMATS, Row, Rows
from eie.studies.granularity.tables import sections


@dataclass(frozen=True, eq=False, kw_only=True, repr=False)
class GranularityStudy(Rows, Answer):
    """Variants of a network, side by side; see `Rows` for the fields."""

    SCHEMA: ClassVar[str] = "eie-granularity"
    CLAIMS: ClassVar[str] = "Claims"

    def headline(self) -> str:
        """Say which network was pruned in how many ways, on what."""
        return f"{self.network}: {len(self.found)} forms on {', '.join(self.machines)}"

    def sections(self) -> tuple[Section, ...]:
        """Return what is left, what it costs, what is said of it, and what was searched."""
        return sections(self)

    def records(self) -> list[dict[str, Any]]:
        """One flat record a variant and machine, units in the keys."""
        records = []
        # All rows, not `found` ones alone: a form that the network does not have stays in the file with its note.
        for row in self.rows:
            head = {
                "network": self.network,
                "variant": str(row.variant),
                "granularity": row.variant.granularity,
                "sparsity": row.variant.sparsity,
                "weights": row.weights,
                "kept": row.kept,
                "compression": self.compression(row),
                # Every format for every variant, None where it cannot hold one: rows of a table need the same keys.
                **{f"size_{name}_bytes": (row.size_bytes or {}).get(name) for name in FORMATS},
                "macs": row.macs,
                "kept_macs": row.kept_macs,
                "eie_macs": row.eie_macs,
                "accuracy": row.accuracy,
                "accuracy_shared": row.accuracy_shared,
                "note": row.note,
            }
            records += [
                {
                    **head,
                    "machine": machine,
                    "latency_us": self.latency_us(row, machine),
                    "speedup": self.speedup(row, machine),
                    **_measured(self, row, machine),
                    "energy_nj": self.energy_nj(row, machine),
                }
                for machine in self.machines
            ]
        return records

    def content(self) -> dict[str, Any]:
        """Return machines, records and tables."""
        return {
            "network": self.network,
            "spec": self.spec.model_dump(),
            "incomplete": list(self.incomplete),
            "epochs": self.epochs,
            "accuracy_source": self.accuracy_source,
            "machines": {name: cost.machine.content() for name, cost in (self.unpruned.costs or {}).items()},
            # Only where whether to use it is the question: CSR against the dense product on the same machine.
            "break_even_sparsity": {
                machine: break_even(self, machine) for machine in self.machines if self.yardstick(machine) != machine
            },
            "rows": self.records(),
            "sections": [section_data(section) for section in self.sections()],
        }


def _measured(study: Rows, row: Row, machine: str) -> dict[str, Any]:
    """Return what the runs of a measured machine were like; the same keys for machines that were not measured."""
    runs, speedup = study.runs_us(row, machine), study.speedup_interval(row, machine)
    measured = bool(runs) and speedup is not None
    return {
        "latency_least_us": min(runs) if runs else None,
        "latency_spread": noise.spread(runs) if runs else None,
        "speedup_low": speedup.low if measured and speedup else None,
        "speedup_high": speedup.high if measured and speedup else None,
        "runs": len(runs) or None,
    }
