"""Pages of run, sweep and diff: one file, nothing from outside, read with eyes, ears and keys, in light and dark."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from answers import answers, result
from browser import opened
from hypothesis import given
from hypothesis import strategies as st
from needs import chromium

import eie
from eie.results.accounting import SHARES
from eie.results.pages import pes_section, shares_section
from eie.show import palette
from eie.show.bars import bars_html, strips_html
from eie.show.charts import Bars, Point, Points, Strips
from eie.show.page import page
from eie.show.plane import plane_html
from eie.show.sections import Column, Grid, Section
from eie.show.tables import table_html

NAMES = ("Result", "SweepResult", "Difference", "Comparison")
EVIL = "<script>alert('x')</script>\"&"
values = st.floats(0, 1e9, allow_nan=False)


@pytest.fixture(scope="module")
def pages():
    return {name: answers()[name].to_html(command="eie run x --html 'a b.html'") for name in NAMES}


@pytest.fixture(scope="module", params=NAMES)
def shown(request, pages):
    return pages[request.param]


def tree_of(text):
    return ElementTree.fromstring(text.removeprefix("<!DOCTYPE html>\n"))


def bare(tag):
    return tag.rpartition("}")[2]


# -- one file, that says everything -----------------------------------------------------------------------------------


def test_nothing_comes_from_outside(shown):
    assert not re.search(r'src=|<link|href="(?!#)|@import|url\((?!#)|fetch\(|XMLHttp', shown)


def test_the_command_and_the_versions_stand_at_its_foot(shown):
    foot = "".join(tree_of(shown).find("body/footer").itertext())
    assert "eie run x --html 'a b.html'" in foot
    assert f"eie {eie.__version__}, numpy " in foot


def test_a_result_says_where_it_is_from(pages):
    foot = "".join(tree_of(pages["Result"]).find("body/footer").itertext())
    assert result().program.content_hash in foot
    assert result().inputs_sha256 in foot
    machine = tree_of(pages["Result"]).find(".//section[@id='machine']")
    assert set(type(eie.EIE_64PE).model_fields) <= set("|".join(machine.itertext()).split("|"))


def test_what_a_page_holds(pages):
    sections = {name: [section.get("id") for section in tree_of(text).iter("section")] for name, text in pages.items()}
    assert sections["Result"] == ["layers", "shares", "pes", "memory", "figures", "machine"]
    assert sections["SweepResult"] == ["points", "figures", "machine"]
    assert sections["Difference"] == ["facts", "costs", "shares"]


def test_the_same_answer_is_the_same_page():
    assert answers()["Result"].to_html() == answers()["Result"].to_html()


# -- for everyone -----------------------------------------------------------------------------------------------------


def test_headings_say_what_they_head_and_pictures_what_is_seen(shown):
    tree = tree_of(shown)
    assert tree.get("lang") == "en"
    assert len(list(tree.iter("h1"))) == 1
    heads = list(tree.iter("th"))
    assert heads
    assert {head.get("scope") for head in heads} == {"row", "col"}
    for element in tree.iter():
        if bare(element.tag) == "svg" or element.get("role") == "img":
            # At least a sentence: a name alone says nothing of what is seen.
            assert element.get("role") == "img"
            assert len(element.get("aria-label").split()) >= 3, element.get("aria-label")
    for box in tree.iter("div"):
        if box.get("class") == "scroll":
            assert box.get("tabindex") == "0"
            assert box.get("aria-label")


def contrast(a, b):
    """WCAG 2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("which", [0, 1], ids=["light", "dark"])
def test_contrast(pages, which):
    """Text at 4.5 to 1, what a picture is made of at 3 to 1."""
    style = tree_of(pages["Result"]).find("head/style").text
    blocks = re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    names = dict(re.findall(r"--(\w+): ?(#[0-9a-f]+)", blocks[which]))
    full = {
        name: value if len(value) == 7 else "#" + "".join(2 * c for c in value[1:]) for name, value in names.items()
    }
    for name in ("text", "quiet", "link", "pass", "fail"):
        assert contrast(full[name], full["ground"]) >= 4.5, name
    for name in ("large", "close", "raised"):
        assert contrast(full["text"], full[name]) >= 4.5, name
    parts = {name: colours[which] for name, colours in palette.SHARES.items()}
    for name, colour in {**parts, **{f"s{i}": full[f"s{i}"] for i in range(6)}, "other": full["other"]}.items():
        assert contrast(colour, full["ground"]) >= 3, name


def test_one_palette_names_every_share():
    assert tuple(palette.SHARES) == SHARES
    for which in (0, 1):
        assert len({colours[which] for colours in palette.SHARES.values()}) == len(SHARES)


def test_links_to_sections_are_told_apart():
    titles = ("Table II: power", "net: granularities", "net: time: and energy", "Claims")
    text = page("h", tuple(Section(name=f"s{i}", title=title) for i, title in enumerate(titles)))
    (nav,) = re.findall(r"<nav.*?</nav>", text)
    assert re.findall(r">([^<]+)</a>", nav) == ["Table II", "granularities", "time: and energy", "Claims"]


def test_names_cannot_write_html():
    layer = eie.Layer.from_weights(EVIL, np.eye(4))
    network = eie.Network(name=EVIL, layers=(layer,))
    spec = eie.EIE_64PE.replace(n_pe=2, name=EVIL)
    a = eie.simulate(network, np.ones(4), spec=spec)
    b = eie.simulate(network, np.ones(4), spec=spec.replace(n_pe=1))
    sweep = eie.sweep(network, {"n_pe": [1, 2]}, trace=np.ones(4), spec=spec)
    for shown in (a, sweep, eie.diff(a, b)):
        text = shown.to_html(command=EVIL)
        assert "alert" in text
        assert "<script>alert" not in text
        tree = tree_of(text)
        # The page's own is the only one.
        assert len(list(tree.iter("script"))) == 1
        assert EVIL in "".join(tree.itertext())


# -- tables -----------------------------------------------------------------------------------------------------------


def test_cells_hold_what_a_sort_needs():
    columns = (Column("a", "name", "text"), Column("b", "cycles", "count"), Column("c", "said", "word"))
    rows = ({"a": "x", "b": 1234.4, "c": "87 %"}, {"a": "y", "b": None, "c": True})
    grid = Grid(columns=columns, rows=rows, total={"a": "total", "b": 1234.4})
    html = table_html(grid, "t", sorts=True)
    assert 'class="sorts"' in html
    assert re.findall(r"data-v", html) == ["data-v"]
    assert 'data-v="1234.4"' in html
    assert "<tfoot>" in html
    # A notebook has no script that would read them, a single row no order.
    assert "data-v" not in table_html(grid)
    assert "sorts" not in table_html(replace(grid, rows=rows[:1]), sorts=True)


def test_a_group_is_named_in_every_row():
    columns = (Column("a", "layer", "text"), Column("b", "machine", "text"), Column("c", "us"))
    rows = tuple({"a": "fc", "b": name, "c": 1} for name in "xy")
    html = table_html(Grid(columns=columns, rows=rows, keys=2, grouped=True))
    assert html.count(">fc<") == 2
    assert html.count('<th scope="row"') == 4


# -- charts -----------------------------------------------------------------------------------------------------------


def pieces(html):
    """(left, width) of the pieces of each bar, in percent."""
    bars = re.split(r'<span class="bar"', html)[1:]
    return [
        [(float(left), float(width)) for left, width in re.findall(r"left:([\d.]+)%;width:([\d.]+)%", bar)]
        for bar in bars
    ]


@given(st.lists(st.lists(values, min_size=3, max_size=3), min_size=1, max_size=4))
def test_a_whole_bar_is_filled_from_end_to_end(rows):
    named = {f"r{i}": dict(zip("abc", row, strict=True)) for i, row in enumerate(rows)}
    for parts, bar in zip(
        rows, pieces(bars_html(Bars(caption="c", rows=named, unit="cycles", whole=True))), strict=True
    ):
        at = 0.0
        for left, width in bar:
            assert left == pytest.approx(at, abs=0.05)
            at = left + width
        # A part thinner than a hair is left out.
        assert at == pytest.approx(100 if sum(parts) else 0, abs=0.05)


@given(st.lists(st.lists(st.integers(-(10**6), 10**6), min_size=3, max_size=3), min_size=1, max_size=4))
def test_changes_stand_on_one_scale_around_zero(rows):
    named = {f"r{i}": dict(zip("abc", row, strict=True)) for i, row in enumerate(rows)}
    html = bars_html(Bars(caption="c", rows=named, unit="cycles", whole=False))
    low = -min(sum(v for v in row if v < 0) for row in rows)
    high = max(sum(v for v in row if v > 0) for row in rows)
    span = low + high or 1
    for row, bar in zip(rows, pieces(html), strict=True):
        zero = 100 * low / span
        left = sum(width for at, width in bar if at + width / 2 < zero)
        right = sum(width for at, width in bar if at + width / 2 >= zero)
        assert left == pytest.approx(-100 * sum(v for v in row if v < 0) / span, abs=0.1)
        assert right == pytest.approx(100 * sum(v for v in row if v > 0) / span, abs=0.1)
        assert all(at >= -0.01 and at + width <= 100.01 for at, width in bar)


def test_values_are_said_on_hover_and_to_those_who_see_nothing():
    bars = Bars(caption="c", rows={"fc": {"useful": 30, "empty_column": 70}}, unit="cycles", whole=True)
    html = bars_html(bars)
    assert 'title="fc: empty column 70.0 %, 70 cycles"' in html
    assert 'aria-label="fc: useful 30.0 %, 30 cycles, empty column 70.0 %, 70 cycles"' in html
    assert 'class="part empty-column"' in html
    strips = Strips(
        caption="c",
        column="PE",
        names=["PE 0", "PE 1"],
        rows={"fc": {"useful": [1, 3], "drain": [3, 1]}},
        unit="cycles",
    )
    html = strips_html(strips)
    assert "<title>PE 0: useful 25.0 % (1), drain 75.0 % (3) of 4 cycles</title>" in html
    assert "useful 25.0 to 75.0 %, mean 50.0; drain 25.0 to 75.0 %, mean 50.0" in html
    # The table behind it has the same for those without a mouse.
    assert "<summary>fc, PE by PE</summary>" in html


def test_stairs_by_hand():
    """Two PEs of 4 cycles: 1 and 3 of them useful, at the bottom."""
    strips = Strips(
        caption="", column="PE", names=["a", "b"], rows={"fc": {"useful": [1, 3], "drain": [3, 1]}}, unit=""
    )
    useful, drain = re.findall(r' d="(.*?)"', strips_html(strips))
    assert useful == "M0 75V75H1 V25H2V100H1 V100H0Z"
    assert drain == "M0 0V0H1 V0H2V25H1 V75H0Z"


def test_a_front_is_joined_and_named():
    points = [
        Point(x=x, y=y, name=f"n_pe {n}", marked=m)
        for n, x, y, m in ((1, 1, 9, True), (2, 3, 3, True), (3, 4, 8, False))
    ]
    plane = Points(caption="c", x_label="us", y_label="nJ", series={"net": points}, marked="front")
    html = plane_html(plane)
    assert html.count("<circle") == 3
    assert html.count("<polyline") == 1
    assert "<title>net, n_pe 2: us 3, nJ 3, on the front</title>" in html
    assert "<title>net, n_pe 3: us 4, nJ 8</title>" in html
    assert "3 points, us 1 to 4, nJ 3 to 9. 2 on the front: n_pe 1 (1, 9); n_pe 2 (3, 3)" in html
    # What is a front in three ways is no line in two.
    crossed = replace(plane, series={"net": [*points, Point(x=5, y=5, name="n_pe 4", marked=True)]})
    assert "<polyline" not in plane_html(crossed)


@given(st.lists(st.tuples(st.floats(1e-6, 1e12), st.floats(1e-6, 1e12)), min_size=1, max_size=6))
def test_points_lie_inside(places):
    points = [Point(x=x, y=y, name="p", marked=False) for x, y in places]
    html = plane_html(Points(caption="", x_label="x", y_label="y", series={"net": points}, marked="front"))
    for x, y in re.findall(r'cx="([-\d.]+)" cy="([-\d.]+)"', html):
        assert 52 <= float(x) <= 400
        assert 0 <= float(y) <= 240
    assert 'text-anchor="middle"' in html


# -- a result ---------------------------------------------------------------------------------------------------------


def test_bars_and_strips_of_a_result_are_its_shares():
    ran = result()
    (bars,) = shares_section(ran.layers, whole=True).charts
    assert list(bars.rows) == ["all layers", *(layer.name for layer in ran.layers)]
    for layer in ran.layers:
        parts = bars.rows[layer.name]
        whole = sum(parts.values())
        assert {name: value / whole for name, value in parts.items()} == pytest.approx(layer.shares)
    (strips,) = pes_section(ran.layers).charts
    for layer in ran.layers:
        columns = np.array(list(strips.rows[layer.name].values()))
        # Whatever a PE did, it had all of the layer's cycles to do it in.
        assert columns.sum(axis=0) == pytest.approx(layer.total_cycles)
        assert len(strips.names) == ran.spec.n_pe


def test_many_pes_and_layers_are_cut_with_a_word():
    layer = eie.Layer.from_weights("fc", np.ones((8, 6)))
    wide = eie.simulate(layer, np.ones(6), spec=eie.EIE_64PE.replace(n_pe=1000))
    section = pes_section(wide.layers)
    (strips,) = section.charts
    assert len(strips.names) == 512
    assert (strips.names[0], strips.names[-1]) == ("PE 0", "PEs 998 to 999")
    assert "the mean of 2 PEs or so" in section.notes[0]
    summed = np.array(list(strips.rows["fc"].values())).sum(axis=0)
    assert summed == pytest.approx(wide.layers[0].total_cycles)
    section = pes_section(wide.layers * 3)
    assert len(section.charts[0].rows) == 1
    many = [replace(wide.layers[0], encoded=replace(wide.layers[0].encoded, name=f"fc{i}")) for i in range(3)]
    assert pes_section(many).notes[1] == "shown is 1 of 3 layers: the slowest"
    assert pes_section(many[:1]).notes[1:] == ()


def test_a_front_is_drawn_without_being_asked_for():
    swept = eie.sweep(eie.Layer.from_weights("fc", np.ones((8, 6))), {"n_pe": [1, 2, 4]}, trace=np.ones(6))
    points = swept.page_sections()[0]
    (chart,) = points.charts
    marked = {point.name for listed in chart.series.values() for point in listed if point.marked}
    assert marked == {f"n_pe {row['n_pe']}" for row in swept.pareto("latency", "energy").front}
    assert [row["pareto"] for row in points.grids[0].rows].count(True) == len(marked)
    assert "front" in [column.heading for column in points.grids[0].columns]
    # Nothing of that on a terminal, where nobody asked.
    assert "front" not in str(swept)
    empty = replace(swept, rows=tuple({**row, "error": "failed"} for row in swept.rows if row["row"] == "total"))
    assert empty.page_sections()[0].charts == ()


def test_a_large_sweep_is_thinned_and_keeps_its_front():
    """5,000 points of which the last is the best: it is drawn and heads the table, and of the others one in three."""
    swept = eie.sweep(eie.Layer.from_weights("fc", np.ones((8, 6))), {"n_pe": [1]}, trace=np.ones(6))
    total = swept.totals[0]
    n = 5000
    rows = tuple({**total, "n_pe": i, "latency_us": n - i, "energy_activity_nj": n - i} for i in range(n))
    section = replace(swept, rows=rows).page_sections()[0]
    (chart,) = section.charts
    (points,) = chart.series.values()
    assert [point.name for point in points if point.marked] == [f"n_pe {n - 1}"]
    assert len(points) == 1 + -(-(n - 1) // 3)
    assert chart.caption.startswith("One in 3 points")
    assert len(section.grids[0].rows) == 2000
    assert section.grids[0].rows[0]["n_pe"] == str(n - 1)
    assert "and 3,000 more points" in section.notes


# -- in a browser -----------------------------------------------------------------------------------------------------

LOOK = """
const root = doc.documentElement;
const wide = [...doc.querySelectorAll("body *")].filter((e) => !e.closest(".scroll, svg, style, script")
  && e.getBoundingClientRect().right > root.clientWidth + 1).map((e) => e.tagName + "." + e.className);
const buttons = [...doc.querySelectorAll("table.sorts thead th button")];
const unnamed = buttons.filter((b) => b.textContent.trim() === "").length;
const small = [...doc.querySelectorAll("nav a, th button, summary")].filter((e) => e.getBoundingClientRect().height < 16
  && e.getBoundingClientRect().height > 0).length;
const cut = [...doc.querySelectorAll("caption, th.prose")].filter((e) => e.getBoundingClientRect().width
  > root.clientWidth - 16).map((e) => e.textContent);
return { scroll: root.scrollWidth, client: root.clientWidth, wide, buttons: buttons.length, unnamed, small, cut,
  ground: win.getComputedStyle(doc.body).backgroundColor };
"""
SORT = """
const table = doc.querySelector("table.sorts"), heads = [...table.tHead.rows[0].cells];
const at = heads.findIndex((h) => h.textContent.trim() === COLUMN);
const head = heads[at], button = head.querySelector("button");
const column = () => [...table.tBodies[0].rows].map((r) => r.cells[at].textContent);
const seen = [[head.getAttribute("aria-sort"), column()]];
button.focus();
const focused = doc.activeElement === button;
for (let i = 0; i !== 3; i += 1) { button.click(); seen.push([head.getAttribute("aria-sort"), column()]); }
return { seen, focused, foot: table.tFoot === null ? "" : table.tFoot.textContent };
"""


@pytest.fixture(scope="module")
def every_page():
    return {name: answer.to_html() for name, answer in answers().items()}


@chromium
@pytest.mark.parametrize(("widths", "dark"), [((360, 1400), False), ((360, 800), True)], ids=["light", "dark"])
def test_no_error_and_no_overflow(tmp_path, every_page, widths, dark):
    """Every answer's page, in one browser."""
    asked = [(name, width) for name in every_page for width in widths]
    found, logged = opened([(every_page[name], width, LOOK) for name, width in asked], tmp_path, dark=dark)
    assert logged == []
    assert len(found) == len(asked) > 20
    for (name, width), seen in zip(asked, found, strict=True):
        assert width - 20 <= seen["client"] <= width, name
        assert seen["wide"] == [], (name, width)
        assert seen["scroll"] <= seen["client"], (name, width)
        assert (seen["unnamed"], seen["small"]) == (0, 0), (name, width)
        # What scrolls is a table: its caption, and a sentence that says what a row is of, are read without.
        assert seen["cut"] == [], (name, width)
        assert seen["buttons"], name
        red = int(re.findall(r"\d+", seen["ground"])[0])
        assert red < 64 if dark else red > 192


@chromium
def test_a_browser_reports_what_is_wrong(tmp_path):
    """The test above can fail: a wide box and an error are seen."""
    wide = page("h", (Section(name="s", lines=("x",)),)).replace("<main>", '<main><div style="width: 999px">y</div>')
    broken = wide.replace("</body>", "<script>nosuch();</script></body>")
    (seen,), logged = opened([(broken, 360, LOOK)], tmp_path)
    assert seen["scroll"] > seen["client"]
    assert seen["wide"] == ["DIV."]
    assert any("nosuch is not defined" in line for line in logged)


@chromium
def test_tables_sort_by_click_and_key(tmp_path):
    columns = (Column("a", "layer", "text"), Column("b", "cycles", "count"), Column("c", "speedup", "word"))
    said = (("fc10", 20.2, "2,875x"), ("fc2", None, "365.6x"), ("fc1", 1234, "-"), ("b", 20.4, "0.5x"))
    rows = tuple({"a": name, "b": cycles, "c": speedup} for name, cycles, speedup in said)
    grid = Grid(columns=columns, rows=rows, total={"a": "total", "b": 1274.6})
    text = page("h", (Section(name="s", grids=(grid,)),))
    scripts = [f"const COLUMN = '{name}'; {SORT}" for name in ("cycles", "layer", "speedup")]
    (cycles, layer, speedup), logged = opened([(text, 800, script) for script in scripts], tmp_path)
    assert logged == []
    assert cycles["focused"]
    assert "total" in cycles["foot"]
    # By what the cells hold and not by what is printed; what is not known stays last; then as it was.
    assert cycles["seen"] == [
        [None, ["20", "", "1,234", "20"]],
        ["descending", ["1,234", "20", "20", ""]],
        ["ascending", ["20", "20", "1,234", ""]],
        [None, ["20", "", "1,234", "20"]],
    ]
    assert layer["seen"][1] == ["ascending", ["b", "fc1", "fc2", "fc10"]]
    assert layer["seen"][2] == ["descending", ["fc10", "fc2", "fc1", "b"]]
    # Text that is a number is one.
    assert speedup["seen"][1] == ["descending", ["2,875x", "365.6x", "0.5x", "-"]]
