"""Shapes and first weights of the lab's models, and how they are written."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from arbitrage.io.atomic import whole_directory
from arbitrage.lab.generation import ZooError
from arbitrage.runtime.provenance import write_json

if TYPE_CHECKING:
    from transformers import LlamaConfig, PreTrainedTokenizerBase

EMBEDDING_SIZE = 0.3
STORED = torch.float16
"""The type in which weights are written, half the size of that in which they are trained, measured and used."""


def llama_config(
    tokenizer: "PreTrainedTokenizerBase", width: int, layers: int, heads: int, inner: int
) -> "LlamaConfig":
    """A Llama configuration of the lab's vocabulary; `inner` is the width of the feed-forward layers."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=inner,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=1024,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
        tie_word_embeddings=False,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


@torch.no_grad()
def new_language_model(config: "LlamaConfig", seed: int) -> Any:
    """A language model to train from nothing: embeddings of unit size, and layers that add nothing yet.

    So the residual still shows which token it stands on in the last layer, which is what a PRM compares with what had
    been predicted there.
    """
    from transformers import LlamaForCausalLM

    torch.manual_seed(seed)
    model: Any = LlamaForCausalLM(config)
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=EMBEDDING_SIZE)
    for layer in model.model.layers:
        silence(layer)
    return model


@torch.no_grad()
def silence(layer: Any) -> None:
    """Make a layer add nothing to the residual; it still learns."""
    torch.nn.init.zeros_(layer.self_attn.o_proj.weight)
    torch.nn.init.zeros_(layer.mlp.down_proj.weight)


@torch.no_grad()
def deepened(model: Any, kind: Any, layers: list[int | None], seed: int, **settings: Any) -> Any:
    """A model of class `kind` whose layer k is layer `layers[k]` of `model`, or a new, silent one where that is None.

    Embeddings, final norm and, where `kind` has one of the same name, the head are copied. With the layers of `model`
    in their order, the residual after the last one is the same. `settings` override its configuration.
    """
    torch.manual_seed(seed)
    config = type(model.config)(**plain_settings(model.config) | {"num_hidden_layers": len(layers)} | settings)
    deeper = kind(config)
    own, shallow = deeper.state_dict(), model.state_dict()
    for name in own:
        source = name
        if ".layers." in name:
            before, _, rest = name.partition(".layers.")
            number, _, parameter = rest.partition(".")
            taken = layers[int(number)]
            source = "" if taken is None else f"{before}.layers.{taken}.{parameter}"
        if source in shallow and shallow[source].shape == own[name].shape:
            own[name] = shallow[source].detach().clone()
    deeper.load_state_dict(own)
    for layer, taken in zip(deeper.model.layers, layers, strict=True):
        if taken is None:
            silence(layer)
    return deeper


def plain_settings(config: Any) -> dict[str, Any]:
    """The settings of a configuration that a new one of another depth or task can be made of."""
    dropped = ("architectures", "layer_types", "id2label", "label2id", "dtype", "transformers_version", "model_type")
    return {key: value for key, value in config.to_dict().items() if key not in dropped}


@torch.no_grad()
def round_to_stored(model: Any) -> None:
    """Round the weights in place to what will be written, so that what is measured is what others load.

    Raises ZooError where a weight is too large for the type.
    """
    for name, weight in model.named_parameters():
        rounded = weight.to(STORED)
        if not rounded.isfinite().all():
            raise ZooError(f"a weight of {name} is {weight.abs().max().item():.4g}, above what {STORED} holds (65504)")
        weight.copy_(rounded)


def write_model(out: Path, model: Any, tokenizer: "PreTrainedTokenizerBase", record: dict[str, Any]) -> None:
    """Write a model, its tokenizer and the record of its training to the directory `out`, whole or not at all.

    The model is left rounded (`round_to_stored`) and of the type STORED. Raises ZooError.
    """
    round_to_stored(model)
    with whole_directory(out) as directory:
        model.to(STORED).save_pretrained(directory)
        tokenizer.save_pretrained(directory)
        write_json(directory / "training.json", record)
