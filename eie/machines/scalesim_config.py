"""SCALE-Sim's configuration file (``.cfg``) as a systolic array.

Comes in: a path. Goes out: a `SystolicArray`. Read by `choose`.
"""

from __future__ import annotations

import re
from configparser import ConfigParser
from configparser import Error as ConfigError
from pathlib import Path

from eie.errors import EieError
from eie.formats.files import read_bytes
from eie.machines.systolic import SystolicArray, dataflow_of

_SIZES = {
    "rows": "ArrayHeight",
    "columns": "ArrayWidth",
    "ifmap_kib": "IfmapSramSzkB",
    "filter_kib": "FilterSramSzkB",
    "ofmap_kib": "OfmapSramSzkB",
    "write_words": "Bandwidth",
}

# A configuration has some forty lines; no array, SRAM or bandwidth is larger than the second.
_LARGEST = 1 << 20
_LARGEST_SIZE = 1 << 40


def read(path: str | Path, clock_mhz: float) -> SystolicArray:
    """Read an array's size, dataflow, SRAMs and bandwidths.

    Words read a cycle are ``IfmapSRAMBankBandwidth`` (v3; one bank), else ``Bandwidth`` (v2).

    Raises
    ------
    EieError
        If the file cannot be read, or a value is missing or not a whole number.
    """
    # No interpolation: SCALE-Sim has none, and a % of a file is text.
    parser = ConfigParser(interpolation=None)
    try:
        parser.read_string(read_bytes(path, EieError, _LARGEST).decode(), str(path))
    except (ConfigError, UnicodeDecodeError) as error:
        raise EieError(f"{path}: not a SCALE-Sim configuration: {str(error).splitlines()[0]}") from None
    sizes = {
        name: _whole(path=path, parser=parser, section="architecture_presets", key=key) for name, key in _SIZES.items()
    }
    # v2 has one bandwidth for all three SRAMs; v3 states its own for reads.
    sizes["read_words"] = sizes["write_words"]
    if parser.has_option("layout", "IfmapSRAMBankBandwidth"):
        sizes["read_words"] = _whole(path=path, parser=parser, section="layout", key="IfmapSRAMBankBandwidth")
    text = parser.get("architecture_presets", "Dataflow", fallback="").strip()
    flow = dataflow_of(text)
    if flow is None:
        raise EieError(f"{path}: Dataflow {text!r}: must be ws, os or is")
    return SystolicArray(dataflow=flow, clock_mhz=clock_mhz, **sizes)


def _whole(path: str | Path, parser: ConfigParser, section: str, key: str) -> int:
    text = parser.get(section, key, fallback="").strip()
    # ASCII alone, and not many digits: int() refuses more than 4,300.
    if not re.fullmatch("[0-9]{1,13}", text) or not 1 <= int(text) <= _LARGEST_SIZE:
        raise EieError(f"{path}: [{section}] {key} = {text[:40]!r}: must be a whole number from 1 to {_LARGEST_SIZE:,}")
    return int(text)
