"""LLaMA-Factory under `accelerate launch`, with gloo processes where GPUs would be.

accelerate shards on accelerators only. PyTorch's FSDP shards tensors of a CPU as well, so all that
is replaced here is the question what the devices are.
"""

import accelerate.state
import accelerate.utils.dataclasses
import torch
import torch.distributed.fsdp as fsdp
import transformers.training_args
from accelerate.utils import DistributedType

accelerate.state.PartialState._prepare_backend = (
    lambda *args, **kwargs: ("gloo", DistributedType.MULTI_GPU))
accelerate.utils.dataclasses.is_cuda_available = lambda: True
torch.cuda.current_device = lambda: torch.device("cpu")
transformers.training_args.is_torch_bf16_gpu_available = lambda: True
fsdp._init_utils._check_module_states_for_sync_module_states = lambda states: None
# a copy "to the CPU" would be the very memory that FSDP frees next: keep its clone
fsdp.FullStateDictConfig.offload_to_cpu = property(lambda self: False, lambda self, value: None)

if __name__ == "__main__":
    from llamafactory.train.tuner import run_exp

    run_exp()
