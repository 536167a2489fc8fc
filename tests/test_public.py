"""What users import: all of it from `eie`, typed, listed once; notebooks and examples need nothing below."""

import ast
import functools
import importlib
import inspect
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import eie

STUB = Path(eie.__file__).with_suffix(".pyi")
USER = '''
import numpy as np

import eie


def cheapest(weights: np.ndarray, counts: list[int]) -> int:
    """The fewest PEs within a tenth of the best time."""
    layer = eie.Layer.from_weights("fc", weights)
    result: eie.SweepResult = eie.sweep((layer, np.ones(weights.shape[1])), {"n_pe": counts}, spec=eie.EIE_64PE)
    times = {int(row["n_pe"]): float(row["latency_us"]) for row in result.totals}
    best = min(times.values())
    return min(n_pe for n_pe, time in times.items() if time <= 1.1 * best)


def shares(model: str | eie.Network | eie.Program) -> dict[str, float]:
    """Each layer's share of the time."""
    result = eie.simulate(model, engine="fast")
    return {layer.name: layer.latency_us / result.latency_us for layer in result.layers}


def speedup(model: str, machine: str) -> float | None:
    """Over a dense machine."""
    comparison: eie.Comparison = eie.compare(model, [machine])
    ours, theirs = comparison.columns
    return theirs.latency_us / ours.latency_us if theirs.latency_us and ours.latency_us else None


def kept(recipe: eie.Recipe) -> int:
    """Weights that a recipe leaves."""
    network, report = eie.compress("lenet-300-100", recipe)
    sizes: eie.SizeReport = report.sizes
    return sizes.total.kept if len(network.layers) == len(report.original.layers) else 0


area: eie.Area = eie.area(eie.EIE_64PE.replace(n_pe=32))
print(f"{area.total_mm2:.1f} mm2", shares("lenet-300-100"), cheapest(np.eye(8), [1, 2, 4]))
'''


def listed():
    """Public name to module and name there, as Python itself reads the stub."""
    imported, public = {}, {}
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                imported[alias.asname or alias.name] = node.module, alias.name
                if alias.asname == alias.name:
                    public[alias.name] = imported[alias.name]
        else:
            public[node.targets[0].id] = imported[node.value.id]
    return public


def test_the_stub_is_the_list():
    names = listed()
    del names["__version__"]
    assert sorted(names) == eie.__all__ == dir(eie)
    # The room of that name is what stands there, and is called as the function is.
    assert names.pop("rtl") == ("eie.rtl.write", "write_rtl")
    assert callable(eie.rtl)
    for public, (module, name) in names.items():
        assert getattr(eie, public) is getattr(importlib.import_module(module), name)
    with pytest.raises(AttributeError, match="module 'eie' has no attribute 'simulat'"):
        _ = eie.simulat


def run(*words):
    """Run Python in the checkout."""
    return subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True, cwd=STUB.parent.parent)


def test_importing_loads_nothing():
    done = run("-c", "import sys, eie; print(*(name for name in sys.modules if name[:3] in ('eie', 'num', 'pyd')))")
    assert set(done.stdout.split()) - {"numbers"} == {"eie", "eie.version"}


# -- what is taken and returned ---------------------------------------------------------------------------------------


def annotations(thing):
    """Yield annotations of a function, or of all that a class shows, each with the module whose names it uses."""
    if inspect.isfunction(thing):
        yield from ((str(text), thing.__module__) for text in thing.__annotations__.values())
    if not inspect.isclass(thing):
        return
    for base in thing.__mro__:
        if not base.__module__.startswith("eie."):
            continue
        fields = inspect.get_annotations(base)
        yield from ((text, base.__module__) for name, text in fields.items() if not name.startswith("_"))
        for name, member in vars(base).items():
            function = getattr(member, "__func__", member)
            function = getattr(function, "fget", function)
            function = function.func if isinstance(function, functools.cached_property) else function
            if (not name.startswith("_") or name == "__init__") and inspect.isfunction(function):
                yield from annotations(function)


def names_in(annotation):
    """Names of types in the text of an annotation; of `Annotated` the type alone."""
    tree = ast.parse(annotation, mode="eval").body
    if isinstance(tree, ast.Subscript) and isinstance(tree.value, ast.Name) and tree.value.id == "Annotated":
        tree = tree.slice.elts[0]
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


@functools.cache
def imported_by(module):
    """Name to (module, name there) of what a module imports from the package, for type checkers alone or not."""
    return {
        alias.asname or alias.name: (node.module, alias.name)
        for node in ast.walk(ast.parse(inspect.getsource(sys.modules[module])))
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("eie.")
        for alias in node.names
    }


def meaning(name, module):
    """What a name stands for in a module; names for type checkers alone are looked up where they come from."""
    loaded = sys.modules[module]
    if hasattr(loaded, name):
        return getattr(loaded, name)
    if name not in imported_by(module):
        return None
    source, there = imported_by(module)[name]
    return getattr(importlib.import_module(source), there)


def types_in(value):
    """The package's classes in a class, a union, an alias, a generic."""
    if inspect.isclass(value):
        return {value} if value.__module__.startswith("eie.") else set()
    return set().union(*map(types_in, typing.get_args(value)))


def test_whatever_is_taken_or_returned_can_be_imported():
    public = {id(getattr(eie, name)) for name in eie.__all__}
    missing, seen = set(), 0
    for name in eie.__all__:
        for text, module in annotations(getattr(eie, name)):
            for word in names_in(text):
                for kind in types_in(meaning(word, module)):
                    seen += 1
                    if id(kind) not in public:
                        missing.add(f"{name} names {kind.__module__}.{kind.__qualname__}")
    assert seen > 200
    assert not missing, "\n".join(sorted(missing))


def test_types_are_shipped_and_hold_for_a_user(tmp_path):
    """mypy --strict on a script as a user writes it, and on one with three slips; the right one runs."""
    assert (STUB.parent / "py.typed").is_file()
    (tmp_path / "user.py").write_text(USER)
    slips = (
        'import eie\neie.simulate("lenet-5", engine="slow")\nfew: eie.Result = eie.area(eie.EIE_64PE)\neie.nothing\n'
    )
    (tmp_path / "slips.py").write_text(slips)
    files = [str(tmp_path / name) for name in ("user.py", "slips.py")]
    # With the cache of `make types`, where it ran: the package itself is the same, and by far the most to check.
    words = ["-m", "mypy", "--strict", "--no-pretty", *files]
    checked = run(*words)
    # By their names: the cache remembers errors with the folder in which the same file was seen first.
    places, errors = zip(*re.findall(r"^.*?(\w+\.py:\d+): error: (.*)$", checked.stdout, re.MULTILINE), strict=True)
    assert places == ("slips.py:2", "slips.py:3", "slips.py:4"), checked.stdout
    assert "Literal['slow']" in errors[0]
    assert "Area" in errors[1]
    assert "nothing" in errors[2]
    ran = run(files[0])
    assert ran.stdout.startswith("20.4 mm2 {'ip1': "), ran.stderr


@pytest.mark.parametrize("folder", ["notebooks", "examples"])
def test_notebooks_and_examples_need_nothing_below(root, folder):
    files = sorted((root / folder).glob("*.py"))
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            assert not [name for name in names if name.startswith("eie.")], f"{file.name}: {ast.unparse(node)}"
            if isinstance(node, ast.ImportFrom) and node.module == "eie":
                assert {alias.name for alias in node.names} <= set(eie.__all__)


def test_the_area_and_the_paper():
    assert eie.area(eie.EIE_64PE).total_mm2 == pytest.approx(sum(eie.area(eie.EIE_64PE).unit_mm2.values()))
    assert eie.area(eie.EIE_64PE.replace(n_pe=32)).total_mm2 == pytest.approx(20.4, abs=0.1)
    with pytest.raises(eie.EieError, match="paper 'table6': no such table or figure; did you mean"):
        eie.paper(["table6"])
