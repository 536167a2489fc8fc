"""Names, sources and notes: cleaned where they come in, shown as they are, and read back as they were written."""

import csv
import io
import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import example, given
from hypothesis import strategies as st

import eie
from eie.cli.app import app
from eie.cli.inputs import stderr
from eie.formats.csv_table import CsvTable
from eie.importers.stored import save
from eie.show.envelope import enveloped

ESCAPE = "A\x1b[31mRED\x1b[2J\u202e"
SHOWN = r"A\x1b[31mRED\x1b[2J\u202e"
LAYER = eie.Layer.from_weights("a", np.eye(4, dtype=np.float32))
ROWS = np.ones((2, 4))


def network(text):
    trace = eie.Trace(layers={"a": eie.LayerTrace.from_dense(ROWS)}, source=text, preprocessing=text)
    return eie.Network(name=text, layers=(LAYER,), sequential=True, source=text, notes=(text,), trace=trace)


def texts_of(net):
    return [net.name, net.source, *net.notes, net.trace.source, net.trace.preprocessing]


@given(st.text(max_size=20))
@example(ESCAPE)
@example("line\nbreak\u2028")
def test_every_text_of_a_network_is_printable(text):
    assert all(shown.isprintable() for shown in texts_of(network(text)))
    assert eie.EIE_64PE.replace(name=text).name.isprintable()


@pytest.mark.parametrize("text", ["über 網路 [/red]x a:key:b", "=1+1"])
def test_printable_texts_stay_as_they_are(text):
    assert set(texts_of(network(text))) == {text}


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_what_a_file_says_is_cleaned(tmp_path, suffix):
    """Written by another program: the words lie in the file as they are, escapes and all."""
    save(network("plain"), tmp_path / f"n.{suffix}")
    arrays = {"eie.network": None}
    if suffix == "npz":
        with np.load(tmp_path / "n.npz") as file:
            arrays = dict(file)
    else:
        from safetensors.numpy import load_file

        arrays = load_file(tmp_path / "n.safetensors")
    for key in ("eie.network", "eie.trace/header"):
        header = json.loads(arrays[key].tobytes().decode().replace("plain", json.dumps(ESCAPE)[1:-1]))
        # As 0.1 wrote them: without a hash.
        header = {name: value for name, value in header.items() if name != "content_hash"} | {"schema": 1}
        arrays[key] = np.frombuffer(json.dumps(header).encode(), np.uint8)
    if suffix == "npz":
        np.savez(tmp_path / "n.npz", **arrays)
    else:
        from safetensors.numpy import save_file

        save_file(arrays, tmp_path / "n.safetensors")
    assert set(texts_of(eie.load(tmp_path / f"n.{suffix}"))) == {SHOWN}


@given(st.text(min_size=1, max_size=12))
@example(ESCAPE)
def test_what_is_written_can_be_read_back(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("back")
    net = network(text)
    program = eie.compile(net, eie.EIE_64PE.replace(n_pe=2, name=text))
    program.save(folder / "p.safetensors")
    assert eie.Program.load(folder / "p.safetensors").name == net.name
    for suffix in ("npz", "safetensors", "eie"):
        save(net, folder / f"n.{suffix}")
        assert eie.load(folder / f"n.{suffix}").name == net.name
    net.trace.save(folder / "t.npz")
    assert eie.Trace.load(folder / "t.npz").source == net.trace.source
    eie.simulate(program, ROWS).to_json(folder / "r.json")
    assert eie.read_answer(folder / "r.json").values["network"] == net.name


def test_a_trace_takes_no_unprintable_names():
    with pytest.raises(eie.EieError, match="must be printable text"):
        eie.Trace(layers={"a\x1b": eie.LayerTrace.from_dense(ROWS)})


def test_reports_are_cleaned(tmp_path):
    (tmp_path / "r.csv").write_text("layer,latency_us\na\x1b[2Jb,1\n")
    assert CsvTable.read(tmp_path / "r.csv").texts("layer") == [r"a\x1b[2Jb"]
    content = eie.simulate(eie.compile(LAYER, eie.EIE_64PE.replace(n_pe=2)), ROWS).content()
    content["network"] = ESCAPE
    (tmp_path / "r.json").write_text(enveloped("eie-result", content))
    assert eie.read_answer(tmp_path / "r.json").values["network"] == SHOWN


def test_markup_and_emoji_codes_are_text(capsys):
    stderr().print("[/red]x a:key:b")
    assert capsys.readouterr().err == "[/red]x a:key:b\n"


# Two that look alike once they are printable, one that would be the first's fresh name, and one that turns the writing.
NASTY = {"in": "x\x1b[2J", "mid": "x\\x1b[2J", "out": "x\\x1b[2J_2", "w": "w\u202e"}


def nasty_graph():
    from eie.model.graph import Graph, Node

    nodes = (
        Node(op="layer", inputs=(NASTY["in"],), outputs=(NASTY["mid"],), layer="a"),
        Node(op="add", inputs=(NASTY["mid"], NASTY["w"]), outputs=(NASTY["out"],)),
    )
    return Graph(
        inputs=((NASTY["in"], (4,)),), nodes=nodes, outputs=(NASTY["out"],), constants={NASTY["w"]: np.ones(4)}
    )


def names_of(graph):
    names = [name for node in graph.nodes for name in (*node.inputs, *node.outputs)]
    return [*(name for name, _ in graph.inputs), *names, *graph.constants, *graph.outputs, *graph.types]


def test_a_graphs_names_are_printable_and_stay_apart():
    graph = nasty_graph()
    assert names_of(graph) == [
        r"x\x1b[2J_3",
        *(r"x\x1b[2J_3", r"x\x1b[2J", r"x\x1b[2J", r"w\u202e", r"x\x1b[2J_2"),
        *(r"w\u202e", r"x\x1b[2J_2"),
    ]


@given(st.dictionaries(st.text("ab\x1b\u202e\\x1_2", max_size=6), st.just(0), max_size=12))
def test_fresh_names_differ_from_all_others(names):
    from eie.errors import printable_names

    fresh = printable_names(names)
    after = [fresh.get(name, name) for name in names]
    assert len(set(after)) == len(names)
    assert all(map(str.isprintable, after))


@pytest.mark.parametrize("suffix", ["npz", "safetensors", "eie"])
def test_a_network_with_such_a_graph_is_written_and_read_back(tmp_path, suffix):
    net = eie.Network(name="n", layers=(LAYER,), graph=nasty_graph())
    save(net, tmp_path / f"n.{suffix}")
    assert names_of(eie.load(tmp_path / f"n.{suffix}").graph) == names_of(net.graph)
    program = eie.compile(net, eie.EIE_64PE.replace(n_pe=2))
    program.save(tmp_path / "p.safetensors")
    loaded = eie.Program.load(tmp_path / "p.safetensors")
    assert names_of(loaded.graph) == names_of(net.graph)
    assert eie.simulate(loaded, ROWS).content() == eie.simulate(program, ROWS).content()


def test_names_in_a_program_file_are_cleaned(tmp_path, monkeypatch):
    """Written by another program: the graph says its names as they are, and the hash is right."""
    from eie.compiler import program_file as module

    net = eie.Network(name="n", layers=(LAYER,), graph=nasty_graph())
    arrays, header = module.pack(eie.compile(net, eie.EIE_64PE.replace(n_pe=2)))
    turned = json.loads(json.dumps(header).replace("_3", "\u202e"))
    signed = {**turned, "content_hash": module.digest(arrays, turned)}
    monkeypatch.setattr(module, "read_safetensors", lambda *_: (arrays, {"eie": json.dumps(signed)}))
    assert names_of(eie.Program.load("p.safetensors").graph)[0] == r"x\x1b[2J\u202e"


@pytest.fixture
def nasty_onnx(tmp_path):
    onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    weights = np.random.default_rng(4).standard_normal((4, 4)).astype(np.float32)
    kind = onnx.TensorProto.FLOAT
    # A body that reads the graph around it, an operator for the host, and two layers.
    branch = helper.make_graph(
        [helper.make_node("Relu", [NASTY["mid"]], ["r\x1b"])],
        "b\x1b",
        [],
        [helper.make_tensor_value_info("r\x1b", kind, None)],
    )
    nodes = [
        helper.make_node("MatMul", [NASTY["in"], NASTY["w"]], [NASTY["mid"]], name="[/red]\x1b[31m"),
        helper.make_node("If", ["yes\x07"], ["i\x07"], then_branch=branch, else_branch=branch),
        helper.make_node("Erf", ["i\x07"], ["e\u202e"], name="host\x1b"),
        helper.make_node("MatMul", ["e\u202e", NASTY["w"]], [NASTY["out"]], name="a:key:b\u202e"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(NASTY["in"], kind, [1, 4])],
        [helper.make_tensor_value_info(NASTY["out"], kind, [1, 4])],
        [numpy_helper.from_array(weights, NASTY["w"]), numpy_helper.from_array(np.array(True), "yes\x07")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "m.onnx"


def test_an_onnx_files_names_are_cleaned_as_it_is_read(nasty_onnx, tmp_path):
    net = eie.load(nasty_onnx)
    assert all(map(str.isprintable, names_of(net.graph)))
    assert net.graph.inputs[0][0] == r"x\x1b[2J_3"
    assert [layer.name for layer in net.layers] == [r"[/red]\x1b[31m"]
    assert net.graph.uses_by_layer == {r"[/red]\x1b[31m": (r"[/red]\x1b[31m", r"[/red]\x1b[31m#2")}
    # Arrays named as in the file: they are cleaned alike.
    np.savez(tmp_path / "rows.npz", **{r"x\x1b[2J_3": ROWS.astype(np.float32)})
    trace = eie.record(nasty_onnx, eie.read_samples(tmp_path / "rows.npz"))
    assert trace.samples == 2
    result = eie.simulate(eie.compile(net, eie.EIE_64PE.replace(n_pe=2)), ROWS)
    recorded = eie.simulate(eie.compile(net, eie.EIE_64PE.replace(n_pe=2)), trace)
    assert [layer.cycles for layer in result.layers] == [layer.cycles for layer in recorded.layers]


COMMANDS = {
    "run": ["run", "MODEL", "--csv", "OUT/r.csv", "--json", "OUT/r.json", "--html", "OUT/r.html"],
    "compare": ["compare", "MODEL", "--baseline", "dense", "--csv", "OUT/c.csv", "--json", "OUT/c.json"],
    "inspect": ["inspect", "MODEL"],
    "sweep": ["sweep", "MODEL", "--vary", "n_pe=1,2", "-o", "OUT"],
    "explain": ["explain", "MODEL", "--json", "OUT/e.json", "--html", "OUT/e.html"],
    "compile": ["compile", "MODEL", "-o", "OUT/p.safetensors"],
    "compress": ["compress", "MODEL", "OUT/r.toml", "-o", "OUT/n.npz", "--json", "OUT/r.json"],
    "trace": ["trace", "record", "MODEL", "OUT/rows.npz", "-o", "OUT/t.npz"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_prints_or_writes_what_a_terminal_obeys(nasty_onnx, tmp_path, command):
    pytest.importorskip("onnxruntime", reason="needs the onnx extra")
    np.savez(tmp_path / "rows.npz", x=ROWS.astype(np.float32))
    (tmp_path / "r.toml").write_text('[[step]]\nkind = "prune"\nrule = [{ density = 0.5 }]\n')
    words = [word.replace("MODEL", str(nasty_onnx)).replace("OUT", str(tmp_path)) for word in COMMANDS[command]]
    done = CliRunner().invoke(app, words)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 0, done.output
    written = [done.output]
    written += [
        path.read_text() for path in tmp_path.rglob("*") if path.suffix in (".csv", ".json", ".jsonl", ".html", ".txt")
    ]
    for text in written:
        assert all(char.isprintable() or char in "\n\t" for char in text), command


def write_toml(path, name):
    path.write_text(
        f'name = {json.dumps(name)}\n[[layer]]\nname = "=1+1"\ninputs = 8\noutputs = 8\nweight_density = 0.5\n'
    )
    return str(path)


def test_a_sweep_shows_names_as_they_are(tmp_path):
    name = "[/red]x a:key:b"
    done = CliRunner().invoke(
        app, ["sweep", write_toml(tmp_path / "m.toml", name), "--vary", "n_pe=1,2", "-o", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert name in done.output


@pytest.mark.parametrize(("words", "cell"), [([], "=1+1"), (["--quote-formulas"], "'=1+1")])
def test_formulas_are_quoted_where_asked(tmp_path, words, cell):
    model = write_toml(tmp_path / "m.toml", "m")
    done = CliRunner().invoke(app, ["run", model, "--csv", str(tmp_path / "r.csv"), *words])
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert rows[0]["layer"] == cell


def test_numbers_below_zero_are_no_formulas():
    from eie.show.records import records_csv

    records = [{"x": -1.5, "y": "-1.5", "z": " @a", "w": "a=b"}]
    assert records_csv(records, quote_formulas=True) == "x,y,z,w\n-1.5,'-1.5,' @a,a=b\n"
