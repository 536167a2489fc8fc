"""Vectors longer than the source registers: batches that the hardware runs one after the other."""

import numpy as np
import pytest
from needs import icarus
from rtl_faults import BATCH_FAULTS, agreeing
from rtl_layers import compiled, ran, random_batches, saturating

import eie
from eie.errors import ProgramError
from eie.rtl.work import works

PAPER = {"residency": "auto", "act_batches": "paper"}


@icarus
class TestAgrees:
    def test_by_hand(self, tmp_path):
        """Ten columns of three entries in batches of 4, 4 and 2: docs/cycle-model.md, "Activations"."""
        program = compiled(np.ones((3, 10)), n_pe=1, act_registers=4, **PAPER)
        run = ran(works(program, np.ones(10))[0], tmp_path / "rtl")
        assert run.equal, run.differences
        counts = {name: rtl for _, name, _, rtl in run.counts}
        assert counts["cycles"] == 20 + 20 + 14
        assert counts["register_cycles"] == 10 + 3 * 3
        # As in one piece: 30 entries, eight a row.
        assert counts["spmat_reads"] == 4

    # 16 here, every other one on a bus; `make rtl` draws 200.
    @pytest.mark.parametrize("seed", range(16))
    def test_random_layers(self, tmp_path, seed):
        work = random_batches(seed)
        run = ran(saturating(work, 1 + seed % 5) if seed % 3 == 0 else work, tmp_path / "rtl")
        assert run.equal, run.differences

    def test_their_cycles_are_those_of_a_run(self, tmp_path):
        """What the RTL takes in all is the layer in one piece and what the simulator says batches add."""
        rng = np.random.default_rng(3)
        weights = (rng.random((20, 50)) < 0.4) * rng.standard_normal((20, 50))
        program = compiled(weights, rng.standard_normal(20), n_pe=2, act_registers=10, **PAPER)
        inputs = rng.standard_normal((2, 50)) * (rng.random((2, 50)) < 0.5)
        work = works(program, inputs)[0]
        assert work.batches.count == 3
        run = ran(work, tmp_path / "rtl")
        assert run.equal, run.differences
        activity = eie.simulate(program, inputs).layers[0].activity
        for product in range(2):
            counts = {name: rtl for number, name, _, rtl in run.counts if number == product}
            assert counts["cycles"] + counts["register_cycles"] == activity.total_cycles[product]
            assert counts["spmat_reads"] == activity.counts["spmat_reads"][product]


def test_registers_for_all_make_no_batches():
    assert works(compiled(np.ones((3, 10)), n_pe=1, act_registers=4, act_batches="paper"))[0].batches.count == 1


def test_batches_of_a_layer_in_passes_are_refused():
    program = compiled(np.ones((9, 10)), n_pe=1, act_registers=4, **PAPER)
    with pytest.raises(ProgramError, match="layer 'layer': .*3 passes"):
        works(program, np.ones(10))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A design without a fault: two products in three batches, rows that two of them share, a bias column."""
    rng = np.random.default_rng(5)
    weights = (rng.random((7, 23)) < 0.7) * rng.standard_normal((7, 23))
    program = compiled(weights, rng.standard_normal(7), place="column", n_pe=2, act_registers=4, **PAPER)
    work = works(program, rng.standard_normal((2, 23)))[0]
    (folder,) = agreeing([work], tmp_path_factory)
    return folder


@icarus
@pytest.mark.parametrize("fault", BATCH_FAULTS, ids=lambda fault: fault.name)
def test_faults_are_caught(bench, fault):
    assert fault.is_caught(bench)
