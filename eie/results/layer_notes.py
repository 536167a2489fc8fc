"""What a reader must know of a layer before believing its numbers.

Comes in: a `LayerResult`. Goes out: notes, each of which begins with the layer's name. Read by `Result.notes`.
"""

from __future__ import annotations

from eie.results.layer import LayerResult
from eie.show.numbers import percent


def run_notes(layer: LayerResult) -> list[str]:
    """What a layer met while it ran: memories too small, capacity passes, Winograd's loss of zeros, saturation.

    Each begins with the layer's name; behind it no word says whether it is of one layer or of many, since notes that
    are alike are shown as one.
    """
    return [f"{layer.name}: {text}" for text in (*_placed(layer), *_computed(layer))]


def _placed(layer: LayerResult) -> list[str]:
    """What does not fit, and what that costs."""
    passes = layer.fit.passes
    if not layer.fit.fits and layer.place.place == "ideal":
        return [f"weights do not fit: {'; '.join(layer.fit.problems)} (residency auto charges for it)"]
    if not layer.maps.fits and layer.place.place == "ideal":
        return ["maps exceed the activation SRAMs (residency auto charges for it)"]
    if layer.place.place == "reloaded":
        share = layer.activity.reload_cycles / layer.activity.total_cycles.mean()
        return [f"cut into {passes} passes; reloading weights takes {percent(share, 0)} % of the time"]
    if passes > 1:
        weights = "stay in the SRAMs" if layer.place.place == "resident" else "are streamed in each"
        return [f"cut into {passes} passes for the accumulators; weights {weights}"]
    return []


def _computed(layer: LayerResult) -> list[str]:
    """What its numbers met."""
    if layer.computed is None:
        return []
    notes = []
    if layer.computed.map_density is not None:
        before, after = layer.computed.map_density, layer.activity.activation_density
        notes.append(f"non-zero activations {percent(before)} % before Winograd's transform, {percent(after)} % after")
    if layer.computed.saturations:
        notes.append(f"additions saturated: {layer.computed.saturations}")
    return notes


def sharing_notes(layer: LayerResult) -> list[str]:
    """What weight sharing did to a layer."""
    shared = layer.encoded.shared
    notes = [f"{layer.name}: {shared.note}"] if shared.note else []
    if layer.encoded.bias_writes and shared.bias_relative_error:
        levels = f"the levels would hold it at a relative error of {percent(shared.bias_relative_error)} %"
        notes.append(
            f"{layer.name}: accumulators start from the bias; {levels}, the weights at "
            f"{percent(shared.relative_error)} %"
        )
    if shared.bias_max_error > 0:
        notes.append(f"{layer.name}: bias moved to the codebook, by up to {shared.bias_max_error:.2g}")
    return notes
