"""What commands read: networks with their inputs, training data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from eie.cli.options import how_to_read
from eie.cli.outputs import check_files

if TYPE_CHECKING:
    from pathlib import Path

    from eie.cli.progress import Progress
    from eie.compression.recipe import Training
    from eie.compression.training.finetune import Trainer
    from eie.model.network import Network

EPOCHS = 4


def labelled_network(model: str, trace_file: str | None, how: Mapping[str, Any], samples: int | None = None) -> Network:
    """Load a model with the inputs asked for: those of a trace file, else its own; at most ``samples`` of them."""
    from eie.importers import load
    from eie.model.trace import Trace

    network = load(model, **how)
    trace = network.trace if trace_file is None else Trace.load(trace_file)
    if trace is not None and samples:
        trace = trace.head(samples)
    return replace(network, trace=trace)


def trainer_on(data: str | Path | None, progress: Progress, training: Training | None = None) -> Trainer | None:
    """Return what trains on an IDX data set, or None without one."""
    if data is None:
        return None
    from eie.compression.recipe import Training
    from eie.compression.training.dataset import idx_examples
    from eie.compression.training.finetune import Trainer

    progress.stage(f"reading {data}")
    train, test = idx_examples(data, "train"), idx_examples(data, "test")
    return Trainer(train_set=train, test_set=test, training=training or Training(), progress=progress.stage)


def study_inputs(model: str, options: Mapping[str, Any], progress: Progress) -> tuple[Network, dict[str, Any]]:
    """Read what a study asks for: the network with its inputs; EIE's spec, what trains on ``--data``, and how long."""
    from eie.spec import load_spec

    spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
    progress.stage(f"reading {model}")
    network = labelled_network(model, options["trace_file"], how_to_read(options))
    trainer = trainer_on(options["data"], progress)
    asked = EPOCHS if options["epochs"] is None else options["epochs"]
    return network, {"spec": spec, "trainer": trainer, "epochs": 0 if trainer is None else asked}


def check_study(model: str, options: Mapping[str, Any]) -> None:
    """Refuse options of a study that do not go together, before anything is read."""
    check_files(model, options)
    if options["epochs"] is not None and options["data"] is None:
        raise click.UsageError("--epochs needs --data: there is nothing to train on")
