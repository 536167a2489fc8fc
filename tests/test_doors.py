"""One door for every file: plain files alone, sizes asked before memory is taken, and what is written stays whole."""

import gzip
import io
import json
import os
import socket
import struct
import time
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import eie
from eie.cli.app import app
from eie.errors import EieError, SweepError
from eie.formats import budget, idx
from eie.formats.answers import EDITED
from eie.formats.csv_table import CsvTable
from eie.formats.files import read_bytes
from eie.formats.npz import read_npy, read_npz
from eie.importers.stored import save
from eie.machines import reports, scalesim_config
from eie.recording.inputs import read_samples
from eie.show.writing import write_text
from eie.sweeps.journal import HEADER, Journal, line_of

READERS = {
    "bytes": lambda path: read_bytes(path, EieError),
    "npz": lambda path: read_npz(path, EieError),
    "npy": lambda path: read_npy(path, EieError),
    "idx": idx.read,
    "labels": lambda path: read_samples(_inputs(path), path),
    "csv": CsvTable.read,
    "report": reports.read,
    "cfg": lambda path: scalesim_config.read(path, 1000),
    "picture": lambda path: read_samples(_named(path, ".png")).arrays[""][:],
    "result": eie.read_answer,
    "trace": eie.Trace.load,
    "program": eie.Program.load,
    "spec": lambda path: eie.load_spec(_named(path, ".toml")),
    "journal": Journal,
    **{
        suffix: lambda path, suffix=suffix: eie.load(_named(path, suffix))
        for suffix in (
            ".toml",
            ".npz",
            ".safetensors",
            ".smtx",
            ".csv",
            ".yaml",
            ".eie",
            ".net",
            ".onnx",
            ".npy",
            ".mtx",
        )
    },
}


def _named(path, suffix):
    """The same thing under a name that its reader takes."""
    link = path.with_name(f"link{suffix}")
    if not link.exists():
        link.symlink_to(path)
    return link


def _inputs(path):
    file = path.with_name("inputs.npy")
    np.save(file, np.ones((2, 3), np.float32))
    return file


def make(kind, path):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        # Bound by its bare name: a path of a test's folder is longer than a socket's may be.
        here = Path.cwd()
        os.chdir(path.parent)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
        os.chdir(here)
    elif kind == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["pipe", "socket", "endless"])
@pytest.mark.parametrize("reader", READERS)
def test_only_plain_files_are_read(tmp_path, reader, kind):
    with pytest.raises(EieError):
        READERS[reader](make(kind, tmp_path / "it"))


def test_a_pipe_in_a_folder_of_pictures(tmp_path):
    from PIL import Image

    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    with pytest.raises(EieError, match=r"b\.png: a pipe"):
        read_samples(tmp_path).arrays[""][:]


def test_a_pipe_among_reports(tmp_path):
    (tmp_path / "COMPUTE_REPORT.csv").write_text("LayerID,Total Cycles\n0,10\n")
    os.mkfifo(tmp_path / "BANDWIDTH_REPORT.csv")
    with pytest.raises(EieError, match="a pipe"):
        reports.read(tmp_path)


@pytest.fixture
def mebibyte(monkeypatch):
    monkeypatch.setenv("EIE_MEMORY", "1MiB")


def npz_bomb(path):
    np.savez_compressed(path, a=np.zeros(1 << 20, np.float32))


def png_bomb(path, side=9000):
    """A header that says how large it is, and hardly anything behind it."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 90)) + chunk(b"IEND", b""))


def idx_bomb(path):
    path.write_bytes(gzip.compress(b"\0\0\x08\x01" + struct.pack(">I", 1 << 22) + bytes(1 << 22)))


BOMBS = {
    "b.npz": (npz_bomb, eie.load),
    "b.png": (png_bomb, lambda path: read_samples(path).arrays[""][:]),
    "b.gz": (idx_bomb, idx.read),
    "b.mtx": (
        lambda path: path.write_text("%%MatrixMarket matrix coordinate real general\n4000 4000 1\n1 1 1\n"),
        eie.load,
    ),
    "c.npz": (
        lambda path: np.savez(path, format=b"coo", shape=[4000, 4000], data=[1.0], row=[0], col=[0]),
        eie.load,
    ),
    "b.smtx": (lambda path: path.write_text("1, 65536, 1\n0 1\n0\n"), eie.load),
    "b.npy": (lambda path: np.save(path, np.zeros(1 << 20, np.float32)), eie.load),
    "b.toml": (lambda path: path.write_text("# " + "x" * (1 << 20)), eie.load),
    "d.toml": (lambda path: path.write_text(drawn_layers(4, 100)), eie.load),
    "e.toml": (lambda path: path.write_text("input = [" + "[]," * 9000 + "]"), eie.load),
    "b.json": (lambda path: path.write_text('{"a": [' + "[]," * 9000 + "0]}"), eie.read_answer),
    "b.csv": (lambda path: path.write_text("Layer,M,N,K,\n" + "a,8,100,100,\n" * 12), eie.load),
    "m.safetensors.index.json": (lambda path: shards(path, 3), eie.load),
    "pytorch_model.bin.index.json": (lambda path: zipped_shards(path, 3), eie.load),
    "b.onnx": (lambda path: external(path, 3), eie.load),
    "s.onnx": (lambda path: external(path, 3, files=1), eie.load),
    "f.onnx": (lambda path: folded(path, 3), eie.load),
}


def drawn_layers(many, side):
    """Each takes 320 KB while it is drawn and keeps 80 KB; all of them take more than a mebibyte only where summed."""
    entry = '[[layer]]\nname = "l%d"\ninputs = %d\noutputs = %d\nweight_density = 1.0\n'
    return "".join(entry % (i, side, side) for i in range(3 * many))


def shards(path, many, rows=100):
    """400 kB each."""
    from safetensors.numpy import save_file

    names = [f"m-{i}.safetensors" for i in range(many)]
    for name in names:
        save_file({name: np.ones((rows, 1000), np.float32)}, path.with_name(name))
    path.write_text(json.dumps({"weight_map": {name: name for name in names}}))


def zipped_shards(path, many):
    """A few hundred bytes each, that would unpack to 400 kB; what is in them is never asked."""
    names = [f"m-{i}.bin" for i in range(many)]
    for name in names:
        with zipfile.ZipFile(path.with_name(name), "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("archive/data.pkl", bytes(400_000))
    path.write_text(json.dumps({"weight_map": {name: name for name in names}}))


def chain(many, side, initialisers, nodes=()):
    """Products one behind the other, of weights w0, w1 and so on."""
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    names = ["x", *(f"y{i}" for i in range(many))]
    graph = helper.make_graph(
        [*nodes, *(helper.make_node("MatMul", [names[i], f"w{i}"], [names[i + 1]]) for i in range(many))],
        "g",
        [helper.make_tensor_value_info("x", kind, [1, side])],
        [helper.make_tensor_value_info(names[-1], kind, [1, side])],
        initialisers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def external(path, many, side=316, files=None):
    """400 kB each, beside the model, or all of them the same bytes of one file."""
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    tensors = []
    for i in range(many):
        name = f"w{i if files is None else 0}.data"
        path.with_name(name).write_bytes(np.ones(side * side, np.float32).tobytes())
        tensor = onnx.TensorProto(name=f"w{i}", dims=[side, side], data_type=1, data_location=1)
        for key, value in (("location", name), ("offset", "0"), ("length", str(4 * side * side))):
            tensor.external_data.add(key=key, value=value)
        tensors.append(tensor)
    path.write_bytes(chain(many, side, tensors).SerializeToString())


def folded(path, many, side=316):
    """Weights that a file of a few bytes has worked out: one number each, seen as many, and one added."""
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    helper, to_tensor = onnx.helper, onnx.numpy_helper.from_array
    given = [to_tensor(np.array([side, side]), "shape"), to_tensor(np.ones(1, np.float32), "one")]
    nodes = [helper.make_node("ConstantOfShape", ["shape"], [f"z{i}"]) for i in range(many)]
    nodes += [helper.make_node("Add", [f"z{i}", "one"], [f"w{i}"]) for i in range(many)]
    path.write_bytes(chain(many, side, given, nodes).SerializeToString())


PARTS = {
    "m.safetensors.index.json": (shards, 2),
    "b.onnx": (external, 2),
    "f.onnx": (lambda path, many: folded(path, many, 200), 1),
    "d.toml": (lambda path, _: path.write_text(drawn_layers(1, 100)), 1),
}


@pytest.mark.parametrize("name", PARTS)
def test_parts_that_fit_the_budget_together_are_read(tmp_path, mebibyte, name):
    make_parts, many = PARTS[name]
    make_parts(tmp_path / name, many)
    assert eie.load(tmp_path / name).layers


def test_a_mask_counts_beside_its_model(tmp_path, mebibyte):
    for name in ("m.npz", "mask.npz"):
        np.savez(tmp_path / name, **{"a.weight": np.ones((150, 1000), np.float32)})
    assert eie.load(tmp_path / "m.npz").layers
    with pytest.raises(EieError, match=r"m\.npz: and the files beside it \(2 in all\) unpack to 1,200,"):
        eie.load(tmp_path / "m.npz", mask=tmp_path / "mask.npz")


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_meet_the_budget(tmp_path, mebibyte, name):
    make_bomb, read = BOMBS[name]
    make_bomb(tmp_path / name)
    with pytest.raises(EieError, match=rf"{name}: .*at most 1,048,576 \(--memory or EIE_MEMORY sets it\)"):
        read(tmp_path / name)


def test_a_picture_of_many_pixels_is_told_by_us_alone(tmp_path, recwarn):
    png_bomb(tmp_path / "b.png", 13_000)
    with pytest.raises(EieError, match="truncated|at most"):
        read_samples(tmp_path / "b.png").arrays[""][:]
    assert not recwarn.list


def test_a_matrix_of_empty_columns(tmp_path):
    (tmp_path / "m.smtx").write_text("1, 67108864, 0\n0 0\n\n")
    with pytest.raises(EieError, match="67,108,864 columns for 0 non-zeros"):
        eie.load(tmp_path / "m.smtx")


@pytest.mark.parametrize(
    ("text", "size"), [("4GiB", 4 << 30), ("512M", 512 << 20), ("1.5 kB", 1536), ("1000", 1000), ("2TiB", 2 << 40)]
)
def test_sizes(text, size):
    assert budget.size_of(text, "x") == size


@pytest.mark.parametrize("text", ["", "0", "-1", "4 GiBs", "1e9", "inf", "0.1", "9" * 400])
def test_what_is_no_size(text):
    with pytest.raises(EieError, match="must be a size such as 4GiB"):
        budget.size_of(text, "x")


GROUPS = {
    "version 2": ("0::/a/b\n", "sys/fs/cgroup/a/memory.max"),
    "version 1": ("9:cpu,cpuacct:/x\n4:memory:/a/b\n", "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes"),
    "a container": ("0::/\n", "sys/fs/cgroup/memory.max"),
}


@pytest.mark.parametrize(("text", "share"), [("1048576", 1 << 19), ("max", None), ("9223372036854771712", None)])
@pytest.mark.parametrize("kind", GROUPS)
def test_half_of_what_the_control_group_allows(tmp_path, monkeypatch, kind, text, share):
    monkeypatch.delenv("EIE_MEMORY", raising=False)
    listed, file = GROUPS[kind]
    for name, content in (("proc/self/cgroup", listed), (file, text + "\n")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert budget.budget_bytes(tmp_path) == (share or whole // 2)


@pytest.mark.parametrize("words", [["--memory", "1MiB", "run"], ["run", "--memory", "1MiB"]])
def test_the_option_stands_at_either_place(tmp_path, words):
    npz_bomb(tmp_path / "m.npz")
    done = CliRunner().invoke(app, [*words, str(tmp_path / "m.npz")])
    assert isinstance(done.exception, EieError)
    assert "unpacks to" in str(done.exception)
    # Of that call alone.
    assert CliRunner().invoke(app, ["inspect", "--help"]).exit_code == 0
    budget.set_budget(None)


def test_twice_the_same_member(tmp_path):
    # With and without the suffix: one array to numpy.
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        for name in ("a.npy", "a"):
            archive.writestr(name, saved(np.ones(3)))
    with pytest.raises(EieError, match="holds 'a' 2 times"):
        read_npz(tmp_path / "a.npz", EieError)


def saved(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


# What is written.


def test_rights_links_and_other_names_stay(tmp_path):
    target = tmp_path / "t"
    target.write_text("old")
    target.chmod(0o640)
    (tmp_path / "soft").symlink_to(target)
    write_text(tmp_path / "soft", "new")
    assert (tmp_path / "soft").is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640
    os.link(target, tmp_path / "hard")
    write_text(target, "newer")
    assert (tmp_path / "hard").read_text() == "newer"
    assert target.stat().st_nlink == 2


def test_a_name_as_long_as_may_be(tmp_path):
    name = "n" * 255
    write_text(tmp_path / name, "x")
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_content_is_on_the_disk_before_it_has_the_name(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(os, "fsync", lambda _: seen.append((tmp_path / "f").exists()))
    write_text(tmp_path / "f", "x")
    assert seen == [False]


# Journals.

ENTRY = {"key": "k", "model": "m", "changes": {"n_pe": 1}, "total": {"cycles": 1}, "layers": [{"cycles": 1}]}


def test_joined_journals_are_one(tmp_path):
    parts = [line_of(HEADER) + line_of({**ENTRY, "key": key}) for key in ("a", "b")]
    (tmp_path / "j").write_bytes(b"".join(parts))
    with Journal(tmp_path / "j") as journal:
        assert set(journal.entries) == {"a", "b"}
        assert journal.damaged == 0


def test_a_sweep_goes_on_from_joined_journals_and_names_what_is_foreign(tmp_path):
    layers = {name: eie.Layer.from_weights(name, np.eye(size)) for name, size in (("a", 4), ("b", 5))}
    for file, name, values in (("1", "a", [1]), ("2", "a", [2]), ("3", "b", [1])):
        eie.sweep((layers[name], np.ones(layers[name].inputs)), {"n_pe": values}, journal=tmp_path / file)
    joined = tmp_path / "joined"
    joined.write_bytes(b"".join((tmp_path / file).read_bytes() for file in "123") + b"scribble\n")
    lines = joined.read_bytes()
    result = eie.sweep((layers["a"], np.ones(4)), {"n_pe": [1, 2]}, journal=joined)
    # Nothing was computed, so nothing was appended.
    assert joined.read_bytes() == lines
    assert len(result.totals) == 2
    assert result.notes == (
        f"{joined}: points of other models are in this journal and stay: b",
        f"{joined}: 1 lines are no points of a sweep: passed over",
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"key": 1},
        {"total": None},
        {"layers": {}},
        {"layers": [1]},
        {"model": None},
        {"changes": []},
        {"error": 3},
        {"total": {"cycles": 10**400}},
        {"model": "\x1b[2J"},
        {"total": {"x": [[[[[[1]]]]]]}},
    ],
)
def test_lines_that_no_sweep_wrote_are_passed_over(tmp_path, wrong):
    (tmp_path / "j").write_bytes(line_of(HEADER) + line_of({**ENTRY, **wrong}) + line_of(ENTRY))
    with Journal(tmp_path / "j") as journal:
        assert (list(journal.entries), journal.damaged) == (["k"], 1)


def test_numbers_that_are_none(tmp_path):
    for word in ("NaN", "Infinity", "1e999"):
        text = json.dumps(ENTRY).replace('"cycles": 1', f'"cycles": {word}')
        line = f'{{"crc32": "{zlib.crc32(text.encode()):08x}", "entry": {text}}}\n'.encode()
        (tmp_path / "j").write_bytes(line_of(HEADER) + line)
        with Journal(tmp_path / "j") as journal:
            assert (journal.entries, journal.damaged) == ({}, 1)


def test_a_deleted_journal_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr("eie.sweeps.journal.SYNC_S", 0)
    with Journal(tmp_path / "j") as journal:
        journal.append(ENTRY)
        (tmp_path / "j").unlink()
        with pytest.raises(SweepError, match="was deleted or replaced while"):
            journal.append(ENTRY)


def test_a_journal_is_synced_once_a_second_and_at_the_end(tmp_path, monkeypatch):
    calls, clock = [], [0.0]
    monkeypatch.setattr(os, "fsync", calls.append)
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    with Journal(tmp_path / "j") as journal:
        for i in range(30):
            clock[0] = i / 10
            journal.append({**ENTRY, "key": str(i)})
        assert len(calls) == 2
    assert len(calls) == 3


# Names that stand twice: which of them counts would depend on the reader.


def two_members(path, *, beside=()):
    import warnings

    with zipfile.ZipFile(path, "w") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in (*beside, "a", "a"):
            archive.writestr(name, b"x")


def two_tensors(path):
    entry = '{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}'
    header = f'{{"a.weight":{entry},"a.weight":{entry}}}'.encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))


TWICE = [
    ("m.npz", two_members),
    ("m.keras", lambda path: two_members(path, beside=["model.weights.h5"])),
    ("m.safetensors", two_tensors),
    ("m.safetensors.index.json", lambda path: path.write_text('{"weight_map": {"a": "x", "a": "y"}}')),
    ("m.toml", lambda path: path.write_text('name = "a"\nname = "b"\n')),
    ("m.yaml", lambda path: path.write_text("problem:\n  instance: {C: 4, M: 8, C: 2}\n")),
    *(
        pytest.param(name, two_members, marks=pytest.mark.torch)
        for name in ("m.pt", "m.pth", "m.bin", "m.ckpt", "m.pth.tar", "m.pt2")
    ),
]


@pytest.mark.parametrize(("name", "make_file"), TWICE)
def test_names_that_stand_twice_are_refused(tmp_path, name, make_file):
    if ".p" in name or name.endswith(("bin", "ckpt")):
        pytest.importorskip("torch")
    make_file(tmp_path / name)
    with pytest.raises(EieError, match="2 times|twice|overwrite"):
        eie.load(tmp_path / name)


def test_aliases_of_a_workload_are_counted_as_they_are_written_out(tmp_path):
    laughs = "l0: &l0 [x, x, x, x, x, x, x, x]\n"
    laughs += "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 8)}]\n" for i in range(1, 10))
    (tmp_path / "w.yaml").write_text(laughs + "problem:\n  shape: *l9\n")
    with pytest.raises(EieError, match="aliases stand for more than 1,000,000 values"):
        eie.load(tmp_path / "w.yaml")
    (tmp_path / "w.yaml").write_text("problem: &a\n  shape: *a\n")
    with pytest.raises(EieError, match="an alias stands within itself"):
        eie.load(tmp_path / "w.yaml")
    (tmp_path / "w.yaml").write_text("x: &x {C: 4, M: 8, N: 1, P: 2, Q: 2, R: 3, S: 3}\nproblem: {instance: *x}\n")
    assert eie.load(tmp_path / "w.yaml").layers


def test_a_result_that_names_a_key_twice(tmp_path):
    eie.simulate(eie.compile(network(), eie.EIE_64PE.replace(n_pe=2))).to_json(tmp_path / "r.json")
    text = (tmp_path / "r.json").read_text()
    (tmp_path / "r.json").write_text(text.replace('"network": "n"', '"network": "n", "network": "m"'))
    with pytest.raises(EieError, match="'network' stands twice in one object"):
        eie.read_answer(tmp_path / "r.json")


def test_a_journals_line_that_names_a_key_twice_is_damaged(tmp_path):
    text = json.dumps(ENTRY)[:-1] + ', "key": "other"}'
    line = f'{{"crc32": "{zlib.crc32(text.encode()):08x}", "entry": {text}}}\n'.encode()
    (tmp_path / "j").write_bytes(line_of(HEADER) + line)
    with Journal(tmp_path / "j") as journal:
        assert (journal.entries, journal.damaged) == ({}, 1)


def test_a_table_with_two_columns_of_one_name(tmp_path):
    (tmp_path / "t.csv").write_text("layer,latency_us,latency_us,note,note\na,1,2,x,y\n")
    with pytest.raises(EieError, match="two columns are called 'latency_us'"):
        reports.read(tmp_path / "t.csv")
    # What nobody asks for may stand as often as it likes.
    assert CsvTable.read(tmp_path / "t.csv").texts("layer") == ["a"]


@pytest.mark.parametrize(
    ("number", "message"), [("1" + "0" * 30, "31 digits: must fit 64 bits"), ("-1", "Input should be|must be")]
)
@pytest.mark.parametrize("key", ["outputs", "cycles", "energy_activity_nj", "share_useful", "map_dram_bits"])
def test_numbers_of_a_result_that_no_run_gives(tmp_path, key, number, message):
    eie.simulate(eie.compile(network(), eie.EIE_64PE.replace(n_pe=2)), shares=True).to_json(tmp_path / "r.json")
    value = json.loads((tmp_path / "r.json").read_text())
    assert value["layers"][0][key] is not None
    value["layers"][0][key] = int(number)
    (tmp_path / "r.json").write_text(json.dumps(value))
    with pytest.raises(EieError, match=message):
        eie.read_answer(tmp_path / "r.json")


# Hashes.


def network():
    rng = np.random.default_rng(3)
    layer = eie.Layer.from_weights("a", rng.standard_normal((6, 8)), rng.standard_normal(6))
    trace = eie.Trace(layers={"a": eie.LayerTrace.from_dense(rng.random((3, 8)))}, labels=np.array([0, 1, 2]))
    return eie.Network(name="n", layers=(layer,), sequential=True, trace=trace)


def test_every_flipped_bit_of_a_stored_network_is_noticed(tmp_path):
    file = tmp_path / "n.safetensors"
    save(network(), file)
    good = file.read_bytes()
    length = 8 + int.from_bytes(good[:8], "little")
    for place in range(length, len(good), 7):
        bad = bytearray(good)
        bad[place] ^= 1 << place % 8
        file.write_bytes(bad)
        with pytest.raises(EieError, match="damaged|not valid JSON|must be"):
            eie.load(file)


def rebuilt(path, change):
    """An archive made anew of changed arrays: its checksums are right."""
    with np.load(path) as file:
        arrays = dict(file)
    change(arrays)
    np.savez(path, **arrays)


def relabelled(arrays):
    arrays["labels"][0] += 1


def unlabelled(arrays):
    del arrays["labels"]


def unhashed(arrays):
    header = json.loads(arrays["header"].tobytes())
    del header["content_hash"]
    arrays["header"] = np.frombuffer(json.dumps(header).encode(), np.uint8)


def revalued(arrays):
    arrays["values/0"][0] *= 2


@pytest.mark.parametrize("change", [relabelled, unlabelled, unhashed, revalued])
def test_a_rebuilt_trace_is_damaged(tmp_path, change):
    network().trace.save(tmp_path / "t.npz")
    eie.Trace.load(tmp_path / "t.npz")
    rebuilt(tmp_path / "t.npz", change)
    with pytest.raises(EieError, match=r"t\.npz: damaged: "):
        eie.Trace.load(tmp_path / "t.npz")


def test_traces_of_0_1_have_no_hash(tmp_path):
    np.savez(tmp_path / "t.npz", **network().trace.to_arrays())
    assert eie.Trace.load(tmp_path / "t.npz").samples == 3


def test_an_edited_result_is_read_with_a_note(tmp_path):
    result = eie.simulate(eie.compile(network(), eie.EIE_64PE.replace(n_pe=2)))
    result.to_json(tmp_path / "r.json")
    assert eie.read_answer(tmp_path / "r.json").notes == ()
    text = (tmp_path / "r.json").read_text()
    (tmp_path / "r.json").write_text(text.replace('"network": "n"', '"network": "renamed"'))
    assert eie.read_answer(tmp_path / "r.json").notes == (EDITED,)
    assert f"r.json: {EDITED}" in reports.read(tmp_path / "r.json").notes


def test_a_large_journal_is_joined_and_checked_like_any_other(tmp_path):
    from eie.sweeps.large import LargeJournal

    wrong = {"key": "cc", "values": [[1], 2]}
    compact = {"key": "bb", "columns": "abc", "names": {"total": ["x"], "layer": ["y"]}, "values": [[1], [2]]}
    parts = [line_of(HEADER), line_of({**ENTRY, "key": "aa"}), line_of(HEADER), line_of(compact), line_of(wrong)]
    (tmp_path / "j").write_bytes(b"".join(parts))
    for kind in (Journal, LargeJournal):
        with kind(tmp_path / "j") as book:
            assert (len(book.entries), book.damaged) == (2, 1)
            assert book.entries["bb"] == compact
