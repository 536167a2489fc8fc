"""What a newcomer reads first is true: constraints, citation, drawing, and what README and pages say of the code."""

import ast
import importlib
import importlib.util
import re
import shlex
from itertools import chain, takewhile
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
import yaml

import eie
from eie.cli.app import app


@pytest.fixture(scope="module")
def drawing():
    """The script that draws the rooms; `docs` is no package."""
    path = Path(__file__).parent.parent / "docs" / "draw_architecture.py"
    spec = importlib.util.spec_from_file_location("draw_architecture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rooms(drawing):
    """Rooms and what each imports."""
    return drawing.imports_of(drawing.ROOT / "eie")


KEYS = {"eie.output_order", "eie.coded", "eie.network"}  # in a file's metadata; no names of the package

# What comments quote of Python, others' packages and files.
FOREIGN = {"Table.from_pylist", "auto", "finally", "fnmatch", "model_copy", "yes"}


def pages(root):
    """Every page but the changelog, which names what is gone."""
    return [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md"))]


def named(files, pattern):
    """What a pattern finds, with the page it is on."""
    return [(page, text) for page in files for text in re.findall(pattern, page.read_text())]


def anchors(page):
    """Names by which links reach a page's headings: small letters, blanks as hyphens, no marks."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE) if page.is_file() else []
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings}


def normalised(requirement):
    """A package's name as indexes compare it: ``ml_dtypes>=0.6`` is ml-dtypes."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement)[0]).lower()


class TestConstraints:
    def test_only_names_and_versions(self, root):
        lines = (root / "constraints.txt").read_text().splitlines()
        assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
        names = [normalised(line) for line in lines]
        assert names == sorted(set(names))

    def test_everything_asked_for_has_a_version(self, root):
        """All that pyproject.toml names, torch apart: it is a step of its own, with a version of its own."""
        import tomllib

        project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
        asked = [*project["dependencies"], *chain.from_iterable(project["optional-dependencies"].values())]
        asked = {normalised(line) for line in asked} - {"eie", "torch"}
        pinned = {normalised(line) for line in (root / "constraints.txt").read_text().splitlines()}
        assert asked - pinned == set()


class TestRelease:
    def test_one_version(self, root):
        cited = yaml.safe_load((root / "CITATION.cff").read_text())
        latest = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)[1]
        assert cited["version"] == latest == eie.__version__

    def test_citation(self, root):
        cited = yaml.safe_load((root / "CITATION.cff").read_text())
        assert {"cff-version", "message", "title", "authors"} <= cited.keys()
        assert "license" not in cited
        assert cited["references"][0]["doi"] == "10.1109/ISCA.2016.30"
        assert cited["references"][1]["identifiers"][0]["value"] == "arXiv:1510.00149"


class TestDrawing:
    def test_in_step_with_the_imports(self, drawing, rooms):
        assert drawing.PICTURE.read_text() == drawing.draw(rooms), "python docs/draw_architecture.py renews it"

    def test_rooms_are_described(self, root, rooms):
        text = (root / "docs" / "architecture.md").read_text()
        assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(rooms)

    def test_imports_of(self, drawing, tmp_path):
        package = tmp_path / "eie"
        (package / "high").mkdir(parents=True)
        (package / "__init__.py").write_text("from eie.high import x\n")
        (package / "low.py").write_text("import numpy\n")
        (package / "mid.py").write_text("from eie import low\n")
        (package / "high" / "__init__.py").write_text("")
        (package / "high" / "x.py").write_text(
            "def f():\n    import eie.low\n    from eie.mid import y\n    import eie.high.z\n"
        )
        assert drawing.imports_of(package) == {"high": {"low", "mid"}, "low": frozenset(), "mid": {"low"}}

    def test_what_a_longer_way_says_is_left_out(self, drawing):
        imports = {"a": {"b", "c"}, "b": {"c"}, "c": set(), "d": {"a", "c"}}
        assert drawing.arrows(imports) == [("a", "b"), ("b", "c"), ("d", "a")]
        assert drawing.floors(imports) == [["c"], ["b"], ["a"], ["d"]]

    def test_rooms_that_import_each_other_share_a_floor(self, drawing):
        imports = {"a": {"b", "c"}, "b": {"a", "c"}, "c": set()}
        assert drawing.arrows(imports) == [("a", "b"), ("a", "c"), ("b", "a"), ("b", "c")]
        assert drawing.floors(imports) == [["c"], ["a", "b"]]


class TestPages:
    def test_files_they_name_are_there(self, root):
        """A path may be a folder, a file, or a module without its ending."""
        paths = named(pages(root), r"`((?:eie|docs|tests|examples|benchmarks)/[\w./-]+?)(?:::\w+)?`")
        assert [(p, path) for p, path in paths if not ((root / path).exists() or (root / f"{path}.py").exists())] == []

    def test_links_lead_somewhere(self, root):
        links = named([*pages(root), root / "CHANGELOG.md"], r"\]\(([^)#:]+)\)")
        assert [(page.name, target) for page, target in links if not (page.parent / target).exists()] == []

    def test_links_into_a_page_meet_a_heading(self, root):
        links = named([*pages(root), root / "CHANGELOG.md"], r"\]\(([^):\s]*#[^)\s]+)\)")
        assert len(links) > 10
        parts = [(page, *target.partition("#")) for page, target in links]
        missed = [
            (page.name, there, end)
            for page, there, _, end in parts
            if end not in anchors(page.parent / (there or page.name))
        ]
        assert missed == []

    def test_names_they_use_exist(self, root):
        names = named(pages(root), r"`(eie(?:\.\w+)+)`")
        assert [(page.name, name) for page, name in names if name not in KEYS and resolved(name) is None] == []

    def test_commands_they_print_are_understood(self, root):
        """Each command and option that a page shows in a block or in the text."""
        texts = [(page.name, re.sub(r"\\\n\s*", " ", page.read_text())) for page in pages(root)]
        shown = [(name, line) for name, text in texts for line in re.findall(r"^\s*(?:\$ )?(eie [a-z].*)", text, re.M)]
        shown += [(name, line) for name, text in texts for line in re.findall(r"`(eie [a-z][^`]*)`", text)]
        assert len(shown) > 100
        assert [(name, line) for name, line in shown if not understood(line)] == []

    def test_a_command_that_is_not_there_is_seen(self):
        assert understood("eie trace record lenet-300-100 --samples 3 -o t.npz  # any remark")
        assert understood("eie run model.npz --set n_pe=2 | head --lines 3")
        assert not understood("eie run model.npz --processors 2")
        assert not understood("eie report model.npz")

    def test_the_page_on_timing_names_code_that_exists(self, root):
        """There, ``fast.backlog_type`` is short for a name of ``eie/simulator/fast.py``."""
        text = (root / "docs" / "cycle-model.md").read_text()
        short = re.findall(r"`(fast|timing|events|recurrence)\.(\w+)`", text)
        assert short
        for module, name in short:
            [path] = (root / "eie").glob(f"*/{module}.py")
            home = ".".join(path.relative_to(root).with_suffix("").parts)
            assert hasattr(importlib.import_module(home), name), f"{module}.{name}"


class TestSources:
    """What docstrings and comments say of other modules."""

    def test_names_they_use_exist(self, root):
        names = named(sorted((root / "eie").rglob("*.py")), r"`(eie(?:\.\w+)+)`")
        assert len(names) > 100
        gone = {(str(source), name) for source, name in names if name not in KEYS and resolved(name) is None}
        assert gone == set()

    def test_files_they_name_are_there(self, root):
        paths = named(sorted((root / "eie").rglob("*.py")), r"\b((?:docs|tests|benchmarks)/[\w./-]+\.\w+)")
        assert len(paths) > 40
        assert {(str(source), path) for source, path in paths if not (root / path).exists()} == set()

    def test_single_names_stand_somewhere(self, root):
        """A name without its home may be a field, a parameter or a function of any module: of one that there is."""
        sources = sorted((root / "eie").rglob("*.py"))
        known = {part for source in sources for part in source.relative_to(root).with_suffix("").parts}
        known |= {part for source in (root / "eie").rglob("*.v") for part in source.name.split(".")}
        for node in chain.from_iterable(ast.walk(ast.parse(source.read_text())) for source in sources):
            known.update(
                word for key in ("name", "id", "arg", "attr") if isinstance(word := getattr(node, key, 0), str)
            )
        words = named(sources, r"(?<!`)`([A-Za-z_]\w*(?:\.\w+)*)`(?!`)")
        assert len(words) > 500
        gone = {(str(source), word) for source, word in words if not known.issuperset(word.split("."))}
        assert {word for _, word in gone} <= FOREIGN, gone

    def test_what_is_gone_is_seen(self):
        assert resolved("eie.simulator.fast.backlog_type") is not None
        assert resolved("eie.simulator.fast.slots_for") is None
        assert resolved("eie.simulator.slow") is None


def resolved(name):
    """The object behind a dotted name, or None."""
    parts = name.split(".")
    for cut in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            thing = getattr(thing, part, None)
        return thing
    return None


def understood(line):
    """Whether the command line has this command, and this command these options."""
    words = shlex.split(line, comments=True)[1:]
    words = list(takewhile(lambda word: word not in ("|", "||", "&&", ">", "2>", "<", ";"), words))
    command = app.commands.get(words.pop(0))
    while isinstance(command, click.Group) and words and words[0] in command.commands:
        command = command.commands[words.pop(0)]
    known = {
        "--help",
        *(name for option in getattr(command, "params", ()) for name in option.opts + option.secondary_opts),
    }
    return command is not None and {word.split("=")[0] for word in words if word.startswith("--")} <= known


@pytest.fixture(scope="module")
def measured():
    result = eie.simulate(eie.compile(eie.load("lenet-300-100"), eie.EIE_64PE))
    layers = result.layers
    activities = [layer.activity for layer in layers]
    cycles = np.array([activity.cycles.sum() for activity in activities])
    counted = {
        name: np.array([activity.counts[name].sum() for activity in activities])
        for name in ("broadcasts", "dead_scan_cycles")
    }
    empty = np.array([activity.per_pe["empty_column"].sum() for activity in activities]) / 64 / cycles
    # Evenly spread, no PE holds two entries of a column (24 a column, 64 PEs): nothing stalls, so the scanner sets
    # the time; it starts in cycle 1, and behind the bias, its last row, the pipeline drains for six cycles more.
    samples = activities[0].samples
    even = counted["broadcasts"].sum() + counted["dead_scan_cycles"].sum() + 3 * samples * (1 + 6)
    return SimpleNamespace(
        text=str(result),
        empty=empty,
        broadcasts=counted["broadcasts"] / cycles,
        balance=1 - even / cycles.sum(),
        a_column=len(layers[0].encoded.passes[0].codes) / 785,
    )


class TestReadme:
    """The README explains its first table; these are its figures, from the same run."""

    def test_table(self, root, measured):
        shown = re.search(r"^\$ make run\n(.*?)^```", (root / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
        assert measured.text.startswith(shown)

    def test_headline(self, root, measured):
        text = " ".join((root / "README.md").read_text().split())
        first, second, third = (f"{100 * share:.0f}" for share in measured.empty)
        assert f"take {first}, {second} and {third} % of the PE cycles" in text
        least, most = (f"{100 * share:.0f}" for share in (measured.broadcasts.min(), measured.broadcasts.max()))
        assert f"{least} to {most} % of all cycles" in text
        assert f"only {100 * measured.balance:.0f} % fewer cycles" in text
        assert f"ip1 has {measured.a_column:.0f} weights a column left" in text
