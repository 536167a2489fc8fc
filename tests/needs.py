"""Programs that tests need beside Python: without one its tests skip, and ``make check`` leaves them out."""

import shutil
from collections.abc import Callable
from typing import Any

import pytest
from browser import browser

from eie.rtl import tools


def needs(program: str, *, is_here: bool) -> Callable[[Any], Any]:
    """Return a mark for tests or classes of them."""

    def mark(test: Any) -> Any:
        return pytest.mark.long(pytest.mark.skipif(not is_here, reason=f"needs {program}")(test))

    return mark


icarus = needs("iverilog", is_here="icarus" in tools.available())
verilator = needs("verilator", is_here="verilator" in tools.available())
yosys = needs("yosys", is_here=shutil.which("yosys") is not None)
chromium = needs("Chromium", is_here=browser() is not None)
