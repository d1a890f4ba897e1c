"""The model that a router's training begins with: a checkpoint with a new head, and what is frozen of it."""

from typing import Any

import torch
from transformers import AutoModelForSequenceClassification, set_seed
from transformers.utils import logging as transformers_logging

from arbitrage.engines.checkpoints import Checkpoint
from arbitrage.engines.hf.attention import attention_of
from arbitrage.routing.label_classes import RoutingError
from arbitrage.speculation.protocols import EngineError


def new_model(init: Checkpoint, tokenizer: Any, report: dict[str, Any], seed: int) -> Any:
    """The checkpoint's body in float32 with a new head: a logit a class, or a cut between classes where ordinal.

    The head is new even where the checkpoint has one of this shape: a PRM's label 1 means right, the router's escalate.
    report: that of the data set. Gives the tokenizer a padding token, if it has none. Raises EngineError where no
    router can start from `init`.
    """
    logits = report["classes"] - 1 if report["ordinal"] else report["classes"]
    # Loading would warn of the missing head, which is meant to be new.
    transformers_logging.set_verbosity_error()
    set_seed(seed)
    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            init.directory,
            num_labels=logits,
            ignore_mismatched_sizes=True,
            trust_remote_code=False,
            use_safetensors=True,
            dtype=torch.float32,
            attn_implementation=attention_of(init.configs()[0]),
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise EngineError(
            f"{init.path}: no router can start from it ({error}); give a causal or classification model"
        ) from error
    missing = sorted(key for key in info["missing_keys"] if not key.startswith("score."))
    if missing or not isinstance(getattr(model, "score", None), torch.nn.Linear):
        raise EngineError(
            f"{init.path}: {type(model).__name__} lacks {missing or 'a head named score'}; expected a decoder-only "
            "model (Llama, Qwen2 ...) with all its weights"
        )
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        model.score.weight.normal_(0.0, model.config.get_text_config().initializer_range, generator=generator)
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token is None:
            raise EngineError(f"{init.path}: its tokenizer has neither a padding nor an end-of-sequence token; add one")
        tokenizer.pad_token = tokenizer.eos_token
    model.config.get_text_config().pad_token_id = tokenizer.pad_token_id
    return model


def freeze_below(model: Any, top_layers: int) -> None:
    """Leave the embeddings, and all layers but the last `top_layers`, as they are. Raises RoutingError."""
    layers = model.base_model.layers
    if top_layers > len(layers):
        raise RoutingError(
            f"router.training.top_layers {top_layers}: the router's start has {len(layers)} layers; give as many or "
            "fewer, or leave it out to train all"
        )
    for part in (model.get_input_embeddings(), *layers[: len(layers) - top_layers]):
        part.requires_grad_(False)
