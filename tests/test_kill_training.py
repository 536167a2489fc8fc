"""A compression that fine-tunes, killed while it trains: weights, optimiser, random numbers and order go on."""

from dataclasses import replace

import numpy as np
import pytest
from kills import COMPRESS, same_after_kills, write_training

import eie
from eie.compression.recipe import Training
from eie.compression.training.checkpoint import Checkpoints
from eie.compression.training.dataset import idx_examples
from eie.compression.training.finetune import Trainer

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.timeout(300)


@pytest.mark.long
def test_killed_three_times_it_gives_the_same_bytes(tmp_path):
    assert same_after_kills(COMPRESS, tmp_path, kills=3, steps=3, write=lambda folder: write_training(folder, 4)) == 3


class Stopped(Exception):
    """A kill that leaves the process alive."""


@pytest.fixture
def trainer(tmp_path):
    write_training(tmp_path, 1)
    train, test = idx_examples(tmp_path, "train"), idx_examples(tmp_path, "test")
    training = Training(batch=50, dropout=0.2, weight_decay=0.01)
    return Trainer(train_set=train, test_set=test, training=training)


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("after", [1, 2, 3])
def test_stopped_behind_any_epoch_it_ends_at_the_same_weights(tmp_path, trainer, shared, after):
    network = eie.load(tmp_path / "model.npz")
    if shared:
        network = eie.compress(network, {"step": [{"kind": "share", "rule": [{"bits": 2}]}]})[0]
    whole = trainer.finetune(network, 4)
    told = []

    def stop(line):
        told.append(line)
        if len(told) == after:
            raise Stopped

    keeping = replace(trainer, checkpoints=Checkpoints(tmp_path / "training"))
    with pytest.raises(Stopped):
        replace(keeping, progress=stop).finetune(network, 4)
    told.clear()
    resumed = replace(keeping, progress=told.append).finetune(network, 4)
    assert len(told) == 4 - after
    again = keeping.finetune(network, 4)
    for layer, other, third in zip(whole.layers, resumed.layers, again.layers, strict=True):
        np.testing.assert_array_equal(layer.weights, other.weights)
        np.testing.assert_array_equal(layer.weights, third.weights)


@pytest.mark.parametrize("harm", ["flip", "cut", "other"])
def test_a_damaged_state_is_trained_anew(tmp_path, trainer, harm):
    network = eie.load(tmp_path / "model.npz")
    keeping = replace(trainer, checkpoints=Checkpoints(tmp_path / "training"))
    whole = keeping.finetune(network, 2)
    (file,) = (tmp_path / "training").iterdir()
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(b"no tensors" if harm == "other" else bytes(data) if harm == "flip" else bytes(data[:-5]))
    told = []
    again = replace(keeping, progress=told.append).finetune(network, 2)
    assert len(told) == 2
    np.testing.assert_array_equal(whole.layers[0].weights, again.layers[0].weights)


def test_other_examples_options_and_epochs_are_other_states(tmp_path, trainer):
    network = eie.load(tmp_path / "model.npz")
    keeping = replace(trainer, checkpoints=Checkpoints(tmp_path / "training"))
    other = replace(keeping, training=keeping.training.model_copy(update={"seed": 5}))
    fewer = replace(keeping, train_set=keeping.train_set.head(500))
    for one in (keeping, other, fewer):
        one.finetune(network, 1)
    keeping.finetune(network, 2)
    assert len(list((tmp_path / "training").iterdir())) == 4
