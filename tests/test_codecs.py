"""Codecs: what is packed comes back, damaged bytes are refused, and the bytes stay what they are."""

import contextlib
import heapq

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.compression.coding import bits, huffman, nm, relative
from eie.compression.pruning.prune import prune_mask


def huffman_cost(counts):
    """Bits of an unlimited Huffman code, by merging the two least."""
    heap = [int(count) for count in counts if count]
    heapq.heapify(heap)
    total = heap[0] if len(heap) == 1 else 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        total += merged
        heapq.heappush(heap, merged)
    return total


@given(st.integers(1, 16), st.data())
def test_packed_bits_come_back(width, data):
    values = np.array(data.draw(st.lists(st.integers(0, 2**width - 1), max_size=40)), np.uint16)
    packed = bits.pack(values, width)
    assert len(packed) == bits.packed_bytes(width, len(values))
    assert bits.unpack(packed, width, len(values)).tolist() == values.tolist()


def test_packed_bits_of_a_wrong_length():
    with pytest.raises(eie.EieError, match="3 values of 4 bits take 2 bytes, not 1"):
        bits.unpack(b"\x00", 4, 3)


class TestNm:
    @given(st.integers(1, 8), st.integers(0, 7), st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**32 - 1))
    @settings(max_examples=80)
    def test_comes_back(self, n, further, rows, columns, seed):
        m = n + further
        rng = np.random.default_rng(seed)
        weights = rng.integers(-3, 4, (rows, columns)).astype(np.float32)
        weights[~prune_mask(weights, f"{n}:{m}")] = 0
        packed = nm.encode(weights, n, m)
        assert np.array_equal(nm.decode(packed), weights)
        groups = -(-columns // m)
        assert packed.values.shape == (rows, groups, n)
        assert len(packed.indices) == -(-rows * groups * n * packed.index_bits // 8)

    def test_two_of_four_as_the_hardware_holds_it(self):
        row = np.array([[0, 7, 0, 0, 5, 0, 0, 6, 0, 0, 0, 0]], np.int8)
        packed = nm.encode(row, 2, 4)
        assert packed.values.tolist() == [[[0, 7], [5, 6], [0, 0]]]
        assert bits.unpack(packed.indices, 2, 6).tolist() == [0, 1, 0, 3, 0, 1]
        assert packed.indices.hex() == "c404"
        assert packed.nbytes() == 6 + 2
        assert packed.nbytes(value_bits=4) == 3 + 2

    def test_crowded_groups_are_named(self):
        weights = np.zeros((2, 10))
        weights[1, 8:] = 1
        weights[1, 4:7] = 1
        with pytest.raises(eie.EieError, match=r"row 1, columns 4 to 7: 3 non-zeros: 2:4 allows 2"):
            nm.encode(weights, 2, 4)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"indices": b"\x00"}, "must ascend"),
            ({"indices": b"\x00\x00"}, "take 1 bytes, not 2"),
            ({"values": np.zeros((1, 3, 2))}, "have shape"),
            ({"shape": (1, 6)}, "lies beyond column 5"),
        ],
    )
    def test_damage_is_refused(self, change, message):
        packed = nm.encode(np.array([[0, 1, 2, 0, 3, 0, 0, 4]]), 2, 4)
        with pytest.raises(eie.EieError, match=message):
            nm.decode(nm.NmMatrix(**{**vars(packed), **change}))


class TestRelative:
    @given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.sampled_from([0, 0.002, 0.05, 0.5, 1]))
    def test_comes_back(self, index_bits, seed, density):
        rng = np.random.default_rng(seed)
        flat = (rng.integers(1, 256, 700) * (rng.random(700) < density)).astype(np.uint8)
        coded = relative.encode(np.flatnonzero(flat), flat[flat > 0], index_bits)
        assert np.array_equal(relative.decode(coded, flat.size), flat)
        assert coded.runs.max(initial=0) < 1 << index_bits
        assert len(coded.codes) == np.count_nonzero(flat) + coded.padding

    @pytest.mark.parametrize(("gap", "runs"), [(15, [15]), (16, [15, 0]), (31, [15, 15]), (32, [15, 15, 0])])
    def test_padding_begins_at_sixteen_zeros(self, gap, runs):
        coded = relative.encode(np.array([gap]), np.array([9]), 4)
        assert coded.runs.tolist() == runs
        assert coded.codes.tolist() == [0] * (len(runs) - 1) + [9]

    def test_weights_come_back_as_weights(self):
        coded = relative.encode(np.array([1, 40]), np.array([0.5, -2], np.float32), 4)
        assert coded.codes.tolist() == [0.5, 0, 0, -2]
        flat = relative.decode(coded, 41)
        assert (flat.dtype, flat[[1, 40]].tolist(), np.count_nonzero(flat)) == (np.float32, [0.5, -2], 2)

    def test_codes_and_runs_belong_together(self):
        coded = relative.RelativeCodes(np.ones(2, np.uint8), np.zeros(3, np.uint8))
        with pytest.raises(eie.EieError, match="2 codes and 3 runs: must be equally many"):
            relative.decode(coded, 9)

    def test_entries_beyond_the_end_are_refused(self):
        with pytest.raises(eie.EieError, match="an entry at place 22: must be below 22"):
            relative.decode(relative.encode(np.array([22]), np.array([1]), 4), 22)


class TestHuffman:
    @given(st.integers(1, 256), st.data())
    @settings(max_examples=80)
    def test_comes_back(self, alphabet, data):
        symbols = np.array(data.draw(st.lists(st.integers(0, alphabet - 1), max_size=300)), np.int64)
        coded = huffman.encode(symbols, alphabet)
        assert huffman.decode(coded).tolist() == symbols.tolist()
        counts = np.bincount(symbols, minlength=alphabet)
        assert len(coded) == huffman.table_bytes(alphabet) + -(-huffman.coded_bits(counts) // 8)
        assert huffman.coded_bits(counts) == huffman_cost(counts)

    def test_lengths_stop_at_fifteen(self):
        counts = np.array([1, 1, *(2**i for i in range(1, 30))])
        lengths = huffman.code_lengths(counts).astype(int)
        assert lengths.max() == 15
        assert (2.0**-lengths).sum() == 1
        assert (np.diff(lengths) <= 0).all()
        assert huffman_cost(counts) < huffman.coded_bits(counts) < 1.01 * huffman_cost(counts)

    def test_no_word_begins_another(self):
        lengths = huffman.code_lengths(np.array([9, 1, 0, 4, 4, 2, 30, 1]))
        words = huffman.code_words(lengths)
        texts = [format(word, f"0{length}b") for word, length in zip(words, lengths, strict=True) if length]
        assert len(texts) == 7
        assert not any(a != b and b.startswith(a) for a in texts for b in texts)

    @pytest.mark.parametrize("cut", [0, 1, 5, 9, -1])
    def test_cut_short(self, cut):
        coded = huffman.encode(np.arange(200) % 13, 13)
        with pytest.raises(eie.EieError, match="huffman: "):
            huffman.decode(coded[:cut])

    @pytest.mark.parametrize("bit", [0, 1, 2])
    def test_bits_behind_the_last_word_must_be_zero(self, bit):
        """Seven words of 13 bits leave three bits of the second byte."""
        coded = bytearray(huffman.encode(np.array([0, 1, 2, 3, 0, 0, 1]), 4))
        coded[-1] |= 1 << bit
        with pytest.raises(eie.EieError, match="do not end where its symbols do"):
            huffman.decode(bytes(coded))

    def test_words_that_are_none(self):
        """One symbol has the word 0: a stream of ones holds no word of any length."""
        coded = bytearray(huffman.encode(np.zeros(20, int), 1))
        assert huffman.decode(bytes(coded)).tolist() == [0] * 20
        coded[-3] = 0xFF
        with pytest.raises(eie.EieError, match="do not end where its symbols do"):
            huffman.decode(bytes(coded))

    def test_lengths_that_are_no_code(self):
        coded = bytearray(huffman.encode(np.array([0, 1, 2, 3, 0, 0, 1]), 4))
        coded[1] = 0x11
        coded[2] = 0x11
        with pytest.raises(eie.EieError, match="its table is no code"):
            huffman.decode(bytes(coded))

    @given(st.data())
    @settings(max_examples=60)
    def test_flipped_bits_give_symbols_or_an_error(self, data):
        coded = bytearray(huffman.encode(np.arange(60) ** 2 % 11, 11))
        coded[data.draw(st.integers(0, len(coded) - 1))] ^= data.draw(st.integers(1, 255))
        with contextlib.suppress(eie.EieError):
            assert huffman.decode(bytes(coded)).dtype == np.uint8

    def test_symbols_outside_the_alphabet(self):
        with pytest.raises(eie.EieError, match="symbols must lie in 0 to 3"):
            huffman.encode(np.array([4]), 4)


def test_huffman_bytes_are_frozen():
    """Alphabet 4 (03), lengths 1 2 3 3 (21 33), seven symbols (07 00 00 00), words 0 10 110 111 0 0 10."""
    coded = huffman.encode(np.array([0, 1, 2, 3, 0, 0, 1]), 4)
    assert coded.hex() == "03" + "2133" + "07000000" + "5b90"
    assert huffman.decode(coded).tolist() == [0, 1, 2, 3, 0, 0, 1]
