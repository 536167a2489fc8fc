"""Joules and square millimetres against the paper's own figures."""

import csv

import numpy as np
import pytest

import eie
from eie.energy.area import area_mm2
from eie.energy.estimate import METHODS, UNITS, powers_mw, prices_pj, timing_notes
from eie.energy.tables import published_table, sram
from eie.formats.sourced import HOW


def test_every_row_has_a_source():
    rows = published_table().rows.values()
    assert rows
    for row in rows:
        assert row.source.strip()
        assert row.place.strip()
        assert row.unit.strip()
        assert row.how in HOW
        assert row.value >= 0


def test_table_two_adds_up():
    """EIE paper, Table II: 9.157 mW and 0.638 mm2 a PE; section VI: 590 mW and 40.8 mm2 for 64 PEs."""
    power, area = sum(powers_mw(eie.EIE_64PE).values()), sum(area_mm2(eie.EIE_64PE).values())
    print(f"64 PEs: {power:.1f} mW (paper 590, {power / 590 - 1:+.1%}), {area:.2f} mm2 (40.8, {area / 40.8 - 1:+.1%})")
    assert power == pytest.approx(64 * 9.157 + 21 * 0.023)
    assert power == pytest.approx(590, rel=0.007)
    assert area == pytest.approx(40.8, rel=0.002)


def test_the_projected_machine():
    """EIE paper, Table V: 256 PEs at 28 nm and 1200 MHz take 2.36 W and 63.8 mm2."""
    power, area = sum(powers_mw(eie.EIE_256PE).values()), sum(area_mm2(eie.EIE_256PE).values())
    print(
        f"256 PEs: {power:.0f} mW (paper 2360, {power / 2360 - 1:+.2%}), {area:.1f} mm2 (63.8, {area / 63.8 - 1:+.1%})"
    )
    assert power == pytest.approx(2360, rel=0.001)
    assert area == pytest.approx(63.8, rel=0.01)


def test_prices_from_the_calibrating_run():
    prices = prices_pj(eie.EIE_64PE)
    assert set(prices) == set(UNITS) - {"dram"} | {"act_sram"}
    assert set(prices_pj(eie.EIE_64PE.replace(residency="ideal"))) == set(UNITS) - {"dram"}
    assert prices["spmat_read"] == pytest.approx(31.1, abs=0.05)
    assert sram(kib=128, width_bits=64, node_nm=45, cell="itrs-lstp").read_pj == pytest.approx(
        32.3, abs=0.05
    )  # CACTI's figure for the same SRAM


def test_both_methods_agree_where_they_are_calibrated(fc8):
    layer, inputs = fc8
    result = eie.simulate(eie.compile(layer), inputs)
    by_power, by_activity = (result.energy(method) for method in METHODS)
    assert by_activity.total_nj == pytest.approx(by_power.total_nj, rel=2e-4)
    for unit in UNITS:
        assert by_activity.unit_nj()[unit] == pytest.approx(by_power.unit_nj()[unit], rel=2e-3)


def test_sram_prices_scale_with_cacti():
    base, wide = prices_pj(eie.EIE_64PE), prices_pj(eie.EIE_64PE.replace(spmat_row_bits=128))
    assert wide["spmat_read"] / base["spmat_read"] == pytest.approx(21.2635 / 15.545)
    assert wide["ptr_read"] == base["ptr_read"]
    small = prices_pj(eie.EIE_64PE.replace(ptr_kib=16))
    assert small["ptr_read"] / base["ptr_read"] == pytest.approx(2.6334 / 5.0857)
    assert area_mm2(eie.EIE_64PE.replace(spmat_kib=256))["spmat_read"] > 1.5 * area_mm2(eie.EIE_64PE)["spmat_read"]


def test_interpolated_sizes_lie_between():
    small, middle, large = (sram(kib=kib, width_bits=64, node_nm=45, cell="itrs-lop") for kib in (64, 96, 128))
    assert small.read_pj < middle.read_pj < large.read_pj
    assert (small.interpolated, middle.interpolated, large.interpolated) == (False, True, False)
    assert sram(kib=128, width_bits=96, node_nm=45, cell="itrs-lop").interpolated


def test_what_the_table_does_not_span_is_said():
    with pytest.raises(eie.EieError, match="no CACTI row near 128 KiB x 8 bits"):
        prices_pj(eie.EIE_64PE.replace(spmat_row_bits=8))
    with pytest.raises(eie.EieError, match="sram cell 'fast': must be one of itrs-lop, itrs-lstp"):
        sram(kib=128, width_bits=64, node_nm=45, cell="fast")


def test_slow_memories_are_flagged():
    assert timing_notes(eie.EIE_64PE) == ()
    (note,) = timing_notes(eie.EIE_64PE, "itrs-lstp")
    assert "128 KiB x 64 bits (itrs-lstp, 45 nm): CACTI 7 gives a cycle of 1.65 ns, too slow for 1.25 ns" in note
    assert len(timing_notes(eie.EIE_64PE.replace(clock_mhz=1000))) == 1


def test_energy_follows_counts_and_clock():
    layer = eie.Layer.from_weights("layer", np.ones((128, 32)))
    program = eie.compile(layer)
    slow = program.on(eie.EIE_64PE.replace(clock_mhz=400))
    one, two = eie.simulate(program, np.ones(32)), eie.simulate(slow, np.ones(32))
    for method in METHODS:  # half the clock, half the power, the same energy
        assert one.energy(method).total_nj == pytest.approx(two.energy(method).total_nj)
    assert two.latency_us == pytest.approx(2 * one.latency_us)
    with pytest.raises(eie.EieError, match="energy method 'guess': must be one of published-power, activity"):
        one.energy("guess")


def test_the_cacti_copy_is_the_shared_one(root, shared):
    ours, theirs = (
        list(csv.reader(path.read_text().splitlines()))
        for path in (root / "eie/energy/data/sram_cacti7.csv", shared / "reference/sram_cacti7.csv")
    )
    assert ours == theirs
