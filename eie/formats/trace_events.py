"""Chrome's trace events, as JSON: what Perfetto and chrome://tracing open.

Comes in: tracks, spans on them, counters. Goes out: a file, the same bytes for the same events. Written line by line,
an event a line, since a timeline has a million of them. The format is that of the *Trace Event Format*: complete events
(``X``), counters (``C``) and the metadata (``M``) that names processes and threads; their order is free.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from eie.show.writing import replacing

Lines = Iterator[str]
# Written at a time: a line on its own would cost a call of the file.
BLOCK = 4096
# gzip's own default, 9, takes three times as long for a file that is a tenth smaller.
EFFORT = 5


def process(pid: int, name: str) -> Lines:
    """Name a process, a group of tracks; groups lie in the order of their numbers.

    What is of no thread is of the one with the process's number: thread 0 is Perfetto's word for an idle processor.
    """
    yield _metadata("process_name", pid, tid=pid, arguments={"name": name})
    yield _metadata("process_sort_index", pid, tid=pid, arguments={"sort_index": pid})


def thread(pid: int, tid: int, name: str) -> Lines:
    """Name a thread, a track of spans; tracks lie in the order of their numbers."""
    yield _metadata("thread_name", pid, tid=tid, arguments={"name": name})
    yield _metadata("thread_sort_index", pid, tid=tid, arguments={"sort_index": tid})


def counter_head(pid: int, name: str) -> str:
    """Return what a counter's events begin with; `counted` adds the rest."""
    return f'{{"ph":"C","pid":{pid},"tid":{pid},"name":{json.dumps(name)}'


def counted(head: str, series: str, *, at: int, value: int) -> str:
    """Return one change of a counter, which viewers call by its name and that of the series."""
    return f'{head},"ts":{at},"args":{{"{series}":{value}}}}}'


def span_head(pid: int, tid: int, *, name: str, category: str) -> str:
    """Return what spans of one name on a track begin with; `span` adds the rest."""
    return f'{{"ph":"X","pid":{pid},"tid":{tid},"cat":{json.dumps(category)},"name":{json.dumps(name)}'


def span(head: str, start: int, stop: int, *, arguments: str = "") -> str:
    """Return one complete event; ``arguments`` is JSON without its braces."""
    return f'{head},"ts":{start},"dur":{stop - start},"args":{{{arguments}}}}}'


def write(path: str | Path, lines: Iterable[str], about: Mapping[str, Any]) -> None:
    """Write events, with what is to be known ``about`` them; packed where the name ends in ``.gz``."""
    with replacing(path) as file:
        if str(path).lower().endswith(".gz"):
            # Without the file's name, which is a temporary one, and without a date: both would differ from run to run.
            with gzip.GzipFile(filename="", mode="wb", compresslevel=EFFORT, fileobj=file, mtime=0) as packed:
                _write(packed, lines, about)
        else:
            _write(file, lines, about)


def _write(file: IO[bytes] | gzip.GzipFile, lines: Iterable[str], about: Mapping[str, Any]) -> None:
    # One cycle is one microsecond, the format's unit; viewers show what is shorter than a millisecond in ns and us.
    file.write(f'{{"displayTimeUnit":"ns","otherData":{json.dumps(about)},"traceEvents":[\n'.encode())
    waiting: list[str] = []
    separator = ""
    for line in lines:
        waiting.append(line)
        if len(waiting) == BLOCK:
            file.write((separator + ",\n".join(waiting)).encode())
            waiting.clear()
            separator = ",\n"
    file.write((separator + ",\n".join(waiting) if waiting else "").encode() + b"\n]}\n")


def _metadata(kind: str, pid: int, *, tid: int, arguments: Mapping[str, Any]) -> str:
    return f'{{"ph":"M","pid":{pid},"tid":{tid},"name":"{kind}","args":{json.dumps(arguments)}}}'
