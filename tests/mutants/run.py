"""Plant mutants one by one and see whether the tests notice (``make mutants``); docs/mutants.md says what it found.

Comes in: this checkout. Goes out: a table, and exit code 1 where fewer than 90 % were killed. Everything happens in
copies of the checkout, one a process, with compiled kernels in a folder of their own: nothing here is touched. A mutant
is run against its room's tests first (``plan.ROOMS``), and if it survives those, against the whole suite. Verdicts are
written down as they come; an interrupted run goes on where it was, as long as package and tests are the same.
"""

from __future__ import annotations

import argparse
import ast
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import Queue
from threading import Lock

from plan import FOLDERS, ROOMS, Mutant, choose, is_another_program, mutate, possible, room_of

ROOT = Path(__file__).resolve().parents[2]
LEAST_KILLED = 0.9
# Of the time that the tests take without a mutant; compiling changed kernels comes on top.
TIMES, COMPILING_S = 4.0, 240.0
FAILED, PASSED, BROKEN_AT_IMPORT = 1, 0, 2
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "*.egg-info", ".*_cache", ".hypothesis", ".benchmarks", "build", "dist"
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a mutant; ``by`` is the test that noticed, "time-out", or nothing."""

    name: str
    before: str
    after: str
    killed: bool
    by: str
    seconds: float


class Checkout:
    """A copy of the checkout in which one mutant at a time is planted."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "checkout"
        if not self.root.exists():
            shutil.copytree(ROOT, self.root, ignore=LEFT_OUT, symlinks=True)
        self.kernels = folder / "kernels"
        # No .pyc: a mutant as long as the original, written within the same second, would not be read.
        self.environment = {
            **os.environ,
            "EIE_CACHE_DIR": str(self.kernels),
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPATH": str(self.root),
        }
        self.environment.pop("NUMBA_DISABLE_JIT", None)

    def passes(self, tests: Sequence[str], seconds: float | None) -> tuple[bool, str]:
        """Run tests until one fails; return whether none did, and which did."""
        words = [sys.executable, "-m", "pytest", "-q", "-x", "--hypothesis-seed=0", "-p", "no:cacheprovider", *tests]
        shutil.rmtree(self.root / ".hypothesis", ignore_errors=True)
        # A session of its own: tests start processes, and a mutant may keep any of them from ending.
        with subprocess.Popen(
            words,
            cwd=self.root,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output = process.communicate(timeout=seconds)[0]
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
                return False, "time-out"
        if process.returncode == PASSED:
            return True, ""
        if process.returncode == BROKEN_AT_IMPORT or process.returncode < 0:
            return False, "import" if process.returncode > 0 else f"signal {-process.returncode}"
        if process.returncode != FAILED:
            raise SystemExit(f"pytest ended with {process.returncode} on {' '.join(tests)}:\n{output[-3000:]}")
        failed = [line.split(" ")[1] for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))]
        return False, failed[0] if failed else "?"

    def judge(self, mutant: Mutant, tests: Sequence[tuple[Sequence[str], float]]) -> Verdict:
        """Plant a mutant, run each list of tests, at most so many seconds, while it survives; put everything back."""
        file = self.root / mutant.path
        source, times = file.read_text(encoding="utf-8"), file.stat()
        changed = mutate(source, mutant)
        known = set(self.kernels.glob("eie/*"))
        start, survived, by = time.monotonic(), True, ""
        file.write_text(changed, encoding="utf-8")
        try:
            for some, seconds in tests:
                survived, by = self.passes(some, seconds)
                if not survived:
                    break
        finally:
            file.write_text(source, encoding="utf-8")
            # Compiled kernels go by the time of their source: the old time keeps those of the unchanged one.
            os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
            for folder in set(self.kernels.glob("eie/*")) - known:
                shutil.rmtree(folder, ignore_errors=True)
        before, after = statement(source, changed, mutant.line)
        return Verdict(
            name=mutant.name,
            before=before,
            after=after,
            killed=not survived,
            by=by,
            seconds=round(time.monotonic() - start, 1),
        )


def statement(source: str, changed: str, line: int) -> tuple[str, str]:
    """Return what stands in the mutant's first line before and after; a decorator that went away is empty."""
    old, new = source.splitlines(), changed.splitlines()
    return old[line - 1].strip(), new[line - 1].strip() if len(old) == len(new) else ""


def digest() -> str:
    """What a run's verdicts hold for: the package, its tests and their settings."""
    found = hashlib.sha256()
    files = [path for folder in ("eie", "tests") for path in (ROOT / folder).rglob("*.py")]
    for path in sorted((*files, *(ROOT / "eie").rglob("*.toml"), ROOT / "pyproject.toml")):
        found.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return found.hexdigest()[:12]


def harmless() -> dict[tuple[str, str, str], str]:
    """(file, line before, line after) to the reason why such a mutant changes nothing."""
    entries = tomllib.loads((Path(__file__).parent / "harmless.toml").read_text(encoding="utf-8"))["mutant"]
    return {(entry["path"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def rooms_of(mutants: Iterable[Mutant]) -> dict[str, list[str]]:
    """The test files of every room that a mutant is in."""
    return {room: [f"tests/{name}" for name in ROOMS[room]] for room in sorted({room_of(one.path) for one in mutants})}


def run(mutants: Sequence[Mutant], state: Path, processes: int, whole: Sequence[str]) -> list[Verdict]:
    """Judge all mutants that have no verdict yet; return every verdict."""
    journal, lock = state / "verdicts.jsonl", Lock()
    verdicts = known_verdicts(journal)
    left = [mutant for mutant in mutants if mutant.name not in verdicts]
    rooms = rooms_of(left)
    free: Queue[Checkout] = Queue()
    for i in range(processes if left else 0):
        free.put(Checkout(state / f"copy-{i}"))
    limits = baseline(free, state, [*rooms.values(), *([list(whole)] if whole else [])]) if left else {}

    def one(mutant: Mutant) -> None:
        checkout = free.get()
        try:
            tests = rooms[room_of(mutant.path)]
            lists = [tests, *([list(whole)] if whole else [])]
            verdict = checkout.judge(mutant, [(some, TIMES * limits[tuple(some)] + COMPILING_S) for some in lists])
        finally:
            free.put(checkout)
        with lock:
            verdicts[verdict.name] = verdict
            with journal.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(verdict)) + "\n")
            done = sum(mutant.name in verdicts for mutant in mutants)
            say(f"{done:3d}/{len(mutants)} {'killed  ' if verdict.killed else 'SURVIVED'} {verdict.name}  {verdict.by}")

    in_threads(one, left, processes)
    return [verdicts[mutant.name] for mutant in mutants]


def known_verdicts(journal: Path) -> dict[str, Verdict]:
    """Read what an earlier run wrote down, the later verdict of two."""
    lines = journal.read_text(encoding="utf-8").splitlines() if journal.exists() else []
    return {verdict.name: verdict for verdict in (Verdict(**json.loads(line)) for line in lines)}


def baseline(free: Queue[Checkout], state: Path, lists: Sequence[Sequence[str]]) -> dict[tuple[str, ...], float]:
    """Seconds of every list of tests without a mutant; a red one would kill every mutant."""
    file = state / "baseline.json"
    known = {}
    if file.exists():
        known = {tuple(tests): seconds for tests, seconds in json.loads(file.read_text(encoding="utf-8"))}

    def measure(tests: Sequence[str]) -> None:
        checkout = free.get()
        start = time.monotonic()
        green, by = checkout.passes(tests, None)
        free.put(checkout)
        if not green:
            raise SystemExit(f"{by} fails without any mutant: mend that first")
        known[tuple(tests)] = time.monotonic() - start
        say(f"{known[tuple(tests)]:6.0f} s without a mutant: {' '.join(tests)}")

    in_threads(measure, [tests for tests in lists if tuple(tests) not in known], free.qsize())
    file.write_text(json.dumps([[list(tests), seconds] for tests, seconds in known.items()]), encoding="utf-8")
    return known


def in_threads(work: Callable[..., None], items: Sequence[object], threads: int) -> None:
    """Call ``work`` for every item; the first failure stops the rest."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def report(mutants: Sequence[Mutant], verdicts: Sequence[Verdict]) -> bool:
    """Print what became of them; return whether enough were killed."""
    reasons = harmless()
    say(f"\n{'room':24}{'planted':>9}{'killed':>9}{'by the whole suite':>20}{'harmless':>10}{'survived':>10}")
    pairs = list(zip(mutants, verdicts, strict=True))
    groups = sorted({"/".join(mutant.path.split("/")[:2]) for mutant in mutants})
    kept: list[tuple[Mutant, Verdict, str | None]] = [
        (mutant, verdict, reasons.get((mutant.path, verdict.before, verdict.after))) for mutant, verdict in pairs
    ]
    for group in (*groups, ""):
        mine = [entry for entry in kept if entry[0].path.startswith(group)]
        killed = [entry for entry in mine if entry[1].killed]
        late = [entry for entry in killed if not in_room(*entry[:2])]
        without = [entry for entry in mine if not entry[1].killed and entry[2]]
        left = len(mine) - len(killed) - len(without)
        say(f"{group or 'all':24}{len(mine):9}{len(killed):9}{len(late):20}{len(without):10}{left:10}")
    for _, verdict, reason in kept:
        if not verdict.killed:
            said = f"changes nothing: {reason}" if reason else "a test is missing"
            say(f"\n{verdict.name}\n  - {verdict.before}\n  + {verdict.after}\n  {said}")
    killed_share = sum(verdict.killed for verdict in verdicts) / len(verdicts)
    changing = [verdict for _, verdict, reason in kept if verdict.killed or not reason]
    say(
        f"\n{killed_share:.1%} of {len(verdicts)} killed; of those that change something "
        f"{sum(verdict.killed for verdict in changing) / len(changing):.1%} of {len(changing)}"
    )
    return killed_share >= LEAST_KILLED


def in_room(mutant: Mutant, verdict: Verdict) -> bool:
    """Whether the room's own tests noticed."""
    file = verdict.by.partition("::")[0].removeprefix("tests/")
    return file in ROOMS[room_of(mutant.path)] or "::" not in verdict.by


def say(text: str) -> None:
    """Print at once, also into a pipe."""
    print(text, flush=True)


def main() -> int:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(description=ast.get_docstring(ast.parse(Path(__file__).read_text()), clean=True))
    parser.add_argument("--count", type=int, default=100, help="mutants to plant")
    parser.add_argument("--seed", type=int, default=0, help="which ones")
    parser.add_argument("--processes", type=int, default=2, help="copies to work in side by side")
    parser.add_argument("--only", nargs="*", help="folders or files to plant in, as eie/energy")
    parser.add_argument("--rooms-only", action="store_true", help="leave the whole suite out: quick, and stricter")
    parser.add_argument("--state", type=Path, help="where copies and verdicts are kept; by default a temporary folder")
    words = parser.parse_args()
    state = words.state or Path(tempfile.gettempdir()) / f"eie-mutants-{digest()}"
    state = state.resolve()
    state.mkdir(parents=True, exist_ok=True)
    say(f"verdicts and copies: {state}")
    listed = possible(ROOT, words.only or FOLDERS)
    mutants = choose(listed, words.count, words.seed, is_another_program(ROOT))
    verdicts = run(mutants, state, words.processes, () if words.rooms_only else ("tests",))
    return 0 if report(mutants, verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
