"""What commands read: networks with their inputs, training data, machines; what they say before a long wait.

Comes in: a command's options. Goes out: networks, activations, specs, trainers. Everything heavy is imported when a
function is called.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from eie.cli.options import how_to_read
from eie.cli.outputs import check_files

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.console import Console

    from eie.cli.progress import Progress
    from eie.compiler.choice import Conv
    from eie.compiler.program import Program
    from eie.compression.recipe import Training
    from eie.compression.training.finetune import Trainer
    from eie.model.fitting import Layout
    from eie.model.network import Network
    from eie.model.samples import Samples
    from eie.model.trace import Trace
    from eie.simulator.inputs import Inputs

# Of fine-tuning, where --epochs does not say; the option's help names the same number.
EPOCHS = 4


def stderr() -> Console:
    """Return the console for progress and notes."""
    from rich.console import Console

    # No markup, no emoji codes: names from files hold brackets, and a:key:b is a name.
    return Console(stderr=True, markup=False, emoji=False)


def announce_compilation() -> None:
    """Say why nothing happens for a while, if kernels are still to be compiled."""
    from eie.kernels.jit import kernels_are_cached

    if not kernels_are_cached():
        stderr().print("compiling kernels, once (about 10 s; eie warmup does it beforehand)", style="dim")


def lowering(winograd: bool, conv: Conv) -> Conv:
    """Say how convolutions run, by a command's switches."""
    if winograd and conv not in ("auto", "winograd"):
        raise click.UsageError(f"--winograd and --conv {conv}: give one of them")
    return "winograd" if winograd else conv


@dataclass(frozen=True, eq=False)
class Opened:
    """What a file of activations holds: a trace, arrays by name, or an array; nothing without a file."""

    file: str | None
    content: Trace | Samples | NDArray[Any] | None = None


def open_inputs(file: str | None) -> Opened:
    """Read a file of activations, before the model: it may state sizes that a model leaves open."""
    from pathlib import Path

    from eie.errors import TraceError
    from eie.formats.npz import read_npy, read_npz
    from eie.model.trace import Trace
    from eie.model.trace_file import is_trace
    from eie.recording.inputs import read_samples

    if file is None:
        return Opened(None)
    # By suffix: an array says nothing of layers, a trace names them.
    suffix = Path(file).suffix.lower()
    if suffix == ".npy":
        return Opened(file, read_npy(file, TraceError))
    if suffix != ".npz":
        raise TraceError(f"{file}: unknown suffix {suffix!r}: activations are a trace (.npz) or an array (.npy)")
    arrays = read_npz(file, TraceError)
    # A file with a header of its own is a trace, or a damaged one, and says so itself.
    if is_trace(arrays) or "header" in arrays:
        return Opened(file, Trace.from_arrays(arrays, file))
    samples, names = read_samples(file), [name for name in arrays if name != "labels"]
    # A file of weights is easily given for one of inputs: here a lone array keeps its name, and has to be an input's.
    return Opened(
        file,
        replace(samples, arrays=dict(zip(names, samples.arrays.values(), strict=True))) if len(names) == 1 else samples,
    )


def load_for(model: str, how: Mapping[str, Any], opened: Opened, layout: Layout | None = None) -> Network:
    """Load a model that is to run on what a file holds."""
    from eie.importers import load, takes
    from eie.importers.options import FedShapes

    fed: dict[str, Any] = {}
    # What the user says goes before what a file does.
    if how.get("input_shape") is None and opened.content is not None and takes(model, "input_shape"):
        fed = {"input_shape": FedShapes.of(opened.content, layout)}
    return load(model, **{**how, **fed})


def read_inputs(
    file: str | Opened | None,
    samples: int | None,
    network: Network | Program,
    own: Trace | None,
    layout: Layout | None = None,
) -> Inputs:
    """Return the activations asked for: those of a file, else the model's own; at most ``samples`` of them."""
    from pathlib import Path

    from eie.errors import TraceError
    from eie.model.dataflow import dataflow
    from eie.model.samples import Samples
    from eie.model.trace import Trace
    from eie.simulator.inputs import read_array

    opened = file if isinstance(file, Opened) else open_inputs(file)
    content = opened.content
    if layout is not None and (content is None or isinstance(content, Trace)):
        raise TraceError(f"--layout {layout}: is for activations given as an array (--trace FILE.npy)")
    trace: Trace | Samples | None
    if isinstance(content, Samples):
        trace = _of_inputs(content, network, layout)
    elif content is None or isinstance(content, Trace):
        trace = own if content is None else content
    else:
        # Before the first samples are taken: of one picture alone, the first axis is that of its channels.
        source = Path(str(opened.file)).name
        trace = read_array(network.layers, dataflow(network), content, source=source, layout=layout)
    return trace.head(samples) if trace is not None and samples else trace


def read_model(model: str, options: Mapping[str, Any]) -> tuple[Network, Inputs]:
    """Read a command's model and what it runs on: the file of ``--trace``, else the model's own."""
    opened = open_inputs(options["trace_file"])
    network = load_for(model, how_to_read(dict(options)), opened, layout=options["layout"])
    inputs = read_inputs(
        file=opened,
        samples=options["samples"],
        network=network,
        own=network.trace,
        layout=options["layout"],
    )
    return network, inputs


def _of_inputs(given: Samples, network: Network | Program, layout: Layout | None) -> Trace | Samples:
    """Bring arrays by name into the shapes of the network's inputs, or of its layers' rows."""
    from eie.errors import TraceError
    from eie.model.dataflow import dataflow
    from eie.model.trace import Trace
    from eie.simulator.inputs import given_inputs

    flow = dataflow(network)
    # Rows of layers go by the layers' names, and what a layer reads first by the only input's.
    if flow is not None and not any(layer.name in given.arrays for layer in network.layers):
        names = [name for name, _ in flow.inputs]
        if not {"", "inputs", *names}.intersection(given.arrays):
            raise TraceError(
                f"{given.source}: not a trace, and {', '.join(given.arrays)} is no input: the network takes "
                f"{', '.join(names)}"
            )
        given = given.named(names, network.name)
    fitting = given_inputs(layers=network.layers, dataflow=flow, activations=given, layout=layout)
    if fitting.layers:
        return Trace(layers=fitting.layers, labels=given.labels, source=given.source)
    return fitting


def labelled_network(
    model: str,
    trace_file: str | None,
    how: Mapping[str, Any],
    samples: int | None = None,
    layout: Layout | None = None,
) -> Network:
    """Load a model with the inputs asked for: those of a file, else its own; at most ``samples`` of them."""
    opened = open_inputs(trace_file)
    network = load_for(model, how, opened, layout=layout)
    inputs = read_inputs(file=opened, samples=samples, network=network, own=network.trace, layout=layout)
    return replace(network, trace=_as_trace(inputs))


def _as_trace(inputs: Inputs) -> Trace | None:
    """Keep arrays of a network's inputs as what a network has for them: rows by the inputs' names."""
    import numpy as np

    from eie.errors import TraceError
    from eie.model.layer_trace import LayerTrace
    from eie.model.samples import Samples
    from eie.model.trace import Trace

    if not isinstance(inputs, Samples):
        # A trace, or None: `read_inputs` has made all else into one of the two.
        assert inputs is None or isinstance(inputs, Trace)
        return inputs
    layers = {}
    for name, array in inputs.loaded().items():
        rows = np.asarray(array, np.float32).reshape(len(array), -1)
        if array.dtype.kind in "iu" and not np.array_equal(rows.astype(array.dtype), array.reshape(rows.shape)):
            raise TraceError(f"{inputs.source}: input {name!r} has whole numbers beyond 2^24: a study keeps float32")
        layers[name] = LayerTrace.from_dense(rows, name)
    return Trace(layers=layers, labels=inputs.labels, source=inputs.source, synthetic=inputs.synthetic)


def chosen_layers(model: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return which layers a study may touch, and how the model is read.

    ``--layers`` means both: in a state dict these arrays are layers, and in any model the study touches them alone.
    """
    from eie.importers import takes

    globs, how = options["layers"], how_to_read(options)
    if len(globs) > 1:
        raise click.UsageError("--layers: one pattern says which layers are chosen, as in conv*")
    if globs and not takes(model, "layers"):
        how = {**how, "layers": ()}
    return (globs[0].partition("=")[0] if globs else "*"), how


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


def study_inputs(
    model: str, options: Mapping[str, Any], progress: Progress, how: Mapping[str, Any] | None = None
) -> tuple[Network, dict[str, Any]]:
    """Read what a study asks for: the network with its inputs; EIE's spec, what trains on ``--data``, and how long."""
    from eie.spec import load_spec

    spec = load_spec(options["spec_name"] or "EIE_64PE", options["overrides"])
    progress.stage(f"reading {model}")
    reading = how_to_read(options) if how is None else how
    network = labelled_network(model, options["trace_file"], how=reading, layout=options["layout"])
    trainer = trainer_on(options["data"], progress)
    # 0 is an answer too: data to measure on, without training.
    asked = EPOCHS if options["epochs"] is None else options["epochs"]
    return network, {"spec": spec, "trainer": trainer, "epochs": 0 if trainer is None else asked}


def check_study(model: str, options: Mapping[str, Any]) -> None:
    """Refuse options of a study that do not go together, before anything is read."""
    check_files(options, model)
    if options["epochs"] is not None and options["data"] is None:
        raise click.UsageError("--epochs needs --data: there is nothing to train on")
