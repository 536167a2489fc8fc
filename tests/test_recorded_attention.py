"""Projections inside of torch's attention modules: recorded as what a plain Linear in their place reads."""

import numpy as np
import pytest

import eie

torch = pytest.importorskip("torch", reason="needs the torch extra")
nn = torch.nn
WIDTH, HEADS, STEPS, SAMPLES = 8, 2, 5, 3


def drawn(*shape, seed=0):
    # ReLU'd: rows with zeros, so that bits differ.
    return np.maximum(np.random.default_rng(seed).standard_normal(shape), 0).astype(np.float32)


class Own(nn.Module):
    """Attention with the weights of another, from Linear modules."""

    def __init__(self, other, first):
        super().__init__()
        self.first, self.out = first, nn.Linear(WIDTH, WIDTH)
        self.project = nn.Linear(WIDTH, 3 * WIDTH)
        self.project.weight, self.project.bias = other.in_proj_weight, other.in_proj_bias
        self.out.weight, self.out.bias = other.out_proj.weight, other.out_proj.bias

    def forward(self, x):
        x = self.first(x).relu()
        q, k, v = (part.view(*part.shape[:2], HEADS, -1).transpose(1, 2) for part in self.project(x).split(WIDTH, -1))
        mixed = (q @ k.transpose(-1, -2) / (WIDTH / HEADS) ** 0.5).softmax(-1) @ v
        return self.out(mixed.transpose(1, 2).flatten(2))


class SelfAttention(nn.Module):
    def __init__(self, batch_first=True):
        super().__init__()
        self.first, self.attention = (
            nn.Linear(WIDTH, WIDTH),
            nn.MultiheadAttention(WIDTH, HEADS, batch_first=batch_first),
        )

    def forward(self, x):
        x = self.first(x).relu()
        return self.attention(x, x, x)[0]


class Crossed(nn.Module):
    def __init__(self, **sizes):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True, **sizes)

    def forward(self, x, memory):
        return self.attention(x, memory, memory)[0]


def test_as_linear_modules_in_their_place():
    net = SelfAttention()
    x = drawn(SAMPLES, STEPS, WIDTH)
    ours = eie.record_torch(net, x, values=True)
    theirs = eie.record_torch(Own(net.attention, net.first), x, values=True)
    assert list(ours.layers) == ["first", "attention.in_proj", "attention.out_proj"]
    for own, name in zip(ours.layers.values(), ("first", "project", "out"), strict=True):
        np.testing.assert_allclose(own.dense(), theirs.layers[name].dense(), atol=1e-6)


def test_products_of_two_activations_are_a_row():
    trace = eie.record_torch(SelfAttention(), drawn(SAMPLES, STEPS, WIDTH))
    (row,) = trace.unmodelled
    # Of 2 T E beside E, 3 E and E for each step: 10 of 50.
    assert row.startswith("functions outside of modules")
    assert "20 % of the multiplications" in row
    assert "no weights" in row


@pytest.mark.parametrize(
    ("sizes", "names"),
    [
        ({}, ["in_proj.q", "in_proj.kv", "out_proj"]),
        ({"kdim": 6, "vdim": 6}, ["q_proj", "k_proj", "v_proj", "out_proj"]),
    ],
)
def test_keys_from_elsewhere(sizes, names):
    inputs = {"x": drawn(SAMPLES, STEPS, WIDTH), "memory": drawn(SAMPLES, 4, sizes.get("kdim", WIDTH), seed=1)}
    trace = eie.record_torch(Crossed(**sizes), inputs, values=True)
    assert list(trace.layers) == [f"attention.{name}" for name in names]
    assert [layer.dense().shape[-1] for layer in trace.layers.values()][1:-1] == [sizes.get("kdim", WIDTH)] * (
        len(names) - 2
    )


def test_an_encoder_of_torchs_own():
    """In evaluation torch runs a fused kernel in its place, in which no module runs."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 16, batch_first=True)
    net = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
    trace = eie.record_torch(net, drawn(SAMPLES, STEPS, WIDTH))
    tails = ("self_attn.in_proj", "self_attn.out_proj", "linear1", "linear2")
    assert list(trace.layers) == [f"layers.{i}.{tail}" for i in range(2) for tail in tails]


def test_a_bare_attention():
    class Bare(nn.MultiheadAttention):
        def forward(self, x):
            return super().forward(x, x, x)[0]

    trace = eie.record_torch(Bare(WIDTH, HEADS, batch_first=True), drawn(SAMPLES, STEPS, WIDTH))
    assert list(trace.layers) == ["attention.in_proj", "attention.out_proj"]


def test_torch_is_as_it_was():
    from torch.nn import functional

    linear, fused = functional.linear, torch.backends.mha.get_fastpath_enabled()
    eie.record_torch(SelfAttention(), drawn(SAMPLES, STEPS, WIDTH))
    with pytest.raises(eie.EieError):
        eie.record_torch(SelfAttention(), drawn(SAMPLES, STEPS, WIDTH + 1))
    assert functional.linear is linear
    assert torch.backends.mha.get_fastpath_enabled() == fused
