"""Exports of common PyTorch blocks by both exporters, opset 13 to 21: each whole, and equal to torch.

Comes in: nothing. Goes out: a table, into docs/zoo.md and on the terminal. ``make zoo-torch``; exits with 1 if an
export is not right. ``python -m zoo.exports WORD`` in benchmarks/ makes those whose name holds the word, without the
table.
"""

from __future__ import annotations

import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from doc_parts import replace_part

from zoo.blocks import blocks
from zoo.judge import Answers, Verdict, judged, onnxruntime_answers

TIME_FIRST = "time first"


def main(words: list[str]) -> int:
    """Make, judge and print all exports."""
    warnings.simplefilter("ignore")
    logging.getLogger("torch.onnx").setLevel(logging.CRITICAL)
    rows, right, count = [], 0, 0
    for i, (name, (module, examples)) in enumerate(blocks().items()):
        if words and not any(word in name for word in words):
            continue
        cells = []
        for exporter, opset in _forms(i):
            verdict = _judged(name, module, examples, exporter=exporter, opset=opset)
            right, count = right + verdict.right(), count + 1
            said = f"{verdict.error:.0e}" if verdict.right() else f"**{verdict.reason or verdict.error}**"
            print(f"{name}: {exporter} {opset}: {verdict.layers} layers, {said}", flush=True)
            cells += [f"{opset}: {said}"]
        rows.append(f"| {name} | {verdict.layers} | {' | '.join(cells)} |")
    print(f"{right} of {count} whole and equal")
    if not words:
        head = (
            "| block | layers | TorchScript exporter | TorchScript exporter, open batch | dynamo exporter, open batch |"
        )
        text = f"{right} of {count} exports are whole and equal to torch (torch {torch.__version__}).\n\n"
        replace_part("exports", "\n".join((text + head, "|---|---:|---|---|---|", *rows)), "zoo.md")
    return int(right < count)


def _answers(path: Path, feed: dict[str, np.ndarray], answer: np.ndarray) -> Answers:
    """Torch's answer; where a network ends before the last operator, onnxruntime's for that tensor."""

    def answers(names: Sequence[str]) -> dict[str, np.ndarray]:
        return {"y": answer} if "y" in names else dict(onnxruntime_answers(path, feed)(names))

    return answers


def _forms(i: int) -> Iterator[tuple[str, int]]:
    # In turns, so that every opset from 13 to 21 comes up: the older exporter ends at 20, the newer begins at 18.
    yield "script", 13
    yield "script, open", 14 + i % 7
    yield "dynamo, open", 18 + i % 4


def _judged(name: str, module: torch.nn.Module, examples: tuple, *, exporter: str, opset: int) -> Verdict:
    batch = 1 if TIME_FIRST in name else 0
    # Sizes that are not open are those of one sample, as people export for inference.
    if "open" not in exporter:
        examples = tuple(example.narrow(batch, 0, 1) for example in examples)
    names = ["ids", "x"] if len(examples) > 1 else ["ids" if examples[0].dtype == torch.int64 else "x"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "block.onnx"
        options = {"input_names": names, "output_names": ["y"], "opset_version": opset}
        if exporter.startswith("dynamo"):
            shapes = tuple({batch: torch.export.Dim.DYNAMIC} for _ in examples)
            options |= {"dynamo": True, "dynamic_shapes": shapes, "external_data": False, "verbose": False}
        else:
            options |= {"dynamo": False}
            if "open" in exporter:
                options["dynamic_axes"] = {key: {batch: "batch"} for key in names}
        try:
            torch.onnx.export(module, examples, str(path), **options)
        except Exception as error:  # whatever torch says is the table's to show
            return Verdict(reason=f"torch cannot export it: {str(error).splitlines()[0][:100]}")
        with torch.no_grad():
            answer = module(*examples).numpy()
        feed = {key: np.asarray(value) for key, value in zip(names, examples, strict=True)}
        return judged(path, feed, _answers(path, feed, answer), dict.fromkeys(names, batch))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
