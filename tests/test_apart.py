"""Machines of one comparison are called by what differs among them; tables leave out what says nothing."""

import pytest

import eie
from eie.show.sections import Column, Grid
from eie.spec.apart import differing_fields, labels

BASE = eie.EIE_64PE


@pytest.mark.parametrize(
    ("specs", "called"),
    [
        ([BASE, BASE.replace(n_pe=16)], ["EIE 64 PEs", "EIE 16 PEs"]),
        ([BASE, BASE.replace(act_queue_depth=32)], ["EIE 64 PEs, queue 8", "EIE 64 PEs, queue 32"]),
        ([BASE, BASE.replace(clock_mhz=400.5)], ["EIE 64 PEs, 800 MHz", "EIE 64 PEs, 400.5 MHz"]),
        ([BASE, BASE.replace(stream_kib=4)], ["EIE 64 PEs, stream_kib 8", "EIE 64 PEs, stream_kib 4"]),
        ([BASE, BASE.replace(name="mine")], ["EIE 64 PEs", "mine 64 PEs"]),
        ([BASE.replace(n_pe=16)], ["EIE 16 PEs"]),
        ([], []),
    ],
)
def test_labels(specs, called):
    assert labels(specs) == called


def test_a_label_stays_short():
    other = BASE.replace(n_pe=16, clock_mhz=400, act_queue_depth=2, index_bits=2, node_nm=28)
    assert differing_fields([BASE, other]) == ("n_pe", "clock_mhz", "act_queue_depth", "index_bits", "node_nm")
    assert labels([BASE, other])[1] == "EIE 16 PEs, 400 MHz, queue 2"


def test_what_a_sweep_varies_names_no_side():
    layer = eie.Layer.from_weights("ones", [[1.0, 0.5], [0.5, 1.0]])
    a, b = (eie.sweep(layer, {"n_pe": (1, 2)}, spec=eie.EIE_64PE.replace(act_queue_depth=n)) for n in (8, 2))
    assert eie.diff(a, b).headline().startswith("A: sweep (EIE queue 8), B: sweep (EIE queue 2): 2 points in both, for")
    one = eie.sweep(layer, {"n_pe": (1,)})
    assert (
        "1 point in both, for which B takes 1x the time" in eie.diff(one, eie.sweep(layer, {"n_pe": (1, 2)})).headline()
    )


def test_compare_calls_two_results_by_their_pes(tmp_path):
    layer = eie.Layer.from_weights("ones", [[1.0, 0.5], [0.5, 1.0]])
    results = [eie.simulate(layer, spec=BASE.replace(n_pe=n)) for n in (2, 1)]
    results[1].to_json(tmp_path / "one.json")
    results[1].to_json(tmp_path / "again.json")
    files = [str(tmp_path / name) for name in ("one.json", "again.json")]
    comparison = eie.compare(results[0], [*files, "dense"])
    names = [column.machine.name for column in comparison.columns]
    assert names == ["EIE 2 PEs", "EIE 1 PE", "EIE 1 PE #2", "dense:2"]
    assert all(f"{name}: " in " ".join(comparison.notes) for name in names[1:3])
    # Nobody states a power, and nothing of the spec goes into the file: the result's own has it.
    assert " W " not in str(comparison)
    assert {"power_w"} <= set(comparison.content()["machines"][0])
    assert "spec" not in comparison.content()["machines"][0]


def test_empty_columns_go_and_what_a_row_is_of_stays():
    columns = (Column("a", "a", "text"), Column("b", "b"), Column("c", "c"), Column("d", "d"))
    rows = ({"a": "", "b": None, "c": "-", "d": 0}, {"a": "", "c": "?", "d": None})
    grid = Grid(columns=columns, rows=rows)
    assert [column.key for column in grid.without_empty().columns] == ["a", "d"]
    assert [column.key for column in Grid(columns=columns, rows=rows, total={"b": 1}).without_empty().columns] == [
        *("a", "b", "d")
    ]
