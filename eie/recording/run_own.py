"""Recording with eie's own functional engine, for models that no other framework runs.

Comes in: a `Network` whose layers feed each other, and `Samples`. Goes out: layer traces. Called by `record`. Numbers
run on the float32 datapath, weights clustered to at most 255 values a layer, so that shared weights stay exact.
"""

from __future__ import annotations

from eie.compiler.program import EncodedLayer, compile
from eie.errors import TraceError
from eie.network import Network, dataflow
from eie.recording.inputs import Samples, fitted
from eie.recording.rows import Recorder
from eie.simulator.functional import LayerOutputs
from eie.simulator.network import Settings, run_network
from eie.spec import EIE_64PE
from eie.trace import LayerTrace


def run_own(network: Network, samples: Samples, batch: int, recorder: Recorder) -> None:
    """Record all samples, ``batch`` at a time.

    Raises
    ------
    TraceError
        If the layers are not connected, or the samples do not fit the network's input.
    """
    flow = dataflow(network)
    if flow is None:
        raise TraceError(f"{network.source}: its layers do not feed each other, so nothing can be recorded")
    if len(flow.inputs) != 1:
        raise TraceError(f"{network.source}: has {len(flow.inputs)} inputs: recording feeds networks with one")
    program = compile(network, EIE_64PE.replace(weight_bits=8))
    layers = {layer.name: layer for layer in program.layers}
    name, shape = flow.inputs[0]
    wanted = tuple(None if size == -1 else size for size in shape)

    def ran(layer: EncodedLayer, inputs: LayerTrace, _: LayerOutputs) -> None:
        recorder.append(layer.name, inputs)

    settings = Settings(program.spec.data_bits, "float32", recorder.values)
    for part in samples.batches(batch):
        values = fitted(part, wanted, f"{network.source}: input {name!r}")
        run_network(flow, layers, {name: values}, settings, ran)
