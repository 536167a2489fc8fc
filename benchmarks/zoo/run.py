"""The zoo: model files that people ship in packages, each read, compared with onnxruntime, and run.

Comes in: nothing, or words that names of files hold. Goes out: a table on the terminal and, of all files, in
docs/zoo.md. ``make zoo``; exits with 1 if less than nine in ten ONNX files are whole and right.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from doc_parts import replace_part

from zoo import fetch
from zoo.judge import QUANTISED, TOLERANCE

# Of processor time a file may take, about; a convolutional network of 20 G multiplications is simulated for minutes.
SECONDS = 900
SHARE = 0.9
HEAD = (
    "| file | MB | layers | weights | of the weights, % | of the products, % | largest error | load s "
    "| of onnxruntime's | load, x float32 | run s |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
)
# Below this, what is loaded is the libraries.
SEEN = 1_000_000


def main(words: list[str]) -> int:
    """Fetch, measure and print."""
    said, rows, right, count = fetch.listing()["files"], [], 0, 0
    models = fetch.models(words)
    # Each file is a process of its own; times are of processors, so that several at once do not lengthen them.
    with ThreadPoolExecutor(int(os.environ.get("ZOO_JOBS", "1"))) as pool:
        measured = list(pool.map(lambda model: _told(model, said.get(model.name, {})), models))
    for model, row in zip(models, measured, strict=True):
        line = _line(model.name, row)
        rows.append(line)
        if model.path.suffix == ".onnx":
            count, right = count + 1, right + _is_right(row)
    summary = f"{right} of {count} ONNX files are whole and equal to onnxruntime"
    print(summary)
    if not words:
        bound = os.environ.get("ZOO_RUN")
        more = "" if bound is None else f" Files of {float(bound):,.0f} multiplications and more were read, not run."
        replace_part("files", "\n".join((f"{summary}.{more}\n", *HEAD, *rows)), "zoo.md")
    return int(right < SHARE * count)


def _told(model: fetch.Model, said: Mapping[str, Any]) -> dict[str, Any]:
    row = _measured(model, said)
    print(_line(model.name, row), flush=True)
    return row


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
        number("error", ".0e") or (f"**{row['reason'][:160]}**" if row.get("reason") else "state dict"),
        number("load_s", ".2f"),
        # Of a small file, the clock of the process has no digits.
        f"{row['load_s'] / row['onnxruntime_s']:.1f}" if row.get("load_s") and row.get("onnxruntime_s", 0) > 0 else "",
        f"{row['load_mb'] / (row['constants'] * 4 / 2**20):.1f}"
        if row.get("constants", 0) >= SEEN and "load_mb" in row
        else "",
        number("run_s", ".1f"),
    ]
    if row.get("error") is not None and row.get("reason"):
        cells[6] += f"; {row['reason'][:120]}"
    return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"


def _shares(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return shares in per cent of weights and multiplications that layers have; "?" where that is not known."""
    if row.get("unmodelled"):
        return _rest(row["unmodelled"], "weights"), _rest(row["unmodelled"], "multiplications")
    if not row.get("whole"):
        return "", ""
    products, others = row.get("products", 0), row.get("activations", 0)
    return "100", format(100 * products / (products + others), ".4g") if products else "?"


def _rest(rows: Sequence[str], what: str) -> str:
    """Return what the rows of a report leave of a hundred; they round to whole ones."""
    shares = [re.search(rf"(\d+) % of the {what}", text) for text in rows]
    if what == "weights":
        shares = [share for share in shares if share is not None]
    return "?" if None in shares else str(100 - sum(int(share[1]) for share in shares if share is not None))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
