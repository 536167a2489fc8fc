"""Gates of the Verilog's units, and what a design takes of an FPGA."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from needs import yosys
from rtl_layers import compiled

import eie
from eie.errors import EieError
from eie.rtl import resources
from eie.rtl.resources import rtl_resources

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def synthesis():
    """The benchmark's modules, which are no package."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        from synthesis import gates, run

        yield gates, run
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def printed():
    """Return the page's rows: (unit, knob, value) -> area of gates, of the model, delay."""
    text = (ROOT / "docs" / "synthesis.md").read_text()
    rows = re.findall(
        r"^\| (\w+) \| (\w+) \d+ -> (\d+) \| ([\d.]+) \| ([\d.]+) \| [+-]\d+ % \| ([\d.]+) \|$", text, re.M
    )
    return {(unit, knob, int(value)): tuple(map(float, numbers)) for unit, knob, value, *numbers in rows}


class TestPage:
    def test_every_unit_and_knob_has_its_rows(self, synthesis):
        assert list(printed()) == list(synthesis[1].chosen())

    def test_the_model_is_todays(self, synthesis):
        for (unit, knob, value), (_, model, _) in printed().items():
            assert model == pytest.approx(
                synthesis[1].model_ratio(unit, eie.EIE_64PE.replace(**{knob: value})), abs=0.006
            )

    # Cheap ones: entries whose width does not divide a row take Yosys a quarter of a minute.
    @pytest.mark.parametrize("what", [("act_queue", "act_queue_depth", 16), ("spmat_read", "spmat_row_bits", 128)])
    def test_gates_are_todays(self, synthesis, what):
        gates, run = synthesis
        if lacking := gates.missing():
            pytest.skip(lacking)
        area, _, delay = printed()[what]
        point = run.point(*what)
        # Another version of Yosys chooses other cells; a unit that has changed differs by more.
        assert (point.area, point.delay) == pytest.approx((area, delay), rel=0.15)

    def test_what_yosys_prints_is_read(self, synthesis):
        log = (
            'ABC: WireLoad = "none"  Gates =  9 ( 15.3 %)   Cap = 27.1 ff (  0.8 %)   Area =   85.00 ( 96.7 %)   '
            "Delay =   918.65 ps  (  6.5 %)\n   Chip area for module '\\act_queue': 51189.000000\n"
        )
        assert synthesis[0].read(log) == synthesis[0].Gates(area=51189.0, delay_ps=918.65)
        with pytest.raises(ValueError, match="holds no area or no delay"):
            synthesis[0].read("Warning: nothing")


class TestResources:
    def test_cells_of_all_levels(self):
        modules = {
            "$paramod\\pe\\P=1": {"num_cells_by_type": {"$paramod\\ram\\W=8": 2, "FDRE": 3}},
            "$paramod\\ram\\W=8": {"num_cells_by_type": {"RAMB36E1": 1, "RAM32M": 2, "LUT6": 1}},
            "\\top": {"num_cells_by_type": {"$paramod\\pe\\P=1": 4, "LUT2": 5}},
        }
        assert resources._module(modules, "pe") == "$paramod\\pe\\P=1"
        assert resources._instances(modules, "\\top")["$paramod\\ram\\W=8"] == 8
        row = resources._row("top", resources._cells(modules, "\\top", inside=True), 1)
        # 4 PEs of two memories: each a block RAM, two pieces of four LUTs, a LUT.
        assert (row.block_ram, row.lut_memory, row.lut, row.register) == (8, 64, 77, 12)

    def test_an_unknown_cell_is_no_zero(self):
        with pytest.raises(EieError, match="top: Yosys made cells that are not in the table: SRL16E"):
            resources._row("top", {"SRL16E": 1}, 1)

    def test_block_ram_of_the_specs_memories(self):
        # 16,384 x 64: 32 of 512 x 72; each bank 8,192 x 16: 4 of 2,048 x 18.
        assert resources._blocks(16_384, 64) == 32
        assert resources._blocks(8_192, 16) == 4
        assert resources._spec_block_ram(eie.EIE_64PE) == 64 * (32 + 2 * 4)

    def test_without_yosys(self, monkeypatch):
        monkeypatch.setattr(shutil, "which", lambda _: None)
        with pytest.raises(EieError, match=r"no Yosys: install it \(yosys\)"):
            rtl_resources(compiled(np.eye(3), n_pe=1), np.ones(3))

    @yosys
    def test_a_design(self):
        answer = rtl_resources(compiled(np.eye(8), n_pe=2), np.ones(8))
        (counted,) = answer.layers
        units = {unit.unit: unit for unit in counted.units}
        assert [units[name].instances for name in ("act_queue", "pe, the rest", "lnzd")] == [2, 2, 1]
        for kind in resources.KINDS:
            assert sum(getattr(unit, kind) for unit in counted.units) == getattr(counted.whole, kind)
        # A multiplier a PE, and none elsewhere.
        assert (units["arithm"].dsp, counted.whole.dsp) == (2, 2)
        # Registers of the pipeline: five stages of valid bits at the least, and the activation in two of them.
        assert units["arithm"].register >= 2 * (5 + 2 * 16)
        assert "Counted by Yosys" in str(answer)
        assert [row["unit"] for row in answer.records()][-1] == "total"

    def test_the_command(self, cli, tmp_path, monkeypatch):
        """What it prints is the view above; here, that it is called, and that no folder is asked for."""
        model = tmp_path / "m.npz"
        np.savez(model, **{"0.weight": np.eye(4, dtype=np.float32)})
        monkeypatch.setattr(shutil, "which", lambda _: None)
        code, _, err = cli("rtl", str(model), "--set", "n_pe=1", "--resources")
        assert (code, "no Yosys" in err) == (1, True)
