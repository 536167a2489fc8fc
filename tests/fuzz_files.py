"""Every reader with a good file of its kind, and ways to damage it: what tests/test_fuzz.py and ``make fuzz`` mutate.

``python tests/fuzz_files.py 2000 [--seed N] [--good FOLDER] [NAME...]`` mutates every file so often, or those, of a
folder that `build` has filled or of a new one. `fuzz_atheris` looks for ways through the binary formats by coverage.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import fuzz_deep
import fuzz_models
import numpy as np
from fuzz_tally import Tally

import eie
from eie.compression.recipe import load_recipe
from eie.formats import idx
from eie.importers.stored import save
from eie.machines import reports, scalesim_config
from eie.recording.inputs import read_samples
from eie.sweeps.journal import Journal

SMALL = eie.EIE_64PE.replace(n_pe=2)
CFG = """[general]
run_name = x
[architecture_presets]
ArrayHeight: 32
ArrayWidth: 32
IfmapSramSzkB: 64
FilterSramSzkB: 64
OfmapSramSzkB: 64
Dataflow: ws
Bandwidth: 10
[layout]
IfmapSRAMBankBandwidth: 10
"""
RECIPE = """[[step]]
kind = "prune"
rule = [{ density = 0.5 }]
[[step]]
kind = "share"
rule = [{ bits = 4 }]
"""
TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 8, 8, 3, 3, 2, 4, 1,
Conv2, 6, 6, 3, 3, 4, 4, 1,
"""
REPORT = "LayerID,Total Cycles,Stall Cycles,Overall Util %\n0,100,3,50.5\n1,20,0,9\n"
TABLE = "layer,outputs,inputs,latency_us,energy_nj\na,6,8,1.5,2\nb,3,6,0.5,1e-3\n"
SPEC = 'preset = "EIE_256PE"\nn_pe = 4\nclock_mhz = 900\nresidency = "ideal"\n'
MODEL = """name = "m"
input = [1, 6, 6]
[[layer]]
name = "c"
kind = "conv"
inputs = 1
outputs = 2
kernel = [3, 3]
pads = 1
weight_density = 0.5
pool = "max3s1"
[[layer]]
name = "d"
inputs = 32
outputs = 4
weight_density = 0.5
"""
YAML = """problem:
  instance: {C: 4, M: 8, N: 1, P: 2, Q: 2, R: 3, S: 3}
"""


def network():
    rng = np.random.default_rng(7)
    layers = (
        eie.Layer.from_weights("a", np.where(rng.random((6, 8)) < 0.5, rng.standard_normal((6, 8)), 0), np.ones(6)),
        eie.Layer.from_codes("b", rng.integers(0, 4, (3, 6)), [0, 1, -1, 2]),
    )
    trace = eie.Trace(layers={"a": eie.LayerTrace.from_dense(rng.random((3, 8)))}, labels=np.array([0, 1, 2]))
    return eie.Network(name="n", layers=layers, sequential=True, trace=trace)


def build(folder):
    """Write one good file of every kind."""
    net, rows = network(), np.random.default_rng(8).random((3, 8)).astype(np.float32)
    for suffix in ("npz", "safetensors", "eie"):
        save(net, folder / f"net.{suffix}")
    net.trace.save(folder / "trace.npz")
    program = eie.compile(net, SMALL)
    program.save(folder / "program.safetensors")
    result = eie.simulate(program, rows)
    result.to_json(folder / "result.json")
    result.to_csv(folder / "result.csv")
    eie.sweep((net, net.trace), {"n_pe": [1, 2]}, journal=folder / "journal.jsonl").to_json(folder / "sweep.json")
    texts = {
        "scale.cfg": CFG, "recipe.toml": RECIPE, "topology.csv": TOPOLOGY, "COMPUTE_REPORT.csv": REPORT,
        "table.csv": TABLE, "spec.toml": SPEC, "model.toml": MODEL, "work.yaml": YAML,
        "m.smtx": "3, 4, 5\n0 2 2 5\n3 0 1 2 3\n",
        "m.mtx": "%%MatrixMarket matrix coordinate real general\n3 3 2\n1 1 1.5\n3 3 4e-1\n",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    np.save(folder / "rows.npy", rows)
    np.savez(folder / "inputs.npz", inputs=rows, labels=np.arange(3))
    pixels = bytes(range(32))
    (folder / "images-idx").write_bytes(b"\0\0\x08\x03" + b"".join(n.to_bytes(4, "big") for n in (2, 4, 4)) + pixels)
    (folder / "labels-idx").write_bytes(b"\0\0\x08\x01" + (2).to_bytes(4, "big") + b"\1\2")
    with contextlib.suppress(ImportError):
        from PIL import Image

        picture = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
        picture.save(folder / "p.png")
        picture.save(folder / "p.jpg")
    with contextlib.suppress(ImportError):
        (folder / "net.onnx").write_bytes(onnx_bytes())
    fuzz_models.build(folder)
    return folder


def onnx_bytes():
    from onnx import TensorProto, helper, numpy_helper

    weights = np.random.default_rng(9).standard_normal((8, 6)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Relu", ["y"], ["z"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, [1, 6])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def runs(path):
    """What loads must also be compiled and simulated; numbers that do not fit may be refused."""
    runs_loaded(eie.load(path))


def runs_loaded(net):
    if sum(layer.outputs * layer.inputs for layer in net.layers) < 1 << 16:
        eie.simulate(eie.compile(net, SMALL))


def program(path):
    eie.simulate(eie.Program.load(path), np.ones(8))


def program_runs(path):
    """A program with a graph, on inputs that it draws itself."""
    loaded = eie.Program.load(path)
    str(loaded)
    shape = next(iter(loaded.graph.inputs))[1] if loaded.graph is not None else (loaded.layers[0].inputs,)
    eie.simulate(loaded, np.ones((1, *(max(1, size) for size in shape)), np.float32))


def journal(path):
    with Journal(path):
        pass
    # The sweep that wrote it: what it holds is taken for these points.
    net = network()
    front = eie.sweep((net, net.trace), {"n_pe": [1, 2]}, journal=path)
    str(front), front.to_json(), front.to_csv()


def inputs(path, labels=None):
    for array in read_samples(path, labels).arrays.values():
        np.asarray(array[:])


def lora(path):
    """A model beside the adapter's folder, with either of the adapter's files damaged."""
    runs_loaded(eie.load(path.parents[1] / "net.npz", merge_lora=path.parent))


READ = {
    **dict.fromkeys(("net.npz", "net.safetensors", "net.eie", "model.toml", "m.smtx", "m.mtx", "net.onnx"), runs),
    **dict.fromkeys(("topology.csv", "work.yaml"), runs),
    **dict.fromkeys(("rows.npy", "inputs.npz", "images-idx", "p.png", "p.jpg"), inputs),
    **dict.fromkeys(("result.json", "result.csv", "COMPUTE_REPORT.csv", "table.csv"), reports.read),
    "trace.npz": lambda path: eie.Trace.load(path).head(1),
    "program.safetensors": program,
    "sweep.json": lambda path: str(eie.read_answer(path)),
    "journal.jsonl": journal,
    "scale.cfg": lambda path: scalesim_config.read(path, 1000),
    "recipe.toml": load_recipe,
    "spec.toml": eie.load_spec,
    "labels-idx": idx.read,
    **dict.fromkeys(fuzz_models.TORCH, runs),
    **dict.fromkeys(("e.pt2", "k.keras", "k.h5", "old.hdf5", "csr.npz", "one.npy", "x.onnx", "weights.toml"), runs),
    **dict.fromkeys(("m.safetensors.index.json",), runs),
    "m-1.safetensors": lambda path: runs(path.with_name("m.safetensors.index.json")),
    "x.data": lambda path: runs(path.with_name("x.onnx")),
    "d.net": lambda path: runs_loaded(eie.load(path, shapes=path.with_name("shapes.toml"))),
    "shapes.toml": lambda path: runs_loaded(eie.load(path.with_name("d.net"), shapes=path)),
    **dict.fromkeys(("hf/config.json", "hf/model.safetensors"), lambda path: runs(path.parent)),
    **dict.fromkeys(("lora/adapter_config.json", "lora/adapter_model.safetensors"), lora),
    "mask.npz": lambda path: runs_loaded(eie.load(path.with_name("base.npz"), mask=path)),
    "labels.npy": lambda path: inputs(path.with_name("rows.npy"), path),
}
# A second each: torch reads and exports anew what is not refused at once, HDF5 is tried in a process of its own.
SLOW = ("e.pt2", "k.keras", "k.h5", "old.hdf5")
# Damage that random bytes rarely make: what numbers, words and brackets become.
WORDS = (
    *(
        b"null",
        b"NaN",
        b"Infinity",
        b"1e400",
        b"-1",
        b"0",
        b"9" * 5000,
        b"1" + b"0" * 400,
        b"true",
        b'""',
        b"[]",
        b"{}",
    ),
    *(
        b"%(foo)s",
        b"\x1b[2J",
        "\u202e".encode(),
        b"\0",
        b"\xff\xfe",
        b"[" * 2000,
        b"-0.0",
        b"2147483648",
        b"1_0",
        b"inf",
    ),
)


def mutated(data, draw):
    """Return damaged bytes: overwritten, flipped, cut, repeated, or a number or word replaced."""
    how = draw.randrange(6)
    at = draw.randrange(len(data) + 1)
    if how == 0:
        return data[:at]
    if how == 1:
        return data[:at] + draw.randbytes(draw.randrange(1, 9)) + data[at:]
    if how == 2:
        end = min(len(data), at + draw.randrange(1, 64))
        return data[:end] + data[at:end] + data[end:]
    out = bytearray(data)
    if how == 3:
        for _ in range(draw.randrange(1, 5)):
            out[draw.randrange(len(out))] = draw.randrange(256)
        return bytes(out)
    if how == 4:
        out[draw.randrange(len(out))] ^= 1 << draw.randrange(8)
        return bytes(out)
    start = stop = min(at, len(data) - 1)
    while stop < len(data) and data[stop : stop + 1].isalnum() and stop - start < 40:
        stop += 1
    return data[:start] + draw.choice(WORDS) + data[stop:]


def attempt(name, path):
    """Read a file that may be damaged; an `eie.EieError` of printable text is the only exception allowed."""
    try:
        READ[name](path)
    except eie.EieError as error:
        text = str(error)
        assert text.strip()
        assert all(line.isprintable() for line in text.split("\n"))
        return "refused"
    return "read"


def place(folder, name, scratch):
    """Return where a damaged file goes, with what it is read with beside it."""
    for beside in fuzz_models.BESIDE.get(name, ()):
        (scratch / beside).parent.mkdir(exist_ok=True)
        shutil.copyfile(folder / beside, scratch / beside)
    (scratch / name).parent.mkdir(exist_ok=True)
    return scratch / name


def damaged(name, good, draw):
    """Return a damaged file, every second one with right checksums around the damage, where its kind has any."""
    if draw.random() < 0.5:
        behind = fuzz_deep.deep(name, good, lambda part: mutated(part, draw), draw)
        if behind is not None:
            return behind
    return mutated(good, draw)


def mutations(name, folder, times, seed=0):
    """Yield each damaged file: its number, the reading of it, and its bytes."""
    good = (folder / name).read_bytes()
    draw = random.Random(f"{name} {seed}")
    with tempfile.TemporaryDirectory() as scratch:
        path = place(folder, name, Path(scratch))
        for i in range(times):
            data = damaged(name, good, draw)
            path.write_bytes(data)
            yield i, lambda: attempt(name, path), data


def keep(name, i, data):
    """Write a damaged file where it stays; return where."""
    kept = Path(tempfile.gettempdir()) / f"fuzz-{i}-{Path(name).name}"
    kept.write_bytes(data)
    return kept


def fuzz(name, folder, times, seed=0):
    """Mutate a file ``times`` times; return how often it was read and refused."""
    outcomes: Counter[str] = Counter()
    for i, reading, data in mutations(name, folder, times, seed):
        try:
            outcomes[reading()] += 1
        except BaseException:
            sys.stderr.write(f"mutation {i} of {name}: kept as {keep(name, i, data)}\n")
            raise
    return outcomes


def main(words):
    """Mutate what is asked for, whatever fails; return 1 where anything did."""
    parser = argparse.ArgumentParser()
    parser.add_argument("times", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--good", type=Path)
    parser.add_argument("names", nargs="*")
    options = parser.parse_intermixed_args(words)
    code = 0
    with tempfile.TemporaryDirectory() as name:
        folder = options.good or build(Path(name))
        for file in options.names or READ:
            if (folder / file).exists():
                tally = Tally(file)
                for i, reading, data in mutations(file, folder, options.times, options.seed):
                    if tally.case(i, reading):
                        keep(file, i, data)
                code |= tally.close()
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
