"""PEs behind the rows hold nothing: they are told apart in no table, and in every count."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compiler import encode as encoding_module
from eie.compiler.encode import encode
from eie.errors import ProgramError
from eie.formats.safetensors import read_safetensors
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


def test_files_of_many_pointers_hold_them_once(tmp_path, monkeypatch):
    spec = eie.EIE_64PE.replace(n_pe=16)
    program = eie.compile(eie.Layer.from_weights("v", np.ones((3, 6))), spec)
    program.save(tmp_path / "listed.safetensors")
    monkeypatch.setattr(encoding_module, "LISTED_POINTERS", 7 * 16 - 1)
    shared = eie.compile(eie.Layer.from_weights("v", np.ones((3, 6))), spec)
    shared.save(tmp_path / "shared.safetensors")
    for name, lanes, schema in (("listed", 16, 1), ("shared", 4, 2)):
        arrays, texts = read_safetensors(tmp_path / f"{name}.safetensors", ProgramError)
        assert arrays["0.0.pointers"].shape == (7, lanes)
        assert json.loads(texts["eie"])["schema"] == schema
        again = eie.Program.load(tmp_path / f"{name}.safetensors")
        assert np.array_equal(again.layers[0].passes[0].pointers, program.layers[0].passes[0].pointers)
        assert eie.simulate(again, np.ones(6)).layers[0].cycles == eie.simulate(program, np.ones(6)).layers[0].cycles
    assert eie.Program.load(tmp_path / "shared.safetensors").content_hash == shared.content_hash


def test_a_file_whose_pes_behind_the_rows_hold_padding_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding_module, "LISTED_POINTERS", 0)
    program = eie.compile(eie.Layer.from_weights("v", np.ones((1, 2))), eie.EIE_64PE.replace(n_pe=3))
    (image,) = program.layers[0].passes
    filled = image.pointers.copy()
    # One entry of padding in the first column of PE 1, and of PE 2, who share what is said of them.
    filled[1:, 1] = 1
    nothing = np.zeros(2, np.uint8)
    hostile = replace(
        image,
        pointers=filled,
        bases=np.array([0, 2, 3, 4]),
        padding=np.array([1, 0]),
        codes=np.concatenate((image.codes, nothing)),
        runs=np.concatenate((image.runs, nothing)),
    )
    layer = replace(program.layers[0], passes=(hostile,))
    replace(program, layers=(layer,)).save(tmp_path / "p.safetensors")
    with pytest.raises(ProgramError, match="pointers and entries do not belong together"):
        eie.Program.load(tmp_path / "p.safetensors")
