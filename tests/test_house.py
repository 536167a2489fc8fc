"""How the package is built: long rows of bare arguments, records, and modules that import each other."""

import ast
from collections.abc import Iterator

import pytest

MOST_POSITIONAL = 3
MOST_FIELDS = 3
MOST_LINES = 450  # some 400 are meant; whoever comes here looks for the second thought in the module

# Calls of others' functions, by where they are imported from; methods, whose owner is not written there, by their name.
EXEMPT = {
    "zip": "any number of them, one like the other",
    "typing.TypeVar": "a name and any number of types",
    "difflib.get_close_matches": "the standard library: its four have one order only",
    "numpy.einsum": "a formula and any number of operands",
    "rich.progress.Progress": "the columns of a progress bar, any number of them",
    "torch.nn.functional.conv2d": "a kernel's arguments in the order that torch documents",
    "torch.nn.functional.max_pool2d": "as conv2d",
    "torch.nn.functional.avg_pool2d": "as conv2d",
    "torch.nn.functional.batch_norm": "as conv2d",
    ".reshape": "numpy: sizes of axes, any number of them",
    ".transpose": "numpy: numbers of axes, any number of them",
    ".integers": "numpy: low, high, size and dtype, as its documentation shows them",
    ".scatter": "matplotlib: x, y, sizes and colours, as its documentation shows them",
    ".add_row": "rich: the cells of a table's row, any number of them",
}


@pytest.fixture(scope="module")
def modules(root) -> dict[str, ast.Module]:
    """Dotted name to syntax tree of every module of the package."""
    found = {}
    for path in sorted((root / "eie").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = ast.parse(path.read_text(encoding="utf-8"))
    assert len(found) > 50
    return found


# -- calls ------------------------------------------------------------------------------------------------------------


def origins(tree: ast.Module) -> dict[str, str]:
    """What a module's names stand for where they are imported, wherever in it that is done."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.asname: alias.name for alias in node.names if alias.asname}
        elif isinstance(node, ast.ImportFrom):
            found |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return found


def long_calls(tree: ast.Module) -> Iterator[tuple[int, str, int]]:
    """(line, function, positional arguments) of calls with more than `MOST_POSITIONAL` that nothing exempts.

    Kernels are: numba compiles for bare arrays and numbers in a row.
    """
    known = origins(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
        name = ast.unparse(node.func)
        first, dot, rest = name.partition(".")
        origin = known.get(first, first) + dot + rest
        is_method = isinstance(node.func, ast.Attribute) and not origin.startswith("eie.")
        exempt = origin in EXEMPT or (is_method and f".{node.func.attr}" in EXEMPT)
        if count > MOST_POSITIONAL and not exempt and not origin.startswith("eie.kernels."):
            yield node.lineno, name, count


def test_no_call_passes_a_row_of_positional_arguments(modules):
    found = [
        f"{name}:{line}: {function} with {count}"
        for name, tree in modules.items()
        if not name.startswith("eie.kernels")
        for line, function, count in long_calls(tree)
    ]
    assert not found, "name the arguments:\n" + "\n".join(found)


def test_long_calls_are_found():
    source = """
from eie.kernels import timing as kernels
from eie.kernels.encode import expand_entries
from eie.cli.progress import Progress
from torch.nn import functional
import numpy as np
draw(1, 2, 3, 4)
draw(1, 2, 3, d=4)
draw(1, 2, 3, *rest)
model.draw(*rest, 1, 2, 3, 4)
kernels.tally(1, 2, 3, 4)
expand_entries(1, 2, 3, 4)
array.reshape(1, 2, 3, 4)
reshape(1, 2, 3, 4)
functional.conv2d(1, 2, 3, 4)
ours.conv2d(1, 2, 3, 4)
zip(1, 2, 3, 4)
np.einsum(1, 2, 3, 4)
Progress(1, 2, 3, 4)
"""
    found = [(line, name) for line, name, _ in long_calls(ast.parse(source))]
    assert found == [(7, "draw"), (10, "model.draw"), (14, "reshape"), (16, "ours.conv2d"), (19, "Progress")]


# -- modules ----------------------------------------------------------------------------------------------------------


def test_modules_hold_one_thought(root):
    """Eight had grown to 400 to 670 lines before they were taken apart; half of all have at most 125. Kernels may."""
    paths = [path for path in (root / "eie").rglob("*.py") if path.parent.name != "kernels"]
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert {str(path): size for path, size in sizes.items() if size > MOST_LINES} == {}


# -- records ----------------------------------------------------------------------------------------------------------


# Registers and scratch, which change while something runs.
CHANGING = {
    "ProcessingElement": "the registers of a unit of the event engine, clocked twice a cycle",
    "Memo": "what is remembered of a layer between calls",
}


def says(decorator: ast.expr, word: str, value: bool) -> bool:
    """Whether a decorator has this keyword with this value."""
    return isinstance(decorator, ast.Call) and any(
        keyword.arg == word and isinstance(keyword.value, ast.Constant) and keyword.value.value is value
        for keyword in decorator.keywords
    )


def records(tree: ast.Module) -> Iterator[tuple[ast.ClassDef, ast.expr, list[str]]]:
    """Every dataclass with what makes it one and the types of its fields."""
    for node in ast.walk(tree):
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            function = decorator.func if isinstance(decorator, ast.Call) else decorator
            if ast.unparse(function).rpartition(".")[2] == "dataclass":
                types = [ast.unparse(entry.annotation) for entry in node.body if isinstance(entry, ast.AnnAssign)]
                yield node, decorator, [text for text in types if "ClassVar" not in text]


def all_records(modules: dict[str, ast.Module]) -> Iterator[tuple[str, ast.expr, list[str]]]:
    for name, tree in modules.items():
        for record, decorator, types in records(tree):
            yield f"{name}:{record.lineno}: {record.name}", decorator, types


def test_records_of_many_fields_are_keyword_only(modules):
    found = [
        f"{name} has {len(types)} fields"
        for name, decorator, types in all_records(modules)
        if len(types) > MOST_FIELDS and not says(decorator, "kw_only", True)
    ]
    assert not found, "give them kw_only=True:\n" + "\n".join(found)


def test_records_are_frozen(modules):
    found = [
        name
        for name, decorator, _ in all_records(modules)
        if not says(decorator, "frozen", True) and name.rpartition(" ")[2] not in CHANGING
    ]
    assert not found, "give them frozen=True:\n" + "\n".join(found)


def test_pydantic_records_are_frozen_and_take_no_unknown_key(modules):
    configs = [
        (name, node)
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "ConfigDict"
    ]
    assert len(configs) > 3
    for name, node in configs:
        said = {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords}
        assert said.get("frozen") is True, f"{name}:{node.lineno}"
        assert said.get("extra") in ("forbid", "allow"), f"{name}:{node.lineno}"


def test_records_of_arrays_are_not_compared(modules):
    """An array has no one truth, so a generated ``==`` would raise; two such records are equal if they are the same."""
    found = [
        name
        for name, decorator, types in all_records(modules)
        if any(text.startswith("NDArray") for text in types)
        and not says(decorator, "eq", False)
        and not name.rpartition(" ")[2].startswith("_")
        and name.rpartition(" ")[2] not in CHANGING
    ]
    assert not found, "give them eq=False:\n" + "\n".join(found)


def test_records_are_found():
    source = """
@dataclass
class Three:
    a: int
    b: int
    c: int
    COUNT: ClassVar[int] = 3
@dataclasses.dataclass(frozen=True, kw_only=True)
class Four:
    a: int
    b: NDArray[Any]
    c: int
    d: int = 0
@dataclass(frozen=False)
class AlsoFour(Three):
    a: int; b: int; c: int; d: int
class None_: pass
"""
    found = [
        (record.name, len(types), says(decorator, "kw_only", True), says(decorator, "frozen", True))
        for record, decorator, types in records(ast.parse(source))
    ]
    assert found == [("Three", 3, False, False), ("Four", 4, True, True), ("AlsoFour", 4, False, False)]


# -- imports ----------------------------------------------------------------------------------------------------------


def imports(name: str, tree: ast.Module, known: set[str]) -> set[str]:
    """Modules of ``known`` that a module names in any import: at its top, in a function, for a type checker."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in known}
        elif isinstance(node, ast.ImportFrom):
            package = node.module or ""
            if node.level:
                # From ``.``: the package that the module is in; one more dot, one package up.
                above = name.split(".")[: len(name.split(".")) - node.level + (f"{name}.__init__" in known)]
                package = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{package}.{alias.name}"
                found.add(inner if inner in known else package)
    return found & known - {name}


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that reach each other (Tarjan's strongly connected components of two and more)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    path: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        path.append(name)
        for target in sorted(edges[name]):
            if target not in order:
                visit(target)
                low[name] = min(low[name], low[target])
            elif target in path:
                low[name] = min(low[name], order[target])
        if low[name] == order[name]:
            group = path[path.index(name) :]
            del path[path.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(edges):
        if name not in order:
            visit(name)
    return sorted(found)


def test_no_modules_import_each_other(modules):
    """Neither two nor a round of more; an import within a function or for a type checker counts like any other."""
    edges = {name: imports(name, tree, set(modules)) for name, tree in modules.items()}
    assert sum(map(len, edges.values())) > 200
    found = circles(edges)
    text = "\n".join(f"{name} -> {', '.join(sorted(edges[name] & set(group)))}" for group in found for name in group)
    assert not found, f"these import each other:\n{text}"


def test_circles_are_found():
    known = {"eie", "eie.a", "eie.b", "eie.c", "eie.d"}
    sources = {
        "eie": "",
        "eie.a": "from eie import b",
        "eie.b": "def later():\n    from eie.c import thing",
        "eie.c": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import eie.a",
        "eie.d": "from eie.a import x\nimport numpy",
    }
    edges = {name: imports(name, ast.parse(text), known) for name, text in sources.items()}
    assert edges == {"eie": set(), "eie.a": {"eie.b"}, "eie.b": {"eie.c"}, "eie.c": {"eie.a"}, "eie.d": {"eie.a"}}
    assert circles(edges) == [["eie.a", "eie.b", "eie.c"]]
    assert circles({"eie.a": {"eie.b"}, "eie.b": {"eie.a"}, "eie.c": set()}) == [["eie.a", "eie.b"]]
    assert circles({"eie.a": {"eie.b"}, "eie.b": set()}) == []


def test_names_say_what_they_hold(modules):
    """``one`` and ``found`` stood 275 times for whatever was at hand; a field of a public record may be called so."""
    vague = [
        f"{name}:{node.lineno}"
        for name, tree in modules.items()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in ("one", "found"))
        or (isinstance(node, ast.arg) and node.arg in ("one", "found"))
    ]
    assert [place for place in vague if not place.startswith("eie.show.sections:")] == []


def named_operators(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, name) where a node's operator is compared with one by its name; ``layer`` is none."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and isinstance(node.left, ast.Attribute) and node.left.attr == "op":
            for value in ast.walk(node):
                if isinstance(value, ast.Constant) and isinstance(value.value, str) and value.value != "layer":
                    yield node.lineno, value.value


def test_no_operator_is_known_by_its_name(modules):
    """Its rules stand in its file in `eie.model.operators`; readers of foreign formats have names of their own."""
    foreign = ("eie.importers", "eie.formats", "eie.model.operators")
    known = {name: list(named_operators(tree)) for name, tree in modules.items() if not name.startswith(foreign)}
    assert {name: places for name, places in known.items() if places} == {}


def test_operators_known_by_their_names_are_found():
    source = 'node.op == "concat"\nnode.op in ("relu", "tanh")\nnode.op == OP\n(node.op == "layer") != x'
    assert list(named_operators(ast.parse(source))) == [(1, "concat"), (2, "relu"), (2, "tanh")]


def nameless(tree: ast.Module) -> Iterator[str]:
    """Functions with an argument that a caller cannot name, but for ``self`` before any name of its caller's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [argument.arg for argument in node.args.posonlyargs]
            if names and names != ["self"] and not (node.name.startswith("__") and node.name.endswith("__")):
                yield node.name


def test_every_argument_can_be_named(modules):
    assert {name: functions for name, tree in modules.items() if (functions := list(nameless(tree)))} == {}


def test_arguments_without_a_name_are_found():
    source = """
def both(a, /, b): pass
def named(a, *, b): pass
class Some:
    def replace(self, /, **changes): pass
    def take(self, a, /): pass
    def __getitem__(self, place, /): pass
"""
    assert list(nameless(ast.parse(source))) == ["both", "take"]
