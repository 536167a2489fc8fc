"""Embeddings, position tables and normalisations among modules whose arrays are called ``weight``.

Comes in: a module's name, its weight, whether it has a bias. Goes out: its role, or None. Read by `decide`.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from eie.importers.roles.names import is_layers, segments, vocabulary, words

_EMBEDDING = vocabulary("emb embs embed embeds embedding embeddings embedder wte lookup lut vocab")
_POSITION = vocabulary("wpe pe pos position positions positional rotary alibi sinusoid sinusoidal rope")
# A module of nothing but these is a table by what it is indexed with: ``tok.weight``, ``token_type.weight``.
_INDEXES = vocabulary("tok token tokens word words char chars subword segment type types user item vocab")
_MULTIPLIED = vocabulary("wise feed forward ffn ffw")
_NORM = vocabulary("norm ln bn batchnorm layernorm groupnorm rmsnorm instancenorm normalization norms bns")
# Written in one, as ``groupnorm``, or after a name: ``attnnorm``.
_NORM_ENDS = ("norm", "normalization", "layernorm")
_LARGEST_TABLE = 2


def table_role(owner: str, weight: NDArray[Any], biased: bool) -> str | None:
    """Return ``"embedding"`` or ``"position"`` for a weight that is looked up, not multiplied.

    A module that says so itself, or stands in one that does, unless its own name is a layer's: ``time_embed.0`` has a
    bias and ``patch_embed.proj`` is a projection, an embedding is neither.
    """
    path = segments(owner)
    if biased or weight.ndim != _LARGEST_TABLE:
        return None
    for segment in reversed(path):
        said = words(segment)
        # position_wise_feed_forward, embedding_projection: what stands inside is multiplied.
        if is_layers(segment) or said & _MULTIPLIED:
            return None
        if said & _POSITION:
            return "position"
        if said & _EMBEDDING:
            return "embedding"
    last = words(path[-1])
    # T5 and BART call the table that encoder and decoder have in common just "shared".
    if (last and last <= _INDEXES) or path[-1].lower() == "shared":
        return "embedding"
    # relative_attention_bias of T5, user_bias of a recommender: a number for each index.
    return "position" if "bias" in last else None


def is_norm(owner: str, weight: NDArray[Any]) -> bool:
    """Say whether a module with a weight of two and more axes is a normalisation by its name."""
    last = segments(owner)[-1]
    said = words(last)
    named = bool(said & _NORM) or any(word.endswith(_NORM_ENDS) for word in said)
    # One axis long and the others 1 is a value for each channel; a matrix under that name is something else's.
    return named and not is_layers(last) and sum(size > 1 for size in weight.shape) <= 1
