"""Damaged and hostile files: an `EieError` of one line or a usable object, never anything else, never a hang."""

import io
import json
import os
import struct
import zipfile
from functools import cache

import numpy as np
import packing
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from netfile import net_file, random_layer
from packing import save_safetensors

import eie
import eie.formats.npz as npz_module
import eie.model.trace_file as trace_module
from eie.compiler import program_file
from eie.formats.npz import read_npy
from eie.importers import stored
from eie.importers.shapes import read_table
from eie.model.geometry import Conv2d
from eie.model.graph import Graph, Node

RNG = np.random.default_rng(11)
SMALL = eie.EIE_64PE.replace(n_pe=2)
ARRAYS = {
    "a.weight": np.where(RNG.random((6, 8)) < 0.4, RNG.standard_normal((6, 8)), 0).astype(np.float32),
    "a.bias": RNG.standard_normal(6).astype(np.float32),
    "b.codes": RNG.integers(0, 4, (3, 6)).astype(np.uint8),
    "b.codebook": np.array([0, 1, -1, 2], np.float32),
}
ACTIVATIONS = np.maximum(RNG.standard_normal((3, 8)), 0).astype(np.float32)
TABLE = """name = "n"
input = [2, 4, 4]
step = [{ layer = "c", shape = [3, 2, 3, 3], pad = 1, relu = true },
  { name = "p", op = "max_pool", kernel = 2, stride = 2 },
  { name = "f", op = "flatten" }, { layer = "d", shape = [4, 12] }]
"""
MODEL = """name = "m"
weights = "weights.npz"
sequential = true
[[layer]]
name = "a"
weights = "a.weight"
bias = "a.bias"
relu = true
[[layer]]
name = "b"
inputs = 6
outputs = 3
weight_density = 0.5
"""


def saved_bytes(save):
    buffer = io.BytesIO()
    save(buffer)
    return buffer.getvalue()


def build(folder):
    """Write one small good file of every format; return path by kind."""
    files = {
        "model.npz": saved_bytes(lambda file: np.savez(file, **ARRAYS)),
        "packed.npz": saved_bytes(lambda file: np.savez_compressed(file, **ARRAYS)),
        "weights.npz": saved_bytes(lambda file: np.savez(file, **ARRAYS)),
        "model.toml": MODEL.encode(),
        "table.toml": TABLE.encode(),
        "spec.toml": b'preset = "EIE_256PE"\nn_pe = 4\nclock_mhz = 900\nresidency = "ideal"\n',
        "model.net": net_file([random_layer(RNG, (3, 2, 3, 3), 0.4), random_layer(RNG, (4, 12), 0.4)]),
        "model.smtx": b"3, 4, 5\n0 2 2 5\n3 0 1 2 3\n",
        "activations.npy": saved_bytes(lambda file: np.save(file, ACTIVATIONS)),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    program_file.write_safetensors(folder / "model.safetensors", ARRAYS, {"format": "np"})
    net = eie.load(folder / "model.npz")
    eie.compile(net, SMALL).save(folder / "program.safetensors")
    layers = {"a": eie.LayerTrace.from_dense(ACTIVATIONS), "b": eie.LayerTrace.from_dense(ACTIVATIONS[:, :6])}
    eie.Trace(layers=layers, labels=np.array([0, 1, 2]), source="test").save(folder / "trace.npz")
    stored.save(small_network(), folder / "stored.npz")
    stored.save(small_network(), folder / "stored.safetensors")
    build_containers(folder)
    return folder


def build_containers(folder):
    """Write quantised weights of every format, one matrix in every container, an index with its shard, an adapter."""
    for name, parts in packed_layouts().items():
        save_safetensors(folder / f"{name}.safetensors", {f"l.{part}": array for part, array in parts.items()})
    float8 = RNG.integers(0, 120, (4, 6)).astype(np.uint8)
    save_safetensors(
        folder / "fp8.safetensors",
        {"l.weight_scale": np.ones(1, np.float32)},
        foreign={"l.weight": ("F8_E4M3", float8)},
    )
    qdata = {"0._weight_qdata": np.ones((3, 4), np.int8), "0._weight_scale": np.ones((3, 1), np.float32)}
    save_safetensors(folder / "torchao.safetensors", qdata, {"0.weight": '{"_type": "Int8Tensor"}'})
    csr = {"indices": [0, 2, 1], "indptr": [0, 2, 3], "data": [1.0, 2, 3], "shape": [2, 3], "format": b"csr"}
    (folder / "csr.npz").write_bytes(saved_bytes(lambda file: np.savez(file, **csr)))
    (folder / "one.npy").write_bytes(saved_bytes(lambda file: np.save(file, ARRAYS["a.weight"])))
    market = b"%%MatrixMarket matrix coordinate real symmetric\n% made here\n3 3 3\n1 1 1.5\n2 1 -2\n3 3 4e-1\n"
    (folder / "m.mtx").write_bytes(market)
    (folder / "p.mtx").write_bytes(
        market.replace(b"real", b"pattern").replace(b" 1.5", b"").replace(b" -2", b"").replace(b" 4e-1", b"")
    )
    shard = folder / "m-00001-of-00001.safetensors"
    save_safetensors(shard, {"a.weight": ARRAYS["a.weight"]})
    index = {"metadata": {"total_size": 192}, "weight_map": {"a.weight": shard.name}}
    (folder / "m.safetensors.index.json").write_text(json.dumps(index))
    lora = folder / "lora"
    lora.mkdir()
    factors = {"a.lora_A.weight": np.ones((1, 8), np.float32), "a.lora_B.weight": np.ones((6, 1), np.float32)}
    save_safetensors(lora / "adapter_model.safetensors", factors)
    (lora / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 1, "lora_alpha": 2, "use_rslora": false}')


def packed_layouts():
    """Small layers of the formats that hold their integers packed."""
    codes, scales = RNG.integers(0, 16, (32, 8)), RNG.uniform(1, 2, (2, 8))
    zeros = RNG.integers(0, 16, (2, 8))
    state = np.frombuffer(b'{"quant_type": "nf4", "blocksize": 8, "shape": [4, 6]}', np.uint8)
    return {
        "gptq": packing.gptq(codes, zeros=zeros, scales=scales, bits=4, group_of=np.arange(32) // 16),
        "awq": packing.awq(codes, zeros=zeros, scales=scales),
        "packed": {
            "weight_packed": packing.rows_of_words(codes.T, 4),
            "weight_scale": np.ones((8, 2), np.float32),
            "weight_shape": np.array([8, 32]),
        },
        "bitmask": packing.bitmask(ARRAYS["a.weight"], ARRAYS["a.weight"] != 0),
        "int8": {"weight": np.ones((4, 6), np.int8), "weight_scale": np.ones((4, 1), np.float32)},
        "scb": {"weight": np.ones((4, 6), np.int8), "SCB": np.ones(4, np.float32), "weight_format": np.uint8([0])},
        "nf4": {
            "weight": RNG.integers(0, 256, (12, 1)).astype(np.uint8),
            "weight.absmax": np.ones(3, np.float32),
            "weight.quant_map": np.linspace(-1, 1, 16).astype(np.float32),
            "weight.quant_state.bitsandbytes__nf4": state,
        },
        "fp4": {"weight_packed": np.ones((4, 8), np.uint8), "weight_scale": np.full((4, 1), 127, np.uint8)},
    }


def small_network():
    """A convolution, pooling, an added constant and a shared layer in a graph, with a trace."""
    rng = np.random.default_rng(5)
    conv = eie.Layer.from_conv(
        "c",
        rng.standard_normal((2, 1, 3, 3)),
        conv=Conv2d(in_channels=1, out_channels=2, kernel=(3, 3), pads=(1, 1, 1, 1)),
    )
    shared = eie.Layer.from_codes("d", rng.integers(0, 4, (3, 4)), [0, 1, -1, 2])
    nodes = (
        Node(op="layer", inputs=("input",), outputs=("c",), layer="c"),
        Node(op="max_pool", inputs=("c",), outputs=("p",), layer=None, attributes={"kernel": (2, 2), "ceil": True}),
        Node(op="add", inputs=("p", "shift"), outputs=("s",)),
        Node(op="flatten", inputs=("s",), outputs=("f",)),
        Node(op="layer", inputs=("f",), outputs=("d",), layer="d"),
    )
    graph = Graph(
        inputs=(("input", (1, 2, 4)),), nodes=nodes, outputs=("d",), constants={"shift": np.ones((1, 2), np.float32)}
    )
    trace = eie.Trace(
        layers={"input": eie.LayerTrace.from_dense(ACTIVATIONS)}, labels=np.array([0, 1, 2]), source="test"
    )
    return eie.Network(name="n", layers=(conv, shared), trace=trace, graph=graph)


def save_torch(folder):
    torch = pytest.importorskip("torch", reason="needs the torch extra")
    tensors = {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}
    torch.save(tensors, folder / "model.pt")
    torch.save(tensors, folder / "model.pth", _use_new_zipfile_serialization=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return build(tmp_path_factory.mktemp("good"))


def runs(net):
    """A network that loads must also compile and be timed; numbers that do not fit may be refused."""
    try:
        program = eie.compile(net, SMALL)
        for layer in program.layers:
            layer.decode()
        eie.simulate(program)
    except eie.EieError:
        pass


READ = {
    "model.npz": lambda path: runs(eie.load(path)),
    "packed.npz": lambda path: runs(eie.load(path)),
    "model.safetensors": lambda path: runs(eie.load(path)),
    "stored.npz": lambda path: runs(eie.load(path)),
    "stored.safetensors": lambda path: runs(eie.load(path)),
    "model.toml": lambda path: runs(eie.load(path)),
    "model.smtx": lambda path: runs(eie.load(path)),
    "model.net": lambda path: runs(eie.load(path, shapes=path.parent / "table.toml")),
    "table.toml": lambda path: read_table(path).graph(),
    "model.pt": lambda path: runs(eie.load(path)),
    "model.pth": lambda path: runs(eie.load(path)),
    "spec.toml": eie.load_spec,
    "activations.npy": lambda path: eie.LayerTrace.from_dense(read_npy(path, eie.EieError)),
    "trace.npz": lambda path: used(eie.Trace.load(path)),
    "program.safetensors": lambda path: run_program(path),  # noqa: PLW0108 - defined below
    **{
        name: lambda path: runs(eie.load(path))
        for name in (
            *(f"{name}.safetensors" for name in packed_layouts()),
            "fp8.safetensors",
            "torchao.safetensors",
            "csr.npz",
            "one.npy",
            "m.mtx",
            "p.mtx",
            "m.safetensors.index.json",
        )
    },
    "lora/adapter_model.safetensors": lambda path: runs(eie.load(path.parents[1] / "model.npz", merge_lora=path)),
    "lora/adapter_config.json": lambda path: runs(eie.load(path.parents[1] / "model.npz", merge_lora=path.parent)),
}


def used(trace):
    """Touch what a simulation would."""
    for layer in trace.layers.values():
        assert layer.mask.shape == (layer.rows, layer.width)
        assert layer.dense() is None or layer.dense().shape == layer.mask.shape
    return trace.head(1)


def survives(read, path):
    """Read a file that may be broken: `EieError` with printable text is the only exception allowed."""
    text = "."
    try:
        read(path)
    except eie.EieError as error:
        text = str(error)
    assert text.strip()
    assert all(line.isprintable() for line in text.split("\n"))


damage = st.one_of(
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4),
    st.floats(0, 1, exclude_max=True),
    st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
)


def damaged(data, how):
    """Bytes overwritten, the end cut off, or bytes pushed in; places are fractions of the length."""
    if isinstance(how, float):
        return data[: int(how * len(data))]
    if isinstance(how, tuple):
        at = int(how[0] * len(data))
        return data[:at] + how[1] + data[at:]
    out = bytearray(data)
    for place, byte in how:
        out[int(place * len(data))] = byte
    return bytes(out)


many = settings(max_examples=100)


# Other kinds have their hundred in tests/test_fuzz.py, with right checksums around the damage too; stored networks
# here have a graph and a convolution.
PLAIN = (
    "stored.npz",
    "stored.safetensors",
    "model.npz",
    "packed.npz",
    "model.safetensors",
    "activations.npy",
    "p.mtx",
    "fp8.safetensors",
    "torchao.safetensors",
)


@pytest.mark.parametrize("name", [*PLAIN, *(f"{name}.safetensors" for name in packed_layouts())])
def test_damaged_bytes(folder, tmp_path_factory, name):
    target = build(tmp_path_factory.mktemp("damaged")) / name
    good = (folder / name).read_bytes()
    READ[name](folder / name)

    @many
    @given(damage)
    def check(how):
        target.write_bytes(damaged(good, how))
        survives(READ[name], target)

    check()


@pytest.mark.torch
@pytest.mark.parametrize("name", ["model.pt", "model.pth"])
def test_damaged_torch_files(tmp_path, name):
    save_torch(tmp_path)
    good = (tmp_path / name).read_bytes()
    READ[name](tmp_path / name)

    @many
    @given(damage)
    def check(how):
        (tmp_path / name).write_bytes(damaged(good, how))
        survives(READ[name], tmp_path / name)

    check()


@pytest.mark.parametrize(
    "name", ["model.npz", "trace.npz", "stored.npz", "csr.npz", pytest.param("model.pt", marks=pytest.mark.torch)]
)
def test_damaged_members_of_a_sound_archive(folder, tmp_path, name):
    """Checksums find random damage; whoever writes the file on purpose writes the right checksum."""
    if name == "model.pt":
        save_torch(tmp_path)
    source = tmp_path / name if name == "model.pt" else folder / name
    with zipfile.ZipFile(source) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    target = tmp_path / f"damaged{source.suffix}"

    @many
    @given(st.sampled_from(sorted(members)), damage)
    def check(which, how):
        with zipfile.ZipFile(target, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, damaged(data, how) if member == which else data)
        survives(READ[name], target)

    check()


@cache
def programs():
    """A layer cut into passes, and a convolution with pooling in a graph."""
    cut = SMALL.replace(act_registers=2)
    layer = eie.Layer.from_weights("a", ARRAYS["a.weight"], ARRAYS["a.bias"])
    return eie.compile(layer, cut), eie.compile(small_network(), SMALL)


@pytest.mark.parametrize("which", [0, 1])
def test_sound_programs_load(tmp_path, which):
    programs()[which].save(tmp_path / "a.safetensors")
    run_program(tmp_path / "a.safetensors")


@many
@given(st.data())
def test_damaged_program_with_a_right_hash(data):
    """The hash finds damage, not malice: every image is checked before a kernel walks it."""
    program = data.draw(st.sampled_from(programs()))
    arrays, header = program_file.pack(program)
    arrays = {name: array.copy() for name, array in arrays.items()}
    if data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(arrays)))
        array = arrays[name]
        how = data.draw(st.sampled_from(["cut", "value", "dtype", "shape"]))
        if how == "cut":
            arrays[name] = array[: data.draw(st.integers(0, len(array) - 1))]
        elif how == "value":
            at = data.draw(st.integers(0, array.size - 1))
            array.reshape(-1).view(np.uint8)[at * array.itemsize + data.draw(st.integers(0, array.itemsize - 1))] ^= (
                data.draw(st.integers(1, 255))
            )
        elif how == "dtype":
            arrays[name] = array.astype(data.draw(st.sampled_from([np.float64, np.int16, np.uint32, np.bool_])))
        else:
            arrays[name] = array[None]
    else:
        replace_somewhere(header, data)
    signed = {**header, "content_hash": program_file.digest(arrays, header)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_file, "read_safetensors", lambda *_: (arrays, {"eie": json.dumps(signed)}))
        survives(run_program, "program.safetensors")


def test_a_program_whose_graph_adds_nothing_is_refused():
    """A constant without elements makes a map of nothing, which is planned before it is run."""
    program = programs()[1]
    arrays, header = program_file.pack(program)
    arrays = {**arrays, "graph.shift": arrays["graph.shift"][:0]}
    signed = {**header, "content_hash": program_file.digest(arrays, header)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program_file, "read_safetensors", lambda *_: (arrays, {"eie": json.dumps(signed)}))
        with pytest.raises(eie.EieError):
            run_program("program.safetensors")


def run_program(path):
    """Load a program and do what a user can do with it; what it stores must be what its counts say."""
    program = eie.Program.load(path)
    for layer in program.layers:
        assert np.count_nonzero(layer.decode()) <= layer.entries - layer.padding
    assert program.fit
    eie.simulate(program, ACTIVATIONS).to_json()


def replace_somewhere(value, data):
    """Replace, drop or keep parts of nested JSON until one leaf was hit."""
    key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
    inner = value[key]
    if isinstance(inner, dict | list) and inner and data.draw(st.booleans()):
        replace_somewhere(inner, data)
    elif data.draw(st.integers(0, 4)) == 0:
        del value[key]
    else:
        odd = [None, True, -1, 0, 1, 3, 7, 2**31, 2**64, 1.5, float("nan"), "", "a\n\x1b[2J", [], {}, [[0]], {"a": 1}]
        value[key] = data.draw(st.sampled_from(odd))


@many
@given(st.data())
def test_odd_trace_header(folder, data):
    """A trace whose header says other things than its arrays."""
    with np.load(folder / "trace.npz") as archive:
        arrays = dict(archive)
    header = json.loads(arrays["header"].tobytes())
    replace_somewhere(header, data)
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trace_module, "read_npz", lambda *_: arrays)
        survives(READ["trace.npz"], "trace.npz")


TYPES = ["?", "i1", "<u2", ">i4", "<i8", "<u8", "<f2", ">f4", "<f8", "<c8", "<c16", "S3", "<U4"]


@many
@given(st.data())
def test_odd_stored_network(data):
    """A network as eie writes it, whose description says other things than its arrays."""
    arrays = stored.to_arrays(small_network())
    header = json.loads(arrays[stored.KEY].tobytes())
    replace_somewhere(header, data)
    arrays[stored.KEY] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    survives(lambda path: runs(stored.from_arrays(arrays, path)), "stored.npz")


@pytest.mark.parametrize("name", ["model.npz", "trace.npz", "stored.npz"])
@many
@given(st.data())
def test_odd_arrays(folder, name, data):
    """Arrays of another type, shape or with extreme values, in a sound file."""
    with np.load(folder / name) as archive:
        arrays = dict(archive)
    which = data.draw(st.sampled_from(sorted(set(arrays) - {"header"})))
    array = arrays[which]
    how = data.draw(st.sampled_from(["type", "cut", "axis", "flat", "value"]))
    if how == "type":
        array = array.astype(data.draw(st.sampled_from(TYPES)))
    elif how == "cut":
        array = array[: data.draw(st.integers(0, len(array) - 1))]
    elif how == "axis":
        array = array[None]
    elif how == "flat":
        array = array.reshape(-1)
    else:
        array = array.astype(np.float64)
        odd = [np.nan, np.inf, -np.inf, 1e300, -3e38, 1e-45, 255.0, 256.0, -1.0, 0.5]
        array.reshape(-1)[data.draw(st.integers(0, array.size - 1))] = data.draw(st.sampled_from(odd))
    with pytest.MonkeyPatch.context() as patch:
        for module in (trace_module, npz_module):
            patch.setattr(module, "read_npz", lambda *_: {**arrays, which: array})
        survives(READ[name], folder / name)


def npy(header, data=b""):
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def zipped(path, members, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


class TestDeclaredSizes:
    """What a file claims is checked before memory is taken."""

    @pytest.mark.parametrize(
        "shape", ["(1000000000000,)", "(1048576, 1048576, 64)", "(18446744073709551616,)", "(-4, -2)", "(1, -8)"]
    )
    def test_npy_header(self, tmp_path, shape):
        data = npy(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}", bytes(32))
        with pytest.raises(eie.EieError, match=r"says it holds .* but 32 follow"):
            eie.load(zipped(tmp_path / "a.npz", {"a.weight.npy": data}))
        (tmp_path / "a.npy").write_bytes(data)
        with pytest.raises(eie.EieError, match=r"says it holds .* but 32 follow"):
            read_npy(tmp_path / "a.npy", eie.EieError)

    def test_zip_bomb(self, tmp_path):
        """A few bytes that claim to be 20 GiB: refused by the claim alone."""
        path = zipped(tmp_path / "a.npz", {"a.npy": bytes(1 << 16)}, compression=zipfile.ZIP_DEFLATED)
        data = bytearray(path.read_bytes())
        directory = data.index(b"PK\x01\x02")
        data[directory + 24 : directory + 28] = struct.pack("<I", 0xFFFFFFF0)
        central, end = bytes(data[directory : data.index(b"PK\x05\x06")]), bytearray(data[data.index(b"PK\x05\x06") :])
        end[8:16] = struct.pack("<HHI", 5, 5, 5 * len(central))
        path.write_bytes(bytes(data[:directory]) + 5 * central + bytes(end))
        with pytest.raises(eie.EieError, match=r"unpacks to 21,474,836,400 bytes: must be at most 17,179,869,184"):
            eie.load(path)

    def test_safetensors_header(self, tmp_path):
        for header in (
            {"a.weight": {"dtype": "F32", "shape": [1 << 40, 1 << 20], "data_offsets": [0, 1 << 62]}},
            {"a.weight": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}},
        ):
            text = json.dumps(header).encode()
            (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
            with pytest.raises(eie.EieError, match=r"not a usable \.safetensors file"):
                eie.load(tmp_path / "a.safetensors")
        (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + bytes(64))
        with pytest.raises(eie.EieError, match=r"not a usable \.safetensors file"):
            eie.load(tmp_path / "a.safetensors")

    def test_synthetic_model(self, tmp_path):
        layer = '[[layer]]\nname = "a"\ninputs = 65536\noutputs = 65536\nweight_density = 1.0\n'
        (tmp_path / "a.toml").write_text(layer)
        with pytest.raises(eie.EieError, match=r"4,294,967,296 random weights"):
            eie.load(tmp_path / "a.toml")

    def test_columns_times_pes(self, tmp_path):
        (tmp_path / "a.smtx").write_text("1, 32768, 1\n0 1\n0\n")
        net = eie.load(tmp_path / "a.smtx")
        with pytest.raises(eie.EieError, match=r"32,768 columns on 65536 PEs need 2,147,549,184 pointers: at most"):
            eie.compile(net, SMALL.replace(n_pe=65536))

    def test_net_with_huge_counts(self, tmp_path, folder):
        data = (folder / "model.net").read_bytes()
        (tmp_path / "a.net").write_bytes(b"\xff\xff\xff\xff" + data[4:])
        with pytest.raises(eie.EieError, match="not what the layers of n would fill"):
            eie.load(tmp_path / "a.net", shapes=folder / "table.toml")


class TestForeignFiles:
    def test_pickle_inside_npz(self, tmp_path):
        np.savez(tmp_path / "a.npz", weights=np.array([{"a": 1}, None], dtype=object))
        with pytest.raises(eie.EieError, match="pickled Python objects, which are never unpickled"):
            eie.load(tmp_path / "a.npz")

    def test_structured_array(self, tmp_path):
        np.savez(tmp_path / "a.npz", weight=np.zeros((2, 2), [("x", "f4"), ("y", "i4")]))
        with pytest.raises(eie.EieError, match="must be a plain array of numbers"):
            eie.load(tmp_path / "a.npz")

    @pytest.mark.parametrize(
        "suffix",
        [".toml", ".npz", ".safetensors", ".net", ".smtx", ".onnx", pytest.param(".pt", marks=pytest.mark.torch)],
    )
    @pytest.mark.parametrize("what", ["pipe", "folder", "device", "dangling link", "link to itself", "nothing"])
    def test_not_a_plain_file(self, tmp_path, suffix, what):
        """Opening a pipe that nobody writes to would wait for ever."""
        if suffix == ".pt":
            pytest.importorskip("torch", reason="needs the torch extra")
        path = tmp_path / f"a{suffix}"
        if what == "pipe":
            os.mkfifo(path)
        elif what == "folder":
            path.mkdir()
        elif what == "device":
            path.symlink_to("/dev/zero")
        elif what == "dangling link":
            path.symlink_to(tmp_path / "nowhere")
        elif what == "link to itself":
            path.symlink_to(path)
        with pytest.raises(eie.EieError, match=rf"a{suffix}: (a pipe, socket or device|a folder|cannot be read)"):
            eie.load(path)

    @pytest.mark.parametrize(
        ("name", "read"),
        [
            ("a.npz", eie.Trace.load),
            ("a.npy", lambda path: read_npy(path, eie.EieError)),
            ("a.toml", eie.load_spec),
            ("a.safetensors", eie.Program.load),
        ],
    )
    def test_pipes_elsewhere(self, tmp_path, name, read):
        os.mkfifo(tmp_path / name)
        with pytest.raises(eie.EieError, match=rf"{name}: a pipe, socket or device: must be a file"):
            read(tmp_path / name)

    def test_labels_that_are_no_classes(self, tmp_path):
        for labels in (np.array(["cat"]), np.array([0.5]), np.array([np.nan])):
            np.savez(tmp_path / "a.npz", weight=np.ones((2, 3)), act=np.ones((1, 3)), labels=labels)
            with pytest.raises(eie.EieError, match="labels have dtype .*: must be integers"):
                eie.load(tmp_path / "a.npz")

    def test_link_to_a_plain_file_is_read(self, tmp_path, folder):
        (tmp_path / "a.npz").symlink_to(folder / "model.npz")
        assert len(eie.load(tmp_path / "a.npz").layers) == 2

    @pytest.mark.parametrize("key", ["weights", "trace"])
    def test_model_that_points_elsewhere(self, tmp_path, folder, key):
        os.mkfifo(tmp_path / "pipe.npz")
        for target, text in (
            ("missing.npz", "cannot be read: No such file"),
            ("pipe.npz", "a pipe, socket or device"),
            ("/dev/zero", "must be one of|a pipe, socket or device"),
            ("../", "must be one of|a folder"),
            (str(folder / "activations.npy"), "no array 'a.weight'|not an .npz archive"),
            (str(folder / "program.safetensors"), "a compiled program|not an .npz archive"),
            (str(folder / ("trace.npz" if key == "weights" else "model.npz")), "a trace of activations|not a trace"),
        ):
            file = {"weights": str(folder / "weights.npz"), key: target}
            keys = "\n".join(f'{name} = "{value}"' for name, value in file.items())
            layer = '\n[[layer]]\nname = "a"\nweights = "a.weight"\n'
            (tmp_path / "a.toml").write_text(keys + layer)
            with pytest.raises(eie.EieError, match=text):
                eie.load(tmp_path / "a.toml")

    def test_names_that_are_no_paths(self, tmp_path):
        (tmp_path / "a.toml").write_text('weights = "a\\u0000.npz"\n[[layer]]\nname = "a"\nweights = "w"\n')
        with pytest.raises(eie.EieError, match="not a file name"):
            eie.load(tmp_path / "a.toml")
        for path in ("a\0.npz", "x" * 5000 + ".npz", ""):
            with pytest.raises(eie.EieError):
                eie.load(path)

    def test_integers_and_nesting_without_end(self, tmp_path):
        for text in (f"seed = {'1' * 5000}", f"a = {'[' * 5000}", "a." * 5000 + "b = 1", "name = 1e400"):
            (tmp_path / "a.toml").write_text(text)
            with pytest.raises(eie.EieError, match=r"a\.toml"):
                eie.load(tmp_path / "a.toml")
            with pytest.raises(eie.EieError):
                eie.load_spec(tmp_path / "a.toml")

    def test_terminal_escapes_do_not_reach_the_terminal(self, tmp_path):
        (tmp_path / "a.toml").write_text('"\\u001b[2J" = 1\n[[layer]]\nname = "a\\u001b[2J"\n')
        with pytest.raises(eie.EieError) as caught:
            eie.load(tmp_path / "a.toml")
        assert "\x1b" not in str(caught.value)
        (tmp_path / "a.toml").write_text(
            '[[layer]]\nname = "a\\u001b[2J"\ninputs = 4\noutputs = 4\nweight_density = 0.5\n'
        )
        with pytest.raises(eie.EieError, match="must be printable text"):
            eie.load(tmp_path / "a.toml")

    def test_spec_keys_that_are_python_words(self, tmp_path):
        (tmp_path / "a.toml").write_text('self = 1\n"__init__" = 2\npreset = "EIE_64PE"\n')
        with pytest.raises(eie.EieError, match="unknown key"):
            eie.load_spec(tmp_path / "a.toml")
        (tmp_path / "a.toml").write_text("preset = [1]")
        with pytest.raises(eie.EieError, match=r"preset=\[1\]: must be one of"):
            eie.load_spec(tmp_path / "a.toml")
