"""Coded files: as small as the report says, the same network again bit for bit, and no bit may be another."""

import contextlib
import hashlib
import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pytest
from coded_models import SMALL, frozen_network, shape_of, winograd_layer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_networks import cnn, images, mlp, outputs

import eie
from eie.compression.coding import coded_file, nm
from eie.compression.coding.size import size_report
from eie.compression.pruning.prune import diagonal_blocks, prune_mask, with_mask
from eie.compression.share import share
from eie.formats.safetensors import parse_safetensors, safetensors_bytes, write_safetensors
from eie.importers import coded
from eie.model.layer import Layer
from eie.model.matrix import SparseColumns
from eie.model.network import Network

MANY = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shared(network, bits=4):
    return replace(network, layers=tuple(share(layer, bits)[0] for layer in network.layers))


def assert_same(ours, theirs):
    """Every bit: signs of zero and subnormal numbers count."""
    for name in ("name", "sequential", "source", "notes"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert len(ours.layers) == len(theirs.layers)
    for here, there in zip(ours.layers, theirs.layers, strict=True):
        for name in ("name", "relu", "synthetic", "geometry"):
            assert getattr(here, name) == getattr(there, name)
        assert here.matrix.shape == there.matrix.shape
        pairs = [(getattr(here.matrix, name), getattr(there.matrix, name)) for name in ("starts", "rows", "data")]
        pairs += [(getattr(here, name), getattr(there, name)) for name in ("codebook", "bias", "bias_codes")]
        for one, other in pairs:
            assert (one is None) == (other is None)
            assert one is None or (one.dtype, one.tobytes()) == (other.dtype, other.tobytes())
    assert (ours.graph is None) == (theirs.graph is None)
    if ours.graph is not None:
        assert ours.graph.describe() == theirs.graph.describe()
        for name, array in theirs.graph.constants.items():
            assert (ours.graph.constants[name].dtype, ours.graph.constants[name].tobytes()) == (
                array.dtype,
                array.tobytes(),
            )


def there_and_back(network, path, **options):
    eie.save(network, path, **options)
    return eie.load(path)


@st.composite
def layers(draw):
    """Any layer: wide, nearly empty, full, of one level, with long runs and empty columns, N of M, shared or not."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kind = draw(st.sampled_from(["linear", "wide", "conv", "lstm", "winograd"]))
    shape, geometry = ((3, 2000), None) if kind == "wide" else shape_of(kind, rng)
    keep = rng.random(shape) < draw(st.sampled_from([0, 0.002, 0.05, 0.5, 1]))
    keep &= rng.random(shape[1]) < draw(st.sampled_from([0.3, 1]))
    pattern = draw(st.sampled_from([None, None, "2:4", "1:2", "3:8"]))
    if pattern is not None:
        keep = prune_mask(rng.random(shape), pattern)
    bias = rng.integers(0, 2, shape[0])
    if draw(st.booleans()):
        weights = np.where(keep, rng.standard_normal(shape), 0).astype(np.float32)
        layer = Layer.from_weights("a/b", weights, bias * np.float32(-1e-40) if draw(st.booleans()) else None)
    else:
        levels = draw(st.sampled_from([1, 2, 3, 16, 17, 256]))
        codebook = np.concatenate((np.array([-0.0], np.float32), rng.standard_normal(levels - 1).astype(np.float32)))
        codes = np.where(keep, rng.integers(min(1, levels - 1), levels, shape), 0)
        bias_codes = bias * (levels - 1) if draw(st.booleans()) else None
        layer = Layer.from_codes(name="a/b", codes=codes, codebook=codebook, bias_codes=bias_codes)
    matrix = layer.matrix
    if geometry is not None and matrix.shape != geometry.matrix_shape:
        blocks = diagonal_blocks(replace(layer, geometry=geometry))
        block = np.arange(shape[0]) // (shape[0] // blocks)
        columns = matrix.column_of + block[matrix.rows] * shape[1]
        matrix = SparseColumns.from_entries(
            shape=geometry.matrix_shape, rows=matrix.rows, columns=columns, data=matrix.data
        )
    geometry = layer.geometry if geometry is None else geometry
    return replace(layer, matrix=matrix, geometry=geometry, relu=draw(st.booleans()), synthetic=draw(st.booleans()))


class TestRoundTrip:
    @given(layers(), st.integers(1, 8))
    @MANY
    def test_any_layer(self, tmp_path, layer, index_bits):
        network = Network.of(layer)
        assert_same(there_and_back(network, tmp_path / "net.eie", index_bits=index_bits), network)

    @given(layers(), st.integers(1, 8))
    @MANY
    def test_the_arrays_are_what_the_report_counts(self, layer, index_bits):
        _, arrays = coded_file.pack(layer, index_bits)
        counted = size_report(Network.of(layer), index_bits).total.huffman_bytes
        assert sum(array.nbytes for array in arrays.values()) == counted

    @pytest.mark.parametrize(
        "make", [cnn, lambda: shared(cnn()), lambda: mlp([4, 3, 2]), lambda: Network.of(winograd_layer())]
    )
    def test_networks(self, tmp_path, make):
        network = make()
        back = there_and_back(network, tmp_path / "net.eie")
        assert_same(back, network)
        if network.graph is not None:
            assert np.array_equal(outputs(back, images()), outputs(network, images()))

    def test_names_that_look_like_tensors(self, tmp_path):
        names = ("network", "0.codes", "graph.0", "Schicht ä / 层")
        each = tuple(Layer.from_weights(name, np.eye(3) * (i + 1)) for i, name in enumerate(names))
        network = Network(name="x", layers=each, sequential=True)
        assert_same(there_and_back(network, tmp_path / "net.eie"), network)

    def test_the_trace_stays_behind_and_a_given_one_runs(self, tmp_path):
        network = shared(eie.load("lenet-300-100"))
        back = there_and_back(network, tmp_path / "net.eie")
        assert back.trace is None
        before = eie.simulate(eie.compile(network))
        after = eie.simulate(eie.compile(back), network.trace)
        assert [layer.cycles for layer in after.layers] == [layer.cycles for layer in before.layers]
        assert after.accuracy.fixed == before.accuracy.fixed

    def test_the_order_of_moved_outputs_is_kept(self, tmp_path):
        eie.save(cnn(), tmp_path / "net.eie", np.array([2, 0, 1]))
        arrays = parse_safetensors((tmp_path / "net.eie").read_bytes(), "x", eie.EieError)
        assert arrays["output_order"].tolist() == [2, 0, 1]
        assert_same(eie.load(tmp_path / "net.eie"), cnn())


class TestSize:
    @pytest.mark.parametrize("name", ["lenet-300-100", "lenet-5"])
    @pytest.mark.parametrize(("index_bits", "share_bits"), [(4, None), (5, 4), ({"ip*": 5, "*": 8}, 4), (3, 8)])
    def test_shipped_networks_take_what_the_report_says(self, tmp_path, name, index_bits, share_bits):
        network = eie.load(name) if share_bits is None else shared(eie.load(name), share_bits)
        assert_same(there_and_back(network, tmp_path / "net.eie", index_bits=index_bits), replace(network, trace=None))
        counted = size_report(network, index_bits).total.huffman_bytes
        written = (tmp_path / "net.eie").stat().st_size
        print(f"{name}: {written:,} bytes in the file, {counted:,} in the report ({written / counted - 1:+.1%})")
        assert counted < written <= 1.02 * counted + 600 * len(network.layers)

    @pytest.mark.parametrize(("name", "column"), [("lenet-300-100", "24,630"), ("lenet-5", "44,806")])
    def test_the_documented_sizes_are_measured(self, tmp_path, root, name, column):
        network = shared(eie.load(name))
        eie.save(network, tmp_path / "net.eie", index_bits=5)
        assert f"{size_report(network, 5).total.huffman_bytes:,}" == column
        page = (root / "docs" / "compression.md").read_text()
        row = next(line for line in page.splitlines() if f"| {column} |" in line)
        documented = int(row.split("|")[3].split()[0].replace(",", ""))
        # The description is deflated, by another zlib perhaps to a few bytes more.
        assert abs((tmp_path / "net.eie").stat().st_size - documented) <= 32

    @pytest.mark.parametrize("pattern", ["2:4", "1:4", "1:2"])
    @pytest.mark.parametrize("bits", [None, 4])
    def test_n_of_m_is_stored_as_values_and_positions(self, tmp_path, monkeypatch, pattern, bits):
        layer = mlp([128, 128]).layers[0]
        layer = with_mask(layer, prune_mask(layer.weights, pattern))
        layer = layer if bits is None else share(layer, bits)[0]
        decoded = []
        monkeypatch.setattr(coded_file.nm, "decode", lambda packed: decoded.append(packed) or nm_decode(packed))
        network = Network.of(layer)
        assert_same(there_and_back(network, tmp_path / "net.eie"), network)
        assert [(packed.n, packed.m) for packed in decoded] == [tuple(map(int, pattern.split(":")))]
        _, grouped = coded_file.pack(layer, 4)
        monkeypatch.setattr(coded_file, "GROUPS", ())
        _, runs = coded_file.pack(layer, 4)
        assert sum(map(len, map(bytes, grouped.values()))) < sum(map(len, map(bytes, runs.values())))

    def test_one_weight_too_many_in_a_group_and_zero_runs_are_stored(self):
        layer = mlp([64, 64]).layers[0]
        mask = prune_mask(layer.weights, "2:4")
        assert coded_file.pattern_of(with_mask(layer, mask)) == (2, 4)
        mask[5, 8:12] = True
        assert coded_file.pattern_of(with_mask(layer, mask)) != (2, 4)

    def test_a_wide_layer_with_few_weights(self, tmp_path):
        """20 million places, three entries: runs of 8 bits bridge the gaps, one bit each when coded."""
        rows, columns = np.array([0, 4, 4]), np.array([3, 0, 3_999_999])
        matrix = SparseColumns.from_entries(
            shape=(5, 4_000_000), rows=rows, columns=columns, data=np.array([1, 2, 1], np.uint8)
        )
        layer = replace(Layer.from_codes("w", np.eye(2, dtype=int), [0, 1, 2]), matrix=matrix)
        assert_same(there_and_back(Network.of(layer), tmp_path / "net.eie", index_bits=8), Network.of(layer))
        assert (tmp_path / "net.eie").stat().st_size < 22_000


nm_decode = nm.decode


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    path = tmp_path_factory.mktemp("good") / SMALL
    eie.save(frozen_network(), path)
    return path.read_bytes()


def refused(folder, data, message="net.eie: "):
    (folder / "net.eie").write_bytes(data)
    with pytest.raises(eie.EieError, match=message) as raised:
        eie.load(folder / "net.eie")
    assert "\n" not in str(raised.value)
    assert str(raised.value).isprintable()


class TestDamage:
    def test_every_bit_counts(self, small, monkeypatch):
        """All of them: length, header, blanks behind it, digest, tensors."""
        assert small[: 8 + int.from_bytes(small[:8], "little")].endswith(b" ")
        data = bytearray(small)
        monkeypatch.setattr(coded, "read_bytes", lambda *_: bytes(data))
        assert coded.read("net.eie").name == "small"
        for place in range(len(small)):
            for bit in range(8):
                data[place] ^= 1 << bit
                with pytest.raises(eie.EieError, match="net.eie: "):
                    coded.read("net.eie")
                data[place] ^= 1 << bit

    @pytest.mark.parametrize("cut", [0, 1, 7, 8, 9, 100, -100, -1])
    def test_cut_short(self, small, tmp_path, cut):
        refused(tmp_path, small[:cut])

    @pytest.mark.parametrize("more", [b"\0", b" ", b"\0" * 8])
    def test_extended(self, small, tmp_path, more):
        refused(tmp_path, small + more, "does not match its hash")

    @given(st.data())
    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_flipped_bits_of_a_shipped_network(self, tmp_path, data):
        content = bytearray(shipped_bytes(tmp_path))
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        refused(tmp_path, content)

    def test_foreign_files(self, tmp_path):
        write_safetensors(tmp_path / "net.eie", {"fc.weight": np.eye(3, dtype=np.float32)}, {"format": "np"})
        refused(tmp_path, (tmp_path / "net.eie").read_bytes(), "net.eie: not a coded network of eie, or damaged")
        refused(tmp_path, b"", "not a coded network")
        with pytest.raises(eie.EieError, match="nothing.eie: cannot be read"):
            coded.read(tmp_path / "nothing.eie")

    def test_another_schema(self, small, tmp_path):
        data = small.replace(b"schema 1,", b"schema 2,")
        refused(tmp_path, resigned(data), "net.eie: coded network of schema 2: this version reads 1")

    def test_another_name(self, small, tmp_path):
        (tmp_path / "net.safetensors").write_bytes(small)
        with pytest.raises(eie.EieError, match=r"net.safetensors: a coded network: its name must end in .eie"):
            eie.load(tmp_path / "net.safetensors")


def shipped_bytes(folder):
    path = folder / "lenet.eie"
    if not path.exists():
        eie.save(shared(eie.load("lenet-300-100")), path)
    return path.read_bytes()


def resigned(data):
    """Give changed bytes the digest that belongs to them."""
    start, stop = re.search(rb"sha256 ([0-9a-f]{64})", data).span(1)
    blank = data[:start] + b"0" * 64 + data[stop:]
    return data[:start] + hashlib.sha256(blank).hexdigest().encode() + data[stop:]


def taken_apart(data):
    arrays = {name: array.copy() for name, array in parse_safetensors(data, "x", eie.EieError).items()}
    return json.loads(zlib.decompress(arrays.pop("network").tobytes())), arrays


def put_together(description, arrays):
    text = description if isinstance(description, bytes) else json.dumps(description).encode()
    arrays = arrays | {"network": np.frombuffer(zlib.compress(text), np.uint8)}
    return resigned(safetensors_bytes(arrays, {"eie.coded": f"schema 1, sha256 {'0' * 64}"}))


class TestRightHash:
    """The hash finds damage, not malice: whoever writes a file on purpose writes the right hash."""

    def test_put_together_as_it_was(self, small, tmp_path):
        (tmp_path / "net.eie").write_bytes(put_together(*taken_apart(small)))
        assert_same(eie.load(tmp_path / "net.eie"), frozen_network())

    @pytest.mark.parametrize(
        ("layer", "change", "message"),
        [
            (0, {"outputs": 5}, r"layer 'conv': a 5 x 18 matrix cannot be a Conv2d"),
            (0, {"geometry": {"kind": "Moebius"}}, "unknown geometry 'Moebius'"),
            (1, {"outputs": 1 << 27}, r"network.layers.1.outputs=134217728: must be <= 67108864"),
            (1, {"outputs": 1 << 26, "inputs": 1 << 26}, r"layer 'wide': 67108864 x 67108864 weights: a coded file"),
            (1, {"inputs": 15}, r"layer 'wide': relative codes: an entry at place 767: must be below 720"),
            (1, {"outputs": 49}, r"layer 'wide': bias has shape \(48,\): must be \(49,\)"),
            (1, {"index_bits": 9}, r"index_bits=9: must be <= 8"),
            (1, {"name": "a\x1b[2J"}, "must be printable text"),
            (1, {"scales": None}, "layers.1.scales=None: unknown key"),
            (2, {"pattern": [2, 64]}, "2:64: must be N:M with N below M, M one of 2, 4, 8, 16, 32"),
            (2, {"pattern": [3, 4]}, "3:4 values: 1152: 48 x 48 weights need 1728"),
            (2, {"pattern": None}, "layer 'last': has codebook, codes, positions: must have codebook, codes, runs"),
        ],
    )
    def test_a_layer_that_is_not_that_of_its_arrays(self, small, tmp_path, layer, change, message):
        description, arrays = taken_apart(small)
        description["layers"][layer] |= change
        refused(tmp_path, put_together(description, arrays), message)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"0.scales": np.ones(3, np.float32)}, r"layer 'conv': has bias_codes, codebook, codes, runs, scales"),
            ({"3.codes": np.ones(3, np.uint8)}, "has tensors that this version does not know: '3.codes'"),
            ({"0.codebook": np.ones(4, np.float32)}, r"codebook\[0\] = 1.0: must be 0"),
            ({"0.codebook": np.zeros(4)}, r"codebook is float64 \(4,\): must be one row of float32"),
            ({"0.bias_codes": np.zeros(2, np.uint8)}, "layer 'conv': 4 values of 2 bits take 1 bytes, not 2"),
            ({"0.codebook": np.zeros(3, np.float32)}, "codes holds 3: must be 0 to 2"),
            ({"1.values": np.full(50, np.nan, np.float32)}, r"layer 'wide': weights\[0, 5\] = nan"),
            ({"1.values": np.ones(3, np.float32)}, "relative codes: 3 codes and 50 runs: must be equally many"),
            ({"1.runs": np.zeros(0, np.uint8)}, "huffman: 0 bytes"),
            ({"2.positions": np.zeros(0, np.uint8)}, "huffman: 0 bytes"),
            ({"output_order": np.zeros(48, np.uint32)}, "output_order is no order of the last layer's 48 outputs"),
            ({"graph.0": None}, "its graph has 1 constants, and 0 are stored"),
            ({"graph.0": np.full(16, np.nan)}, "constant 'shift'"),
        ],
    )
    def test_arrays_that_are_not_those_of_the_description(self, small, tmp_path, change, message):
        description, arrays = taken_apart(small)
        arrays = {name: array for name, array in (arrays | change).items() if array is not None}
        refused(tmp_path, put_together(description, arrays), message)

    def test_more_symbols_than_bits_take_no_memory(self, small, tmp_path):
        description, arrays = taken_apart(small)
        arrays["1.runs"][-1 - len(arrays["1.runs"]) + 9 : 13] = 255
        refused(tmp_path, put_together(description, arrays), "states more symbols than it can hold")

    def test_a_description_that_inflates_without_end(self, small, tmp_path):
        refused(tmp_path, put_together(b" " * (17 << 20), taken_apart(small)[1]), "or longer than 16,777,216 bytes")

    @given(st.data())
    @MANY
    def test_anything_else(self, small, tmp_path, data):
        """Bytes of any tensor, or any word of the description, are others: an error of one line, or a network."""
        description, arrays = taken_apart(small)
        name = data.draw(st.sampled_from(["description", *sorted(arrays)]))
        text = bytearray(json.dumps(description).encode())
        target = text if name == "description" else arrays[name].view(np.uint8).reshape(-1)
        for _ in range(data.draw(st.integers(1, 3))):
            target[data.draw(st.integers(0, len(target) - 1))] = data.draw(st.integers(0, 255))
        (tmp_path / "net.eie").write_bytes(put_together(bytes(text), arrays))
        with contextlib.suppress(eie.EieError):
            assert sum(layer.matrix.nnz for layer in eie.load(tmp_path / "net.eie").layers) <= 10_000


class TestRefusals:
    def test_what_no_layer_should_be(self, tmp_path):
        layer = Layer.from_codes(name="a", codes=np.eye(3, dtype=int), codebook=[0, 1], bias_codes=[0, 1, 0])
        with pytest.raises(eie.EieError, match="layer 'a': has bias codes and no codebook"):
            eie.save(Network.of(replace(layer, codebook=None)), tmp_path / "net.eie")
        both = replace(layer, bias=np.ones(3, np.float32))
        with pytest.raises(eie.EieError, match="layer 'a': has its bias as codes and as numbers: give one of them"):
            eie.save(Network.of(both), tmp_path / "net.eie")
        assert not list(tmp_path.iterdir())

    def test_a_layer_of_too_many_weights(self, tmp_path):
        matrix = SparseColumns.from_entries(
            shape=(1 << 16, 1 << 16), rows=np.zeros(1, int), columns=np.zeros(1, int), data=np.ones(1, np.float32)
        )
        layer = replace(Layer.from_weights("big", np.eye(2)), matrix=matrix)
        with pytest.raises(eie.EieError, match=r"layer 'big': 65536 x 65536 weights: a coded file holds at most"):
            eie.save(Network.of(layer), tmp_path / "net.eie")

    @pytest.mark.parametrize("index_bits", [0, 9, {"a": 0}])
    def test_index_bits(self, tmp_path, index_bits):
        network = Network.of(Layer.from_weights("a", np.eye(2)))
        with pytest.raises(eie.EieError, match=r"layer 'a': index_bits=[09]: must be 1 to 8"):
            eie.save(network, tmp_path / "net.eie", index_bits=index_bits)
        with pytest.raises(eie.EieError, match=r"net.npz: index_bits does not apply to .npz files, only to .eie"):
            eie.save(network, tmp_path / "net.npz", index_bits=index_bits)

    def test_names_that_could_not_be_read_back_are_made_printable(self, tmp_path):
        network = replace(Network.of(Layer.from_weights("a", np.eye(2))), name="a\nb")
        eie.save(network, tmp_path / "net.eie")
        assert eie.load(tmp_path / "net.eie").name == network.name == r"a\nb"


RECIPE = """
index_bits = { "*" = 5 }
[[step]]
kind = "share"
    [[step.rule]]
    bits = 4
"""


class TestCommandLine:
    def test_compress_writes_it_and_says_how_large_it_is(self, cli, tmp_path):
        (tmp_path / "share.toml").write_text(RECIPE)
        code, out, err = cli("compress", "lenet-300-100", "share.toml", "-o", "net.eie")
        assert code == 0
        written = (tmp_path / "net.eie").stat().st_size
        assert written <= 1.02 * 24_630 + 600 * 3
        # A note of the run, on stderr: with --json - the report itself goes to stdout.
        assert "24,630" in out
        assert err.splitlines()[-1] == (
            f"net.eie: {written:,} bytes, {written / 246.3 - 100:+.1f} % of the P+Q+H column's 24,630: names, shapes "
            "and graph are in the file too"
        )
        network = eie.load(tmp_path / "net.eie")
        assert [layer.matrix.nnz for layer in network.layers] == [18_816, 2_700, 260]
        assert network.notes[-1] == "compressed by share"
        assert network.sha256 == hashlib.sha256((tmp_path / "net.eie").read_bytes()).hexdigest()

    def test_without_a_recipe_the_network_as_it_stands(self, cli, tmp_path):
        code, _, err = cli("compress", "lenet-5", "-o", "net.eie")
        assert code == 0
        assert err.splitlines()[-1].startswith("net.eie: ")
        assert_same(eie.load(tmp_path / "net.eie"), replace(eie.load("lenet-5"), trace=None))
        for words in (("-o", "net.npz"), ("--sensitivity", "-o", "net.eie")):
            code, _, err = cli("compress", "lenet-5", *words)
            assert code == 2
            assert "-o needs a recipe" in err

    def test_other_suffixes_print_no_further_line(self, cli, tmp_path):
        (tmp_path / "share.toml").write_text(RECIPE)
        code, out, _ = cli("compress", "lenet-300-100", "share.toml", "-o", "net.npz")
        assert code == 0
        assert out.splitlines()[-1].startswith("published: ")

    def test_every_command_reads_it(self, cli, tmp_path):
        eie.save(shared(eie.load("lenet-5")), tmp_path / "net.eie", index_bits=5)
        code, out, _ = cli("inspect", "net.eie")
        assert code == 0
        assert out.startswith("lenet-5 for EIE_64PE")
        code, _, _ = cli("compile", "net.eie", "-o", "program.safetensors")
        assert code == 0
        compiled = eie.Program.load(tmp_path / "program.safetensors")
        assert compiled.content_hash == eie.compile(eie.load(tmp_path / "net.eie")).content_hash
        code, out, _ = cli("run", "net.eie", "--samples", 1)
        assert code == 0
        assert "no activations were given" in out
        (tmp_path / "net.eie").write_bytes((tmp_path / "net.eie").read_bytes() + b"\n")
        code, out, err = cli("run", "net.eie")
        assert (code, out) == (1, "")
        assert err == "eie: net.eie: damaged: its content does not match its hash\n"


def test_the_frozen_file_reads_as_ever(root):
    """Older files stay readable: this one was written when schema 1 was new (make freeze)."""
    file = root / "tests" / "fixtures" / SMALL
    assert_same(eie.load(file), frozen_network())


def test_the_frozen_files_bytes_are_written_again(root, small):
    """All but the deflated description, which another zlib may pack otherwise."""
    frozen = (root / "tests" / "fixtures" / SMALL).read_bytes()
    assert taken_apart(small)[0] == taken_apart(frozen)[0]
    theirs = taken_apart(frozen)[1]
    assert {name: bytes(array) for name, array in taken_apart(small)[1].items()} == {
        name: bytes(array) for name, array in theirs.items()
    }
    assert theirs["0.bias_codes"].tolist() == [0 + 1 * 4 + 2 * 16 + 3 * 64]
