"""State dicts in any container: one file of any suffix in `containers`, a folder, an index of shards.

Comes in: a path, perhaps with a file of masks or a LoRA adapter. Goes out: plain named arrays (quantised weights
dequantised, every pruning layout resolved) or the `Network` they make. Read by `load` and by ``.toml`` models, which
name arrays in such a file.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from eie.errors import ModelError
from eie.formats.budget import afford
from eie.formats.contents import Contents
from eie.formats.files import LARGEST_BYTES, Arrays, file_sha256
from eie.importers import hugging_face, lora, stored
from eie.importers.containers import read_container, unpacked_bytes
from eie.importers.layouts import plain_weights
from eie.importers.quantised import dequantise
from eie.importers.quantised.group import Hints
from eie.importers.roles.asked import Asked
from eie.importers.roles.prefixes import stripped
from eie.importers.suspicions import indexed_elsewhere
from eie.importers.tensors import network_from
from eie.importers.tied import tie_chain
from eie.model.layer import Layer
from eie.model.network import Network


@dataclass(frozen=True, kw_only=True)
class Weights:
    """A state dict ready to be made layers of.

    Attributes
    ----------
    arrays
        By name, float where the file has codes of its own.
    notes
        How they came about.
    stored_bits
        Bits a weight took in the file, scales included, by name of an array that was dequantised.
    files
        All that was read for the weights.
    upright
        Whether the format says that matrices are (outputs, inputs), so that it needs not be guessed.
    """

    arrays: Arrays
    notes: tuple[str, ...]
    stored_bits: Mapping[str, float] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    upright: bool = False


def read(
    path: Path,
    mask: Path | None = None,
    key: str | None = None,
    merge_lora: Path | None = None,
    *,
    layers: Sequence[str] = (),
    exclude: Sequence[str] = (),
    transpose: Sequence[str] = (),
) -> Network:
    """Read a network from ``path``; `eie.importers.roles` decides what each array is, the globs go before it."""
    asked = Asked.of(layers, exclude, transpose)
    weights = read_all(path, mask, key=key, merge_lora=merge_lora)
    name = hugging_face.model_name(path)
    try:
        network = network_from(weights.arrays, name, path.name or name, asked=asked, upright=weights.upright)
    except ModelError as error:
        # What a layer cannot hold it says itself, and not of which file it is.
        where = f"{path.name or name}: " if str(error).startswith("layer ") else ""
        raise ModelError(f"{where}{error}") from None
    made = tuple(_with_width(layer, weights.stored_bits) for layer in network.layers)
    # One file is hashed by `load`, as for every other reader.
    sha256 = network.sha256 if weights.files == (path,) else file_sha256(*weights.files)
    elsewhere = indexed_elsewhere(path) if weights.files == (path,) else []
    notes = (*weights.notes, *elsewhere, *network.notes)
    # As eie wrote it, it is what it was.
    read = replace(network, layers=made, notes=notes, sha256=sha256)
    return read if stored.KEY in weights.arrays else tie_chain(read, _places(weights.arrays))


def _places(arrays: Arrays) -> dict[str, Hashable]:
    """Return where each layer's weights lie: names of one tensor are views of one piece of memory."""
    return {
        name.removesuffix(".weight"): (array.__array_interface__["data"][0], array.shape, array.strides)
        for name, array in arrays.items()
        if name.endswith(".weight")
    }


def _with_width(layer: Layer, stored_bits: Mapping[str, float]) -> Layer:
    # A single layer may have no name in the file.
    names = [name for name in (f"{layer.name}.weight", "weight") if name in stored_bits]
    return replace(layer, stored_bits=stored_bits[names[0]]) if names else layer


def read_all(
    path: Path, mask: Path | None = None, *, key: str | None = None, merge_lora: Path | None = None
) -> Weights:
    """Read a state dict.

    Parameters
    ----------
    mask
        A file of 0/1 arrays named as the weights they prune, in any of the containers.
    key
        Of the state dict to take, where a PyTorch file holds several.
    merge_lora
        An adapter, folder or file, to be merged into the weights.

    Raises
    ------
    ModelError
        If a file is damaged or not a state dict, a pruning layout is unfinished, or a mask or an adapter does not fit.
    """
    files = hugging_face.weight_files(path)
    _afford(files, [] if mask is None else [mask], [] if merge_lora is None else [lora.weights_of(merge_lora)])
    contents = _read(files, key)
    hints = Hints(config=hugging_face.quantisation(files[0].parent), bits=contents.bits, texts=contents.texts)
    # Before masks and layouts: those name weights, and only now all weights have their names.
    floats = dequantise(contents.arrays, hints, path.name)
    masks = {}
    if mask is not None:
        masks = {name.removesuffix("_mask"): array for name, array in _read((mask,), None).arrays.items()}
    plain, notes = plain_weights(floats.arrays, path.name, masks)
    lora.refuse_adapter(plain, path)
    notes = [*contents.notes, *floats.notes, *notes]
    if merge_lora is not None:
        merged = lora.merge(plain, merge_lora, path.name)
        plain, files, notes = merged.arrays, (*files, *merged.files), [*notes, *merged.notes]
    return Weights(
        arrays=plain,
        notes=tuple(notes),
        stored_bits=floats.stored_bits,
        files=files,
        upright=contents.upright or floats.upright,
    )


def _afford(files: tuple[Path, ...], masks: Sequence[Path], adapters: Sequence[Path]) -> None:
    """Ask for what all files unpack to before the first is read: each may fit the budget that all of them exceed."""
    shards = files if len(files) == 1 else files[1:]
    parts = (*shards, *masks, *adapters)
    # One file alone says it itself, and better.
    if len(parts) == 1:
        return
    total = sum(map(unpacked_bytes, parts))
    what = (
        f"and the files beside it ({len(parts)} in all) unpack to"
        if len(shards) == 1
        else (f"its {len(shards)} shards unpack to")
    )
    if total > LARGEST_BYTES:
        raise ModelError(f"{files[0]}: {what} {total:,} bytes: must be at most {LARGEST_BYTES:,}")
    afford(total, files[0], ModelError, what=what)


def _read(files: tuple[Path, ...], key: str | None) -> Contents:
    """Read a file, or all shards of an index; names without what wrappers put into them."""
    shards = files if len(files) == 1 else files[1:]
    # One after the other: of a shard nothing is kept but its arrays.
    contents = read_container(shards[0], key)
    # Before anything is masked or merged: the hash is of the file.
    stored.check(contents.arrays, contents.texts, shards[0].name)
    for shard in shards[1:]:
        contents = _joined(contents, read_container(shard, key), shard)
    # Asked for one shard, the user may not know that there are others.
    note = hugging_face.lone_shard(files[0]) if len(files) == 1 else None
    return _unwrapped(replace(contents, notes=(*contents.notes, *([note] if note else []))))


def _joined(contents: Contents, more: Contents, shard: Path) -> Contents:
    twice = contents.arrays.keys() & more.arrays.keys()
    if twice:
        raise ModelError(f"{shard}: holds {min(twice)!r}, which another shard holds as well: shards of one model?")
    return Contents(
        arrays=contents.arrays | more.arrays,
        notes=(*contents.notes, *more.notes),
        bits={**contents.bits, **more.bits},
        texts={**more.texts, **contents.texts},
        upright=contents.upright and more.upright,
    )


def _unwrapped(contents: Contents) -> Contents:
    """Take wrappers off the names: of a model and its masks, only one may have been compiled or distributed."""
    names = stripped(contents.arrays)
    example = next((name for name in sorted(names) if name != names[name]), None)
    note = () if example is None else (f"names without their wrapper: {example} is {names[example]}",)
    return replace(
        contents,
        arrays={names[name]: array for name, array in contents.arrays.items()},
        bits={names.get(name, name): bits for name, bits in contents.bits.items()},
        notes=(*contents.notes, *note),
    )
