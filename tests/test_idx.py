"""IDX files and the labelled examples read from them."""

import contextlib
import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eie.compression.training.dataset import idx_examples
from eie.errors import TraceError
from eie.formats import idx
from eie.model.samples import Samples

TYPES = {"u1": 8, "i1": 9, "i2": 11, "i4": 12, "f4": 13, "f8": 14}


def packed(array):
    big = array.astype(array.dtype.newbyteorder(">"))
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, TYPES[array.dtype.str[1:]], array.ndim, *array.shape)
    return head + big.tobytes()


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("name", ["x-ubyte", "x-ubyte.gz"])
def test_every_type_round_trips(tmp_path, kind, name):
    array = np.arange(-12, 12).astype(kind).reshape(2, 3, 4)
    file = tmp_path / name
    file.write_bytes(gzip.compress(packed(array)) if name.endswith("gz") else packed(array))
    found = idx.read(file)
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda b: b[:0], "begins with nothing"),
        (lambda b: b"\1" + b[1:], "not an IDX file: it begins with 01000802"),
        (lambda b: b[:2] + b"\7" + b[3:], "not an IDX file"),
        (lambda b: b[:9], "truncated: 2 dimensions announced, 1 given"),
        (lambda b: b[:-1], "3 x 5 values take 15 bytes, the file has 14"),
        (lambda b: b + b"x", "the file has more"),
        (lambda b: b[:4] + b"\xff" * 8 + b[12:], "at most 2147483648"),
    ],
)
def test_damaged_files_are_refused(tmp_path, damage, text):
    file = tmp_path / "x"
    file.write_bytes(damage(packed(np.zeros((3, 5), np.uint8))))
    with pytest.raises(TraceError, match=text):
        idx.read(file)


def test_missing_and_broken_archives_are_refused(tmp_path):
    with pytest.raises(TraceError, match="No such file"):
        idx.read(tmp_path / "none")
    file = tmp_path / "x.gz"
    for content in (b"plain", gzip.compress(packed(np.zeros(99, np.uint8)))[:-12]):
        file.write_bytes(content)
        with pytest.raises(TraceError, match="cannot be read"):
            idx.read(file)


@given(st.data())
def test_flipped_bytes_never_give_a_traceback(tmp_path_factory, data):
    content = bytearray(packed(np.arange(12, dtype=np.uint8).reshape(3, 4)))
    content = bytearray(gzip.compress(content, mtime=0))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    file = tmp_path_factory.mktemp("idx") / "x.gz"
    file.write_bytes(content)
    with contextlib.suppress(TraceError):
        idx.read(file)


def write_set(folder, names=("images-idx3", "labels-idx1"), labels=7):
    images = np.arange(7 * 6, dtype=np.uint8).reshape(7, 2, 3)
    (folder / f"train-{names[0]}-ubyte").write_bytes(packed(images))
    (folder / f"train-{names[1]}-ubyte.gz").write_bytes(gzip.compress(packed(np.arange(labels, dtype=np.uint8))))
    return images


@pytest.mark.parametrize("names", [("images-idx3", "labels-idx1"), ("images.idx3", "labels.idx1")])
def test_examples_are_flat_pixels_over_255(tmp_path, names):
    images = write_set(tmp_path, names)
    found = idx_examples(tmp_path, "train")
    np.testing.assert_array_equal(found.values, (images / 255).astype(np.float32).reshape(7, 6))
    assert found.labels.tolist() == list(range(7))
    assert found.head(2).values.shape == (2, 6)


def test_sets_that_are_missing_or_do_not_match_are_refused(tmp_path):
    with pytest.raises(TraceError, match=r"no t10k-images-idx3-ubyte or t10k-images-idx3-ubyte\.gz .*apt install"):
        idx_examples(tmp_path, "test")
    write_set(tmp_path, labels=6)
    with pytest.raises(TraceError, match=r"train has images \(7, 2, 3\) uint8 but labels \(6,\)"):
        idx_examples(tmp_path, "train")
    with pytest.raises(TraceError, match="arrays: 2 samples but 3 labels"):
        Samples.of(np.zeros((2, 3), np.float32), labels=np.zeros(3, np.int64))
