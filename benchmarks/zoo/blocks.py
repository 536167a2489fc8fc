"""Common PyTorch blocks, small enough to export in a moment: (module, example inputs) by name."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*parts)

    def forward(self, x):
        return x + self.inner(x)


class SqueezeExcite(nn.Module):
    """Channels weighed by what all of the map says, depthwise and pointwise convolutions before it (MobileNetV3)."""

    def __init__(self) -> None:
        super().__init__()
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.reduce, self.expand = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 8, 1)
        self.point = nn.Conv2d(8, 12, 1)

    def forward(self, x):
        x = functional.hardswish(self.norm(self.deep(x)))
        scale = functional.hardsigmoid(self.expand(functional.relu(self.reduce(functional.adaptive_avg_pool2d(x, 1)))))
        return functional.relu6(self.point(x * scale)).flatten(1)


class Unet(nn.Module):
    """Down, up by a transposed convolution and by interpolation, joined by channels."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(8, 8, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2)
        self.last = nn.Conv2d(16, 4, 3, padding=1)

    def forward(self, x):
        small = torch.relu(self.down(x))
        joined = torch.cat([small, self.up(torch.relu(self.deep(small)))], 1)
        joined = functional.interpolate(joined, scale_factor=2.0, mode="nearest")
        return functional.interpolate(self.last(joined), scale_factor=2.0, mode="bilinear", align_corners=False)


class Recurrent(nn.Module):
    """A recurrent layer and a Linear on every step."""

    def __init__(self, kind: type, **options) -> None:
        super().__init__()
        self.rnn = kind(6, 8, **options)
        self.head = nn.Linear(8 * (2 if options.get("bidirectional") else 1), 5)

    def forward(self, x):
        return self.head(torch.relu(self.rnn(x)[0]))


class LastState(nn.Module):
    """What the last step leaves, stated zeros to begin with."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.LSTM(6, 8, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        zeros = torch.zeros(1, x.shape[0], 8)
        return self.head(self.rnn(x, (zeros, zeros))[1][0][-1])


class Cells(nn.Module):
    """An LSTM cell in a loop: the same two matrices at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.LSTMCell(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = c = torch.zeros(x.shape[0], 8)
        for step in range(4):
            h, c = self.cell(x[:, step], (h, c))
        return self.head(h)


class Gpt(nn.Module):
    """Token and position tables, causal attention by hand, an MLP, the output tied to the token table."""

    def __init__(self) -> None:
        super().__init__()
        self.token, self.place = nn.Embedding(30, 16), nn.Embedding(8, 16)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(16), nn.LayerNorm(16), nn.LayerNorm(16)
        self.qkv, self.out = nn.Linear(16, 48), nn.Linear(16, 16)
        self.mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        self.head = nn.Linear(16, 30, bias=False)
        self.head.weight = self.token.weight
        self.register_buffer("later", torch.ones(8, 8, dtype=torch.bool).triu(1))

    def forward(self, ids):
        n, t = ids.shape
        x = self.token(ids) + self.place(torch.arange(t))
        q, k, v = (part.view(n, t, 2, 8).transpose(1, 2) for part in self.qkv(self.norm1(x)).split(16, -1))
        # By hand: the older exporter knows torch's fused attention from opset 14 on only.
        scores = (q @ k.transpose(-2, -1) / 8**0.5).masked_fill(self.later[:t, :t], float("-inf"))
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(n, t, 16))
        return self.head(self.norm3(x + self.mlp(self.norm2(x))))


class Attention(nn.Module):
    """torch's own attention module; without its weights it would be an operator that opset 13 does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.attention, self.norm, self.head = (
            nn.MultiheadAttention(16, 4, batch_first=True),
            nn.LayerNorm(16),
            nn.Linear(16, 3),
        )

    def forward(self, x):
        mixed, _ = self.attention(x, x, x)
        return self.head(self.norm(x + mixed).mean(1))


class Shared(nn.Module):
    """One Linear three times."""

    def __init__(self) -> None:
        super().__init__()
        self.step, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        for _ in range(3):
            x = torch.tanh(self.step(x))
        return self.head(x)


class TwoInputs(nn.Module):
    """An embedded word beside numbers, and an Einsum with weights."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.left = nn.Embedding(20, 6), nn.Linear(5, 6)
        self.mix = nn.Parameter(torch.randn(12, 4) * 0.3)

    def forward(self, ids, x):
        return torch.einsum("nd,de->ne", torch.cat([self.table(ids).mean(1), torch.relu(self.left(x))], 1), self.mix)


class Wave(nn.Module):
    """Convolutions over time, gated (WaveNet, Conformer)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gated = nn.Conv1d(4, 8, 3, padding=2, dilation=2), nn.Conv1d(8, 16, 3, padding=1)
        self.norm, self.head = nn.BatchNorm1d(8), nn.Linear(8, 3)

    def forward(self, x):
        x = functional.glu(self.gated(functional.silu(self.first(x))), 1)
        return self.head(self.norm(x).amax(2))


def blocks() -> dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]]:
    """Every block with examples of two samples, batch first but where a name says otherwise; weights from a seed."""
    torch.manual_seed(0)
    image, steps, ids = torch.randn(2, 3, 16, 16), torch.randn(2, 7, 6), torch.randint(0, 20, (2, 8))
    made: dict[str, tuple[nn.Module, tuple[torch.Tensor, ...]]] = {
        "MLP": (nn.Sequential(nn.Linear(20, 16), nn.ReLU(), nn.Linear(16, 10)), (torch.randn(2, 20),)),
        "MLP, activations": (
            nn.Sequential(
                *(nn.Linear(20, 16), nn.ELU(), nn.Linear(16, 16), nn.PReLU(), nn.Linear(16, 16), nn.Softplus()),
                *(nn.Linear(16, 10), nn.LogSoftmax(1)),
            ),
            (torch.randn(2, 20),),
        ),
        "MLP, LayerNorm and GELU": (
            nn.Sequential(
                nn.Linear(20, 16), Residual(nn.LayerNorm(16), nn.Linear(16, 16), nn.GELU()), nn.Linear(16, 4)
            ),
            (torch.randn(2, 9, 20),),
        ),
        "CNN": (
            nn.Sequential(
                *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
                *(
                    nn.Conv2d(8, 8, 3, stride=2, padding=1),
                    nn.ReLU(),
                    nn.AdaptiveAvgPool2d(2),
                    nn.Flatten(),
                    nn.Linear(32, 5),
                ),
            ),
            (image,),
        ),
        "depthwise, SE, hardswish": (SqueezeExcite(), (torch.randn(2, 8, 9, 9),)),
        "residual, GroupNorm": (
            nn.Sequential(
                nn.Conv2d(3, 8, 3, padding=1), Residual(nn.GroupNorm(2, 8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
            ),
            (image,),
        ),
        "Conv1d, GLU": (Wave(), (torch.randn(2, 4, 20),)),
        "Conv3d": (
            nn.Sequential(nn.Conv3d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 27, 3)),
            (torch.randn(2, 2, 5, 5, 5),),
        ),
        "U-Net": (Unet(), (image,)),
        "PixelShuffle, InstanceNorm": (
            nn.Sequential(
                nn.Conv2d(3, 12, 3, padding=1), nn.InstanceNorm2d(12), nn.PixelShuffle(2), nn.Conv2d(3, 3, 1)
            ),
            (image,),
        ),
        "LSTM, 2 layers, both ways": (Recurrent(nn.LSTM, num_layers=2, bidirectional=True, batch_first=True), (steps,)),
        "LSTM, last state": (LastState(), (steps,)),
        "LSTM cells, unrolled": (Cells(), (steps,)),
        "GRU, time first": (Recurrent(nn.GRU), (steps.transpose(0, 1).contiguous(),)),
        "RNN": (Recurrent(nn.RNN, batch_first=True), (steps,)),
        "MultiheadAttention": (Attention(), (torch.randn(2, 5, 16),)),
        "GPT block": (Gpt(), (ids,)),
        "Linear three times": (Shared(), (torch.randn(2, 8),)),
        "two inputs, Einsum": (TwoInputs(), (ids, torch.randn(2, 5))),
    }
    # BatchNorm's statistics as after training, so that folding them shows.
    for module, _ in made.values():
        for part in module.modules():
            if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d):
                part.running_mean.normal_(0, 0.3)
                part.running_var.uniform_(0.5, 2)
    return {name: (module.eval(), examples) for name, (module, examples) in made.items()}
