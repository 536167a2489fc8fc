"""ZigZag's workloads and Timeloop's problems give the layers that the same network has as a topology."""

import builtins
import contextlib
import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import eie
from eie.errors import ModelError
from eie.importers.einsum import Einsum, Window

pytest.importorskip("yaml")
CONV = """
- id: 0
  name: first
  operator_type: Conv
  equation: O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]
  dimension_relations: [ix=2*ox+1*fx, iy=1*oy+1*fy]
  loop_dims: [B, K, C, OY, OX, FY, FX]
  loop_sizes: [1, 8, 3, 6, 4, 3, 5]
  operand_source: {I: 0, W: 0}
"""
TIMELOOP = """
problem:
  shape:
    name: CNN-Layer
    dimensions: [C, K, R, S, N, P, Q]
    coefficients:
    - {name: Wstride, default: 1}
    - {name: Hstride, default: 1}
    - {name: Wdilation, default: 1}
    - {name: Hdilation, default: 1}
    data-spaces:
    - name: Weights
      projection: [[[C]], [[K]], [[R]], [[S]]]
    - name: Inputs
      projection: [[[N]], [[C]], [[R, Wdilation], [P, Wstride]], [[S, Hdilation], [Q, Hstride]]]
    - name: Outputs
      projection: [[[N]], [[K]], [[Q]], [[P]]]
      read-write: True
"""
SIZES = {"C": 3, "K": 8, "R": 5, "S": 3, "P": 4, "Q": 6, "N": 1, "Wstride": 2}


@pytest.fixture
def loaded(tmp_path):
    def load(text, name="w.yaml"):
        (tmp_path / name).write_text(text)
        return eie.load(tmp_path / name)

    return load


def lines(sizes, indent):
    return "".join(f"{' ' * indent}{key}: {value}\n" for key, value in sizes.items())


def facts(network):
    return [(layer.geometry, layer.matrix.nnz, network.trace.layers[layer.name].products) for layer in network.layers]


def test_all_say_the_same_convolution(loaded):
    head = "Layer, H, W, R, S, C, F, Stride Height, Stride Width\n"
    topology = loaded(head.replace("Stride Height", "Stride") + "l, 8, 11, 3, 5, 3, 8, 1, 2\n", "t.csv")
    assert facts(topology)[0][1:] == (8 * 3 * 3 * 5, 24)
    files = [
        CONV,
        CONV.replace("ix=2*ox+1*fx", "ix = fx + 2*ox"),
        TIMELOOP.replace("[R, Wdilation], [P, Wstride]", "[P, Wstride], [R]") + lines(SIZES, 2),
        TIMELOOP + lines(SIZES, 2),
        TIMELOOP + "  instance:\n" + lines(SIZES, 4),
        TIMELOOP.replace("data-spaces", "data_spaces") + lines(SIZES, 2),
        "problem:\n  shape: cnn-layer\n" + lines(SIZES, 2),
        "problem:\n" + lines({"M" if key == "K" else key: value for key, value in SIZES.items()}, 2),
    ]
    for text in files:
        network = loaded(text)
        assert facts(network) == facts(topology), text
        assert network.layers[0].synthetic
        assert network.trace.synthetic
    assert [layer.name for layer in loaded(CONV).layers] == ["first"]
    assert eie.simulate(loaded(CONV)).layers[0].products == 24


def test_batches_groups_and_dilations(loaded):
    assert facts(loaded(CONV.replace("[1, 8", "[5, 8")))[0][2] == 5 * 24
    depthwise = CONV.replace("O[b][k]", "O[b][g]").replace("W[k][c]", "W[g]").replace("I[b][c]", "I[b][g]")
    depthwise = depthwise.replace("[B, K, C,", "[B, G,").replace("[1, 8, 3,", "[1, 7,")
    layer = loaded(depthwise).layers[0]
    assert (layer.geometry.groups, layer.geometry.dense_shape, layer.matrix.nnz) == (7, (7, 15), 7 * 15)
    # With a dilation, as its GEMM: the same weights and products.
    network = loaded(CONV.replace("1*fy", "2*fy"))
    assert (network.layers[0].geometry.kind, network.layers[0].matrix.shape) == ("linear", (8, 45))
    assert network.trace.layers["first"].products == 24


@pytest.mark.parametrize(
    ("equation", "dims"),
    [("O[d0][d1]+=I[d0][d2]*W[d2][d1]", "D0, D1, D2"), ("O[m][n] += W[k][n] * I[m][k]", "M, N, K")],
)
def test_gemms_by_any_letters(loaded, equation, dims):
    network = loaded(f"- id: 3\n  equation: {equation}\n  loop_dims: [{dims}]\n  loop_sizes: [4, 5, 6]\n")
    assert [(layer.name, *layer.matrix.shape) for layer in network.layers] == [("layer 3", 5, 6)]
    assert network.trace.layers["layer 3"].products == 4


def test_what_has_no_weights_is_passed_over(loaded):
    rest = """
- {id: 1, operator_type: Pooling, equation: "O[b][g][oy][ox]+=W[fx][fy]*I[b][g][iy][ix]",
   loop_dims: [B, G, OY, OX, FX, FY], loop_sizes: [1, 8, 3, 3, 3, 3], operand_source: {I: 0, W: 1}}
- {id: 2, name: sum, operator_type: Add, equation: "O[b][g]=W[b][g]+I[b][g]", loop_dims: [B, G], loop_sizes: [1, 8]}
- {id: 3, operator_type: Gemm, equation: "O[m][n]+=I[m][k]*W[k][n]", loop_dims: [M, N, K], loop_sizes: [4, 5, 6],
   operand_source: {I: 1, W: 2}}
"""
    network = loaded(CONV + rest)
    assert [layer.name for layer in network.layers] == ["first"]
    assert network.notes == (
        "not read, since they have no weights of their own: 'layer 1 (Pooling)', 'sum (Add)', 'layer 3 (Gemm)'",
    )
    twice = CONV + CONV.replace("id: 0", "id: 5").replace("W: 0", "W: 5")
    assert [layer.name for layer in loaded(twice).layers] == ["first", "first (2)"]


def test_densities_are_noted(loaded):
    network = loaded(TIMELOOP + lines(SIZES, 2) + "  densities: {Weights: 0.5}\n")
    assert network.notes == ("the problem's densities are not read: every weight and activation is non-zero",)


sizes = st.integers(1, 4)


@given(st.tuples(*[sizes] * 8), st.tuples(st.integers(1, 3), st.integers(1, 3)))
@settings(max_examples=60)
def test_no_product_is_lost(numbers, strides):
    names = ("b", "g", "k", "c", "oy", "ox", "fy", "fx")
    loops = dict(zip(names, numbers, strict=True))
    einsum = Einsum(
        name="l", sizes=loops, output=frozenset({"b", "g", "k", "oy", "ox"}),
        weights=frozenset({"g", "k", "c", "fy", "fx"}), inputs=frozenset(set(names) - {"k"}),
        windows=tuple(
            Window(position=f"o{side}", filter=f"f{side}", stride=stride, dilation=1)
            for side, stride in zip("yx", strides, strict=True)
        ),
    )  # fmt: skip
    row = einsum.row()
    height, width, rows, columns, channels, filters, down, across = row.sizes
    windows = (-(-(height - rows) // down) + 1) * (-(-(width - columns) // across) + 1)
    products = 1
    for number in numbers:
        products *= number
    assert windows * rows * columns * channels * filters * row.batch == products
    assert channels % row.groups == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a: 1\n", "neither a ZigZag workload"),
        ("[]\n", "neither a ZigZag workload"),
        ("- 1\n", "neither a ZigZag workload"),
        ("a: [1\n", "not YAML that can be read safely"),
        ("!!python/object/apply:os.system ['true']\n", "not YAML that can be read safely"),
        ("[" * 5000, "not YAML that can be read safely"),
        ("a: " + "9" * 5000 + "\n", "not YAML that can be read safely"),
        ("a: 2020-13-45\n", "not YAML that can be read safely"),
        ("\x00\x01", "not YAML that can be read safely"),
        (CONV.replace("O[b][k][oy][ox]+=W", "Z = W"), "layer 'first': equation"),
        (CONV.replace(", 5]", "]"), "lists of the same length"),
        (CONV.replace("[1, 8, 3, 6, 4, 3, 5]", "7"), "layer 'first': loop_sizes must be a list"),
        (CONV.replace(", 5]", ", 0]"), r"layer 'first': FX=0: must be an integer from 1 to"),
        (CONV.replace(", 5]", ", yes]"), r"FX=True: must be an integer"),
        (CONV.replace(", 5]", ", 5.0]"), r"FX=5.0: must be an integer"),
        (CONV.replace("[B, K, C, OY, OX", "[B, K, C, IY, IX"), "no loop over ox, oy in loop_dims"),
        (CONV.replace("1, 8, 3", "1, 99999, 99999"), "weights: at most 268435456 can be drawn"),
        (CONV.replace("Conv\n", "Add\n").replace("*I", "+I"), "holds no layer with weights"),
        (CONV.replace("name: first", 'name: "a\\u001b[2J"'), "must be printable text"),
        (TIMELOOP + lines(SIZES | {"P": -1}, 2), "problem: P=-1: must be an integer"),
        (TIMELOOP, "problem: C=None: must be an integer"),
        (TIMELOOP.replace("name: Weights", "name: A") + lines(SIZES, 2), "data spaces Weights, Inputs and Outputs"),
        (TIMELOOP.replace("[[C]], [[K]], [[R]]", "C, [[K]], 3") + lines(SIZES, 2), "data spaces Weights"),
        ("problem:\n  shape: other.yaml\n", "problem.shape 'other.yaml' is kept elsewhere"),
        ("problem:\n  instance: 3\n", "problem.instance must be a mapping"),
    ],
)  # fmt: skip
def test_workloads_that_cannot_be_used(loaded, text, complaint):
    with pytest.raises(ModelError, match=complaint) as caught:
        loaded(text)
    assert "\n" not in str(caught.value)
    assert "w.yaml" in str(caught.value)


JUNK = st.sampled_from([None, 3, -1, 1.5, True, "x", "", [], [1], [[1]], ["x"], {}, {"name": 1}, {"W": [2]}, "a=b+c"])


def places(value):
    """Every container in a document with a key into it."""
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield value, key
        yield from places(value[key])


@given(st.sampled_from([CONV, TIMELOOP + lines(SIZES, 2)]), st.data())
@settings(max_examples=300)
def test_damage_is_refused_or_read(tmp_path_factory, text, data):
    import yaml

    document = yaml.safe_load(text)
    for _ in range(data.draw(st.integers(1, 2))):
        holder, key = data.draw(st.sampled_from(list(places(document))))
        holder[key] = copy.deepcopy(data.draw(JUNK))
    file = tmp_path_factory.mktemp("w") / "w.yaml"
    file.write_text(yaml.safe_dump(document))
    with contextlib.suppress(ModelError):
        assert eie.load(file).layers


def test_aliases_do_not_grow(loaded):
    text = "a: &a [x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
    )
    with pytest.raises(ModelError, match="aliases stand for more than"):
        loaded(text)


def test_the_extra_is_named(loaded, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name == "yaml":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModelError, match=r"needs the workloads extra: pip install 'eie\[workloads\]'"):
        loaded(CONV)
