"""Settings of transformers' `GenerationConfig` that are absent here: harmless ones, and unsupported ones."""

from typing import Any

# Settings without an effect here, or about transformers' implementation and return types.
HARMLESS = frozenset(
    (
        "_from_model_config",
        "_commit_hash",
        "transformers_version",
        "use_cache",
        "is_encoder_decoder",
        "bos_token_id",
        "cache_implementation",
        "cache_config",
        "return_legacy_cache",
        "prefill_chunk_size",
        "compile_config",
        "disable_compile",
        "return_dict_in_generate",
        "output_attentions",
        "output_hidden_states",
        "output_scores",
        "output_logits",
        "low_memory",
        "is_assistant",
        "num_assistant_tokens",
        "num_assistant_tokens_schedule",
        "assistant_confidence_threshold",
        "max_matching_ngram_size",
        "assistant_early_exit",
        "assistant_lookbehind",
        "target_lookbehind",
    )
)
NOT_BUILT: dict[str, tuple[Any, ...]] = {
    "epsilon_cutoff": (0.0,),
    "eta_cutoff": (0.0,),
    "remove_invalid_values": (False,),
    "token_healing": (False,),
    "guidance_scale": (1.0,),
    "diversity_penalty": (0.0,),
    "num_beam_groups": (1,),
    **dict.fromkeys(("max_time", "stop_strings", "sequence_bias", "watermarking_config", "penalty_alpha"), ()),
    **dict.fromkeys(("dola_layers", "constraints", "force_words_ids", "prompt_lookup_num_tokens"), ()),
}
"""{unsupported setting: values besides None without an effect}."""


def is_idle(name: str, value: Any) -> bool:
    """Whether an unsupported setting has a value without an effect.

    >>> is_idle("num_beam_groups", 1), is_idle("num_beam_groups", 2)
    (True, False)
    """
    is_one = isinstance(value, (bool, int, float)) or getattr(value, "ndim", None) == 0
    return value is None or (is_one and value in NOT_BUILT.get(name, ()))
