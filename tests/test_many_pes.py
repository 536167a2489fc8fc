"""PEs behind the rows hold nothing: they are told apart in no table, and in every count."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compiler.encode import encode
from eie.model.matrix import SparseColumns


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_both_engines_agree_on_fewer_rows_than_pes(rows, columns, n_pe, seed):
    rng = np.random.default_rng(seed)
    weights = np.where(rng.random((rows, columns)) < 0.5, 1.0, 0.0)
    inputs = (rng.random((2, columns)) < 0.6).astype(np.float32)
    for residency in ("ideal", "auto"):
        # 4-bit pointers reach 15 entries: some layers are streamed.
        spec = eie.EIE_64PE.replace(n_pe=n_pe, residency=residency, ptr_bits=4, act_queue_depth=3)
        program = eie.compile(eie.Layer.from_weights("v", weights), spec)
        (quick,), (slow,) = (eie.simulate(program, inputs, engine=engine).layers for engine in ("fast", "events"))
        for name, cycles in quick.activity.per_pe.items():
            assert cycles.shape == (2, n_pe)
            assert np.array_equal(cycles, slow.activity.per_pe[name]), name
        for name, counts in quick.activity.counts.items():
            assert np.array_equal(counts, slow.activity.counts[name]), name


def test_a_pointer_a_row_and_one_for_all_others():
    encoding = encode(SparseColumns.from_dense(np.ones((2, 5), np.uint8), "codes"), 4096, 4)
    assert encoding.n_pe == 4096
    assert encoding.pointers.shape == (6, 3)
    assert encoding.pe_image(1)[2].tolist() == [0, 1, 2, 3, 4, 5]
    assert encoding.pe_image(2)[2].tolist() == encoding.pe_image(4095)[2].tolist() == [0] * 6


@pytest.mark.parametrize("rows", [1, 3, 4, 5])
def test_files_hold_the_pointers_of_all_pes(tmp_path, rows):
    spec = eie.EIE_64PE.replace(n_pe=4)
    program = eie.compile(eie.Layer.from_weights("v", np.ones((rows, 6))), spec)
    program.save(tmp_path / "p.safetensors")
    again = eie.Program.load(tmp_path / "p.safetensors")
    assert again.content_hash == program.content_hash
    assert np.array_equal(again.layers[0].passes[0].pointers, program.layers[0].passes[0].pointers)
