"""Types of fields that files state, for the records that hold their headers: what is wrong is refused as it is read.

Comes in: a value of a header. Goes out: the same value, or a `ValueError` that pydantic words. Read by the headers of
programs and coded networks.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

# Of a matrix. Far above any layer, and low enough that rows x PEs and columns x PEs stay within 64 bits.
LARGEST_SIDE = 1 << 26


def _printable(text: str) -> str:
    # Texts go to terminals and pages, where a control character could act.
    if not text.isprintable():
        raise ValueError(f"{text!r}: must be printable text")
    return text


Text = Annotated[str, AfterValidator(_printable)]
