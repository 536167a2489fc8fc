"""``make fuzz``: every kind of file, every schema and every format of atheris, each in a process of its own.

``python tests/fuzz_all.py [--times N] [--seconds S] [--seed N] [--jobs N] [--report FILE] [PIECE...]``. A piece that
fails stops no other. What was tried stands in the report, a line of JSON a piece; started again, pieces that passed
on these sources are not tried again. Ends with a table, after ^C of what was done. Exit code: 0 all passed, 1
something failed, 130 interrupted.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import fuzz_atheris
import fuzz_files
import schema_words

HERE = Path(__file__).parent
SOURCES = (*sorted((HERE.parent / "eie").rglob("*.py")), *sorted(HERE.glob("fuzz_*.py")), HERE / "schema_words.py")
COLUMNS = ("read", "refused", "failed", "seconds", "slowest_s", "peak_mib")


def pieces(times, seconds, seed):
    """Return every piece's words by its name, the longest first, so that no process is left alone with it."""
    each = max(1, seconds // len(fuzz_atheris.NAMES))
    out = {f"atheris {name}": ("fuzz_atheris.py", str(each), name) for name in fuzz_atheris.NAMES if seconds}
    for name in sorted(fuzz_files.READ, key=lambda name: name not in fuzz_files.SLOW):
        out[name] = ("fuzz_files.py", str(times), "--seed", str(seed), name)
    return out | {name: ("schema_words.py", name) for name in schema_words.schemas()}


def digest(words):
    """Return what a piece's outcome depends on."""
    together = hashlib.sha256(json.dumps(words).encode())
    for path in SOURCES:
        together.update(path.read_bytes())
    return together.hexdigest()


def passed(report):
    """Return the digests of the pieces that a report has as passed, with their lines."""
    lines = report.read_text().splitlines() if report.exists() else []
    rows = [json.loads(line) for line in lines if line.endswith("}")]
    return {row["digest"]: row for row in rows if row["code"] == 0}


def run(name, words, good):
    """Run a piece on a folder of good files; return its row: counts, exit code, and all it said where it failed."""
    more = ("--good", good) if words[0] == "fuzz_files.py" else ()
    done = subprocess.run([sys.executable, *words, *more], cwd=HERE, capture_output=True, text=True, check=False)
    counts = {}
    for line in done.stdout.splitlines():
        _, _, text = line.partition(": {")
        try:
            counts = json.loads("{" + text)
        except ValueError:
            continue
    said = done.stdout + done.stderr[-4000:] if done.returncode else ""
    return {"piece": name, "code": done.returncode, "said": said, "digest": digest(words), **counts}


def table(rows):
    """Return the rows with their sums as text."""
    lines = [f"{'piece':36}" + "".join(f"{column:>11}" for column in COLUMNS)]
    for row in rows:
        mark = "" if row["code"] == 0 else f"  FAILED, exit code {row['code']}"
        lines.append(f"{row['piece']:36}" + "".join(f"{row.get(column, ''):>11}" for column in COLUMNS) + mark)
    sums = {column: sum(row.get(column, 0) for row in rows) for column in COLUMNS[:4]}
    lines.append(f"{f'{len(rows)} pieces':36}" + "".join(f"{sums[column]:>11.0f}" for column in COLUMNS[:4]))
    return "\n".join(lines)


def run_all(todo, rows, report, jobs):
    """Run pieces ``jobs`` at a time; each row goes to ``rows`` and into the report as soon as it is there."""
    with tempfile.TemporaryDirectory() as good, ThreadPoolExecutor(jobs) as pool:
        fuzz_files.build(Path(good))
        waiting = [pool.submit(run, name, words, good) for name, words in todo.items()]
        try:
            for future in as_completed(waiting):
                row = future.result()
                # Interrupted with us: it says nothing of its kind.
                if row["code"] in (130, -2, -15):
                    continue
                rows.append(row)
                with report.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                sys.stdout.write(f"{table([row]).splitlines()[1]}\n{row['said']}")
                sys.stdout.flush()
        finally:
            # What has begun hears ^C itself.
            pool.shutdown(cancel_futures=True)


def main(words):
    parser = argparse.ArgumentParser()
    for option, default in (("--times", 2000), ("--seconds", 600), ("--seed", 0), ("--jobs", 1)):
        parser.add_argument(option, type=int, default=default)
    parser.add_argument("--report", type=Path, default=HERE.parent / ".fuzz" / "report.jsonl")
    parser.add_argument("piece", nargs="*")
    options = parser.parse_intermixed_args(words)
    options.report.parent.mkdir(exist_ok=True)
    known = passed(options.report)
    every = pieces(options.times, options.seconds, options.seed)
    chosen = {name: words for name, words in every.items() if not options.piece or name in options.piece}
    rows = [known[digest(words)] for words in chosen.values() if digest(words) in known]
    todo = {name: words for name, words in chosen.items() if digest(words) not in known}
    code = 0
    try:
        run_all(todo, rows, options.report, options.jobs)
    except KeyboardInterrupt:
        code = 130
    sys.stdout.write(
        f"\n{table(rows)}\n{len(todo) + len(known) and len(chosen) - len(rows)} not tried; {options.report}\n"
    )
    return code or int(any(row["code"] for row in rows))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
