"""A baseline by its name, as the command line writes it.

Comes in: text such as ``systolic:32x32:ws`` and a `Workload`. Goes out: a `Baseline`. Read by comparisons.

::

    dense                        the spec's own PEs, every weight and activation
    systolic:FILE.cfg            the same, with the SRAMs and bandwidths of SCALE-Sim's configuration
    systolic:32x32:ws            rows x columns, ws / os / is; systolic:16x16:os@1000 runs at 1000 MHz
    nm:2:4                       A100 tensor cores, as if 2 of 4 weights were kept; nm:1:1 is the dense machine
    tensor-core                  the same, 2:4 where a layer's weights are so, dense elsewhere
    roofline:titan-x:csr:b64     i7-5930k, titan-x or tegra-k1; dense or csr; batch 64
    measured:csr                 this computer; dense, csr or csc
    measured:onnx:MODEL.onnx     this computer, a whole model
    published:cpu_dense_b1       a row of the paper's Table IV
    FILE.csv, FILE.json, FOLDER  a report; FILE@MHZ where it states no clock
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar, get_args

from eie.errors import WordError
from eie.machines import dense, measured, published, reports, roofline, scalesim_config, systolic, tensor_core
from eie.machines.records import Baseline
from eie.machines.tensor_core import TensorCore
from eie.machines.workload import Workload
from eie.spec import AcceleratorSpec

T = TypeVar("T")

_BATCH = r":b([1-9][0-9]{0,5})$"
_FORMS = {
    "dense": "dense",
    "systolic": "systolic:ROWSxCOLUMNS[:ws|os|is][:bN][@MHZ] or systolic:FILE.cfg[:bN][@MHZ]",
    "nm": "nm:N:M[:bN]",
    "tensor-core": "tensor-core[:bN]",
    "roofline": "roofline:MACHINE[:dense|csr][:bN]",
    "measured": "measured:dense|csr|csc[:bN] or measured:onnx:FILE[:bN]",
    "published": "published:ROW",
}
# Machines that reach their peak or their bandwidth, whatever a program on them does.
_BOUNDS = ("nm", "tensor-core", "roofline")


def choose(
    name: str, workload: Workload, spec: AcceleratorSpec, column_map: Mapping[str, str] | None = None
) -> Baseline:
    """Find and run a baseline.

    Parameters
    ----------
    spec
        The EIE machine that ``dense`` is the dense equivalent of.
    column_map
        For a CSV that is neither SCALE-Sim's nor ours.

    Raises
    ------
    WordError
        If the name has no such form, or the baseline cannot be had.
    """
    # A drive letter or an @ in a file's name are no machine: what is none of the forms is taken for a path.
    kind = re.split("[:@]", name)[0]
    if kind not in _FORMS:
        return _report(name, column_map)
    # From the right: clock, then batch; what remains are the machine's own words.
    rest, clock = _split(name, r"@([0-9]+(?:\.[0-9]+)?)$", float)
    rest, batch = _split(rest, _BATCH, int)
    words = rest.split(":")[1:]
    if clock is not None and kind != "systolic":
        raise WordError(f"machine {name}: only systolic arrays and reports take a clock")
    # Each gives None where its words do not have its form, so that there is one message.
    runners: dict[str, Callable[[], Baseline | None]] = {
        "dense": lambda: dense.run(workload, spec) if not words and batch is None else None,
        "systolic": lambda: _systolic(words=words, workload=workload, clock=clock, batch=batch or 1),
        "nm": lambda: _tensor_core(words, workload, batch or 1),
        "tensor-core": lambda: tensor_core.run_as_is(workload, TensorCore(), batch or 1) if not words else None,
        "roofline": lambda: _roofline(words, workload, batch or 1),
        "measured": lambda: _measured(words, workload, batch or 1),
        "published": lambda: published.run(words[0]) if len(words) == 1 and batch is None else None,
    }
    baseline = runners[kind]()
    if baseline is None:
        raise WordError(f"machine {name}: must have the form {_FORMS[kind]}")
    return baseline


def _split(text: str, pattern: str, kind: Callable[[str], T]) -> tuple[str, T | None]:
    match = re.search(pattern, text)
    return (text, None) if match is None else (text[: match.start()], kind(match[1]))


def _systolic(words: list[str], workload: Workload, clock: float | None, batch: int) -> Baseline | None:
    default = systolic.SystolicArray.clock_mhz
    mhz = default if clock is None else clock
    if words and words[-1].endswith(".cfg"):
        return systolic.run(workload, scalesim_config.read(":".join(words), mhz), batch)
    size = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", words[0]) if 1 <= len(words) <= 2 else None
    if size is None:
        return None
    flow = systolic.dataflow_of(words[1]) if len(words) == 2 else "ws"
    if flow is None:
        return None
    array = systolic.SystolicArray(rows=int(size[1]), columns=int(size[2]), dataflow=flow, clock_mhz=mhz)
    return systolic.run(workload, array, batch)


def _tensor_core(words: list[str], workload: Workload, batch: int) -> Baseline | None:
    if len(words) != 2 or not all(re.fullmatch(r"[0-9]{1,4}", word) for word in words):
        return None
    return tensor_core.run(workload, TensorCore(int(words[0]), int(words[1])), batch)


def _roofline(words: list[str], workload: Workload, batch: int) -> Baseline | None:
    if not 1 <= len(words) <= 2:
        return None
    storage = words[1] if len(words) == 2 else "dense"
    if storage not in ("dense", "csr"):
        return None
    return roofline.run(
        workload=workload, machine=words[0], storage="csr" if storage == "csr" else "dense", batch=batch
    )


def _measured(words: list[str], workload: Workload, batch: int) -> Baseline | None:
    if words[:1] == ["onnx"] and len(words) > 1:
        return measured.run_onnx(":".join(words[1:]), batch)
    storage = _storage(words)
    return None if storage is None else measured.run(workload, storage, batch)


def _storage(words: list[str]) -> measured.Storage | None:
    storage: measured.Storage | None = next((kind for kind in get_args(measured.Storage) if words == [kind]), None)
    return storage


def called(name: str) -> str:
    """Return a machine's name as it is printed: one that is a bound says so wherever it stands."""
    return f"{name} (bound)" if re.split("[:@]", name)[0] in _BOUNDS else name


def depends_on_the_network(name: str) -> bool:
    """Whether a machine's costs follow from the workload, or are those of one network: published, imported, ONNX."""
    kind, *words = re.split("[:@]", name)
    return kind in _FORMS and kind != "published" and words[:1] != ["onnx"]


def measured_task(name: str, workload: Workload) -> measured.Task | None:
    """Return what a ``measured:`` name asks for, so that several can be timed in turns; None for any other name."""
    rest, batch = _split(name, _BATCH, int)
    kind, *words = rest.split(":")
    storage = _storage(words) if kind == "measured" else None
    return None if storage is None else measured.Task(workload, storage, batch or 1)


def _report(name: str, column_map: Mapping[str, str] | None) -> Baseline:
    # A file that has an @ in its name is that file.
    path, clock = (name, None) if Path(name).exists() else _split(name, r"@([0-9]+(?:\.[0-9]+)?)$", float)
    if not Path(path).exists() and Path(path).suffix not in (".csv", ".json"):
        raise WordError(f"machine {name}: no such file, and no machine: {'; '.join(_FORMS.values())}")
    if clock is not None and clock <= 0:
        raise WordError(f"machine {name}: a clock of {clock:g} MHz: must be positive")
    return reports.read(path, column_map, clock)
