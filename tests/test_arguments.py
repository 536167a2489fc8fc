"""Public functions with arguments that nobody planned: taken for what they stand for, or refused in one line."""

import inspect
import re
import shutil
from collections.abc import Sequence  # noqa: F401 - named in an annotation below
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import eie
from eie.formats.arguments import taken

SPEC = eie.EIE_64PE.replace(n_pe=2)
# What means everything there runs minutes; the others say how it is looked at.
LONG = {eie.paper: {"names"}, eie.rtl_resources: {"layer"}, eie.check_rtl: {"layer"}}
RECIPE = {"step": [{"kind": "prune", "rule": [{"density": 0.5}]}]}


@dataclass(frozen=True)
class Made:
    """A model and what it runs on, in every form."""

    layer: eie.Layer
    network: eie.Network
    program: eie.Program
    rows: np.ndarray
    trace: eie.Trace
    result: eie.Result
    folder: Path


class Frame:
    """Something like a table: numpy makes an array of it."""

    columns = ("a", "b")

    def __array__(self, dtype=None, copy=None):
        return np.ones((3, 8))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    rng, folder = np.random.default_rng(0), tmp_path_factory.mktemp("made")
    layer = eie.Layer.from_weights("fc", rng.standard_normal((6, 8)) * (rng.random((6, 8)) < 0.5))
    network = eie.Network(name="n", layers=(layer,), sequential=True)
    program, rows = eie.compile(network, SPEC), rng.random((3, 8)).astype(np.float32)
    trace = eie.Trace(layers={"fc": eie.LayerTrace.from_dense(rows)}, labels=np.array([0, 1, 2]))
    result = eie.simulate(program, rows)
    np.save(folder / "x.npy", rows)
    np.savez(folder / "x.npz", inputs=rows)
    trace.save(folder / "t.npz")
    eie.save(network, folder / "n.npz")
    program.save(folder / "p.safetensors")
    result.to_json(folder / "r.json")
    (folder / "recipe.toml").write_text('[[step]]\nkind = "prune"\nrule = [{ density = 0.5 }]\n')
    return Made(layer, network, program, rows, trace, result, folder)


def calls(made):
    """Every public function and maker of records, with arguments that it takes."""
    file = lambda name: made.folder / name  # noqa: E731
    spec = {"spec": SPEC, "bias": "auto", "conv": "auto", "layout": None}
    study = {"model": made.network, "spec": SPEC, "trainer": None, "epochs": 0, "samples": 2, "journal": None}
    globs = dict.fromkeys(("layers", "exclude", "transpose", "threshold", "density"))
    files = dict.fromkeys(("mask", "shapes", "merge_lora", "key", "unsupported", "input_shape", "input_values"))
    return {
        eie.area: {"spec": SPEC, "cell": "itrs-lop"},
        eie.check_rtl: {"model": made.network, "inputs": made.rows, "layer": "none", "sample": 0, "samples": 1, **spec},
        eie.compare: {
            **{"model": made.network, "baselines": ["dense"], "activations": made.rows, "spec": SPEC, "layout": None},
            **{"network": None, "reference": None, "column_map": None},
        },
        eie.compile: {
            **{"model": made.network, "spec": SPEC, "init": "exact", "conv": "auto", "lowering": None, "bias": "auto"},
            "sizes": None,
        },
        eie.compress: {"model": made.network, "recipe": RECIPE, "trainer": None, "journal": None},
        eie.diff: {"a": made.result, "b": made.result},
        eie.explain: {
            **{"model": made.network, "activations": None, "network": None, "batch": 1, "objective": "edp"},
            **{"cell": "itrs-lop", **spec},
        },
        eie.from_torch: {"module": made.network, "example_inputs": None, "name": "", "unsupported": "refuse"},
        eie.granularity: {"variants": ["fine:0.5"], "machines": ["dense"], "with_search": False, **study},
        eie.idx_examples: {"folder": made.folder, "part": "train"},
        eie.load: {"path": file("n.npz"), **files, **globs},
        eie.load_recipe: {"path": file("recipe.toml")},
        eie.load_spec: {"source": "EIE_64PE", "overrides": ()},
        eie.paper: {"names": ("no such table",), "fc8": None},
        eie.read_answer: {"source": file("r.json"), "schema": None},
        eie.read_samples: {"path": file("x.npy"), "labels": None, "steps": None},
        eie.record: {
            **{"model": made.network, "samples": made.rows, "values": False, "layout": None, "input_shape": None},
            **{"batch": 2, "seed": None},
        },
        eie.record_torch: {"module": made.network, "inputs": made.rows, "batch": 2, "seed": None, "layout": None},
        eie.rtl_resources: {"model": made.network, "inputs": made.rows, "layer": "none", **spec},
        eie.save: {"network": made.network, "path": file("s.npz"), "output_order": None, "index_bits": None},
        eie.search: {
            **{"latency": "0.5x", "energy": None, "machine": "eie", "granularity": None, "layers": "none"},
            **{"method": "greedy", "trials": 3, **study},
        },
        eie.simulate: {
            **{"model": made.network, "activations": made.rows, "batch": 1, "engine": "fast", "datapath": "fixed"},
            **{"threads": 1, "keep_outputs": None, "keep_patterns": False, "shares": False, **spec},
        },
        eie.sweep: {
            **{"models": made.network, "vary": {"act_queue_depth": [2]}, "trace": None, "journal": None, "threads": 1},
            **{"retry_failed": False, "client": None, "cell": "itrs-lop", "optimise": (), "trials": 3, "front": ()},
            **{"any_clock": False, **spec},
        },
        eie.timeline: {
            **{"model": made.network, "activations": made.rows[:1], "spec": SPEC, "batch": 1, "cycles": None},
            **{"pes": None, "limit": 1000},
        },
        eie.write_rtl: {"model": made.network, "folder": file("rtl"), "inputs": made.rows, "sample": 0, **spec},
        eie.Network: {
            **{"name": "n", "layers": (made.layer,), "sequential": True, "trace": None, "graph": None},
            **{"source": "", "notes": ()},
        },
        eie.Trace: {"layers": made.trace.layers, "labels": None, "source": "", "preprocessing": "", "seed": None},
        eie.Samples: {"arrays": {"": made.rows}, "labels": None, "source": "", "preprocessing": ""},
        eie.Samples.of: {"values": made.rows, "source": "", "labels": None},
        eie.Layer.from_weights: {"name": "a", "weights": np.ones((2, 3)), "bias": None},
        eie.Layer.from_codes: {"name": "a", "codes": np.ones((2, 3), int), "codebook": [0, 1]},
        eie.LayerTrace.from_dense: {"activations": made.rows, "where": "x"},
        eie.Trace.load: {"path": file("t.npz")},
        eie.Program.load: {"path": file("p.safetensors")},
        made.trace.save: {"path": file("t2.npz")},
        made.trace.head: {"samples": 1},
        made.program.save: {"path": file("p2.safetensors")},
        made.program.on: {"spec": SPEC},
        made.program.planned: {"batch": 1},
        made.result.to_json: {"path": file("r2.json")},
        made.result.to_csv: {"path": file("r2.csv")},
    }


def others(made, folder):
    """Return what somebody might give in the place of something else."""
    return (
        *(None, "nothing-here", Path("nothing-here.npy"), folder, folder / "x.npy", b"abc"),
        *(-1, 0, 10**30, float("nan"), True, [], ["a"], [None], (1, 2), {"a": 1}, {1: 2}),
        *(made.rows, np.array([None, "a"]), np.float32(1), [[1, 2], [3]], Frame()),
        *(made.layer, made.network, made.program, made.result, made.trace, SPEC, eie.Network, object()),
    )


def call(verb, arguments):
    """Call with names, or without where a parameter has no name to be called by."""
    kinds = inspect.signature(verb).parameters
    placed = [value for name, value in arguments.items() if kinds[name].kind is inspect.Parameter.POSITIONAL_ONLY]
    return verb(*placed, **dict(list(arguments.items())[len(placed) :]))


def test_every_public_function_is_tried_and_looks_at_its_arguments(made):
    functions = [value for name in eie.__all__ if inspect.isfunction(value := getattr(eie, name))]
    assert set(functions) <= set(calls(made))
    assert [verb.__name__ for verb in functions if not hasattr(verb, "__wrapped__")] == []


@pytest.mark.filterwarnings("ignore::RuntimeWarning", "ignore::UserWarning")
@pytest.mark.parametrize("at", range(41))
def test_other_arguments_in_every_place(made, at, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    verb, good = list(calls(made).items())[at]
    # Some of them are written to.
    folder = shutil.copytree(made.folder, tmp_path / "copy")
    for place, name in enumerate(sorted(good.keys() - LONG.get(verb, set()))):
        # A third of them in a place, another one in the next: each of them meets many places.
        for other in others(made, folder)[(at + place) % 3 :: 3]:
            try:
                call(verb, {**good, name: other})
            except eie.EieError as error:
                text = str(error)
                assert text.strip(), (name, other)
                assert len(text) < 600, (name, text)


def test_all_of_them_are_there(made):
    assert len(calls(made)) == 41


# -- what stands for something is taken -------------------------------------------------------------------------------


def test_inputs_are_taken_from_their_files(made):
    cycles = eie.simulate(made.network, made.rows, spec=SPEC).layers[0].cycles
    for file in ("x.npy", "x.npz", "t.npz"):
        for path in (made.folder / file, str(made.folder / file)):
            assert eie.simulate(made.network, path, spec=SPEC).layers[0].cycles == cycles
    result = eie.simulate(made.network, made.folder / "x.npy", spec=SPEC)
    assert result.inputs_source == "x.npy"
    compared = eie.compare(made.network, "dense", activations=made.folder / "t.npz", spec=SPEC)
    assert compared.columns[0].costs["fc"].cycles == result.layers[0].cycles
    row = eie.sweep((made.network, made.folder / "x.npy"), {"n_pe": 2}, spec=SPEC).layers[0]
    assert row["cycles"] == eie.sweep((made.network, made.rows), {"n_pe": 2}, spec=SPEC).layers[0]["cycles"]


def test_a_recording_takes_arrays_and_files(made):
    whole = eie.record(made.network, eie.Samples.of(made.rows), values=True)
    forms = (made.rows, made.rows.tolist(), {"": made.rows}, made.folder / "x.npy", str(made.folder / "x.npz"))
    for form in forms:
        trace = eie.record(made.network, form, values=True)
        np.testing.assert_array_equal(trace.layers["fc"].dense(), whole.layers["fc"].dense())
    assert eie.record(made.network, made.folder / "x.npy").source.startswith("x.npy, through")


def test_what_stands_for_a_kind_becomes_that(made):
    network = eie.Network(name="n", layers=[made.layer], sequential=np.True_, notes="a word")
    assert (network.layers, network.sequential, network.notes) == ((made.layer,), True, ("a word",))
    trace = eie.Trace(layers=made.trace.layers, labels=[2, 1, 0])
    assert trace.labels.dtype == np.int64
    assert taken_as("int", np.int32(3)) == (3, int)
    assert taken_as("Sequence[str]", "dense") == (("dense",), tuple)
    assert taken_as("float | None", np.float32(0.5)) == (0.5, np.float32)
    assert taken_as("str | Path", made.folder) == (made.folder, type(made.folder))


def taken_as(annotation, value):
    """Return what a function that is annotated so gets, and its type."""

    def verb(argument):
        return argument, type(argument)

    verb.__annotations__["argument"] = annotation
    return taken(verb)(value)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch": 2.5}, "batch=2.5: must be a whole number of at most 63 bits"),
        ({"batch": True}, "batch=True: must be a whole number"),
        ({"layout": np.ones(3)}, "layout=<ndarray (3,)>: must be 'nchw', 'nhwc' or None"),
        ({"shares": "yes"}, "shares='yes': must be True or False"),
        (
            {"spec": {"n_pe": 4}},
            "spec=<dict>: must be None or an eie.AcceleratorSpec, as eie.EIE_64PE or eie.load_spec(name) is",
        ),
        ({"progress": 3}, "progress=3: must be a function or None"),
        ({"activations": {1: np.ones(8)}}, "activations are a mapping with the name 1: names must be texts"),
    ],
)
def test_a_refusal_names_argument_value_and_what_it_must_be(made, arguments, text):
    with pytest.raises(eie.EieError, match=f"^{re.escape(text)}"):
        eie.simulate(made.network, **{"activations": made.rows, **arguments})
