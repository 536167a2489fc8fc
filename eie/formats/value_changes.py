"""Value change dumps, as waveform viewers open them, by way of pyvcd.

Comes in: signals in scopes and their changes in order of time. Goes out: a file, the same bytes for the same changes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eie.errors import EieError
from eie.show.writing import replacing


@dataclass(frozen=True, kw_only=True)
class Signal:
    """One signal: ``"string"`` holds words, ``"integer"`` a number of so many bits."""

    scope: tuple[str, ...]
    name: str
    kind: Literal["string", "integer"]
    bits: int = 1

    @property
    def start(self) -> str | int:
        """What it holds before its first change."""
        return "" if self.kind == "string" else 0


# When, which of the signals, what it holds from then on.
Change = tuple[int, int, str | int]


def write(
    path: str | Path, signals: Sequence[Signal], changes: Iterable[Change], *, times: range, comment: str
) -> None:
    """Write signals and their changes from the first to the last of ``times``.

    Raises
    ------
    EieError
        If pyvcd is not installed, or the file cannot be written.
    """
    try:
        from vcd import VCDWriter
    except ModuleNotFoundError:
        raise EieError(f"{path}: VCD files need pyvcd: pip install 'eie[vcd]'") from None
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="\n")
        writer = VCDWriter(
            text,
            timescale="1 ns",
            # Stated, or it would be today's.
            date="",
            comment=_plain(comment),
            init_timestamp=times.start,
        )
        known = [
            writer.register_var(
                signal.scope,
                signal.name,
                "string" if signal.kind == "string" else "integer",
                size=signal.bits,
                init=signal.start,
            )
            for signal in signals
        ]
        for at, signal, value in changes:
            writer.change(known[signal], at, _plain(value) if isinstance(value, str) else value)
        writer.close(times.stop)
        # The file itself is closed by whoever opened it.
        text.detach()


def _plain(text: str) -> str:
    """Return a text without what ends it in a file of this kind: names come from files of users."""
    return "".join(char if char.isprintable() or char == "\n" else " " for char in text).replace("$", "S")
