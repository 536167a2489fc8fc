"""Compiled programs: files, hashes, damage, other machines, capacity."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import eie
from eie.formats.safetensors import read_safetensors
from eie.show.writing import write_text


def layer(rows=50, columns=30, seed=0, bias=True):
    rng = np.random.default_rng(seed)
    weights = rng.choice(np.linspace(-1, 1, 14), (rows, columns)) * (rng.random((rows, columns)) < 0.3)
    return eie.Layer.from_weights(f"layer{seed}", weights, rng.choice([0, 1.0], rows) if bias else None)


@pytest.fixture
def program():
    net = eie.Network(name="net", layers=(layer(), layer(20, 50, 1)), sequential=True, notes=("a note",))
    return eie.compile(net, eie.EIE_64PE.replace(n_pe=4))


def test_file_round_trip(program, tmp_path):
    path = tmp_path / "net.safetensors"
    program.save(path)
    again = eie.Program.load(path)
    assert again.content_hash == program.content_hash
    assert (again.name, again.spec, again.sequential, again.notes) == ("net", program.spec, True, ("a note",))
    rng = np.random.default_rng(2)
    inputs = rng.random((3, 30))
    one, two = eie.simulate(program, inputs), eie.simulate(again, inputs)
    assert one.layers[1].activity.cycles.tolist() == two.layers[1].activity.cycles.tolist()
    assert np.array_equal(one.layers[1].outputs, two.layers[1].outputs)
    assert again.layers[0].shared == program.layers[0].shared
    again.save(tmp_path / "twice.safetensors")
    assert (tmp_path / "twice.safetensors").read_bytes() == path.read_bytes()


def test_equal_content_has_equal_hashes_and_other_content_has_others(program):
    same = eie.compile(
        eie.Network(name="net", layers=(layer(), layer(20, 50, 1)), sequential=True, notes=("a note",)), program.spec
    )
    other = eie.compile(
        eie.Network(name="net", layers=(layer(seed=3), layer(20, 50, 1)), sequential=True, notes=("a note",)),
        program.spec,
    )
    assert same.content_hash == program.content_hash != other.content_hash


def test_layers_decode_to_their_weights(program):
    assert np.array_equal(program.layers[0].decode(), layer().weights)
    assert program.layers[0].entries == program.layers[0].weights + program.layers[0].padding + np.count_nonzero(
        layer().bias
    )


@pytest.mark.parametrize(
    "damage", ["truncate", "flip", "foreign", "schema", "true", "pickle", "empty", "pointers", "bare"]
)
def test_damaged_files_are_refused_with_the_reason(program, tmp_path, damage):
    path = tmp_path / "net.safetensors"
    program.save(path)
    content = bytearray(path.read_bytes())
    arrays, header = load_file(path), read_safetensors(path, eie.EieError)[1]
    described = json.loads(header["eie"])
    reason = "not a usable .safetensors file"
    if damage == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flip":
        content[-5] ^= 1
        path.write_bytes(content)
        reason = "damaged: its content does not match its hash"
    elif damage == "foreign":
        save_file({"x": np.zeros(3)}, path)
        reason = "not a compiled eie program"
    elif damage == "schema":
        save_file(arrays, path, {"eie": json.dumps({**described, "schema": 99})})
        reason = "program schema 99: this version reads 1 and 2"
    elif damage == "true":
        # Which is an int to Python, and equal to 1.
        save_file(arrays, path, {"eie": json.dumps({**described, "schema": True})})
        reason = "program schema True: this version reads 1 and 2"
    elif damage == "pickle":
        path.write_bytes(b"\x80\x04N.")
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        # right hash, wrong content: kernels index without bounds, so this must be caught on reading
        from eie.compiler.program_file import digest

        if damage == "pointers":
            arrays["0.0.pointers"] = arrays["0.0.pointers"] + 7
            reason = "damaged program: its pointers and entries do not belong together"
        else:
            arrays, described["layers"] = {"unused": np.zeros(1)}, []
            reason = r"damaged program: header.layers=\[\]: "
        for key in ("content_hash", "versions"):
            described.pop(key)
        described["content_hash"] = digest(arrays, described)
        save_file(arrays, path, {"eie": json.dumps(described)})
    with pytest.raises(eie.EieError, match=reason) as caught:
        eie.Program.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_writing_through_a_link_and_to_a_pipe(program, tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    write_text(tmp_path / "link.json", "new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text() == "new"
    write_text("/dev/null", "gone")
    assert Path("/dev/null").is_char_device()


def test_a_chain_of_runs_longer_than_any_row_number_is_refused(tmp_path):
    """65,536 PEs x 256 rows a run: 129 runs pass 2**31, where a 32-bit row number would turn negative."""
    layer = eie.Layer.from_codes("deep", [[1]], [0, 1.0])
    program = eie.compile(layer, eie.EIE_64PE.replace(n_pe=65536, index_bits=8))
    (one,) = program.layers[0].passes
    for runs in (130, 256):
        pointers = one.pointers.copy()
        pointers[1, 0] = runs
        grown = replace(
            one,
            bases=one.bases + runs - 1 - (np.arange(65537) == 0) * (runs - 1),
            pointers=pointers,
            padding=np.array([runs - 1]),
            codes=np.array([0] * (runs - 1) + [1], np.uint8),
            runs=np.full(runs, 255, np.uint8),
        )
        hostile = replace(program, layers=(replace(program.layers[0], passes=(grown,)),))
        hostile.save(tmp_path / "deep.safetensors")
        with pytest.raises(eie.EieError, match="an entry lies outside its layer"):
            eie.Program.load(tmp_path / "deep.safetensors")


def test_missing_file(tmp_path):
    with pytest.raises(eie.EieError, match="cannot be read: No such file"):
        eie.Program.load(tmp_path / "none.safetensors")


def test_writing_where_nothing_can_be_written_leaves_nothing(program, tmp_path):
    with pytest.raises(eie.EieError, match="cannot be written"):
        program.save(tmp_path / "no" / "such" / "folder.safetensors")
    target = tmp_path / "folder.safetensors"
    target.mkdir()
    with pytest.raises(eie.EieError, match="cannot be written"):
        program.save(target)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.safetensors"]


def test_the_same_images_on_another_machine(program):
    faster = program.on(program.spec.replace(clock_mhz=1200, act_queue_depth=2, spmat_row_bits=128))
    assert faster.layers is program.layers
    with pytest.raises(eie.EieError, match="compiled for another n_pe: compile it again"):
        program.on(program.spec.replace(n_pe=8))


class TestCapacity:
    def test_fit_names_every_demand(self):
        spec = eie.EIE_64PE.replace(
            n_pe=1, act_registers=40, ptr_kib=1, ptr_bits=8, act_kib=1, spmat_kib=1, residency="ideal"
        )
        wide = eie.Layer.from_weights("wide", np.ones((50, 1200)), bias=np.ones(50))
        (fit,) = eie.compile(wide, spec).fit
        assert not fit.fits
        assert (fit.entries, fit.entry_capacity, fit.pointer_reach) == (60050, 1024, 255)
        assert (fit.pointers, fit.pointer_capacity) == (1202, 1024)
        assert (fit.outputs, fit.output_capacity) == (50, 40)
        assert (fit.inputs, fit.input_capacity) == (1201, 512)
        assert fit.problems[:2] == ("60,050 entries a PE, room for 1,024", "60,050 entries a PE, a pointer reaches 255")
        assert len(fit.problems) == 5

    @pytest.mark.parametrize("n_pe", [1, 4, 64])
    def test_passes_fit_and_hold_the_layer(self, n_pe):
        spec = eie.EIE_64PE.replace(n_pe=n_pe, act_registers=5, ptr_bits=4, spmat_kib=1)
        program = eie.compile(layer(), spec)
        (fit,) = program.fit
        assert fit.passes == len(program.layers[0].passes) == -(-50 // (5 * n_pe))
        assert fit.outputs <= 5
        assert np.array_equal(program.layers[0].decode(), layer().weights)
        covered = np.zeros((50, 30), int)
        for image in program.layers[0].passes:
            covered[image.row_start : image.row_stop, image.column_start : image.column_stop] += 1
            assert image.row_start % n_pe == 0
            assert image.has_bias
        assert (covered == 1).all()
        whole = eie.compile(layer(), spec.replace(residency="ideal"))
        assert len(whole.layers[0].passes) == 1

    def test_inputs_are_broadcast_again_for_each_row_group_and_loads_are_charged(self):
        """Two groups of rows, too many entries for the SRAMs: 2 x 2,000 entries a PE, room for 2,048."""
        spec = eie.EIE_64PE.replace(n_pe=2, act_registers=10, spmat_kib=2, stream_kib=1)
        dense = eie.Layer.from_weights("dense", np.ones((40, 200)))
        result = eie.simulate(eie.compile(dense, spec), np.ones(200))
        row = result.layers[0]
        assert row.fit.passes == 2
        assert row.place.place == "streamed"
        assert row.counts["broadcasts"] == 2 * 200
        # 20 entries of 8 bits and 2 pointers of 16 a column: a burst of 64 bytes each.
        assert row.counts["dram_bits"] == 2 * 200 * 512
        assert row.counts["bus_cycles"] == 2 * 200 * 8
        assert result.energy("activity").unit_nj()["dram"] == pytest.approx(2 * 200 * 512 * 20e-3)
        milliwatts = 2 * 9.157 + 0.023
        by_power = result.energy("published-power")
        assert by_power.total_nj == pytest.approx(milliwatts * row.latency_us + 2 * 200 * 512 * 20e-3)
        assert "dense: cut into 2 passes for the accumulators; weights are streamed in each" in result.notes()

    def test_a_layer_cut_for_its_accumulators_alone_stays(self):
        spec = eie.EIE_64PE.replace(n_pe=2, act_registers=10)
        result = eie.simulate(eie.compile(eie.Layer.from_weights("dense", np.ones((40, 6))), spec), np.ones(6))
        row = result.layers[0]
        assert (row.fit.passes, row.fits, row.counts["dram_bits"]) == (2, True, 0)
        assert row.counts["broadcasts"] == 12
        assert "dense: cut into 2 passes for the accumulators; weights stay in the SRAMs" in result.notes()
