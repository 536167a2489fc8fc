"""Good files of models as others write them, for the fuzz harness: torch, Keras, ONNX with its data, folders."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile

import numpy as np
import packing
from netfile import net_file, random_layer

RNG = np.random.default_rng(12)
WEIGHT = np.where(RNG.random((6, 8)) < 0.5, RNG.standard_normal((6, 8)), 0).astype(np.float32)
ARRAYS = {"a.weight": WEIGHT, "a.bias": np.ones(6, np.float32)}
SHAPES = """name = "n"
input = [2, 4, 4]
step = [{ layer = "c", shape = [3, 2, 3, 3], pad = 1, relu = true },
  { name = "p", op = "max_pool", kernel = 2, stride = 2 },
  { name = "f", op = "flatten" }, { layer = "d", shape = [4, 12] }]
"""
KERAS = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"name": "head"}}]}}
QUANTISED = {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 16, "desc_act": False}}
LORA = {"peft_type": "LORA", "r": 1, "lora_alpha": 2, "use_rslora": False, "fan_in_fan_out": False}
# Every suffix that torch.save's files go by; the reader is one.
TORCH = ("t.pt", "t.pth", "t.bin", "t.ckpt", "t.pth.tar", "t.pt.tar")
# What a file is read with: copied beside it, since links out of a model's folder are not followed.
BESIDE = {
    "m.safetensors.index.json": ("m-1.safetensors", "m-2.safetensors"),
    "m-1.safetensors": ("m.safetensors.index.json", "m-2.safetensors"),
    "x.onnx": ("x.data",),
    "x.data": ("x.onnx",),
    "d.net": ("shapes.toml",),
    "shapes.toml": ("d.net",),
    "hf/config.json": ("hf/model.safetensors",),
    "hf/model.safetensors": ("hf/config.json",),
    "lora/adapter_config.json": ("lora/adapter_model.safetensors", "net.npz"),
    "lora/adapter_model.safetensors": ("lora/adapter_config.json", "net.npz"),
    "mask.npz": ("base.npz",),
    "labels.npy": ("rows.npy",),
    "weights.toml": ("base.npz",),
}


def build(folder):
    """Write them, as far as the packages are there."""
    save = packing.save_safetensors
    (folder / "hf").mkdir()
    (folder / "lora").mkdir()
    (folder / "base.npz").write_bytes(_npz(ARRAYS))
    (folder / "mask.npz").write_bytes(_npz({"a.weight": WEIGHT != 0}))
    csr = {"indices": [0, 2, 1], "indptr": [0, 2, 3], "data": [1.0, 2, 3], "shape": [2, 3], "format": b"csr"}
    (folder / "csr.npz").write_bytes(_npz(csr))
    np.save(folder / "one.npy", WEIGHT)
    np.save(folder / "labels.npy", np.arange(3))
    (folder / "d.net").write_bytes(net_file([random_layer(RNG, (3, 2, 3, 3), 0.4), random_layer(RNG, (4, 12), 0.4)]))
    (folder / "shapes.toml").write_text(SHAPES)
    (folder / "weights.toml").write_text(
        'name = "w"\nweights = "base.npz"\n[[layer]]\nname = "a"\nweights = "a.weight"\nbias = "a.bias"\n'
    )
    save(folder / "m-1.safetensors", {"a.weight": WEIGHT})
    save(folder / "m-2.safetensors", {"b.weight": WEIGHT[:3, :6], "b.bias": np.ones(3, np.float32)})
    weight_map = {"a.weight": "m-1.safetensors", "b.weight": "m-2.safetensors", "b.bias": "m-2.safetensors"}
    (folder / "m.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    codes, scales = RNG.integers(0, 16, (32, 8)), RNG.uniform(1, 2, (2, 8))
    zeros, groups = RNG.integers(0, 16, (2, 8)), np.arange(32) // 16
    parts = packing.gptq(codes, zeros=zeros, scales=scales, bits=4, group_of=groups)
    save(folder / "hf/model.safetensors", {f"l.{part}": array for part, array in parts.items()})
    (folder / "hf/config.json").write_text(json.dumps(QUANTISED))
    factors = {"a.lora_A.weight": np.ones((1, 8), np.float32), "a.lora_B.weight": np.ones((6, 1), np.float32)}
    save(folder / "lora/adapter_model.safetensors", factors)
    (folder / "lora/adapter_config.json").write_text(json.dumps(LORA))
    for one in (_keras, _external, _torch):
        with contextlib.suppress(ImportError):
            one(folder)


def _npz(arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _keras(folder):
    import h5py

    with h5py.File(folder / "k.h5", "w") as file:
        group = file.create_group("layers/dense/vars")
        group.attrs["name"] = "head"
        for i, array in enumerate((WEIGHT.T, np.ones(6, np.float32))):
            group.create_dataset(str(i), data=array)
    with h5py.File(folder / "old.hdf5", "w") as file:
        file.attrs["model_config"] = json.dumps(KERAS)
        file["model_weights/head/head/kernel:0"] = WEIGHT.T
        file["model_weights/head/head/bias:0"] = np.ones(6, np.float32)
    with zipfile.ZipFile(folder / "k.keras", "w") as archive:
        archive.write(folder / "k.h5", "model.weights.h5")
        archive.writestr("config.json", json.dumps(KERAS))


def _external(folder):
    from onnx import TensorProto, helper, numpy_helper

    (folder / "x.data").write_bytes(WEIGHT.T.tobytes())
    tensor = TensorProto(name="w", dims=[8, 6], data_type=1, data_location=1)
    for key, value in (("location", "x.data"), ("offset", "0"), ("length", "192")):
        tensor.external_data.add(key=key, value=value)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        # For the host: it has no operator of ours.
        helper.make_node("Erf", ["y"], ["e"]),
        helper.make_node("MatMul", ["e", "v"], ["z"]),
    ]
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info("x", TensorProto.FLOAT, [1, 8])],
        [info("z", TensorProto.FLOAT, [1, 3])],
        [tensor, numpy_helper.from_array(WEIGHT[:, :3].copy(), "v")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "x.onnx").write_bytes(model.SerializeToString())


def _torch(folder):
    import torch

    tensors = {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}
    for name in TORCH:
        # The older form too: one pickle behind the other, no archive.
        torch.save({"state_dict": tensors}, folder / name, _use_new_zipfile_serialization=name != "t.pth")
    with contextlib.suppress(AttributeError, ImportError):
        import onnxscript  # noqa: F401 - what torch exports with

        module = torch.nn.Sequential(torch.nn.Linear(8, 6), torch.nn.ReLU()).eval()
        with torch.no_grad():
            program = torch.export.export(module, (torch.ones(2, 8),))
        torch.export.save(program, folder / "e.pt2")
