"""Results as JSON.

Comes in: a `Result`. Goes out: text, with units in the keys; it carries everything needed to say later where a number
came from.
"""

from __future__ import annotations

import json
import platform
from typing import TYPE_CHECKING, Any

from eie.energy.area import area_mm2
from eie.energy.estimate import prices_pj
from eie.energy.tables import Cell
from eie.errors import EnergyError
from eie.version import package_versions

if TYPE_CHECKING:
    from eie.results.result import Result

SCHEMA_NAME = "eie-result"
SCHEMA = 1


def result_json(result: Result, cell: Cell = "itrs-lop") -> str:
    """Return the result as JSON text (schema ``eie-result`` 1)."""
    energies, _ = result.energies(cell)
    accuracy = result.accuracy
    value: dict[str, Any] = {
        "schema": SCHEMA_NAME,
        "schema_version": SCHEMA,
        "network": result.program.name,
        "source": result.program.source,
        "program_hash": result.program.content_hash,
        "spec": result.spec.model_dump(),
        "versions": {
            "python": platform.python_version(),
            **package_versions(),
        },
        "engine": result.engine,
        "drive": result.drive,
        "model_sha256": result.program.sha256,
        "inputs": {
            "source": result.inputs_source,
            "synthetic": result.synthetic_inputs,
            "samples": result.samples,
            "sha256": result.inputs_sha256,
        },
        "latency_us": result.latency_us,
        "dense_us": result.dense_us,
        "energy": {
            method: {
                "table": energy.table,
                "cell": energy.cell,
                "total_nj": energy.total_nj,
                "unit_nj": energy.unit_nj(),
            }
            for method, energy in energies.items()
        },
        "area_mm2": _or_none(lambda: area_mm2(result.spec, cell)),
        "prices_pj": _or_none(lambda: prices_pj(result.spec, cell)),
        "accuracy": None if accuracy is None else vars(accuracy),
        "notes": list(result.notes(cell)),
        "layers": [
            {**record, "per_pe": {name: rows.tolist() for name, rows in layer.per_pe.items()}}
            for record, layer in zip(result.records(cell), result.layers, strict=True)
        ],
    }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def _or_none(compute: Any) -> dict[str, float] | None:
    try:
        return dict(compute())
    except EnergyError:
        return None
