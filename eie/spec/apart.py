"""Machines told apart: which fields differ among several, and each machine called by these.

Comes in: specs. Goes out: names of fields, and a label a machine. Read by comparisons and differences: a preset's name
says nothing of a machine that was changed since.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from eie.show.numbers import of
from eie.spec.machine import PRESETS, AcceleratorSpec

# How a field is said in a few words; any other is said by its own name.
_SAID = {
    "clock_mhz": "{:g} MHz",
    "act_queue_depth": "queue {}",
    "index_bits": "{}-bit index",
    "weight_bits": "{}-bit weights",
    "data_bits": "{}-bit data",
    "node_nm": "{} nm",
    "spmat_row_bits": "{}-bit rows",
}
MOST_WORDS = 3  # of a label; numbers tell the rest apart


def differing_fields(specs: Sequence[AcceleratorSpec]) -> tuple[str, ...]:
    """Return the fields in which machines are not all alike, in the order of the spec; the name is none of them."""
    fields = [name for name in AcceleratorSpec.model_fields if name != "name"]
    return tuple(name for name in fields if len({getattr(spec, name) for spec in specs}) > 1)


def said(spec: AcceleratorSpec, field: str) -> str:
    """Say one field of a machine: ``16 PEs``, ``residency ideal``."""
    value = getattr(spec, field)
    if field == "n_pe":
        return of(value, "PE")
    # format and not str: 800.0 is to read 800.
    text = _SAID.get(field, f"{field} {{:g}}" if type(value) is float else f"{field} {{}}")
    return text.format(value)


def labels(specs: Sequence[AcceleratorSpec], varied: Collection[str] = ()) -> list[str]:
    """Call each machine by its PEs and by what else differs among them: ``EIE 64 PEs, queue 8``.

    A name of the user's own stays in front; that of a preset would say that a changed machine is still the preset.

    Parameters
    ----------
    varied
        Fields that have many values on either side, so that none of them names it.
    """
    fields = ["n_pe", *(field for field in differing_fields(specs) if field != "n_pe")]
    fields = [field for field in fields if field not in varied][:MOST_WORDS]
    names = ["EIE" if spec.name in PRESETS else spec.name for spec in specs]
    words = [", ".join(said(spec, field) for field in fields) for spec in specs]
    return [f"{name} {word}".rstrip() for name, word in zip(names, words, strict=True)]
