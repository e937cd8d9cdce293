"""Low-rank differences of weights (Hu et al. 2021, "LoRA"): W + B A, for linear layers and convolutions alike."""

import torch
import torch.nn as nn
from safetensors.torch import load_file, save_file
from torch.nn.utils import parametrize

# Layers that get a difference, by the last part of their names.
TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2", "proj_in", "proj_out", "conv1", "conv2", "conv_shortcut")


class LowRank(nn.Module):
    """Adds B A to a weight. A is [rank, in, ...] like the layer's own kernel, B is [out, rank] (and 1x1 for a convolution).

    The sum is formed once a step and the layer then runs as it was, which is quicker than a second path through it.
    """

    def __init__(self, weight, rank):
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, *weight.shape[1:]) / weight[0].numel() ** 0.5)
        self.b = nn.Parameter(torch.zeros(weight.shape[0], rank, *[1] * (weight.ndim - 2)))

    def forward(self, weight):
        return weight + (self.b.flatten(1) @ self.a.flatten(1)).view_as(weight)


def attach(network, rank):
    """Freezes `network` and gives its target layers low-rank differences; returns these by layer name."""
    network.requires_grad_(False)
    added = {}
    for name, layer in list(network.named_modules()):
        if isinstance(layer, (nn.Linear, nn.Conv2d)) and name.endswith(TARGETS):
            added[name] = LowRank(layer.weight, rank).to(layer.weight.device)
            parametrize.register_parametrization(layer, "weight", added[name])
    return added


def save(added, path):
    """Writes the differences under the names that diffusers and PEFT use: scale one, as alpha would equal the rank."""
    tensors = {}
    for name, difference in added.items():
        tensors[f"unet.{name}.lora_A.weight"] = difference.a.detach().half().contiguous().cpu()
        tensors[f"unet.{name}.lora_B.weight"] = difference.b.detach().half().contiguous().cpu()
    save_file(tensors, path, metadata={"format": "pt"})


def restore(added, path):
    """Reads back what `save` wrote."""
    tensors = load_file(path)
    for name, difference in added.items():
        difference.a.data.copy_(tensors[f"unet.{name}.lora_A.weight"])
        difference.b.data.copy_(tensors[f"unet.{name}.lora_B.weight"])
