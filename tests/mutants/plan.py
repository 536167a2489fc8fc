"""Which mutants are planted, and which tests have to notice each of them.

Comes in: the package's source. Goes out: `Mutant` records, chosen by a seed. Read by ``run.py``, which plants them.
cosmic-ray is asked what can be changed; what only `numba` or a type checker reads is left out here.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# Every room's tests, fastest and most particular first: a run ends at the first failure.
ROOMS: Mapping[str, tuple[str, ...]] = {
    "eie/kernels/cluster.py": ("test_share.py",),
    "eie/kernels/huffman.py": ("test_codecs.py", "test_coded.py"),
    "eie/kernels/columns.py": ("test_matrix.py", "test_encode.py", "test_share.py", "test_importers.py"),
    "eie/kernels/jit.py": ("test_kernels.py", "test_encode.py"),
    "eie/kernels/datapath.py": ("test_products.py", "test_functional.py", "test_kernels.py"),
    "eie/kernels/streams.py": ("test_streams.py", "test_memory.py"),
    **dict.fromkeys(
        (
            "eie/kernels/scatter.py",
            "eie/kernels/scatter_tallies.py",
            "eie/compiler/choice.py",
            "eie/compiler/scatter.py",
            "eie/compiler/strips.py",
            "eie/simulator/strips.py",
        ),
        ("test_strip_kernels.py", "test_scatter.py", "test_program.py", "test_explain_deep.py"),
    ),
    **dict.fromkeys(
        (
            "eie/kernels/account.py",
            "eie/kernels/timeline.py",
            "eie/simulator/accounting.py",
            "eie/simulator/agreement.py",
            "eie/simulator/keeping.py",
            "eie/simulator/parts.py",
            "eie/simulator/recount.py",
            "eie/simulator/replay.py",
        ),
        ("test_accounting.py", "test_parts.py", "test_timeline.py", "test_streams.py"),
    ),
    **dict.fromkeys(
        ("eie/kernels/checked.py", "eie/kernels/folders.py"), ("test_kernel_cache.py", "test_whole_folders.py")
    ),
    "eie/kernels": (
        "test_type_limits.py",
        "test_encode.py",
        "test_cycles.py",
        "test_products.py",
        "test_share.py",
        "test_kernels.py",
    ),
    **dict.fromkeys(
        (
            "eie/compiler/demand.py",
            "eie/compiler/lifetimes.py",
            "eie/compiler/map_rows.py",
            "eie/compiler/memory.py",
            "eie/compiler/places.py",
            "eie/compiler/shapes.py",
            "eie/compiler/stream.py",
        ),
        ("test_memory.py", "test_maps.py", "test_streams.py", "test_capacity.py", "test_bias.py", "test_totals.py"),
    ),
    # A map of nothing comes from a file only.
    **dict.fromkeys(
        ("eie/compiler/maps.py", "eie/compiler/map_traffic.py"),
        (
            "test_maps.py",
            "test_memory.py",
            "test_bias.py",
            "test_streams.py",
            "test_capacity.py",
            "test_totals.py",
            "test_hostile_files.py",
        ),
    ),
    "eie/compiler": (
        "test_capacity.py",
        "test_encode.py",
        "test_house.py",
        "test_program.py",
        "test_lowering.py",
        "test_by_hand.py",
        "test_bias.py",
        "test_hostile_files.py",
        "test_network.py",
    ),
    **dict.fromkeys(
        ("eie/simulator/stages.py", "eie/simulator/images.py", "eie/simulator/counting.py"),
        ("test_stages.py", "test_sweep.py", "test_cycles.py", "test_search.py"),
    ),
    "eie/simulator/cache.py": ("test_stages.py", "test_sweep.py", "test_encode.py"),
    "eie/simulator/workload.py": ("test_stages.py", "test_sweep.py", "test_sweep_journal.py"),
    **dict.fromkeys(
        (
            "eie/simulator/products.py",
            "eie/simulator/scale.py",
            "eie/simulator/singles.py",
            "eie/simulator/sums.py",
        ),
        ("test_products.py", "test_functional.py", "test_network.py"),
    ),
    **dict.fromkeys(
        (
            "eie/simulator/arriving.py",
            "eie/simulator/loading.py",
            "eie/simulator/turns.py",
        ),
        ("test_streams.py", "test_memory.py", "test_maps.py"),
    ),
    "eie/simulator": (
        "test_type_limits.py",
        "test_twin.py",
        "test_house.py",
        "test_cycles.py",
        "test_functional.py",
        "test_products.py",
        "test_lowering.py",
        "test_network.py",
        "test_trace.py",
    ),
    "eie/simulator/batches.py": (
        "test_mixed_batches.py",
        "test_streams.py",
        "test_memory.py",
        "test_maps.py",
        "test_scatter.py",
    ),
    "eie/simulator/events.py": ("test_cycles.py", "test_streams.py", "test_accounting.py", "test_type_limits.py"),
    "eie/simulator/host.py": ("test_host.py", "test_network.py"),
    **dict.fromkeys(
        ("eie/simulator/layer.py", "eie/simulator/run.py"),
        (
            "test_stages.py",
            "test_products.py",
            "test_network.py",
            "test_cycles.py",
            "test_lowering.py",
            "test_functional.py",
            "test_trace.py",
            "test_parts.py",
        ),
    ),
    **dict.fromkeys(
        (
            "eie/machines/dense_here.py",
            "eie/machines/measured.py",
            "eie/machines/noise.py",
            "eie/machines/timing.py",
        ),
        ("test_by_hand.py", "test_noise.py", "test_baselines.py"),
    ),
    **dict.fromkeys(
        ("eie/machines/reports.py", "eie/machines/rows.py", "eie/machines/scalesim_config.py"),
        ("test_by_hand.py", "test_baselines.py", "test_compare.py", "test_face.py", "test_doors.py", "test_totals.py"),
    ),
    "eie/energy": ("test_by_hand.py", "test_energy.py", "test_house.py"),
    "eie/machines": ("test_by_hand.py", "test_baselines.py", "test_compare.py", "test_memory.py", "test_house.py"),
}
FOLDERS = ("eie/kernels", "eie/compiler", "eie/simulator", "eie/energy", "eie/machines")
SWAP = re.compile(r"core/Replace(Binary|Comparison|Unary)Operator_")
# These say how a function is run; without them it returns the same, later.
HOW_IT_RUNS = frozenset({"njit", "inlined", "cache"})


@dataclass(frozen=True, order=True, kw_only=True)
class Mutant:
    """One change: the ``occurrence``-th place in ``path`` where ``operator`` applies; it begins at ``line, column``."""

    path: str
    line: int
    column: int
    operator: str
    occurrence: int

    @property
    def is_swap(self) -> bool:
        """Whether one operator takes another's place."""
        return SWAP.match(self.operator) is not None

    @property
    def name(self) -> str:
        """Short and unique within one state of the source."""
        return f"{self.path}:{self.line}:{self.operator.removeprefix('core/')}:{self.occurrence}"


def room_of(path: str, rooms: Iterable[str] = tuple(ROOMS)) -> str:
    """Return the most particular room that holds a file."""
    holding = [room for room in rooms if path == room or path.startswith(f"{room}/")]
    if not holding:
        raise ValueError(f"{path}: no room of the table holds it")
    return max(holding, key=len)


def unread(source: str) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """(first, last) positions, (line, column) each, of what the running program never reads or only times.

    Annotations (cosmic-ray turns ``X | None`` into ``X & None``), what only a type checker imports, the arguments of
    ``TypeVar`` and ``cast``, decorators that say how a function is run, and the ``strict`` of a ``zip``: an alarm for
    rows of different length, which nothing that comes in can make.
    """
    spans = []
    for node in ast.walk(ast.parse(source)):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.arg | ast.AnnAssign):
            parts.append(node.annotation)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            parts.append(node.returns)
            parts += [name for name in node.decorator_list if isinstance(name, ast.Name) and name.id in HOW_IT_RUNS]
        elif (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING") or (
            isinstance(node, ast.Call) and ast.unparse(node.func) == "TypeVar"
        ):
            parts.append(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "cast":
            parts.append(node.args[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "zip":
            parts += [word.value for word in node.keywords if word.arg == "strict"]
        spans += [
            ((part.lineno, part.col_offset), (part.end_lineno or part.lineno, part.end_col_offset or 0))
            for part in parts
            if part is not None
        ]
    return spans


def is_read(mutant: Mutant, spans: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> bool:
    """Whether a mutant lies outside all ``spans``; a removed decorator begins at its ``@``, a column before."""
    start = (mutant.line, mutant.column + (mutant.operator == "core/RemoveDecorator"))
    return not any(first <= start < last for first, last in spans)


def possible(root: Path, folders: Sequence[str] = FOLDERS) -> Iterator[Mutant]:
    """Everything cosmic-ray can change in ``folders``, less what is `unread`, in a fixed order.

    This is what ``cosmic-ray init`` lists, without its data base of work and the name of every definition.
    """
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    # Those that take arguments (a variable's name) have nothing to do without them.
    kinds = {name: get_operator(name) for name in sorted(operator_names())}
    operators = {name: kind() for name, kind in kinds.items() if not kind.arguments()}
    files = {
        path
        for folder in folders
        for path in ([root / folder] if folder[-3:] == ".py" else (root / folder).rglob("*.py"))
    }
    for path in sorted(files):
        source = path.read_text(encoding="utf-8")
        nodes, spans = list(ast_nodes(get_ast(source))), unread(source)
        for name, operator in operators.items():
            starts = (start for node in nodes for start, _ in operator.mutation_positions(node))
            for occurrence, (line, column) in enumerate(starts):
                mutant = Mutant(
                    path=path.relative_to(root).as_posix(),
                    line=line,
                    column=column,
                    operator=name,
                    occurrence=occurrence,
                )
                if is_read(mutant, spans):
                    yield mutant


def choose(
    mutants: Iterable[Mutant], count: int, seed: int, usable: Callable[[Mutant], bool] = lambda _: True
) -> list[Mutant]:
    """Draw ``count`` mutants that are ``usable``, no line twice, swaps at most a third of them.

    Lines are drawn, not mutants: a comparison has ten swaps, and would crowd out every number beside it. Of a line the
    kind of change is drawn first, for the same reason.
    """
    by_line: dict[tuple[str, int], list[Mutant]] = {}
    for mutant in sorted(mutants):
        by_line.setdefault((mutant.path, mutant.line), []).append(mutant)
    rng = random.Random(seed)
    lines = sorted(by_line)
    rng.shuffle(lines)
    chosen: list[Mutant] = []
    swaps_left = count // 3
    for line in lines:
        if len(chosen) == count:
            break
        kinds: dict[str, list[Mutant]] = {}
        for mutant in by_line[line]:
            if not mutant.is_swap or swaps_left:
                kinds.setdefault("swap" if mutant.is_swap else mutant.operator, []).append(mutant)
        drawn = [
            mutant
            for kind in rng.sample(sorted(kinds), len(kinds))
            for mutant in rng.sample(kinds[kind], len(kinds[kind]))
        ]
        first = next(filter(usable, drawn), None)
        if first is not None:
            swaps_left -= first.is_swap
            chosen.append(first)
    return chosen


def is_another_program(root: Path) -> Callable[[Mutant], bool]:
    """Return what tells a change from none, and from what is no Python: the ``*`` of a signature is no product."""

    def usable(mutant: Mutant) -> bool:
        source = (root / mutant.path).read_text(encoding="utf-8")
        try:
            return ast.dump(ast.parse(mutate(source, mutant))) != ast.dump(ast.parse(source))
        except SyntaxError:
            return False

    return usable


def mutate(source: str, mutant: Mutant) -> str:
    """Return the module with the change in it."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    changed: str | None = mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence)
    if changed is None or changed == source:
        raise ValueError(f"{mutant.name}: cosmic-ray changes nothing there")
    return changed
