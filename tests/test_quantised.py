"""Quantised weights as the libraries store them: read to the last bit of the definition, or refused by name."""

import json
import math
from dataclasses import replace

import numpy as np
import packing
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import eie
from eie.compression.coding.size import size_report
from eie.compression.share import share
from eie.formats import float8
from eie.importers.quantised import UNREAD, dequantise
from eie.importers.quantised.group import Hints
from eie.importers.state_dict import read_all

RNG = np.random.default_rng(3)
many = settings(max_examples=60, deadline=None)


def decoded(parts, hints=None, head="l."):
    """The weights of layer ``l`` whose arrays are ``parts``."""
    result = dequantise({f"{head}{name}": array for name, array in parts.items()}, hints or Hints(), "m")
    assert list(result.arrays) == [f"{head}weight"]
    return result.arrays[f"{head}weight"]


def one_layer(path):
    (layer,) = eie.load(path).layers
    return layer


def codes_and_scales(rng, *, bits, inputs, outputs, groups):
    scales = rng.uniform(0.5, 2, (groups, outputs)).astype(np.float16)
    zeros = rng.integers(0, 1 << bits, (groups, outputs))
    return rng.integers(0, 1 << bits, (inputs, outputs)), zeros, scales


class TestGptq:
    @many
    @given(st.data())
    def test_law(self, data):
        bits = data.draw(st.sampled_from([2, 3, 4, 8]))
        groups, each = data.draw(st.integers(1, 3)), data.draw(st.sampled_from([32, 64]))
        inputs, outputs = groups * each, 32 * data.draw(st.integers(1, 2))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        codes, zeros, scales = codes_and_scales(rng, bits=bits, inputs=inputs, outputs=outputs, groups=groups)
        group_of = np.arange(inputs) // each
        if data.draw(st.booleans()):
            group_of = rng.permutation(group_of)
        version = data.draw(st.sampled_from(["gptq", "gptq_v2"]))
        parts = packing.gptq(
            codes, zeros=zeros, scales=scales, bits=bits, group_of=group_of, stored_less=int(version == "gptq")
        )
        weights = decoded(parts, Hints(config={"bits": bits, "checkpoint_format": version}))
        wanted = [[(codes[i, o] - zeros[group_of[i], o]) * np.float32(scales[group_of[i], o]) for i in range(inputs)]
                  for o in range(outputs)]  # fmt: skip
        assert np.array_equal(weights, np.array(wanted, np.float32))

    def test_by_hand(self):
        """Eight inputs, one output word: 0 to 7 less the zero point 3 (stored as 2), times a half."""
        parts = {
            "qweight": np.full((1, 8), 0x76543210, np.int32),
            "qzeros": np.full((1, 1), 0x22222222, np.int32),
            "scales": np.full((1, 8), 0.5, np.float16),
        }
        assert decoded(parts).tolist() == [[-1.5, -1, -0.5, 0, 0.5, 1, 1.5, 2]] * 8

    def test_symmetric_zero_points_say_which_version(self):
        codes, _, scales = codes_and_scales(RNG, bits=4, inputs=32, outputs=32, groups=1)
        zeros = np.full((1, 32), 8)
        for stored_less, remark in ((1, False), (0, True)):
            parts = packing.gptq(codes, zeros=zeros, scales=scales, bits=4, stored_less=stored_less)
            result = dequantise({f"l.{name}": array for name, array in parts.items()}, Hints(), "m")
            assert np.array_equal(result.arrays["l.weight"], ((codes - 8) * scales.astype(np.float32)).T)
            assert any("gptq_v2" in note for note in result.notes) == remark

    def test_loads_as_one_layer_with_its_bias_and_width(self, tmp_path):
        codes, zeros, scales = codes_and_scales(RNG, bits=4, inputs=64, outputs=32, groups=2)
        parts = packing.gptq(codes, zeros=zeros, scales=scales, bits=4)
        arrays = {f"l.{name}": array for name, array in parts.items()} | {"l.bias": np.ones(32, np.float16)}
        net = eie.load(packing.save_safetensors(tmp_path / "m.safetensors", arrays))
        (layer,) = net.layers
        assert (layer.name, layer.outputs, layer.inputs, layer.has_bias) == ("l", 32, 64, True)
        # 4 bits, a float16 and a 4-bit zero point for 32 inputs.
        assert layer.stored_bits == 4 + (16 + 4) / 32
        assert layer.matrix.nnz == np.count_nonzero(codes != np.repeat(zeros, 32, axis=0))
        assert "dequantised from GPTQ (4 bits, 16 levels a group of 32; 4.625 bits a weight" in net.notes[0]
        # A model in words that points at it knows its width as well.
        (tmp_path / "m.toml").write_text('weights = "m.safetensors"\n[[layer]]\nname = "x"\nweights = "l.weight"\n')
        named = eie.load(tmp_path / "m.toml")
        assert named.layers[0].stored_bits == layer.stored_bits
        assert np.array_equal(named.layers[0].weights, layer.weights)
        assert eie.simulate(eie.compile(net, eie.EIE_64PE.replace(n_pe=4))).layers[0].cycles > 0

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            ({"g_idx": np.full(32, 9, np.int32)}, "g_idx names group 9 of 1"),
            ({"g_idx": np.zeros(31, np.int32)}, "do not make 31 inputs|fits none"),
            ({"qzeros": np.zeros((1, 5), np.int32)}, "fit none of"),
            ({"qzeros": np.zeros((3, 4), np.int32)}, "do not make 32 inputs"),
            ({"qweight": np.zeros((4, 32), np.float32)}, "must be a matrix of 32-bit integers"),
        ],
    )
    def test_arrays_that_do_not_fit(self, change, text):
        codes, zeros, scales = codes_and_scales(RNG, bits=4, inputs=32, outputs=32, groups=1)
        parts = packing.gptq(codes, zeros=zeros, scales=scales, bits=4) | change
        if "g_idx" in change and len(change["g_idx"]) == 31:
            parts["qweight"] = parts["qweight"][:3]
        with pytest.raises(eie.EieError, match=rf"m: 'l.weight' \(GPTQ\): .*({text})"):
            decoded(parts)


class TestAwq:
    @many
    @given(st.integers(1, 3), st.sampled_from([4, 8]), st.integers(1, 3), st.integers(0, 99))
    def test_law(self, groups, each, words, seed):
        rng = np.random.default_rng(seed)
        codes, zeros, scales = codes_and_scales(rng, bits=4, inputs=groups * each, outputs=8 * words, groups=groups)
        weights = decoded(packing.awq(codes, zeros=zeros, scales=scales))
        spread = [np.repeat(array, each, axis=0).astype(np.float32) for array in (zeros, scales)]
        assert np.array_equal(weights, ((codes - spread[0]) * spread[1]).T)

    def test_the_other_version_is_refused_by_name(self):
        parts = {
            "qweight": np.zeros((32, 4), np.int32),
            "qzeros": np.zeros((32, 1), np.int32),
            "scales": np.ones((32, 8), np.float16),
        }
        with pytest.raises(eie.EieError, match=r"m: l: qweight of a kind that is neither GPTQ's nor AWQ's \(GEMM\)"):
            decoded(parts)


class TestPacked:
    @many
    @given(st.data())
    def test_law(self, data):
        bits, outputs, inputs = (
            data.draw(st.integers(1, 8)),
            data.draw(st.integers(1, 9)),
            data.draw(st.integers(1, 70)),
        )
        pack = data.draw(st.sampled_from([packing.words, packing.padded_words]))
        # Few weights may take as many words either way: what is written today is then meant.
        assume(pack is packing.words or -(-inputs // (32 // bits)) != -(-inputs * bits // 32))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        low, high = -(1 << (bits - 1)), 1 << (bits - 1)
        codes = rng.integers(low, high, (outputs, inputs))
        scale = rng.uniform(0.5, 2, (outputs, 1)).astype(np.float32)
        parts = {
            "weight_packed": packing.rows_of_words(codes - low, bits, pack),
            "weight_scale": scale,
            "weight_shape": np.array([outputs, inputs]),
        }
        zero_point = np.zeros((outputs, 1), int)
        if data.draw(st.booleans()):
            zero_point = rng.integers(low, high, (outputs, 1))
            columns = packing.rows_of_words((zero_point - low).T, bits, pack)
            parts["weight_zero_point"] = np.ascontiguousarray(columns.T)
        hints = Hints(config={"config_groups": {"a": {"weights": {"num_bits": bits}}}})
        assert np.array_equal(decoded(parts, hints), ((codes - zero_point) * scale).astype(np.float32))

    @pytest.mark.parametrize("bits", [4, 8])
    def test_the_usual_widths_need_no_configuration(self, bits):
        codes = RNG.integers(0, 1 << bits, (3, 40))
        parts = {
            "weight_packed": packing.rows_of_words(codes, bits),
            "weight_scale": np.ones(1, np.float32),
            "weight_shape": np.array([3, 40]),
        }
        assert np.array_equal(decoded(parts), codes - (1 << (bits - 1)))

    def test_groups_and_their_order(self):
        codes, scale = RNG.integers(0, 16, (4, 64)), RNG.uniform(1, 2, (4, 2)).astype(np.float32)
        group_of = RNG.permutation(np.arange(64) // 32)
        parts = {
            "weight_packed": packing.rows_of_words(codes, 4),
            "weight_scale": scale,
            "weight_shape": np.array([4, 64]),
        }
        centred = (codes - 8).astype(np.float32)
        assert np.array_equal(decoded(parts), centred * np.repeat(scale, 32, axis=1))
        ordered = parts | {"weight_g_idx": group_of.astype(np.int32)}
        assert np.array_equal(decoded(ordered), centred * scale[:, group_of])

    def test_a_shape_that_the_words_do_not_fill(self):
        parts = {
            "weight_packed": np.zeros((4, 2), np.int32),
            "weight_scale": np.ones(1, np.float32),
            "weight_shape": np.array([4, 1 << 40]),
        }
        with pytest.raises(eie.EieError, match=r"states the shape \(4, 1099511627776\): must be 1 to 2,147,483,648"):
            decoded(parts)


class TestBitmask:
    @many
    @given(st.integers(1, 6), st.integers(1, 30), st.floats(0, 1), st.integers(0, 99))
    def test_law(self, rows, columns, density, seed):
        rng = np.random.default_rng(seed)
        keep = rng.random((rows, columns)) < density
        weights = np.where(keep, rng.uniform(1, 2, keep.shape), 0).astype(np.float32)
        assert np.array_equal(decoded(packing.bitmask(weights, keep)), weights)

    def test_two_of_four_is_kept_exactly(self, tmp_path):
        weights = RNG.standard_normal((8, 16)).astype(np.float32)
        keep = np.zeros((8, 16), bool)
        for row in range(8):
            for group in range(4):
                keep[row, 4 * group + RNG.choice(4, 2, replace=False)] = True
        parts = packing.bitmask(weights, keep)
        # As some converters name them, too.
        for names in (
            parts,
            dict(zip(("weight_packed", "weight_bitmask", "weight_shape"), parts.values(), strict=True)),
        ):
            file = packing.save_safetensors(
                tmp_path / "m.safetensors", {f"l.{name}": array for name, array in names.items()}
            )
            net = eie.load(file)
            assert np.array_equal(net.layers[0].weights, np.where(keep, weights, 0))
            assert "2 of every 4 kept" in net.notes[0]

    def test_kept_integers_have_their_scales(self):
        codes = RNG.integers(1, 100, (4, 8)).astype(np.int8)
        keep = RNG.random((4, 8)) < 0.5
        parts = packing.bitmask(codes, keep) | {"weight_scale": np.full((4, 1), 0.25, np.float32)}
        result = dequantise({f"l.{name}": array for name, array in parts.items()}, Hints(), "m")
        assert np.array_equal(result.arrays["l.weight"], np.where(keep, codes * 0.25, 0))
        # A byte for each kept weight, a bit for each place, the shape, a scale a row.
        assert result.stored_bits["l.weight"] == (8 * keep.sum() + 32 + 128 + 4 * 32) / 32

    def test_kept_floats_of_one_byte_have_their_scales(self):
        weights, keep = RNG.uniform(1, 2, (4, 8)).astype(np.float32), RNG.random((4, 8)) < 0.5
        parts = packing.bitmask(weights, keep) | {"weight_scale": np.full((4, 1), 0.25, np.float32)}
        result = dequantise({f"l.{name}": array for name, array in parts.items()}, Hints(bits={"l.compressed": 8}), "m")
        assert np.array_equal(result.arrays["l.weight"], np.where(keep, weights * np.float32(0.25), 0))
        assert result.stored_bits["l.weight"] == (8 * keep.sum() + 32 + 128 + 4 * 32) / 32

    def test_counts_that_differ(self):
        parts = packing.bitmask(np.ones((4, 8), np.float32), np.eye(4, 8, dtype=bool))
        with pytest.raises(eie.EieError, match="4 kept weights, but the mask has 0 bits set"):
            decoded(parts | {"bitmask": np.zeros((4, 1), np.uint8)})


class TestOneByte:
    def test_int8_with_a_scale_a_row_a_group_and_the_whole(self):
        codes = RNG.integers(-128, 128, (4, 64)).astype(np.int8)
        for scale in (
            np.float32([[1], [2], [3], [4]]),
            np.float32([1, 2, 3, 4]),
            RNG.uniform(1, 2, (4, 2)).astype(np.float32),
            np.float32(0.5),
        ):
            full = scale[:, None] if scale.shape == (4,) else scale
            full = np.repeat(scale, 32, axis=1) if scale.shape == (4, 2) else full
            assert np.array_equal(decoded({"weight": codes, "weight_scale": scale}), codes * full)

    def test_zero_points_are_taken_off_first(self):
        codes, zero = RNG.integers(-128, 128, (4, 8)).astype(np.int8), np.int8([[1], [-2], [3], [0]])
        parts = {"weight": codes, "weight_scale": np.full((4, 1), 0.5, np.float32), "weight_zero_point": zero}
        assert np.array_equal(decoded(parts), (codes.astype(int) - zero) * 0.5)

    def test_uint8_without_a_zero_point(self):
        with pytest.raises(eie.EieError, match="uint8 with a scale and no zero point"):
            decoded({"weight": np.ones((4, 8), np.uint8), "weight_scale": np.ones(1, np.float32)})

    def test_scales_that_divide_nothing(self):
        with pytest.raises(eie.EieError, match=r"scales of shape \(3, 1\) do not divide weights of shape \(4, 8\)"):
            decoded({"weight": np.ones((4, 8), np.int8), "weight_scale": np.ones((3, 1), np.float32)})

    @pytest.mark.parametrize("kind", ["F8_E4M3", "F8_E5M2"])
    @pytest.mark.parametrize("scaled", ["weight_scale", "weight_scale_inv", ""])
    def test_eight_bit_floats_need_no_torch(self, tmp_path, kind, scaled):
        types = pytest.importorskip("ml_dtypes")
        stored = RNG.standard_normal((6, 10)).astype(
            {"F8_E4M3": types.float8_e4m3fn, "F8_E5M2": types.float8_e5m2}[kind]
        )
        arrays = {f"l.{scaled}": np.float32([0.5])} if scaled else {}
        arrays |= {"l.input_scale": np.float32([2.0])}
        file = packing.save_safetensors(
            tmp_path / "m.safetensors", arrays, foreign={"l.weight": (kind, stored.view(np.uint8))}
        )
        net = eie.load(file)
        assert np.array_equal(net.layers[0].weights, stored.astype(np.float32) * (0.5 if scaled else 1))
        assert net.layers[0].stored_bits == pytest.approx(8 + (32 / 60 if scaled else 0))
        assert any("scales of activations left out: l.input_scale" in note for note in net.notes)

    @pytest.mark.parametrize(("stated", "block"), [(None, 128), ([64, 64], 64)])
    def test_blocks_at_the_edge_are_smaller(self, stated, block):
        """130 x 200 in blocks: two by two of 128, three by four of 64."""
        shape = (130, 200)
        scale = RNG.uniform(1, 2, tuple(-(-size // block) for size in shape)).astype(np.float32)
        hints = Hints(config={} if stated is None else {"weight_block_size": stated}, bits={"l.weight": 8})
        weights = RNG.standard_normal(shape).astype(np.float32)
        rows, columns = (np.arange(size) // block for size in shape)
        assert np.array_equal(
            decoded({"weight": weights, "weight_scale_inv": scale}, hints), weights * scale[np.ix_(rows, columns)]
        )

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("F8_E4M3", "float8_e4m3fn"),
            ("F8_E5M2", "float8_e5m2"),
            ("F8_E4M3FNUZ", "float8_e4m3fnuz"),
            ("F8_E5M2FNUZ", "float8_e5m2fnuz"),
            ("F8_E8M0", "float8_e8m0fnu"),
        ],
    )
    def test_tables_of_all_bytes(self, kind, name):
        types = pytest.importorskip("ml_dtypes")
        every = np.arange(256, dtype=np.uint8)
        wanted, ours = every.view(getattr(types, name)).astype(np.float32), float8.decode(every, kind)
        assert np.array_equal(ours, wanted, equal_nan=True)
        assert np.array_equal(np.signbit(ours)[~np.isnan(ours)], np.signbit(wanted)[~np.isnan(wanted)])

    def test_types_without_a_reader_are_named(self, tmp_path):
        file = packing.save_safetensors(
            tmp_path / "m.safetensors", {}, foreign={"l.weight": ("F4", np.zeros((4, 4), np.uint8))}
        )
        data = file.read_bytes().replace(b'"shape": [4, 4]', b'"shape": [4, 8]')
        file.write_bytes(data)
        with pytest.raises(eie.EieError, match=r"not a usable \.safetensors file: tensor 'l.weight' is of type F4"):
            eie.load(file)


class TestBitsandbytes:
    def test_int8_rows(self):
        codes, largest = RNG.integers(-127, 128, (5, 9)).astype(np.int8), np.float32([1, 2, 3, 4, 5])
        parts = {"weight": codes, "SCB": largest, "weight_format": np.uint8(0)}
        assert np.allclose(decoded(parts), codes / 127 * largest[:, None], rtol=1e-6)
        with pytest.raises(eie.EieError, match="weight_format=2: ordered for a GPU"):
            decoded(parts | {"weight_format": np.uint8(2)})

    @pytest.mark.parametrize("nested", [False, True])
    def test_four_bit_blocks(self, nested):
        shape, block = (6, 50), 64
        levels = np.linspace(-1, 1, 16).astype(np.float32)
        codes = RNG.integers(0, 16, 300)
        packed = np.array([codes[i] << 4 | codes[i + 1] for i in range(0, 300, 2)], np.uint8)[:, None]
        state = {"quant_type": "nf4", "blocksize": block, "dtype": "bfloat16", "shape": list(shape)}
        largest = RNG.uniform(1, 2, 5).astype(np.float32)
        parts = {"weight": packed, "weight.quant_map": levels, "weight.absmax": largest}
        if nested:
            nested_levels = np.linspace(-1, 1, 256).astype(np.float32)
            inner = RNG.integers(0, 256, 5).astype(np.uint8)
            parts |= {"weight.absmax": inner, "weight.nested_absmax": np.float32([0.5]),
                      "weight.nested_quant_map": nested_levels}  # fmt: skip
            state |= {"nested_blocksize": 256, "nested_offset": 1.25}
            largest = nested_levels[inner] * np.float32(0.5) + np.float32(1.25)
        parts["weight.quant_state.bitsandbytes__nf4"] = np.frombuffer(json.dumps(state).encode(), np.uint8)
        wanted = levels[codes] * np.repeat(largest, block)[:300]
        assert np.array_equal(decoded(parts), wanted.reshape(shape))

    def test_a_state_that_lies(self):
        parts = {
            "weight": np.zeros((9, 1), np.uint8),
            "weight.absmax": np.ones(1, np.float32),
            "weight.quant_map": np.ones(16, np.float32),
            "weight.quant_state.bitsandbytes__fp4": np.frombuffer(
                b'{"blocksize": 64, "shape": [70000, 70000]}', np.uint8
            ),
        }
        with pytest.raises(eie.EieError, match=r"states the shape \(70000, 70000\)"):
            decoded(parts)


class TestFourBitFloats:
    VALUES = np.float32([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])

    def packed(self, codes):
        return (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8)

    def test_nvfp4(self):
        codes, scale = RNG.integers(0, 16, (4, 32)), RNG.uniform(1, 2, (4, 2)).astype(np.float32)
        full = self.VALUES[codes] * np.repeat(scale / np.float32(4), 16, axis=1)
        parts = {"weight_packed": self.packed(codes), "weight_scale": scale, "weight_global_scale": np.float32([4])}
        assert np.array_equal(decoded(parts), full)
        # ModelOpt's second scale is a factor.
        other = {"weight": self.packed(codes), "weight_scale": scale, "weight_scale_2": np.float32(0.25)}
        assert np.array_equal(decoded(other), full)

    def test_mxfp4_scales_are_powers_of_two(self):
        codes, exponents = RNG.integers(0, 16, (2, 64)), np.uint8([[127, 128], [126, 130]])
        parts = {"weight_packed": self.packed(codes), "weight_scale": exponents}
        assert np.array_equal(
            decoded(parts), self.VALUES[codes] * np.repeat(2.0 ** (exponents.astype(int) - 127), 32, 1)
        )


class TestTorchao:
    def test_int8(self, tmp_path):
        codes, scale = RNG.integers(-128, 128, (4, 8)).astype(np.int8), np.float32([[1], [2], [3], [4]])
        arrays = {"0._weight_qdata": codes, "0._weight_scale": scale, "0.bias": np.ones(4, np.float32)}
        texts = {"0.weight": '{"_type": "Int8Tensor", "_data": {}}', "tensor_names": '["0.weight", "0.bias"]'}
        layer = one_layer(packing.save_safetensors(tmp_path / "m.safetensors", arrays, texts))
        assert np.array_equal(layer.weights, codes * scale)
        assert layer.has_bias

    @pytest.mark.parametrize("texts", [{"0.weight": '{"_type": "Int4Tensor"}'}, {}])
    def test_packed_classes_are_refused_by_name(self, tmp_path, texts):
        arrays = {"0._weight_qdata": np.zeros((4, 4), np.int8), "0._weight_scale": np.ones((1, 4), np.float32)}
        kind = "Int4Tensor" if texts else "tensor of unknown class"
        with pytest.raises(
            eie.EieError, match=rf"m.safetensors: 0.weight: a torchao {kind}: must be one of Int8Tensor"
        ):
            eie.load(packing.save_safetensors(tmp_path / "m.safetensors", arrays, texts))


@pytest.mark.parametrize("kind", UNREAD)
def test_formats_that_are_not_read_are_named(kind):
    arrays = {f"a.b.{tail}": np.ones((4, 4), np.uint8) for tail in UNREAD[kind]} | {"c.weight": np.ones((2, 2))}
    with pytest.raises(eie.EieError) as caught:
        dequantise(arrays, Hints(), "m")
    assert str(caught.value).startswith(f"m: a.b: {kind}: not read: load it with the library that wrote it and save")


def test_plain_weights_beside_packed_ones():
    codes, zeros, scales = codes_and_scales(RNG, bits=4, inputs=32, outputs=32, groups=1)
    parts = packing.gptq(codes, zeros=zeros, scales=scales, bits=4) | {"weight": np.ones((32, 32), np.float32)}
    with pytest.raises(eie.EieError, match="the file holds the plain weights as well"):
        decoded(parts)


FLOATS = {"a.weight": np.ones((3, 4), np.float32), "a.bias": np.ones(3, np.float32), "weight": np.ones((2, 2), np.int8)}


def test_all_weights_together_are_bounded(monkeypatch):
    """Packed, a model has an eighth of the bytes that its float32 weights take."""
    monkeypatch.setattr("eie.importers.quantised.LARGEST_BYTES", 300)
    arrays = {f"{i}.weight": np.ones((8, 8), np.int8) for i in range(2)}
    arrays |= {f"{i}.weight_scale": np.ones(1, np.float32) for i in range(2)}
    with pytest.raises(
        eie.EieError, match="m: as float32 its weights are more than 300 bytes: give its shards one by one"
    ):
        dequantise(arrays, Hints(), "m")


def test_plain_arrays_are_left_alone():
    result = dequantise(FLOATS, Hints(bits={"a.weight": 16}), "m")
    assert result.arrays == FLOATS
    assert (result.stored_bits, result.notes) == ({}, ())


def layouts():
    """One layer of every format, by its arrays."""
    rng = np.random.default_rng(0)
    codes, zeros, scales = codes_and_scales(rng, bits=4, inputs=32, outputs=32, groups=2)
    int8 = rng.integers(-128, 128, (8, 16)).astype(np.int8)
    row_scale = np.ones((8, 1), np.float32)
    return {
        "gptq": packing.gptq(codes, zeros=zeros, scales=scales, bits=4, group_of=np.arange(32) // 16),
        "awq": packing.awq(codes, zeros=zeros, scales=scales),
        "packed": {
            "weight_packed": packing.rows_of_words(rng.integers(0, 16, (8, 16)), 4),
            "weight_scale": row_scale,
            "weight_shape": np.array([8, 16]),
        },
        "bitmask": packing.bitmask(rng.standard_normal((8, 16)).astype(np.float32), rng.random((8, 16)) < 0.5),
        "int8": {"weight": int8, "weight_scale": row_scale, "weight_zero_point": np.zeros((8, 1), np.int8)},
        "scb": {"weight": int8, "SCB": np.ones(8, np.float32), "weight_format": np.uint8(0)},
        "nf4": {
            "weight": np.zeros((64, 1), np.uint8),
            "weight.absmax": np.ones(2, np.float32),
            "weight.quant_map": np.linspace(-1, 1, 16).astype(np.float32),
            "weight.quant_state.bitsandbytes__nf4": np.frombuffer(b'{"blocksize": 64, "shape": [8, 16]}', np.uint8),
        },
        "fp4": {"weight_packed": np.zeros((8, 8), np.uint8), "weight_scale": np.full((8, 1), 127, np.uint8)},
    }


@pytest.mark.parametrize("name", layouts())
@given(st.data())
@many
def test_odd_companions(name, data):
    """Arrays dropped, cut, of another type or shape: weights, or an error of one line; never anything else."""
    parts = layouts()[name]
    which = data.draw(st.sampled_from(sorted(parts)))
    how = data.draw(st.sampled_from(["drop", "cut", "type", "axis", "flat", "value"]))
    array = np.atleast_1d(parts.pop(which)).copy()
    # What a damaged file holds overflows on its way to another type.
    with np.errstate(all="ignore"):
        if how == "cut":
            array = array[: data.draw(st.integers(0, len(array) - 1))]
        elif how == "type":
            array = array.astype(data.draw(st.sampled_from(["?", "i1", "u1", "i4", "u8", "f2", "f8", "c8", "S3"])))
        elif how == "axis":
            array = array[None]
        elif how == "flat":
            array = array.reshape(-1)
        elif how == "value":
            odd = np.array(data.draw(st.sampled_from([-1, 127, 1 << 31, 1 << 62])))
            array.reshape(-1)[data.draw(st.integers(0, array.size - 1))] = odd.astype(array.dtype)
    if how != "drop":
        parts[which] = array
    text = "m: "
    try:
        dequantise({f"l.{part}": array for part, array in parts.items()}, Hints(), "m")
    except eie.EieError as error:
        text = str(error)
    assert text.startswith("m: ")
    assert "\n" not in text


class TestSizes:
    """Until scales of groups have a format here, a layer counts as wide as its file had it."""

    def network(self, tmp_path):
        codes, zeros, scales = codes_and_scales(RNG, bits=4, inputs=64, outputs=32, groups=2)
        parts = packing.gptq(codes, zeros=zeros, scales=scales, bits=4)
        arrays = {f"l.{name}": array for name, array in parts.items()}
        arrays |= {"l.bias": np.ones(32, np.float32), "f.weight": np.ones((4, 32), np.float32)}
        return eie.load(packing.save_safetensors(tmp_path / "m.safetensors", arrays))

    def test_dense_is_the_file(self, tmp_path):
        net = self.network(tmp_path)
        sizes = {size.name: size for size in size_report(net).layers}
        assert (sizes["l"].dense_bits, sizes["f"].dense_bits) == (4.625, 32)
        # 32 x 64 weights at 4 bits, 2 x 32 scales of 2 bytes, 2 x 32 zero points of 4 bits, 32 biases.
        assert sizes["l"].dense_bytes == 32 * 64 // 2 + 128 + 32 + 128
        kept = net.layers[1].matrix.nnz
        assert sizes["l"].pruned_bytes == math.ceil(kept * 4.625 / 8) + 4 * (kept + 33 + 32)
        assert sizes["l"].weight_bits_pq == 4.625
        # Biases stay floats where nothing is shared.
        assert sizes["l"].shared_bytes == math.ceil(sizes["l"].entries * (4.625 + 4) / 8) + 128
        assert sizes["f"].dense_bytes == 4 * 128

    def test_the_report_says_so(self, tmp_path):
        report = size_report(self.network(tmp_path))
        assert "dense at 4.625 bits a weight, scales included, as in the file: l" in str(report.sections()[0].lines)
        assert report.total.dense_bits == pytest.approx((4.625 * 2048 + 32 * 128) / 2176)
        assert [record["dense_bits"] for record in report.records()][:2] == [32, 4.625]

    def test_a_shared_layer_keeps_what_dense_means(self, tmp_path):
        net = self.network(tmp_path)
        shared = replace(net, layers=tuple(share(layer, 4)[0] for layer in net.layers))
        size = size_report(shared).layers[1]
        assert (size.dense_bits, size.weight_bits_pq) == (4.625, 4)

    @pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".eie"])
    def test_files_of_ours_keep_it(self, tmp_path, suffix):
        eie.save(self.network(tmp_path), tmp_path / f"own{suffix}")
        back = eie.load(tmp_path / f"own{suffix}")
        assert [layer.stored_bits for layer in back.layers] == [None, 4.625]


def test_settings_beside_the_file_count(tmp_path):
    """Symmetric zero points of 7 look like version 1; the configuration says they are not."""
    codes, _, scales = codes_and_scales(RNG, bits=4, inputs=32, outputs=32, groups=1)
    parts = packing.gptq(codes, zeros=np.full((1, 32), 7), scales=scales, bits=4, stored_less=0)
    packing.save_safetensors(tmp_path / "m.safetensors", {f"l.{name}": array for name, array in parts.items()})
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    weights = read_all(tmp_path / "m.safetensors").arrays["l.weight"]
    assert np.array_equal(weights, ((codes - 7) * scales.astype(np.float32)).T)
