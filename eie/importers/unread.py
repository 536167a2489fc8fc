"""What files of other suffixes are, and the way from each to one that is read.

Comes in: a path that no reader takes. Goes out: the text of a refusal. Read by `eie.importers`; it imports nothing,
since it is asked only when all else has failed.
"""

from __future__ import annotations

from pathlib import Path

_KEEP = "give the model it was made from"
_ONNX = "export the model to ONNX and give that"
_ARRAYS = "save its arrays by name: numpy.savez(path, **arrays)"
_INSIDE = "unpack it and give the file or folder inside"
_TENSORFLOW = f"{_ONNX}, or save it as .keras"
# Suffix: what it is, what to do.
_KNOWN = (
    dict.fromkeys((".gguf", ".ggml"), ("a llama.cpp model", f"{_KEEP} (a folder of .safetensors)"))
    | dict.fromkeys((".pb", ".pbtxt"), ("a TensorFlow graph", _TENSORFLOW))
    | {".index": ("the index of a TensorFlow checkpoint", _TENSORFLOW)}
    | {".tflite": ("a TFLite model", f"{_KEEP}, exported to ONNX")}
    | dict.fromkeys((".mlmodel", ".mlpackage"), ("a Core ML model", f"{_KEEP}, exported to ONNX"))
    | dict.fromkeys((".engine", ".plan", ".trt"), ("a TensorRT engine, built for one GPU", f"{_KEEP}, as ONNX"))
    | dict.fromkeys((".pkl", ".pickle", ".joblib"), ("a pickle, which can run code and is never opened", _ARRAYS))
    | dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".xz", ".bz2", ".zst", ".7z", ".rar"), ("an archive", _INSIDE))
    | {".msgpack": ("a Flax checkpoint", "save its parameters with safetensors.flax.save_file")}
    | dict.fromkeys((".pdparams", ".params", ".caffemodel", ".weights", ".mat"), ("another framework's file", _ARRAYS))
    | dict.fromkeys((".ort", ".xml", ".pte", ".ptl"), ("a model compiled for a runtime", f"{_KEEP}, as ONNX"))
    | {".json": ("settings, no weights", "give the folder it stands in, or its index (.index.json)")}
)


def refusal(path: Path, kinds: str) -> str:
    """Say what a file is by its suffix, and what to give instead; else which suffixes are read (``kinds``)."""
    suffix = path.suffix.lower()
    # TensorFlow's: model.ckpt.data-00000-of-00001.
    if suffix.startswith(".data-"):
        suffix = ".index"
    if suffix in _KNOWN:
        what, remedy = _KNOWN[suffix]
        return f"{path}: {what}: not read: {remedy}"
    return f"{path}: unknown suffix {path.suffix!r}: must be one of {kinds}, or a folder of .safetensors files"
