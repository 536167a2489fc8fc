"""One entrance: every verb takes a path, a shipped name, a layer, a network; a program where a machine is meant."""

import subprocess
import sys

import numpy as np
import pytest

import eie
from eie.errors import EieError, ModelError, ProgramError
from eie.machines.reports import read_result
from eie.studies.compare import compare, rows_of

SPEC = eie.EIE_64PE.replace(n_pe=4)
RECIPE = {"step": [{"kind": "prune", "rule": [{"density": 0.5}]}]}


@pytest.fixture(scope="module")
def layer():
    rng = np.random.default_rng(0)
    return eie.Layer.from_weights("fc", rng.standard_normal((12, 9)) * (rng.random((12, 9)) < 0.5))


@pytest.fixture(scope="module")
def forms(layer, tmp_path_factory):
    """The same model in every form that is taken."""
    file = tmp_path_factory.mktemp("model") / "fc.safetensors"
    network = eie.Network(name="fc", layers=(layer,), sequential=True)
    eie.save(network, file)
    return {"layer": layer, "network": network, "path": file, "text": str(file)}


VERBS = {
    "compile": lambda model: eie.compile(model, SPEC).layers[0].decode(),
    "simulate": lambda model: eie.simulate(model, spec=SPEC).layers[0].activity.cycles,
    "compress": lambda model: eie.compress(model, RECIPE)[0].layers[0].weights,
    "sweep": lambda model: [row["cycles"] for row in eie.sweep(model, {"act_queue_depth": [2]}, spec=SPEC).layers],
    "compare": lambda model: [c.latency_us for c in eie.compare(model, ["dense"], spec=SPEC).columns],
    "granularity": lambda model: [
        row.kept for row in eie.granularity(model, ["fine:0.5"], ["dense"], spec=SPEC, with_search=False).rows
    ],
}


@pytest.mark.parametrize("verb", VERBS)
def test_every_form_gives_the_same_answer(verb, forms):
    answers = {form: np.asarray(VERBS[verb](model)) for form, model in forms.items()}
    for answer in answers.values():
        np.testing.assert_array_equal(answer, answers["layer"])


def test_search_takes_a_shipped_name(monkeypatch):
    """As far as its first step: what follows is the same for all forms."""
    with pytest.raises(EieError, match="lenet-300-100-dense: layers 'none' match none"):
        eie.search("lenet-300-100-dense", latency="0.5x", layers="none")


def test_a_shipped_name_beside_dense_machines():
    comparison = eie.compare("lenet-300-100", ["dense"])
    assert [column.machine.name for column in comparison.columns] == ["EIE 64 PEs", "dense:64"]
    ours = eie.simulate("lenet-300-100", keep_outputs=False)
    assert [cost.latency_us for cost in comparison.columns[0].costs.values()] == [row.latency_us for row in ours.layers]


def test_a_program_stands_for_its_machine(layer, tmp_path):
    program = eie.compile(layer, SPEC)
    program.save(tmp_path / "fc.safetensors")
    cycles = eie.simulate(layer, spec=SPEC).layers[0].cycles
    for form in (program, tmp_path / "fc.safetensors", str(tmp_path / "fc.safetensors")):
        assert eie.simulate(form).layers[0].cycles == cycles
        assert eie.compare(form, ["dense"]).columns[0].costs["fc"].cycles == cycles
        for verb in (eie.simulate, lambda model, spec: eie.compare(model, ["dense"], spec=spec)):
            with pytest.raises(ProgramError, match="spec: program 'fc' was compiled for EIE_64PE already: leave spec"):
                verb(form, spec=SPEC)
    with pytest.raises(EieError, match="a result has its own"):
        eie.compare(eie.simulate(program), ["dense"], spec=SPEC)


class Module:
    """Stands in for a torch module, which is not imported to be told."""


Module.__module__, Module.__qualname__ = "torch.nn.modules.module", "Module"
Linear = type("Linear", (Module,), {})


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    ("model", "text"),
    [
        (np.ones((2, 2)), "ndarray: must be a path, the name of a shipped model, an eie.Layer"),
        (None, "NoneType: must be a path"),
        # Without what it runs on it says nothing; without torch there is nothing to read it with.
        (Linear(), r"(says nothing of its inputs: .*from_torch|must be a torch.nn.Module|needs (torch|onnxscript))"),
        ("lenet-300-10", "no such file or shipped model; did you mean lenet-300-100"),
    ],
)
def test_what_is_no_model_is_refused_by_name(verb, model, text):
    with pytest.raises(ModelError, match=text):
        VERBS[verb](model)


@pytest.mark.parametrize("verb", ["compile", "compress", "sweep", "granularity"])
def test_a_program_is_refused_where_weights_are_needed(verb, layer):
    with pytest.raises(ModelError, match="a Program: its weights are encoded for one machine"):
        VERBS[verb](eie.compile(layer, SPEC))


@pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
def test_rows_are_the_same_from_a_result_and_from_its_file(name, tmp_path):
    network = eie.load(name)
    result = eie.simulate(network, network.trace.head(3), keep_outputs=False)
    result.to_json(str(tmp_path / "r.json"))
    assert rows_of(result) == read_result(tmp_path / "r.json")
    now, read = (compare(form, ["dense", "systolic:8x8:ws"]) for form in (result, tmp_path / "r.json"))
    assert now.records() == read.records()


MACHINES = {
    **dict.fromkeys(("compile", "simulate", "sweep", "compare", "granularity", "explain", "search")),
    "area": lambda spec, _: eie.area(spec),
    "on": lambda spec, layer: eie.compile(layer, SPEC).on(spec),
    "timeline": lambda spec, layer: eie.timeline(layer, spec=spec),
}
MORE = {"sweep": ({"n_pe": [2]},), "compare": (["dense"],), "granularity": (["fine:0.5"], ["dense"])}


@pytest.mark.parametrize("verb", MACHINES)
def test_what_is_no_machine_is_refused_by_name(verb, layer):
    """Its name, too: `eie.load_spec` makes a machine of one."""
    more = {"latency": "50%"} if verb == "search" else {}
    call = MACHINES[verb] or (lambda spec, model: getattr(eie, verb)(model, *MORE.get(verb, ()), spec=spec, **more))
    with pytest.raises(
        EieError, match=r"spec='EIE_64PE': must be .*an eie\.AcceleratorSpec, as .*eie\.load_spec\(name\)"
    ):
        call("EIE_64PE", layer)


def test_what_cannot_be_saved_or_compared_is_refused_by_name(layer, tmp_path):
    with pytest.raises(EieError, match=r"network=<ndarray \(3, 3\)>: must be an eie\.Network or an eie\.Layer"):
        eie.save(np.eye(3), tmp_path / "a.npz")
    with pytest.raises(EieError, match=r"a=<Layer>: must be an eie\.Result, an eie\.SweepResult"):
        eie.diff(layer, layer)
    eie.save(layer, tmp_path / "a.npz")
    assert eie.load(tmp_path / "a.npz").layers[0].name == "fc"


def test_one_table_of_the_paper_is_one_text():
    with pytest.raises(EieError, match="paper 'tables 4': no such table or figure; did you mean table4"):
        eie.paper("tables 4")


@pytest.mark.parametrize("before", ["", "import eie.rtl.check; "])
def test_the_room_of_verilog_is_called_like_the_command(before, tmp_path):
    """In a process of its own: whichever of the two is there first."""
    call = "eie.rtl(eie.Layer.from_weights('fc', [[1.0, 0.5]]), 'out', spec=eie.EIE_64PE.replace(n_pe=2))"
    code = f"import eie; {before}print({call}); import eie.rtl.write as module; print(module.__name__)"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "eie.rtl.write" in done.stdout
    assert list((tmp_path / "out").rglob("*.v"))
