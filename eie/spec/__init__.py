"""The machine: its fields (`machine`), who reads them (`stages`, `readers`), how they are said (`words`), `load`."""

from eie.spec.load import load_spec
from eie.spec.machine import EIE_64PE, EIE_256PE, PRESETS, AcceleratorSpec, reads
from eie.spec.readers import fields_of
from eie.spec.stages import AFTER, Reads, Stage
from eie.spec.words import complaint, plain_value, renamed, word_value

__all__ = [
    "AFTER",
    "EIE_64PE",
    "EIE_256PE",
    "PRESETS",
    "AcceleratorSpec",
    "Reads",
    "Stage",
    "complaint",
    "fields_of",
    "load_spec",
    "plain_value",
    "reads",
    "renamed",
    "word_value",
]
