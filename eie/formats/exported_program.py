"""``.pt2`` archives of ``torch.export.save``, made safe to hand to torch; needs the ``torch`` extra.

Comes in: a path. Goes out: torch's `ExportedProgram`, read by `importers.pt2`. ``torch.export.load`` unpickles,
evaluates expressions and looks functions up by name, so that a file could run code. It is therefore given a copy that
holds raw tensors and a graph all of whose words are known: operators of ``aten``, arithmetic on sizes, plain names.
Whatever else a file holds is left out, if the graph does without it, or is refused. Trusted is what remains: torch's
reader of JSON and its kernels.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eie.errors import ModelError
from eie.formats.budget import afford
from eie.formats.files import LARGEST_BYTES, distinct, first_line, regular_file
from eie.formats.npz import refuse_duplicates
from eie.formats.quiet import quiet

if TYPE_CHECKING:
    import torch

# The first release whose archives have this form, of raw tensors beside JSON.
OLDEST = "2.8"
INSTEAD = "load it where it is trusted, and export it with torch.onnx.export()"
# JSON of a graph says about a kilobyte a node.
LARGEST_GRAPH = 1 << 28
_OPERATOR = re.compile(
    r"torch\.ops\.aten\.(?!from_file\b)\w+\.\w+|_operator\.[a-z_]+|math\.[a-z]+[0-9]?|torch\.sym_\w+"
)
# Of Python's operator module only what computes: some of it calls what it is given.
_ARITHMETIC = frozenset(
    (
        *("abs", "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lt", "mod", "mul", "ne", "neg", "not_"),
        *("or_", "pos", "pow", "sub", "truediv"),
    )
)
_NAME = re.compile(r"[A-Za-z_]\w*")
_DOTTED = re.compile(r"\w+(\.\w+)*")
# Functions on sizes, as torch prints them.
_FUNCTIONS = frozenset(
    (
        *("Add", "And", "CeilDiv", "CeilToInt", "CleanDiv", "Eq", "Equality", "Float", "FloorDiv", "FloorToInt", "Ge"),
        *("GreaterThan", "Gt", "Identity", "IntTrueDiv", "Integer", "Le", "LessThan", "Lt", "Max", "Min", "Mod"),
        *("ModularIndexing", "Mul", "Ne", "Not", "Or", "PythonMod", "Rational", "RoundToInt", "StrictGreaterThan"),
        *("StrictLessThan", "Symbol", "ToFloat", "TruncToInt", "Unequality", "Where"),
    )
)
_SIZE = re.compile(r"[su]\d+|oo|int_oo")
_ARITHMETIC_NODES = (
    *(ast.Expression, ast.BinOp, ast.UnaryOp, ast.Compare, ast.operator, ast.unaryop, ast.cmpop, ast.keyword, ast.Load),
)
_SPEC_TYPES = (None, "builtins.dict", "builtins.list", "builtins.tuple", "collections.OrderedDict")
_PLAIN = re.compile(r"[\w.\-:+<>= ]*")


def read_program(path: Path) -> torch.export.ExportedProgram:
    """Read an archive.

    Raises
    ------
    ModelError
        If torch is not installed or too old, the file is damaged, or holds anything by which it could run code.
    """
    try:
        import torch
    except ImportError:
        raise ModelError(f"{path}: reading PyTorch files needs torch: pip install 'eie[torch]'") from None
    if tuple(map(int, torch.__version__.split(".")[:2])) < tuple(map(int, OLDEST.split("."))):
        raise ModelError(f"{path}: torch {torch.__version__} does not read .pt2 in this form: must be >= {OLDEST}")
    content = _safe_copy(path)
    try:
        with quiet("torch"):
            return torch.export.load(io.BytesIO(content))
    except Exception as error:  # of a damaged graph torch raises nearly anything
        raise ModelError(f"{path}: not a usable torch.export archive: {first_line(error)}") from None


def _safe_copy(path: Path) -> bytes:
    regular_file(path, ModelError)
    copy = io.BytesIO()
    try:
        with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as out:
            declared = sum(member.file_size for member in archive.infolist())
            if declared > LARGEST_BYTES:
                raise ModelError(f"{path}: unpacks to more than {LARGEST_BYTES:,} bytes")
            afford(declared, path, ModelError)
            refuse_duplicates(archive)
            folder, model = _model(path, archive.namelist())
            for name, data in _members(path, archive, folder=folder, model=model):
                # torch's own reader takes stored members only, each where its number of bytes is even.
                out.writestr(f"{folder}/{name}", data)
    except (zipfile.BadZipFile, OSError, EOFError, KeyError, NotImplementedError, RuntimeError) as error:
        raise ModelError(f"{path}: a damaged .pt2 file: {first_line(error)}") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path}: its description is damaged: {first_line(error)}") from None
    return copy.getvalue()


def _model(path: Path, names: list[str]) -> tuple[str, str]:
    """Return the archive's folder and the name of the one program in it."""
    models = [parts for name in names if len(parts := name.split("/")) == 3 and parts[1] == "models"]
    if any("/data/aotinductor/" in name for name in names):
        raise ModelError(f"{path}: holds compiled code, which is never loaded: save torch.export.export(...) itself")
    if not models and any(name.endswith("serialized_exported_program.json") for name in names):
        raise ModelError(f"{path}: written by a torch before {OLDEST}, with pickled weights, never loaded: {INSTEAD}")
    if len(models) != 1 or not models[0][2].endswith(".json"):
        raise ModelError(f"{path}: holds {len(models)} exported programs: must be one, written by torch.export.save()")
    return models[0][0], models[0][2].removesuffix(".json")


def _members(path: Path, archive: zipfile.ZipFile, *, folder: str, model: str) -> Iterator[tuple[str, bytes]]:
    def read(name: str) -> bytes:
        if archive.getinfo(f"{folder}/{name}").file_size > LARGEST_GRAPH:
            raise ModelError(f"{path}: {name} is larger than {LARGEST_GRAPH:,} bytes")
        return archive.read(f"{folder}/{name}")

    graph = json.loads(read(f"models/{model}.json"), object_pairs_hook=distinct)
    yield f"models/{model}.json", json.dumps(_checked(path, graph)).encode()
    for kind in ("weights", "constants"):
        config = f"data/{kind}/{model}_{kind}_config.json"
        entries = json.loads(read(config), object_pairs_hook=distinct)
        yield config, json.dumps(entries).encode()
        files = set()
        for name, entry in entries["config"].items():
            file = entry["path_name"]
            # Custom objects and opaque ones are pickles, whatever their entry says.
            if entry["use_pickle"] or not re.fullmatch(r"(weight|tensor)_\d+", file) or not _DOTTED.fullmatch(name):
                raise ModelError(f"{path}: {name!r} is pickled, which is never loaded: {INSTEAD}")
            files.add(file)
        for file in sorted(files):
            yield f"data/{kind}/{file}", archive.read(f"{folder}/data/{kind}/{file}")
    # Pickled, and not needed: shapes stand in the graph.
    yield f"data/sample_inputs/{model}.pt", b""
    for name in ("archive_format", "archive_version", "byteorder", ".data/version"):
        if f"{folder}/{name}" in archive.namelist():
            yield name, read(name)


def _checked(path: Path, program: Any) -> Any:
    """Return the program's description with known words only.

    Raises
    ------
    ModelError
        For an operator, an expression or a name that could mean something else.
    """
    # Guards are Python code; they only watch for inputs other than those exported for.
    program["guards_code"] = []
    for name in program.get("range_constraints", {}):
        _expression(path, name)
    module = program["graph_module"]
    module["metadata"] = {}
    if module.get("treespec_namedtuple_fields"):
        raise ModelError(f"{path}: takes or gives named tuples: {INSTEAD}")
    for node in module["graph"]["nodes"]:
        _operator(path, str(node["target"]))
        scopes = str(node.get("metadata", {}).get("nn_module_stack", ""))
        # Names of modules only: of the rest torch would look up functions.
        node["metadata"] = {"nn_module_stack": scopes} if re.fullmatch(r"[\w.,;<>]+", scopes) else {}
    _walk(path, program, key="")
    return program


def _operator(path: Path, target: str) -> None:
    known = _OPERATOR.fullmatch(target)
    if not known or (target.startswith("_operator.") and target.removeprefix("_operator.") not in _ARITHMETIC):
        raise ModelError(f"{path}: operator {target[:80]!r} is none of torch.ops.aten: {INSTEAD}")


def _walk(path: Path, value: Any, key: str) -> None:
    """Check every text by the key that it stands under."""
    if isinstance(value, dict):
        if "as_graph" in value or "as_custom_obj" in value or "as_operator" in value:
            raise ModelError(f"{path}: holds {next(iter(value))}, a part that is not read: {INSTEAD}")
        for name, item in value.items():
            if not _PLAIN.fullmatch(name):
                raise ModelError(f"{path}: damaged: a name {name[:80]!r}")
            _walk(path, item, name)
    elif isinstance(value, list):
        for item in value:
            _walk(path, item, key)
    elif isinstance(value, str):
        _text(path, key, value)


def _text(path: Path, key: str, text: str) -> None:
    if key == "expr_str":
        _expression(path, text)
    elif key in ("in_spec", "out_spec"):
        _, spec = json.loads(text) if text else (0, None)
        _spec(path, spec)
    # Names become those of variables in code that torch writes and compiles.
    elif key in ("name", "as_name") and not (_NAME.fullmatch(text) or text == ""):
        raise ModelError(f"{path}: damaged: a name {text[:80]!r}")
    elif key not in ("target", "nn_module_stack") and not _PLAIN.fullmatch(text):
        raise ModelError(f"{path}: {key} {text[:80]!r} is not plain text: {INSTEAD}")


def _spec(path: Path, spec: Any) -> None:
    """Check how inputs and outputs are nested: torch would import whatever class is named there."""
    if spec is None:
        return
    context = json.loads(spec["context"]) if spec["context"] is not None else None
    keys = context if isinstance(context, list) else [context]
    if spec["type"] not in _SPEC_TYPES or not all(key is None or isinstance(key, str | int) for key in keys):
        raise ModelError(f"{path}: takes or gives a {spec['type']}: must be tensors, tuples, lists or dictionaries")
    for child in spec["children_spec"]:
        _spec(path, child)


def _expression(path: Path, text: str) -> None:
    """Check an expression of sizes: torch has it evaluated as Python."""
    refusal = f"{path}: an expression of sizes {text[:80]!r}: must be arithmetic: {INSTEAD}"
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ModelError(refusal) from None
    for node in nodes:
        if isinstance(node, ast.Call):
            known = isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
        elif isinstance(node, ast.Name):
            known = node.id in _FUNCTIONS or _SIZE.fullmatch(node.id) is not None
        elif isinstance(node, ast.Constant):
            # Text is a symbol's name; what is larger would be a number without end once it is raised to another.
            number = isinstance(node.value, int | float) and abs(node.value) < 1 << 63
            known = number or (isinstance(node.value, str) and _SIZE.fullmatch(node.value) is not None)
        else:
            # keyword: Symbol('s0', positive=True).
            known = isinstance(node, _ARITHMETIC_NODES) and not isinstance(node, ast.Pow | ast.LShift)
        if not known:
            raise ModelError(refusal)
