"""Rewrite the frozen outputs in tests/fixtures, and the tables of docs/spec.md (``make freeze``).

Look at the difference before committing it.
"""

import hashlib
from pathlib import Path

import numpy as np
from coded_models import SMALL, frozen_network
from knobs import knob_table

import eie
from eie.spec import reads

ROOT = Path(__file__).parent.parent


def image_digest() -> str:
    """SHA-256 over the PE images of the shipped LeNet."""
    program = eie.compile(eie.load(ROOT / "models" / "lenet-300-100.toml"))
    digest = hashlib.sha256()
    for layer in program.layers:
        for one in layer.passes:
            # As files hold them: a pointer for every PE.
            pointers = np.concatenate(list(one.whole_pointers()))
            for array in (one.bases, pointers, one.codes, one.runs):
                digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def spec_table() -> str:
    """The table of docs/spec.md: what every field is, what it decides and what more of it costs."""
    lines = ["| field | default | bounds | what | decides | costs |", "|---|---|---|---|---|---|"]
    for name, field in eie.AcceleratorSpec.model_fields.items():
        bounds = [
            f"{sign} {getattr(bound, key)}"
            for bound in field.metadata
            for key, sign in (("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<"))
            if getattr(bound, key, None) is not None
        ]
        read = reads(name)
        decides = [f"`{stage}`" for stage in read.by] + [f"(`{stage}`)" for stage in read.enforced]
        default = (
            str(field.default).lower() if isinstance(field.default, bool) else f"{field.default}".removesuffix(".0")
        )
        cells = (f"`{name}`", default, ", ".join(bounds), field.description, ", ".join(decides), read.costs)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """Return docs/spec.md with its tables made anew."""
    for head, table in (("| field |", spec_table()), ("| knob |", knob_table())):
        start = page.index(head)
        end = page.index("\n\n", start) + 1
        page = page[:start] + table + page[end:]
    return page


if __name__ == "__main__":
    PAGE = ROOT / "docs" / "spec.md"
    PAGE.write_text(with_table(PAGE.read_text()))
    (ROOT / "tests" / "fixtures" / "lenet-300-100.image.sha256").write_text(image_digest() + "\n")
    eie.save(frozen_network(), ROOT / "tests" / "fixtures" / SMALL)
