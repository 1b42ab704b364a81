"""Every causal language model of transformers, as small as it can be built."""

from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

KINDS = sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)

LARGEST = 7_000_000
"""Parameters of a model that counts as tiny."""

_WIDTH = (
    "hidden_size n_embd d_model dim n_embed embedding_size word_embed_proj_dim out_hidden_size projection_dim embed_dim"
)
_INNER = "intermediate_size ffn_dim d_ff n_inner decoder_ffn_dim encoder_ffn_dim ffn_hidden_size"
_LAYERS = "num_hidden_layers n_layer num_layers n_layers decoder_layers encoder_layers depth"
_HEADS = "num_attention_heads n_head num_heads n_heads decoder_attention_heads encoder_attention_heads attention_heads"
_LENGTH = "max_position_embeddings n_positions n_ctx max_target_positions"
_FOUR = "num_experts n_routed_experts num_local_experts moe_num_experts linear_num_value_heads"
_TWO = "num_key_value_heads num_experts_per_tok index_n_heads num_global_key_value_heads linear_num_key_heads"
_ONE = "n_shared_experts num_shared_experts n_group topk_group first_k_dense_replace type_vocab_size eos_token_id"
_EIGHT = (
    "head_dim q_lora_rank kv_lora_rank qk_rope_head_dim qk_nope_head_dim v_head_dim rotary_dim patch_size "
    "hidden_size_per_layer_input linear_key_head_dim linear_value_head_dim"
)
_SIXTEEN = (
    "moe_intermediate_size shared_expert_intermediate_size moe_shared_expert_intermediate_size index_head_dim "
    "global_head_dim image_size"
)
SMALL: dict[str, Any] = {
    **{
        name: value
        for names, value in (
            (_WIDTH, 32),
            (_INNER, 48),
            (_LAYERS, 2),
            (_HEADS, 4),
            (_LENGTH, 128),
            (_FOUR, 4),
            (_TWO, 2),
            (_ONE, 1),
            (_EIGHT, 8),
            (_SIXTEEN, 16),
        )
        for name in names.split()
    },
    # Without their kernels the linear attentions compute whole chunks of a text, however short it is.
    **{"mamba_chunk_size": 8},
    **{"vocab_size": 300, "vocab_size_per_layer_input": 300, "index_topk": 1000, "sliding_window": 64},
    **{"pad_token_id": 0, "bos_token_id": 2, "decoder_start_token_id": 0, "moe_layer_start_index": 0},
    **{"layer_norm_eps": 1e-5, "is_decoder": True},
}
"""Small values of the settings that configs have, under all their names."""

MORE: dict[str, dict[str, Any]] = {
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "roc_bert": {
        **{"pronunciation_vocab_size": 10, "shape_vocab_size": 10},
        **{"pronunciation_embed_dim": 8, "shape_embed_dim": 8},
    },
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
    "lfm2_moe": {"layer_types": ["full_attention", "conv"]},
    "bamba": {"attn_layer_indices": [0], "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8},
    "granitemoehybrid": {"layer_types": ["attention", "attention"], "mamba_n_heads": 4, "mamba_d_head": 16},
    "mamba2": {"num_heads": 8, "head_dim": 8, "state_size": 8},
    "jamba": {"num_hidden_layers": 8, "mamba_d_state": 4},
    "recurrent_gemma": {"num_hidden_layers": 3, "lru_width": 32},
    "gemma3n_text": {
        **{"num_hidden_layers": 5, "num_kv_shared_layers": 0, "laurel_rank": 4, "intermediate_size": [48] * 5},
        **{"layer_types": ["sliding_attention"] * 4 + ["full_attention"], "activation_sparsity_pattern": [0.0] * 5},
    },
    "longcat_flash": {
        "num_layers": 2,
        "head_dim": 8,
        "expert_ffn_hidden_size": 16,
        "zero_expert_num": 2,
        "moe_topk": 2,
    },
    "bailing_hybrid": {"num_hidden_layers": 8},
    **{
        kind: {"num_hidden_layers": 4}
        for kind in ("qwen3_next", "qwen3_5_text", "qwen3_5_moe_text", "lfm3", "olmo_hybrid")
    },
}
"""What single kinds need besides: patterns of layers that have to be whole."""


NOT_BUILT = {
    **dict.fromkeys(("blt", "dots3_note"), "its sizes hang on each other in more ways than one"),
    **dict.fromkeys(
        ("gemma4_assistant", "gemma4_unified_assistant"), "drafts for a larger model whose states it reads"
    ),
    **dict.fromkeys(("musicgen", "musicgen_melody"), "its causal part cannot be made of its own config"),
    **dict.fromkeys(("kimi_linear", "qwen4_exp", "qwen4_exp_text"), "cannot keep a past where no layer has attention"),
    **dict.fromkeys(("zamba", "zamba2", "zaya"), "a fixed pattern of many layers"),
    "cohere_compass_text": "a pattern of layers that its own defaults break",
    "dbrx": "its nested config is read under another name",
    "gemma3n": "needs the package timm",
    "prophetnet": "has no one number of layers",
    "reformer": "its positions have two axes that fix its width",
    "xlnet": "has no longest text",
    "xlstm": "its states have a fixed size",
}
"""Kinds that are not built tiny here, and why."""


REFUSED = {
    **dict.fromkeys(
        [
            "bart",
            "bigbird_pegasus",
            "blenderbot",
            "blenderbot-small",
            "data2vec-text",
            "marian",
            "mbart",
            "mvp",
            "pegasus",
            "plbart",
            "trocr",
        ],
        "decoders of encoder-decoder models, which count positions by column",
    ),
    **dict.fromkeys(
        ["camembert", "roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod"],
        "positions that begin at another number",
    ),
    **dict.fromkeys(("cpmant", "roformer", "xlm"), "a text is read in both directions, or its padding too"),
    **dict.fromkeys(("recurrent_gemma", "rwkv"), "a state that padding changes"),
}
"""Kinds that `try_out` refuses, and what they have."""


def build(kind: str, seed: int = 0) -> PreTrainedModel:
    """A tiny random model in eval mode, its weights large enough that they matter."""
    config = _small(kind)
    with torch.device("meta"):
        size = sum(p.numel() for p in AutoModelForCausalLM.from_config(config).parameters())
    if size > LARGEST:
        raise ValueError(f"{size / 1e6:.0f} M parameters")
    torch.manual_seed(seed)
    made = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim >= 2:
                parameter.normal_(0, 0.2)
    return made.eval()


def _small(kind: str) -> PreTrainedConfig:
    cls = CONFIG_MAPPING[kind]
    default = cls()
    settings = _settings(default, MORE.get(kind, {}))
    for name in cls.sub_configs:
        part = getattr(default, name, None)
        if isinstance(part, PreTrainedConfig):
            more = MORE.get(part.model_type, {})
            settings[name] = {"model_type": part.model_type, **_settings(part, more)}
    return cls(**settings)


def _settings(default: PreTrainedConfig, more: dict[str, Any]) -> dict[str, Any]:
    """Small values of those settings that a config has, each under one name."""
    # With latent attention the size of a head follows from its parts, and all heads have keys of their own.
    latent = {"head_dim": None, "num_key_value_heads": 4} if hasattr(default, "qk_rope_head_dim") else {}
    found = {name: latent.get(name, value) for name, value in SMALL.items() if _is_set(default, name)}
    found = {name: value for name, value in found.items() if value is not None}
    for name, other in (default.attribute_map or {}).items():
        if name in found and other in found:
            del found[name]
    return found | more


def _is_set(default: PreTrainedConfig, name: str) -> bool:
    kept = getattr(type(default), name, None)
    if isinstance(kept, property) and kept.fset is None:
        return False
    try:
        return hasattr(default, name)
    except RuntimeError:  # differs from layer to layer, and may not be asked for
        return True
