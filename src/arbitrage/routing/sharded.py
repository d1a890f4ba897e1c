"""A router whose weights, gradients and moments are cut over the processes of its training: fully sharded (FSDP).

transformers asks accelerate for it, which does it on GPUs alone; torch itself does it on CPUs too, where it is tested.
"""

from typing import Any

from accelerate import PartialState
from torch import Tensor
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor

FSDP: dict[str, Any] = {"fsdp": True, "fsdp_config": {"version": 2, "state_dict_type": "SHARDED_STATE_DICT"}}
"""Of TrainingArguments: a layer's weights are whole while it computes; each process writes its part of a checkpoint."""
AS_THEY_ARE = MixedPrecisionPolicy()
"""With bf16 accelerate would have weights, sums of gradients and residuals in bfloat16, which autocast leaves alone."""


def whole_weights(model: Any) -> dict[str, Tensor]:
    """The state of a model, each weight whole and on the CPU, in the first process; nothing in the others.

    Of a sharded model: to be called by all.
    """
    weights = {}
    for name, weight in model.state_dict().items():
        whole = weight.full_tensor() if isinstance(weight, DTensor) else weight
        if PartialState().is_main_process:
            weights[name] = whole.to("cpu", copy=True)
    return weights
