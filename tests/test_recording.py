"""Traces: three ways to record give the same bits, inputs of every kind are read as stated, headers keep it."""

import gzip
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import eie
from eie.errors import ModelError, TraceError
from eie.recording.inputs import Samples, read_samples
from eie.recording.preprocess import Preprocess
from eie.recording.record import record
from eie.recording.rows import Recorder
from eie.recording.run_own import run_own


def own_trace(net, x):
    recorder = Recorder(values=True)
    run_own(network=net, samples=Samples.of(x), batch=2, recorder=recorder)
    return recorder.layers()


def same(one, other, values=False):
    """Assert equal bits, and equal values to float32 rounding."""
    assert len(one) == len(other)
    for a, b in zip(one.values(), other.values(), strict=True):
        assert (a.width, a.products) == (b.width, b.products)
        np.testing.assert_array_equal(a.bits, b.bits)
        if values:
            np.testing.assert_allclose(a.values, b.values, rtol=1e-5, atol=1e-5)


class TestOnnxRuntime:
    models = pytest.importorskip("onnx") and __import__("onnx_models")
    cases = pytest.mark.parametrize(
        ("build", "shape"),
        [
            (models.mlp, (5, 20)),
            (models.cnn, (3, 3, 13, 13)),
            (models.lstm, (4, 6, 5)),
            (lambda: TestOnnxRuntime.models.lstm("bidirectional"), (4, 6, 5)),
        ],
        ids=["mlp", "cnn", "lstm", "bidirectional"],
    )

    @cases
    def test_it_agrees_with_eie(self, build, shape, tmp_path):
        path = self.models.saved(build(), tmp_path / "m.onnx")
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        trace = record(path, Samples.of(x), values=True)
        net = eie.load(path)
        assert list(trace.layers) == [layer.name for layer in net.layers]
        same(trace.layers, own_trace(net, x), values=True)

    @cases
    def test_a_network_runs_alike_on_its_trace_and_on_its_own(self, build, shape, tmp_path):
        path = self.models.saved(build(), tmp_path / "m.onnx")
        x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
        program = eie.compile(eie.load(path), eie.EIE_64PE.replace(n_pe=4))
        recorded = eie.simulate(program, record(path, Samples.of(x)))
        computed = eie.simulate(program, x, datapath="float32")
        assert recorded.drive == "trace"
        for one, other in zip(recorded.layers, computed.layers, strict=True):
            np.testing.assert_array_equal(one.activity.cycles, other.activity.cycles)

    def test_im2col_rows_by_hand(self, tmp_path):
        """A 2x2 kernel over a 3x3 map: four products of four inputs, row by row."""
        nodes = [self.models.node("Conv", ["x", "c.weight"], ["y"])]
        weights = {"c.weight": np.ones((1, 1, 2, 2), np.float32)}
        proto = self.models.model(nodes, {"x": ["n", 1, 3, 3]}, {"y": ["n", 1, 2, 2]}, weights)
        x = np.array([[1, 0, 2], [0, 0, 3], [4, 5, 0]], np.float32)[None, None]
        layer = record(self.models.saved(proto, tmp_path / "c.onnx"), Samples.of(x), values=True).layers["c"]
        assert (layer.products, layer.rows, layer.width) == (4, 4, 4)
        np.testing.assert_array_equal(layer.dense(), [[1, 0, 0, 0], [0, 2, 0, 3], [0, 0, 4, 5], [0, 3, 5, 0]])

    def test_batches_do_not_matter(self, tmp_path):
        """Five samples in batches of 2 and 5, and in a file that insists on 2 (the last is filled up)."""
        x = np.random.default_rng(1).standard_normal((5, 20)).astype(np.float32)
        path = self.models.saved(self.models.mlp(), tmp_path / "m.onnx")
        fixed = self.models.mlp()
        fixed.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        fixed.graph.output[0].type.tensor_type.shape.dim[0].dim_value = 2
        whole = record(path, Samples.of(x), batch=5)
        for other in (
            record(path, Samples.of(x), batch=2),
            record(self.models.saved(fixed, tmp_path / "two.onnx"), Samples.of(x)),
        ):
            assert other.samples == 5
            same(whole.layers, other.layers)

    def test_external_data_are_brought_along(self, tmp_path):
        import onnx

        proto = self.models.mlp()
        onnx.save(proto, tmp_path / "m.onnx", save_as_external_data=True, location="w.data", size_threshold=0)
        (tmp_path / "inside.onnx").write_bytes(self.models.mlp().SerializeToString())
        x = np.random.default_rng(1).standard_normal((3, 20)).astype(np.float32)
        traces = [record(tmp_path / name, Samples.of(x)) for name in ("m.onnx", "inside.onnx")]
        same(traces[0].layers, traces[1].layers)
        (tmp_path / "w.data").unlink()
        with pytest.raises(ModelError, match=r"w\.data, which is missing"):
            record(tmp_path / "m.onnx", Samples.of(x))

    def test_axes_folded_into_the_batch(self, tmp_path):
        """What reads every time step as a sample of its own has its rows counted to the sample they are of."""
        node = self.models.node
        nodes = [
            node("Constant", [], ["flat"], value_ints=[-1, 5]),
            node("Reshape", ["x", "flat"], ["r"], "fold"),
            node("MatMul", ["r", "fc.weight"], ["y"]),
        ]
        weights = {"fc.weight": self.models.drawn(np.random.default_rng(0), 5, 3)}
        proto = self.models.model(nodes, {"x": ["n", "t", 5]}, {"y": ["nt", 3]}, weights)
        path = self.models.saved(proto, tmp_path / "m.onnx")
        x = np.random.default_rng(1).integers(-1, 2, (3, 4, 5)).astype(np.float32)
        for batch in (1, 2, 3):
            layer = record(path, Samples.of(x), batch=batch).layers["fc"]
            assert (layer.products, layer.samples) == (4, 3)
            np.testing.assert_array_equal(layer.mask, x.reshape(12, 5) != 0)

    def test_inputs_that_do_not_fit(self, tmp_path):
        path = self.models.saved(self.models.mlp(), tmp_path / "m.onnx")
        with pytest.raises(TraceError, match=r"is 20 a sample, the activations have shape \(\d+, 3, 7\)"):
            record(path, Samples.of(np.ones((2, 3, 7))))
        assert record(path, Samples.of(np.ones((2, 4, 5)))).samples == 2

    def test_a_trace_of_another_model_is_noted(self, tmp_path):
        x = np.random.default_rng(1).standard_normal((2, 20)).astype(np.float32)
        first = self.models.saved(self.models.mlp(seed=0), tmp_path / "first.onnx")
        second = self.models.saved(self.models.mlp(seed=1), tmp_path / "second.onnx")
        trace = record(first, Samples.of(x))
        for path, noted in ((first, False), (second, True)):
            program = eie.compile(eie.load(path))
            program.save(tmp_path / "p.safetensors")
            notes = eie.simulate(eie.Program.load(tmp_path / "p.safetensors"), trace).notes()
            assert any("recorded from another model file" in note for note in notes) == noted

    @pytest.mark.parametrize("kind", ["mlp", "cnn", "lstm"])
    def test_it_agrees_with_torch_hooks(self, kind, tmp_path):
        pytest.importorskip("torch", reason="torch is not installed (make test-torch)")
        pytest.importorskip("onnxscript", reason="torch exports through onnxscript")
        import torch_models

        module, x = torch_models.build(kind)
        module.train()
        hooked = eie.record_torch(module, x.numpy(), values=True, batch=2, seed=3)
        assert module.training
        torch_models.export(module.eval(), x, tmp_path / "m.onnx")
        trace = record(tmp_path / "m.onnx", Samples.of(x.numpy()), values=True)
        same(hooked.layers, trace.layers, values=True)
        same(hooked.layers, own_trace(eie.load(tmp_path / "m.onnx"), x.numpy()))
        assert hooked.seed == 3
        assert "torch hooks" in hooked.source


def test_torch_modules_that_cannot_be_recorded():
    torch = pytest.importorskip("torch", reason="torch is not installed (make test-torch)")
    nn = torch.nn
    shared = nn.Linear(4, 4)
    x = np.ones((1, 4), np.float32)
    with pytest.raises(TraceError, match="has no Linear"):
        eie.record_torch(nn.ReLU(), x)

    class Sometimes(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = shared

        def forward(self, x):
            return self.fc(x) if x.sum() > 4 else self.fc(self.fc(x))

    with pytest.raises(TraceError, match="'fc' runs 1 times for some samples, 2 for others"):
        eie.record_torch(Sometimes(), np.array([[2, 2, 2, 2], [1, 1, 1, 1]], np.float32), batch=1)
    with pytest.raises(TraceError, match="'lstm': proj_size=2: not modelled"):
        eie.record_torch(nn.LSTM(4, 4, proj_size=2), x[None])
    with pytest.raises(TraceError, match="'same'"):
        eie.record_torch(nn.Conv2d(1, 1, 3, padding="same"), np.ones((1, 1, 4, 4), np.float32))


def test_the_shipped_model_records_all_its_layers(root):
    samples = read_samples(root / "traces" / "lenet-300-100.npz").choose(16)
    trace = record("lenet-300-100", samples, values=True, batch=5)
    assert "Fashion-MNIST" in trace.source
    weights = np.load(root / "models" / "lenet-300-100.npz")
    x = samples.read(np.arange(16))
    for i, (name, layer) in enumerate(trace.layers.items()):
        assert name == f"ip{i + 1}"
        np.testing.assert_allclose(layer.dense(), x, atol=1e-5)
        np.testing.assert_array_equal(layer.mask, x != 0)
        x = np.maximum(x @ weights[f"W{i}"] + weights[f"b{i}"], 0)


# Inputs


def idx(array, kind=0x08):
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, kind, array.ndim)) + sizes + array.tobytes()


@pytest.mark.parametrize("packed", [False, True])
def test_idx_files(packed, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    labels = np.array([3, 1, 4, 1, 5], np.uint8)
    wrap, tail = (gzip.compress, ".gz") if packed else (bytes, "")
    files = [tmp_path / f"{name}-ubyte{tail}" for name in ("images-idx3", "labels-idx1")]
    for file, array in zip(files, (images, labels), strict=True):
        file.write_bytes(wrap(idx(array)))
    samples = read_samples(*files)
    np.testing.assert_array_equal(samples.read(np.arange(5)), images / np.float32(255))
    np.testing.assert_array_equal(samples.labels, labels)
    assert samples.preprocessing == "scale=1/255"


def test_inputs_of_an_unknown_kind(tmp_path):
    (tmp_path / "bad.wav").write_bytes(b"RIFF")
    with pytest.raises(TraceError, match=r"bad\.wav: not an IDX file"):
        read_samples(tmp_path / "bad.wav")


def test_array_files(tmp_path):
    x = np.arange(12.0).reshape(3, 4)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "x.npz", inputs=x, labels=np.array([2, 0, 1]), other=np.ones(3))
    one = read_samples(tmp_path / "x.npy", steps=Preprocess.parse(["scale=2", "mean=1", "std=4"]))
    np.testing.assert_array_equal(one.read(np.array([2])), (x[2:] * 2 - 1) / 4)
    assert one.preprocessing == "scale=2; mean=1; std=4"
    two = read_samples(tmp_path / "x.npz").choose(2)
    np.testing.assert_array_equal(two.labels, [2, 0])
    assert two.preprocessing == "none"
    with pytest.raises(TraceError, match="resize is for PNG and JPEG"):
        read_samples(tmp_path / "x.npy", steps=Preprocess.parse(["resize=3"])).read(np.arange(1))
    with pytest.raises(TraceError, match="4 samples asked for: it holds 3"):
        read_samples(tmp_path / "x.npz").choose(4)
    np.savez(tmp_path / "named.npz", a=x, b=np.arange(3), labels=np.array([2, 0, 1]))
    named = read_samples(tmp_path / "named.npz")
    assert {name: array[:].dtype.kind for name, array in named.arrays.items()} == {"a": "f", "b": "i"}
    np.savez(tmp_path / "odd.npz", a=x, b=x[:2])
    with pytest.raises(TraceError, match="different numbers of samples: a 3, b 2"):
        read_samples(tmp_path / "odd.npz")
    np.savez(tmp_path / "none.npz", labels=np.array([2, 0, 1]))
    with pytest.raises(TraceError, match="holds labels only: must hold inputs"):
        read_samples(tmp_path / "none.npz")


def test_a_seed_draws_samples_with_their_labels():
    x = np.arange(50, dtype=np.float32)[:, None] + 1
    chosen = Samples.of(x, labels=np.arange(50)).choose(20, seed=7)
    np.testing.assert_array_equal(np.concatenate(list(chosen.batches(3)))[:, 0], chosen.labels + 1)
    assert len(set(chosen.labels.tolist())) == 20
    assert chosen.labels.tolist() != list(range(20))
    np.testing.assert_array_equal(chosen.labels, Samples.of(x, labels=np.arange(50)).choose(20, seed=7).labels)


def test_pictures(tmp_path):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (2, 6, 8, 3), np.uint8)
    for i, one in enumerate(pixels):
        Image.fromarray(one).save(tmp_path / f"{i}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    both = read_samples(tmp_path, steps=Preprocess.parse(["crop=4x2", "mean=0.5,0.25,0", "std=2", "colour=bgr"]))
    expected = (pixels[:, 2:4, 2:6, ::-1] / np.float32(255) - np.array([0.5, 0.25, 0], np.float32)) / 2
    np.testing.assert_allclose(both.read(np.arange(2)), expected.transpose(0, 3, 1, 2), rtol=1e-6)
    assert both.preprocessing == "crop=4x2 from the middle; colour=bgr; scale=1/255; mean=0.5,0.25,0; std=2; layout=chw"
    flat = read_samples(tmp_path / "1.png", steps=Preprocess.parse(["layout=hwc", "scale=1"]))
    np.testing.assert_array_equal(flat.read(np.arange(1))[0], pixels[1])
    grey = read_samples(tmp_path / "1.png", steps=Preprocess.parse(["color=gray", "resize=3"]))
    assert grey.read(np.arange(1)).shape == (1, 1, 3, 4)


def test_pictures_that_cannot_be_used(tmp_path):
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.zeros((5, 8), np.uint8)).save(tmp_path / "1.png")
    with pytest.raises(TraceError, match=r"1\.png.*resize=WIDTHxHEIGHT"):
        read_samples(tmp_path).read(np.arange(2))
    with pytest.raises(TraceError, match="too small for crop=7x7"):
        read_samples(tmp_path / "0.png", steps=Preprocess.parse(["crop=7"])).read(np.arange(1))
    with pytest.raises(TraceError, match="3 channels, but preprocess mean has 2"):
        read_samples(tmp_path / "0.png", steps=Preprocess.parse(["mean=1,2"])).read(np.arange(1))
    content = (tmp_path / "0.png").read_bytes()
    (tmp_path / "1.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(TraceError, match=r"1\.png: (not a usable picture|cannot be read)"):
        read_samples(tmp_path).read(np.arange(2))
    (tmp_path / "empty").mkdir()
    with pytest.raises(TraceError, match="holds no"):
        read_samples(tmp_path / "empty")


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("resise=3", "did you mean resize"),
        ("resize", "KEY=VALUE"),
        ("resize=0", "1 to 16384"),
        ("crop=2x3x4", "WIDTHxHEIGHT"),
        ("scale=1/0", "preprocess 'scale=1/0'"),
        ("scale=0", "must not be 0"),
        ("std=1,0", "must not be 0"),
        ("mean=nan", "preprocess 'mean=nan'"),
        ("layout=whc", "one of chw, hwc"),
    ],
)
def test_impossible_preprocessing(word, text):
    with pytest.raises(TraceError, match=text):
        Preprocess.parse([word])


# Files and the command line


def test_headers_keep_where_a_trace_is_from(tmp_path):
    layer = eie.LayerTrace.from_dense(np.eye(3, dtype=np.float32))
    trace = eie.Trace(layers={"a": layer}, source="s", preprocessing="scale=1/255", seed=5, model_sha256="ab" * 32)
    trace.save(tmp_path / "t.npz")
    again = eie.Trace.load(tmp_path / "t.npz")
    assert (again.preprocessing, again.seed, again.model_sha256) == ("scale=1/255", 5, "ab" * 32)
    assert again.head(2).seed == 5


def test_older_traces_stay_readable(root):
    trace = eie.Trace.load(root / "traces" / "lenet-300-100.npz")
    assert (trace.preprocessing, trace.seed, trace.model_sha256) == ("", None, None)


def test_density_over_samples():
    rows = np.array([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1]], np.float32)
    np.testing.assert_array_equal(eie.LayerTrace.from_dense(rows, products=2).sample_density, [0.25, 0.625])


def test_record_and_show_on_the_command_line(tmp_path, root):
    def cli(*words):
        command = [sys.executable, "-m", "eie", *map(str, words)]
        env = {**os.environ, "PYTHONPATH": str(root), "COLUMNS": "200"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout, done.stderr

    rng = np.random.default_rng(0)
    (tmp_path / "images").write_bytes(idx(rng.integers(0, 256, (6, 28, 28), np.uint8)))
    (tmp_path / "classes").write_bytes(idx(np.arange(6, dtype=np.uint8)))
    words = ("trace", "record", "lenet-300-100", "images", "--labels", "classes", "--samples", 4, "--seed", 1)
    code, out, err = cli(*words, "-o", "t.npz")
    assert code == 0, err
    again = cli("trace", "show", "t.npz")
    assert again[:2] == (0, out)
    lines = out.splitlines()
    assert [line.split()[0] for line in lines[2:6]] == ["layer", "ip1", "ip2", "ip3"]
    assert lines[3].split()[1:4] == ["784", "1", "4"]
    assert lines[0].startswith(
        "4 samples with labels: images, 4 samples, drawn with seed 1, through lenet-300-100.toml"
    )
    assert "Preprocessing: scale=1/255." in lines
    assert "Seed: 1." in lines
    code, out, err = cli("run", "lenet-300-100", "--trace", "t.npz")
    assert code == 0, err
    assert "Inputs: images, 4 samples" in out
    assert cli(*words, "-o", "t.txt") == (1, "", "eie: t.txt: a trace file ends in .npz\n")
    assert cli("trace", "record", "lenet-300-100", "nothing", "-o", "t.npz")[0] == 1
