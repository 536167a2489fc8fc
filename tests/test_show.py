"""The one printer: any names, any numbers, any width; nothing broken, nothing lost."""

import ast
import graphlib
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from eie.errors import printable
from eie.show import numbers
from eie.show.cells import LONGEST, broken, cell, cells_of, short_names
from eie.show.page import section_html
from eie.show.sections import Column, Grid, Section, Statement, facts
from eie.show.terminal import blocks, prose, rendered, show
from eie.show.text import plain

ODD = ("[/red]x", "a:key:b", "\x1b[31mred", "层" * 20, ":smile:", "a\u202eb", "tab\tbed", "line\nend", "", " ")
names = st.one_of(st.sampled_from(ODD), st.text(max_size=60), st.text("ab.", min_size=20, max_size=90))
values = st.one_of(st.none(), st.booleans(), st.integers(-(10**15), 10**15), st.floats(-1e15, 1e15, allow_nan=False))
FORMATS = ("number", "count", "fixed1", "fixed2", "percent2", "factor")
WORDS = st.text("abcdefgh%/", min_size=1, max_size=12)


@st.composite
def grids(draw):
    keys = draw(st.integers(1, 2))
    many = draw(st.integers(1, 12))
    columns = [Column(f"k{i}", draw(WORDS), draw(st.sampled_from(("text", "prose")))) for i in range(keys)]
    for i in range(many):
        heading = " ".join(draw(st.lists(WORDS, min_size=1, max_size=3)))
        columns.append(Column(f"v{i}", heading, draw(st.sampled_from(FORMATS))))
    row = st.fixed_dictionaries({column.key: names if column.key[0] == "k" else values for column in columns})
    rows = tuple(draw(st.lists(row, max_size=6)))
    total = draw(st.one_of(st.none(), row))
    return Grid(columns=tuple(columns), rows=rows, total=total, keys=keys)


def printed(sections, width, headline=""):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    show(console, headline, sections)
    return console.file.getvalue()


@given(grids(), st.integers(60, 250))
def test_nothing_is_broken_or_lost_at_any_width(grid, width):
    text = printed((Section(name="s", grids=(grid,)),), width)
    lines = text.splitlines()
    assert all(cell_len(line) <= width for line in lines)
    assert "\x1b" not in text
    for column in cells_of(grid):
        if column.left:
            continue
        for value in (*column.cells, column.total):
            assert value in text
        for word in column.heading.split():
            assert word in text
    blocks = text.count("─\n")
    assert blocks >= 1
    # Every block shows every row.
    assert len([line for line in lines if line]) >= blocks * len(grid.rows)


@given(grids(), st.integers(60, 250))
def test_cells_stand_under_their_heading(grid, width):
    """Each number ends where its column ends: in every block, a line is as wide as its rule or shorter."""
    for block in printed((Section(name="s", grids=(grid,)),), width).split("\n\n"):
        rule = max((cell_len(line) for line in block.splitlines() if line.startswith("─")), default=None)
        if rule is not None:
            assert all(cell_len(line) <= rule for line in block.splitlines())


@given(st.lists(names, max_size=12), st.integers(8, LONGEST))
def test_shortened_names_stay_apart(listed, limit):
    listed = [printable(name) for name in listed]
    short = short_names(listed, limit)
    assert all(cell_len(name) <= limit for name in short)
    assert len(set(short)) == len(set(listed))
    for name, cut in zip(listed, short, strict=True):
        assert cut == name if cell_len(name) <= limit else "…" in cut


def test_names_that_differ_in_the_middle_get_numbers():
    listed = [f"model.layers.{i}.feed_forward.down_projection" for i in range(12)]
    short = short_names(listed, 20)
    assert len(set(short)) == 12
    assert short[0] == "model.lay…projection"
    assert short[1] == "model.la…2…rojection"


@given(grids())
def test_in_a_pipe_a_row_is_a_line_and_names_are_whole(grid):
    lines = plain("", (Section(name="s", grids=(grid,)),)).splitlines()
    rows = len(grid.rows) + (grid.total is not None)
    head = any(column.heading for column in grid.columns)
    assert len([line for line in lines if line]) <= rows + head
    text = "\n".join(lines)
    for row in grid.rows:
        for column in grid.columns:
            assert cell(row[column.key], column).strip() in text


@given(grids())
def test_a_page_escapes_everything(grid):
    html = section_html(Section(name="<s>", title="<b>", grids=(grid,), notes=("<i>",)))
    assert "<b>" not in html
    assert "<i>" not in html
    assert "\x1b" not in html
    assert html.count("<tr>") == 1 + len(grid.rows) + (grid.total is not None)


def test_blocks_repeat_the_names_and_a_group_is_named_once():
    columns = (
        Column("layer", "layer", "text"),
        Column("machine", "machine", "text"),
        *(Column(f"v{i}", f"value {i}") for i in range(12)),
    )
    rows = tuple(
        {"layer": layer, "machine": machine, **{f"v{i}": i / 3 for i in range(12)}}
        for layer in ("one", "two")
        for machine in ("a", "b")
    )
    grid = Grid(columns=columns, rows=rows, keys=2, grouped=True, notes=("a: a reason",))
    text = printed((Section(name="s", grids=(grid,)),), 60)
    blocks = text.count("─\n")
    assert blocks == 2
    assert text.count("one") == blocks
    assert len(re.findall(r"^ +b", text, re.MULTILINE)) == 2 * blocks
    assert text.rstrip().endswith("a: a reason")


def test_sentences_are_broken_between_words_and_long_words_stay_whole():
    digest = "f" * 64
    section = Section(name="s", lines=(f"Model file, SHA-256: {digest}.",), notes=("one two " * 30,))
    text = printed((section,), 60)
    assert digest in text
    assert all(line.strip("\n").split() for line in text.strip().splitlines())
    assert set(re.findall(r"[a-z]+", text.split("Note:")[1])) == {"one", "two"}


@given(
    st.lists(st.text("ab全,", min_size=1, max_size=9), min_size=1, max_size=12).map(" ".join),
    st.integers(18, 40),
    st.integers(0, 4),
)
def test_wide_characters_count_twice_where_a_line_is_broken(text, width, indent):
    lines = broken(text, width, indent)
    assert " ".join(line.strip() for line in lines) == text
    assert all(cell_len(line) <= width or len(line.split()) == 1 for line in lines)


def test_a_number_and_its_unit_stay_together():
    text = "Even work would save 1.0 %, of 12 nJ, in 3 us, 4 KiB, 800 MHz; of 5 layers"
    for width in range(14, 70):
        lines = [line.plain for line in prose(text, width)]
        assert all(len(line) <= width for line in lines)
        assert " ".join(lines) == text
        assert not [line for line in lines if line.startswith(("%", "nJ", "us", "KiB", "MHz"))]
    assert any(line.plain.endswith("of 5") for width in range(14, 70) for line in prose(text, width))


def test_a_label_of_several_words_is_broken_and_not_cut():
    columns = (Column("what", "", "text"), *(Column(key, key * 6, "word") for key in "abcdef"))
    rows = tuple(
        {"what": f"cpu_compressed ({how})", **dict.fromkeys("abcdef", "1.234e+10")}
        for how in ("printed label", "from printed times")
    )
    text = "\n".join(line.plain for block in blocks(Grid(columns=columns, rows=rows), 80) for line in block)
    assert "…" not in text
    assert "cpu_compressed (from     1.234e+10\nprinted times)" in text


def test_a_sentence_gives_way_where_all_columns_then_fit():
    columns = (Column("what", "change", "prose"), *(Column(key, key * 8, "word") for key in "abcd"))
    rows = ({"what": "a change of several words that is as long as this one", **dict.fromkeys("abcd", "x")},)
    assert len(list(blocks(Grid(columns=columns, rows=rows), 72))) == 1
    # Not to less than can be read.
    assert len(list(blocks(Grid(columns=columns, rows=rows), 60))) == 2


def test_a_terminal_without_unicode():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    console = Console(file=stream, width=60, force_terminal=True, color_system=None)
    grid = Grid(columns=(Column("n", "name", "text"), Column("v", "v")), rows=({"n": "x" * 50, "v": 1},))
    show(console, "", (Section(name="s", grids=(grid,)),))
    stream.flush()
    lines = stream.buffer.getvalue().decode("ascii").splitlines()
    assert lines[1] == "-" * len(lines[2])
    assert "~" in lines[2]


def test_prose_in_a_cell_takes_several_lines():
    columns = (Column("name", "name", "text"), Column("n", "n", "count"), Column("why", "why", "prose"))
    grid = Grid(
        columns=columns, rows=({"name": "a", "n": 1234, "why": "word " * 40}, {"name": "b", "n": 5, "why": "x"})
    )
    lines = printed((Section(name="s", grids=(grid,)),), 60).splitlines()
    assert sum("word" in line for line in lines) > 3
    assert all(len(line) <= 60 for line in lines)
    assert set(" ".join(lines).split()) == {"name", "n", "why", "a", "1,234", "b", "5", "x", "word", lines[1]}


def test_claims_and_totals():
    claim = Statement(place="p", claim="it holds", holds=True, found="1 of 1")
    section = Section(name="s", title="Title", statements=(claim,), grids=(facts({"a": "1"}),))
    assert "pass  it holds\n      found: 1 of 1\n" in plain("", (section,), "Claims")
    assert plain("", (section,), "Claims").endswith("Claims: 1 of 1 hold.\n")
    assert "pass  it holds" in printed((section,), 60)
    group = rendered("head", (section,), "Claims", 60)
    assert group.renderables[-1].plain == "Claims: 1 of 1 hold."


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"), (1.0, "1"), (0.5657, "0.5657"), (33.14159, "33.14"), (441.0, "441"), (999.96, "1,000"),
        (-999.96, "-1,000"), (12345.6, "12,346"), (1e12, "1,000,000,000,000"), (0.0001234, "0.0001234"),
        (2.5e-5, "2.5e-05"), (-0.25, "-0.25"),
    ],
)  # fmt: skip
def test_numbers(value, text):
    assert numbers.number(value) == text
    assert numbers.factor(value) == f"{text}x"


@given(st.floats(1e-4, 1e15))
def test_four_digits_are_right_and_without_exponent(value):
    text = numbers.number(value)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(value, rel=5.1e-4)


def test_signs_of_percent_are_left_to_the_heading():
    assert cell(0.487, Column("k", "effic. %", "percent")) == "48.7"
    assert cell(0.487, Column("k", "5% alone", "percent")) == "48.7 %"
    assert cell(0.0514, Column("k", "dev.", "deviation")) == "+5.1 %"
    assert cell(np.float64(0.88671), Column("k", "accuracy %", "percent2")) == "88.67"


# -- modules ----------------------------------------------------------------------------------------------------------


def imports(root):
    """Which module of ours imports which, at any place and for types alike; the package's lazy front door left out."""
    modules = {}
    for file in (root / "eie").rglob("*.py"):
        parts = list(file.relative_to(root).with_suffix("").parts)
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    graph = {}
    for name, file in modules.items():
        graph[name] = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    graph[name] |= {whole if whole in modules else node.module} & set(modules)
            elif isinstance(node, ast.Import):
                graph[name] |= {alias.name for alias in node.names} & set(modules)
        graph[name] -= {name}
    graph["eie"] = set()
    return graph


def test_no_two_modules_need_each_other(root):
    try:
        list(graphlib.TopologicalSorter(imports(root)).static_order())
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_what_shows_knows_nothing_of_what_is_shown(root):
    allowed = {"eie.errors", "eie.version"}
    for name, targets in imports(root).items():
        if name.startswith("eie.show"):
            assert {target for target in targets if not target.startswith("eie.show")} <= allowed, name
