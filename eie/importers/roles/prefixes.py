"""Wrappers that tools put before names: taken off once a file.

Comes in: names of arrays. Goes out: those that the model's author gave. Read by `state_dict` and by
whatever looks a name up that may have been written down with its wrapper.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from eie.importers.roles.names import RECORDED

# Segments of torch.compile, FSDP, activation checkpointing and DeepSpeed, wherever in a name they stand.
_INSIDE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
# Of DataParallel, a nested dictionary, a Lightning module and Flax, before every name of a file or not at all.
_BEFORE = ("module.", "state_dict.", "model.", "params/", "params.")
# MXNet keeps parameters and statistics apart, and so does Flax; only together do they make a layer.
_KINDS = re.compile(r"(?:arg|aux):|(?:params|batch_stats)[/.]")
# The names inside a model.safetensors of Hugging Face begin so: there "model." is the author's own.
_HUGGING_FACE = re.compile(
    r"model\.(?:layers|embed_tokens|encoder|decoder|norm|embed_positions|shared|language_model|vis\w*|text_model)\b"
)


def stripped(names: Iterable[str]) -> dict[str, str]:
    """Return what every name of a file becomes without wrappers.

    Names that would become equal keep what tells them apart; a network that eie wrote says itself what its arrays are
    called, and recorded inputs are in no module.
    """
    kept = {name: name for name in names}
    if "eie.network" in kept:
        return kept
    bare_names = {name: name for name in kept if name not in (*RECORDED, "labels")}
    for rule in (_without_inside, _without_kinds, _without_before):
        # More than once: a wrapper may be wrapped.
        while (shorter := rule(bare_names)) != bare_names and len(set(shorter.values())) == len(shorter):
            bare_names = shorter
    return kept | bare_names


def without_wrappers(name: str) -> list[str]:
    """Return what one name, or a pattern of names, may have become, longest first."""
    shorter = _without_inside({name: name})[name]
    forms = [name, shorter]
    while prefix := next((prefix for prefix in _BEFORE if forms[-1].startswith(prefix)), ""):
        forms.append(forms[-1].removeprefix(prefix))
    return list(dict.fromkeys(forms))


def _without_inside(bare_names: Mapping[str, str]) -> dict[str, str]:
    return {
        name: ".".join(part for part in short.split(".") if part not in _INSIDE) or short
        for name, short in bare_names.items()
    }


def _without_kinds(bare_names: Mapping[str, str]) -> dict[str, str]:
    if not all(_KINDS.match(short) for short in bare_names.values()):
        return dict(bare_names)
    return {name: _KINDS.sub("", short, count=1) for name, short in bare_names.items()}


def _without_before(bare_names: Mapping[str, str]) -> dict[str, str]:
    for prefix in _BEFORE:
        if not all(short.startswith(prefix) and short != prefix for short in bare_names.values()):
            continue
        # A layer that is called "model" keeps its name: "weight" alone says less.
        kept = prefix == "model." and any(
            _HUGGING_FACE.match(short) or "." not in short.removeprefix(prefix) for short in bare_names.values()
        )
        if not kept:
            return {name: short.removeprefix(prefix) for name, short in bare_names.items()}
    return dict(bare_names)
