"""The zoo: model files that people ship in packages, each read, compared with onnxruntime, and run.

Comes in: nothing, or words that names of files hold. Goes out: a table on the terminal and, of all files, in
docs/zoo.md. ``make zoo``; exits with 1 if less than nine in ten ONNX files are whole and right.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from zoo import fetch
from zoo.judge import QUANTISED, TOLERANCE
from zoo.page import replace_part

# Of processor time a file may take, about; a convolutional network of 20 G multiplications is simulated for minutes.
SECONDS = 900
SHARE = 0.9
HEAD = (
    "| file | MB | layers | weights | of the weights, % | of the products, % | largest error | load s "
    "| load, x float32 | run s |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)
# Below this, what is loaded is the libraries.
SEEN = 1_000_000


def main(words: list[str]) -> int:
    """Fetch, measure and print."""
    said, rows, right, count = fetch.listing()["files"], [], 0, 0
    for model in fetch.models(words):
        row = _measured(model, said.get(model.name, {}))
        line = _line(model.name, row)
        print(line, flush=True)
        rows.append(line)
        if model.path.suffix == ".onnx":
            count, right = count + 1, right + _is_right(row)
    summary = f"{right} of {count} ONNX files are whole and equal to onnxruntime"
    print(summary)
    if not words:
        replace_part("files", "\n".join((f"{summary}.\n", *HEAD, *rows)))
    return int(right < SHARE * count)


def _measured(model: fetch.Model, said: Mapping[str, Any]) -> dict[str, Any]:
    command = [sys.executable, "-m", "zoo.measure", str(model.path), json.dumps(said)]
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            out, errors = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            out, errors = process.communicate()
            errors = f"not done in {SECONDS} s"
    row: dict[str, Any] = json.loads(out.splitlines()[-1]) if out.strip() else {"reason": ""}
    if process.returncode and not row.get("reason"):
        row["reason"] = (errors.strip().splitlines() or ["ended"])[-1][:200]
    return row


def _is_right(row: Mapping[str, Any]) -> bool:
    bound = QUANTISED if row.get("quantised") else TOLERANCE
    return bool(row.get("whole")) and row.get("error") is not None and row["error"] <= bound


def _line(name: str, row: Mapping[str, Any]) -> str:
    def number(key: str, form: str) -> str:
        return format(row[key], form) if row.get(key) is not None else ""

    shares = _shares(row)
    cells = [
        name,
        f"{row.get('bytes', 0) / 1e6:.1f}",
        number("layers", "d"),
        number("weights", ",d"),
        *shares,
        number("error", ".0e") or f"**{row.get('reason', '')[:160]}**",
        number("load_s", ".2f"),
        f"{row['load_mb'] / (row['weights'] * 4 / 2**20):.1f}"
        if row.get("weights", 0) >= SEEN and "load_mb" in row
        else "",
        number("run_s", ".1f"),
    ]
    if row.get("error") is not None and row.get("reason"):
        cells[6] += f"; {row['reason'][:120]}"
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _shares(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return shares in per cent of weights and multiplications that are modelled."""
    if not row.get("unmodelled"):
        return ("100", "100") if row.get("whole") else ("", "")
    return "see reason", ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
