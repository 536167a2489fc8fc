"""The accelerator in Verilog: a layer of a program written out as hardware, and run beside the other engines.

Comes in: a `Program` and its inputs. Goes out: a folder of Verilog, memory images and expectations; a `RtlCheck`, what
a Verilog simulator counted beside what the engines count. Called by the command line. docs/rtl.md tells the design.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class _Room(ModuleType):
    """A package that can be called: ``eie.rtl(...)`` is `eie.write_rtl`, whether or not the room is loaded already."""

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[Path, ...]:
        from eie.rtl.write import write_rtl

        return write_rtl(*args, **kwargs)


# Python's own way to give a module more than a module has; the import of any module in here puts it into `eie`.
sys.modules[__name__].__class__ = _Room
