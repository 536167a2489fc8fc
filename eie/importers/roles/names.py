"""Names taken apart: segments, words in a segment, and the order in which layers run.

Comes in: an array's or a layer's name. Goes out: tuples. Read by all of this room.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from eie.show.listing import first_few

_MOST_LISTED = 8
# Bare arrays that are inputs of the first layer, not weights.
RECORDED = ("act", "activations", "input", "inputs")


def vocabulary(text: str) -> frozenset[str]:
    """Return the words of a text, which is how this room's tables are written."""
    return frozenset(text.split())


# Words by which frameworks and people name what multiplies: beside one of these, "embed" names the input only.
LAYER_WORDS = vocabulary(
    "proj projection project projector linear lin fc dense mlp conv mapping head out unembed qkv attn adapter"
)
# Where segments stand among their siblings, if the alphabet would put them otherwise; 50 is everything else.
_RANKS = {
    10: "stem conv_stem conv_in conv_pre in_conv inc input patch_embed patch_embedding embeddings",
    41: "attn self_attn attention self_attention self crossattention sa",
    42: "q_proj query q to_q wq c_attn in_proj q_lin gate_proj w1 c_fc fc_in dense_h_to_4h wi wi_0",
    43: "k_proj key k to_k wk k_lin up_proj w3 wi_1",
    44: "v_proj value v to_v wv v_lin",
    45: "qkv wqkv query_key_value",
    # Behind all others of its block, hence w2 here: the three of a gated network are numbered 1, 3, 2 as they run.
    70: "o_proj o out_proj to_out wo out_lin down_proj w2 c_proj fc_out dense_4h_to_h decoder",
    60: "mlp ffn feed_forward feedforward ffwd intermediate",
    80: "norm pooler",
    90: "head heads classifier lm_head logits output out fc predictions cls score embed_out",
}
_RANK_OF = {word: rank for rank, words in _RANKS.items() for word in words.split()}


def segments(key: str) -> tuple[str, ...]:
    """Split a name at its dots and slashes; TensorFlow's ``:0`` is no part of it."""
    return tuple(re.split(r"[./]", re.sub(r":\d+$", "", key)))


def words(segment: str) -> frozenset[str]:
    """Return the lower-case words in a segment, trailing numbers off: ``embed_tokens``, ``LayerNorm``, ``fc1``."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", segment).lower()
    return frozenset(part for part in (word.rstrip("0123456789") for word in re.split(r"[^a-z0-9]+", split)) if part)


def is_layers(segment: str) -> bool:
    """Say whether a segment's words name something that multiplies."""
    return bool(words(segment) & LAYER_WORDS)


def natural(key: str) -> list[tuple[int, int | str]]:
    """Sort key: layer2 before layer10."""
    # Numbers and texts are kept apart, as Python does not compare them. ASCII digits only: int() takes no superscripts.
    return [(0, int(part)) if part[0] in "0123456789" else (1, part) for part in re.findall(r"[0-9]+|[^0-9]+", key)]


def running(name: str) -> list[tuple[int, list[tuple[int, int | str]]]]:
    """Sort key: natural order, but query, key, value, output, and the head behind the rest."""
    return [(_RANK_OF.get(segment.lower(), 50), natural(segment)) for segment in segments(name)]


def listed(names: Iterable[str]) -> str:
    """Return the first names in running order and how many more there are."""
    return first_few(sorted(names, key=running), _MOST_LISTED)
