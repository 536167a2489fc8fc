"""Small torch networks with weights from the levels of `onnx_models`, and their export."""

import logging
import warnings

import numpy as np
import torch
from onnx_models import LEVELS, drawn
from torch import nn


class Mlp(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(20, 30), nn.ReLU(inplace=True), nn.Linear(30, 25), nn.ReLU(), nn.Linear(25, 10))


class Cnn(nn.Module):
    """1x1, 3x3, strided and grouped convolutions, with the in-place ReLU that spoils a hook which does not copy."""

    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 12, 3, stride=2, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 8, 3, padding=1, groups=4),
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d(1),
        )
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(torch.flatten(self.trunk(x), 1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(6, 5, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(10, 4)

    def forward(self, x):
        return self.fc(torch.relu(self.rnn(x)[0]))


def build(kind):
    """(module, inputs) of "mlp", "cnn" or "lstm"."""
    module, shape = {
        "mlp": (Mlp(), (5, 20)),
        "cnn": (Cnn(), (2, 3, 12, 12)),
        "lstm": (Recurrent(), (2, 7, 6)),
    }[kind]
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            # torch keeps two biases for an LSTM, and their sum must be a level too.
            values = drawn(rng, *parameter.shape) * ("bias_hh" not in name)
            parameter.copy_(torch.from_numpy(np.asarray(values, LEVELS.dtype)))
    x = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
    return module.eval(), x


def export(module, x, path):
    """Write an .onnx file with an open batch, weights inside."""
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (x,),
            str(path),
            input_names=["x"],
            dynamo=True,
            external_data=False,
            verbose=False,
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
        )
