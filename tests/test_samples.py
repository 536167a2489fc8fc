"""One record of inputs with labels, in memory or read when wanted."""

import numpy as np
import pytest

import eie
from eie.errors import TraceError

VALUES = np.arange(12.0).reshape(6, 2)


def lazy(read):
    def load(places):
        read.append(places.tolist())
        return VALUES[places].astype(np.float32)

    return eie.Samples(arrays={"": eie.Lazy(6, load)}, labels=np.arange(6), source="pictures")


def test_parts_hold_the_same_in_memory_and_unread():
    read = []
    for samples in (eie.Samples.of(VALUES, labels=np.arange(6)), lazy(read)):
        for part, kept in (
            (samples, range(6)),
            (samples.head(2), [0, 1]),
            (samples.tail(2), [4, 5]),
            (samples.tail(9), range(6)),
            (samples.part(1, 3), [1, 2]),
            (samples.tail(4).head(2), [2, 3]),
            (samples.taken(np.array([5, 0])), [5, 0]),
        ):
            places = list(kept)
            assert part.count == len(places)
            assert part.values.dtype == np.float32
            np.testing.assert_array_equal(part.values, VALUES[places])
            np.testing.assert_array_equal(part.classes, places)
        assert [len(batch) for batch in samples.batches(4)] == [4, 2]
    assert max(map(len, read)) == 6
    read.clear()
    chosen = lazy(read).choose(3, seed=1)
    assert read == []  # nothing is read before it is asked for
    np.testing.assert_array_equal(chosen.values, VALUES[chosen.classes])
    assert chosen.source == "pictures, 3 samples, drawn with seed 1"
    assert read == [chosen.classes.tolist()]


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(TraceError, match="set: 6 samples but 5 labels"):
        eie.Samples.of(VALUES, "set", np.arange(5))
    with pytest.raises(TraceError, match="the network's inputs hold different numbers of samples: a 6, b 5"):
        eie.Samples(arrays={"a": VALUES, "b": VALUES[:5]})
    with pytest.raises(TraceError, match=r"arrays: has inputs a, b: one is taken here"):
        _ = eie.Samples(arrays={"a": VALUES, "b": VALUES}).values
    with pytest.raises(TraceError, match="arrays: has no labels, which are needed here"):
        _ = eie.Samples.of(VALUES).classes
    with pytest.raises(TraceError, match="arrays: 7 samples asked for: it holds 6"):
        eie.Samples.of(VALUES).choose(7)
    with pytest.raises(TraceError, match="must be numbers"):
        eie.Samples.of(np.array(["a"]))
