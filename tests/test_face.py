"""Every answer, and everything a caller holds, shows itself in the same ways; what is written can be read back."""

import csv
import dataclasses
import inspect
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from answers import NAME, answers, views
from matplotlib.axes import Axes
from rich.cells import cell_len
from rich.console import Console

import eie
from eie.errors import EieError, printable
from eie.formats.answer_schemas import CONTENTS
from eie.formats.answers import EDITED
from eie.plots import HOMES
from eie.show.brief import Brief
from eie.show.envelope import content_hash
from eie.show.face import Answer, View

VOID = {"br", "meta"}


class Balance(HTMLParser):
    """Fails on tags that do not close each other; collects the text between them."""

    def __init__(self):
        super().__init__()
        self.opened, self.seen, self.text = [], [], ""

    def handle_starttag(self, tag, attrs):
        self.opened.append(tag)
        self.seen.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append(tag)

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag

    def handle_data(self, data):
        self.text += data


def parsed(html):
    balance = Balance()
    balance.feed(html)
    assert not balance.opened
    return balance


@pytest.fixture(scope="module", params=[
    "Result", "Energy", "Comparison", "SweepResult", "Difference", "CompressionReport", "SizeReport", "Sensitivity",
    "GranularityStudy", "Search", "Explanation", "Paper", "Area", "Timeline", "RtlCheck", "RtlResources",
])  # fmt: skip
def answer(request):
    return answers()[request.param]


@pytest.fixture(scope="module")
def page(answer):
    """An answer's page, whose figures take a second to draw."""
    return answer.to_html()


@pytest.fixture(scope="module", params=[
    "AcceleratorSpec", "Network", "strange Network", "Layer", "Program", "EncodedLayer", "Trace", "LayerTrace",
    "Recipe", "LayerResult", "LayerOutputs", "FixedPoint", "Estimate",
])  # fmt: skip
def view(request):
    return views()[request.param]


def check_view(shown, page=None):
    assert isinstance(shown, View)
    assert len(repr(shown)) <= 300
    assert len(repr(shown).splitlines()) <= 2
    assert repr(shown).isprintable()
    assert "array(" not in str(shown)
    assert "\x1b" not in str(shown)
    fragment = parsed(shown._repr_html_())
    assert "table" in fragment.seen
    page = page or shown.to_html()
    assert page.startswith("<!DOCTYPE html>")
    parsed(page)
    for section in shown.sections():
        for grid in section.grids:
            assert len({column.key for column in grid.columns}) == len(grid.columns)
            # A row's key that no column names would be lost without a word; hidden ones are said to be so.
            assert grid.keys <= len(grid.columns)


def test_views(view):
    check_view(view)


def test_answers_are_views_and_data(answer, page, tmp_path):
    check_view(answer, page)
    records = answer.records()
    assert records
    assert all(isinstance(record, dict) for record in records)
    rows = list(csv.DictReader(io.StringIO(answer.to_csv(tmp_path / "a.csv"))))
    assert len(rows) == len(records)
    assert (tmp_path / "a.csv").read_text() == answer.to_csv()
    assert set(rows[0]) == {key for record in records for key in record}
    pytest.importorskip("pandas")
    assert list(answer.to_pandas().columns) == list(rows[0])


def test_a_file_reads_back_as_it_was(answer, tmp_path):
    text = answer.to_json(tmp_path / "a.json", command="eie run x")
    value = json.loads(text)
    assert (value["schema"], value["schema_version"], value["command"]) == (answer.SCHEMA, 2, "eie run x")
    assert set(value["versions"]) >= {"python", "eie", "numpy", "numba"}
    assert value["content_hash"] == content_hash(value)
    document = eie.read_answer(tmp_path / "a.json")
    assert json.dumps(document.content()) == json.dumps(json.loads(json.dumps(answer.content())))
    # The hash is of the content alone: written again by another command, it stays.
    document.to_json(tmp_path / "b.json", command="python")
    assert json.loads((tmp_path / "b.json").read_text())["content_hash"] == value["content_hash"]
    assert eie.read_answer(tmp_path / "b.json").command == "python"
    check_view(document)
    assert answer.to_json() == answer.to_json()


def test_damage_is_refused(answer, tmp_path):
    value = json.loads(answer.to_json())
    file = tmp_path / "a.json"

    def refused(changed, text):
        file.write_text(json.dumps(changed))
        with pytest.raises(EieError, match=text):
            eie.read_answer(file)

    refused({key: item for key, item in value.items() if key != "content_hash"}, "damaged: content_hash: missing")
    # People edit such files: that is read, and said.
    file.write_text(json.dumps({**value, "note": "mine"}))
    assert eie.read_answer(file).notes == (EDITED,)
    refused({**value, "schema": "eie-other"}, "schema 'eie-other': must be 'eie-result' or")
    refused({**value, "schema_version": 3}, "version 3: this version reads 1 and 2")
    refused({**value, "schema_version": True}, "version True: this version reads 1 and 2")
    # Without a hash, as 0.1 wrote it, the bounds still hold.
    key = next(name for name in CONTENTS[answer.SCHEMA].model_fields if name in value and value[name] is not None)
    refused({**value, "schema_version": 1, key: -1}, f"damaged {answer.SCHEMA.removeprefix('eie-')}: {key}")
    with pytest.raises(EieError, match="must be 'eie-none'"):
        eie.read_answer(file, "eie-none")


def test_results_of_version_1_are_read(tmp_path):
    """0.1 wrote neither hash nor command."""
    value = json.loads(answers()["Result"].to_json())
    old = {key: item for key, item in value.items() if key not in ("content_hash", "command")} | {"schema_version": 1}
    (tmp_path / "old.json").write_text(json.dumps(old))
    document = eie.read_answer(tmp_path / "old.json", "eie-result")
    assert (document.schema_version, document.command) == (1, "")
    assert document.values["layers"] == value["layers"]
    from eie.machines.reports import read_result

    assert eie.compare(read_result(tmp_path / "old.json"), ["dense"]).network == "small"


def test_bounds_of_rows_are_checked(tmp_path):
    value = json.loads(answers()["Result"].to_json())
    value["layers"][1]["weight_density"] = 1.5
    value["content_hash"] = content_hash(value)
    (tmp_path / "a.json").write_text(json.dumps(value))
    with pytest.raises(EieError, match=r"damaged result: layers.1.weight_density: Input should be less than or equal"):
        eie.read_answer(tmp_path / "a.json")


def test_figures_are_found_by_type(answer, page, tmp_path, monkeypatch):
    before = dict(mpl.rcParams)
    # Every figure becomes an SVG below, in the page; as files the last is written, and all are in test_cli.
    with monkeypatch.context() as patched:
        patched.setattr("eie.plots.drawing._save", lambda _, path: path.touch())
        files = answer.plot(tmp_path)
    drawn = answer.plot()
    names = list(dict.fromkeys(file.stem for file in files))
    assert sorted(tmp_path.iterdir()) == sorted(files)
    each = [np.atleast_1d(answer.plot(only=name)).tolist() for name in names]
    # One figure's Axes as matplotlib itself gives them; several as an array, in order.
    assert all(isinstance(axes, Axes) for listed in each for axes in listed)
    assert [axes.get_title() for listed in each for axes in listed] == [
        axes.get_title() for axes in np.atleast_1d(drawn).tolist()
    ]
    assert isinstance(drawn, Axes) or len(drawn) > 1
    assert {file.stem for file in answer.plot(tmp_path, only=names[-1])} == {names[-1]}
    with pytest.raises(EieError, match="figure 'none': must be one of"):
        answer.plot(only="none")
    tree = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>\n"))
    # Drawn with matplotlib, or by the page itself.
    assert [*tree.iter("{http://www.w3.org/2000/svg}svg"), *tree.iter("figure")]
    ids = [element.get("id") for element in tree.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("name", ["one_of_many_layers_whose_names_are_longer_than_a_figure_is_high_", "层" * 40])
def test_figures_have_room_for_long_names(name, tmp_path):
    """Warnings are errors: of axes squeezed to nothing, of letters that the font lacks."""
    layers = tuple(eie.Layer.from_weights(f"{name}{i}", np.eye(4)) for i in range(3))
    network = eie.Network(name=name, layers=layers)
    result = eie.simulate(network, spec=eie.EIE_64PE.replace(n_pe=2))
    compared = eie.compare(network, ["dense"], spec=result.spec)
    for answer, only in ((result, "latency"), (result, "energy"), (compared, "compare-speedup")):
        axes = np.atleast_1d(answer.plot(only=only))[0]
        ticks = [label.get_text() for label in axes.get_xticklabels()][:3]
        assert len(set(ticks)) == 3
        assert all(cell_len(tick) <= 24 for tick in ticks)
        assert answer.plot(tmp_path, only=only)


def test_what_has_no_figure_says_so():
    with pytest.raises(EieError, match=r"Network: no figure shows it; figures exist of Result, "):
        views()["Network"].plot()
    assert set(HOMES) == {*answers(), "LayerResult"}


SCALARS = {"int", "float", "bool", "None", "Format"}
# Texts and lists of theirs are short: names of ours, as many numbers as a picture has colours.
OF_OUR_WORDS = {"Preprocess", "Published", "Variant"}


def has_short_repr(cls):
    """Whether a record's repr is bounded whatever it holds: cut short, its own, or of a few numbers."""
    if inspect.isabstract(cls) or not dataclasses.is_dataclass(cls):
        return "__repr__" in vars(cls) or hasattr(cls, "model_fields") or not hasattr(cls, "__dataclass_fields__")
    generated = not issubclass(cls, Brief | View) and cls.__dataclass_params__.repr
    words = {
        word
        for field in dataclasses.fields(cls)
        for word in re.findall(r"[.\w]+", str(field.type))
        if word not in SCALARS
    }
    # A name of a layer is as long as its file says, and so is a tuple of any length.
    return not generated or words <= {"tuple", "Conv2d"} or cls.__name__ in OF_OUR_WORDS


def test_every_answer_class_is_walked():
    """A class that is exported, or is an answer, and not in these tests would go unseen."""
    import importlib
    import pkgutil

    for module in pkgutil.walk_packages(eie.__path__, "eie."):
        if module.name not in ("eie.__main__", "eie.plots", "eie.sweeps.cluster"):
            importlib.import_module(module.name)

    def below(cls):
        return {cls, *(one for child in cls.__subclasses__() for one in below(child))}

    known = {type(one) for one in (*answers().values(), *views().values())}
    unseen = {cls.__name__ for cls in below(View) if not inspect.isabstract(cls) and not cls.__name__.startswith("_")}
    assert unseen - {cls.__name__ for cls in known} == {"Part", "Document"}
    exported = [getattr(eie, name) for name in eie.__all__]
    classes = [one for one in exported if isinstance(one, type) and not issubclass(one, Exception)]
    assert {cls for cls in classes if issubclass(cls, View) and not inspect.isabstract(cls)} <= known | {eie.Document}
    unbounded = [cls.__name__ for cls in classes if cls not in known and not has_short_repr(cls)]
    assert unbounded == []
    assert {cls.SCHEMA for cls in known if issubclass(cls, Answer)} == set(CONTENTS)


# What functions give that is no answer: what was read, compiled or recorded, and stays in a caller's hand.
IN_HAND = {"AcceleratorSpec", "Layer", "Network", "Program", "Recipe", "Trace"}


def test_functions_return_answers():
    """Or what a caller holds; lists of files written, and samples to be run, are neither."""
    returned = {
        name: types.strip()
        for name in eie.__all__
        if inspect.isfunction(function := getattr(eie, name))
        for types in str(function.__annotations__["return"]).removeprefix("tuple[").removesuffix("]").split(",")
    }
    assert len(returned) > 20
    others = {name: kind for name, kind in returned.items() if kind not in IN_HAND | {"Document"} | set(answers())}
    assert others == {"save": "None", "write_rtl": "...", "read_samples": "Samples", "idx_examples": "Samples"}


def test_no_record_inside_an_answer_prints_everything():
    """What a caller reaches from an answer, attribute by attribute."""
    seen, longest = set(), {}

    def walk(value, depth=0):
        if id(value) in seen or depth > 8:
            return
        seen.add(id(value))
        if type(value).__module__.startswith("eie"):
            name = type(value).__qualname__
            longest[name] = max(longest.get(name, 0), len(repr(value)))
        if dataclasses.is_dataclass(value):
            for field in dataclasses.fields(value):
                walk(getattr(value, field.name), depth + 1)
        elif hasattr(type(value), "model_fields"):
            for field in type(value).model_fields:
                walk(getattr(value, field), depth + 1)
        elif isinstance(value, dict | tuple | list):
            for item in value.values() if isinstance(value, dict) else value:
                walk(item, depth + 1)

    for shown in (*answers().values(), *views().values()):
        walk(shown)
        walk(shown.sections())
    assert len(longest) > 40
    assert {name: size for name, size in longest.items() if size > 300} == {}


def test_one_section_alone():
    section = answers()["Paper"].section("figure11")
    assert "<svg" in section._repr_html_()
    assert str(section).startswith("Figure 11: speedup\n\nspeedups\n")
    with pytest.raises(EieError, match=r"section 'x': must be one of data, figure11"):
        answers()["Paper"].section("x")


def test_shown_on_a_terminal_and_in_a_pipe(answer):
    pipe = Console(file=io.StringIO(), width=40)
    answer.show(pipe)
    assert pipe.file.getvalue() == str(answer)
    for width in (80, 120, 200):
        console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
        answer.show(console)
        assert max(map(len, console.file.getvalue().splitlines())) <= width


def test_names_cannot_write_markup_or_escapes():
    network = views()["strange Network"]
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="truecolor")
    network.show(console)
    for text in (console.file.getvalue(), str(network), repr(network), network.to_html()):
        assert "\x1b[31m" not in text
        assert "[/red]a:key:b" in text
        assert r"\x1b[31m" in text
    assert network.name == printable(NAME)


def test_numbers_of_a_result_are_the_same_everywhere():
    """Terminal, pipe and page print one row alike."""
    result = answers()["Result"]
    layer = result.layers[0]
    cells = [f"{layer.latency_us:.4g}", f"{layer.cycles:,.0f}", f"{100 * layer.efficiency:.1f}"]
    text = str(result)
    page = parsed(result.to_html()).text
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    result.show(console)
    for cell in cells:
        assert all(
            re.search(rf"(?<![\d.,]){re.escape(cell)}(?![\d.,])", one) for one in (text, console.file.getvalue())
        )
        assert cell in page


# -- docs/outputs.md --------------------------------------------------------------------------------------------------

# Keys below these are names of data (layers, machines, fields, columns), not words of ours.
NAMED_BY_DATA = {
    "spec",
    "vary",
    "kept",
    "shared",
    "machines",
    "break_even_sparsity",
    "versions",
    "series",
    "per_pe",
    "pe_cycles",
    "spec_block_ram",
}


def keys_of(value, path=()):
    if isinstance(value, dict):
        for key, item in value.items():
            # Rows of a table, and what their cells are, go by the columns that the same table lists.
            if path[-1:] == ("tables",) and key in ("rows", "basis"):
                yield key
                continue
            named = path and path[-1] in NAMED_BY_DATA
            if not named:
                yield key
            yield from keys_of(item, (*path, f"{key} of data" if named else key))
    elif isinstance(value, list):
        for item in value:
            yield from keys_of(item, path)


@pytest.fixture(scope="module")
def documented(root):
    page = Path(root / "docs" / "outputs.md").read_text()
    return set(re.findall(r"`([^`\s]+)`", page))


def test_every_key_is_explained(answer, documented):
    varied = set(getattr(answer, "vary", ()))
    assert set(keys_of(json.loads(answer.to_json()))) - documented - varied == set()


def test_every_column_is_explained(answer, documented):
    # Columns of the paper's tables are those that its JSON lists with their headings.
    grids = [grid for section in answer.sections() for grid in section.grids] if answer.SCHEMA == "eie-paper" else []
    listed = {column.key for grid in grids for column in grid.columns} | set(getattr(answer, "vary", ()))
    assert {key for record in answer.records() for key in record} - documented - listed == set()
