"""What is no layer, by its name: optimisers' moments, gradients, masks, scales, statistics, queues, tables.

Comes in: an array's name and shape. Goes out: its role, or None where the name says nothing. Read by `decide`, which
asks here before it looks for layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eie.importers.roles.families import PARTS, place
from eie.importers.roles.names import segments

# Role: what any segment of the name says. An optimiser keeps its arrays under the names of the weights.
_ANYWHERE = (
    (
        "moment",
        r"optimi[sz]er(s|_states?|_state_dict)?|optim|opt_state|(training_)?adam(w|ax)?|sgd|rmsprop|adagrad|nadam",
    ),
    ("moment", r"exp_avg(_sq)?|max_exp_avg_sq|momentum_buffer|square_avg|grad_avg|acc_delta|momentums?|velocit(y|ies)"),
    ("moment", r"(adam|adagrad|rmsprop|momentum|slot)_\d+|exp_inf|second_moment|accumulators?|.*_accumulator"),
    ("gradient", r"grad|grads|gradients?|.*_grad(ient)?"),
    ("adapter", r"lora_.*|lora|.*_lora|loha_.*|hada_.*|lokr_.*|vera_.*|ia3_.*"),
    ("statistic", r"activation_post_process(_\d+)?|batch_stats|.*fake_quant(ize)?(_\d+)?|.*_?observer(_\d+)?"),
    ("ema", r"(model_|module_|net_|params_|g_)?ema(_model|_net|_module|_params|_state_dict|_weights)?|.*_ema|ema_.*"),
    ("ema", r"swa_.*|averaged_model|shadow(_params|_model)?|moving_averages?|exponentialmovingaverage"),
)
# Role: what the array itself is called.
_ITSELF = (
    ("mask", r"causal(_mask)?|masks?|.*_masks?|tril|triu|masked_bias|attn_mask.*"),
    ("queue", r"queue|queue_.*|.*_queue|(memory_|feature_)?bank"),
    ("statistic", r"running_.*|num_batches_tracked|moving_(mean|var|variance)|mean|var|variance|std|.*_(mean|var|std)"),
    ("statistic", r"min_vals?|max_vals?|histogram|ema_count|cluster_size|embed_avg|embedding_avg"),
    ("scale", r"scales?|.*_scales?(_inv)?|scale_.*|qscales?|.*zero_?points?|zeros|qzeros|.*absmax|quant_map|scb"),
    ("scale", r"(.*_)?amax|gamma(_\d+)?|.*_gamma|layer_scale.*|alpha|.*temperature|g_idx|offset|offsets"),
    ("packed", r"qweight|weight_packed|weight_bitmask|weight_shape|.*packed_params.*|qdata|quant_state.*"),
    ("position", r"pe|pos|.*positional.*|pos_.*|.*_pos|positions?|position_.*|.*_position|.*_pos_.*|rel_.*|alibi.*"),
    ("position", r"relative_.*|rotary.*|inv_freq|freqs.*|.*_freqs?|.*sinusoid.*|(cos|sin)(_.*)?|.*_(cos|sin)|w_pos"),
    ("position", r"rope.*|.*_rope|.*_pe|.*pos_?emb.*"),
    ("embedding", r"(.*_)?(emb|embs|embed|embeds|embedding|embeddings|lookup|lut|wte|wpe)|(embed|embedding)_.*|w_e"),
    ("token", r"cls|.*_tokens?|.*_quer(y|ies)|latents?|anchors?|prompts?|registers?|prototypes?|centroids?"),
    ("token", r"h0|c0|h_0|c_0|.*_states?|initial_.*|bias_[kv]|time_(decay|first|mix_.*)|a_log|dt_bias"),
    ("table", r"mel_.*|.*_filters?|filterbank|dct.*|hann.*|.*_index|.*_table|buffer|.*_buffer|.*_ids?"),
)
# What follows another network slowly, and the name of the other in its place: MoCo, DINO, BYOL and their kin.
_FOLLOWS = {
    "encoder_k": ("encoder_q",),
    "momentum_encoder": ("base_encoder", "encoder"),
    "target_encoder": ("online_encoder", "encoder"),
    "target_network": ("online_network",),
    "teacher": ("student",),
}
_ANYWHERE_OF = tuple((role, re.compile(pattern)) for role, pattern in _ANYWHERE)
_ITSELF_OF = tuple((role, re.compile(pattern)) for role, pattern in _ITSELF)


def foreign(names: Iterable[str]) -> set[str]:
    """Return the arrays that stand under an optimiser's, a gradient's or an average's name, whatever theirs is.

    A file of nothing but averages is a model: there they are none of these.
    """
    roles = {name: _anywhere(segments(name)) for name in names}
    averages = any(role is None for role in roles.values())
    return {name for name, role in roles.items() if role is not None and (averages or role != "ema")}


def followed(key: str, arrays: Mapping[str, NDArray[Any]]) -> str | None:
    """Return the array of which ``key`` is a moving average, as its name has it; None if there is no such array."""
    for segment in segments(key):
        for other in _FOLLOWS.get(segment, ()):
            name = key.replace(segment, other, 1)
            # A teacher that is a larger network is one of its own.
            if name in arrays and arrays[name].shape == arrays[key].shape:
                return name
    return None


def role_of(key: str, array: NDArray[Any], names: Set[str]) -> str | None:
    """Return why ``array`` is no layer, a key of `records.REASONS`, if its name says so.

    A normalisation's parts are left to `groups`: they may be folded.
    """
    path = tuple(segment.lower() for segment in segments(key))
    if (role := _anywhere(path)) is not None:
        return role
    part = PARTS.get(path[-1])
    if part is not None or path[-1] in ("codes", "codebook", "bias_codes"):
        return "mask" if part == "bias" and _is_gpt2_mask(array) else None
    spot = place(key, array.ndim, names)
    if spot is not None and spot.is_norms:
        return None
    for role, pattern in _ITSELF_OF:
        if pattern.fullmatch(path[-1]):
            return role
    return "mask" if _is_mask(array) else None


def _anywhere(path: tuple[str, ...]) -> str | None:
    for segment in path:
        for role, pattern in _ANYWHERE_OF:
            if pattern.fullmatch(segment.lower()):
                return role
    return None


def _is_gpt2_mask(array: NDArray[Any]) -> bool:
    """Say whether a "bias" is (1, 1, n, n): which position may look at which."""
    return array.ndim == 4 and array.shape[:2] == (1, 1) and array.shape[2] == array.shape[3] > 1


def _is_mask(array: NDArray[Any]) -> bool:
    """Say whether ``array`` is square and triangular with one value on each side, as a causal mask is."""
    if array.ndim < 2 or array.shape[-1] != array.shape[-2] or array.shape[-1] < 2:
        return False
    if not array.size or array.dtype.kind not in "fiub":
        return False
    # The corners first: matrices of a billion weights are no masks, and this tells at once.
    square = array.reshape(-1, *array.shape[-2:])[0]
    below, above = square[-1, 0], square[0, -1]
    if below == above or not np.isin([below, above], [0, 1, -np.inf]).any():
        return False
    lower = np.tri(len(square), dtype=bool)
    return bool((square[lower] == below).all() and (square[~lower] == above).all())
