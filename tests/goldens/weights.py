"""Random weights of realistic scale: activations stay near 1, and the output depends on every input.

Each matrix is normal with deviation gain/√fan_in. Gains below 1 on the last layer of each residual branch keep the
residual stream from growing; gains above 1 on queries and keys make attention pick rather than average.
"""

import torch
from seeded import normal

# The first entry whose text is part of the parameter's name decides; 1 otherwise.
GAINS = [
    (("q_proj", "k_proj", "to_q", "to_k"), 1.5),
    (("attn2.to_out",), 0.5),
    (("out_proj", "fc2", "to_out", "ff.net.2", "proj_out", "conv2"), 0.7),
    (("time_embedding",), 1.5),
    (("time_emb_proj",), 0.5),
]
TOKEN_DEVIATION, POSITION_DEVIATION = 1.0, 0.5


def fill(module: torch.nn.Module, label: str, gains: dict | None = None) -> torch.nn.Module:
    """Overwrites every parameter with seeded numbers that f16 holds exactly. `gains` by full name come first."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(drawn(label, name, parameter.shape, gains).half().float())
    return module.eval()


def drawn(label: str, name: str, shape: torch.Size, gains: dict | None = None) -> torch.Tensor:
    """A parameter's numbers."""
    full = f"{label}.{name}"
    if name.endswith("token_embedding.weight"):
        return normal(full, shape, TOKEN_DEVIATION)
    if name.endswith("position_embedding.weight"):
        return normal(full, shape, POSITION_DEVIATION)
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + normal(full, shape, 0.2)
    if len(shape) == 1:
        return normal(full, shape, 0.1)
    gain = next((g for keys, g in GAINS if any(key in name for key in keys)), 1.0)
    gain = (gains or {}).get(name, gain)
    return normal(full, shape, gain / shape[1:].numel() ** 0.5)


def carry_noise(unet: torch.nn.Module, share: float, rest: float):
    """Makes the prediction follow the noisy input, as a trained UNet's does, which keeps trajectories bounded.

    Two channels of `conv_in` hold +x and −x of each latent channel. The outermost skip connection takes them past the
    whole network into the last residual block; after norm and SiLU their difference is x again, for
    silu(x) − silu(−x) = x. `share` is its weight in the prediction, `rest` that of everything else.
    """
    with torch.no_grad():
        latents = unet.conv_in.in_channels
        pairs = 2 * latents
        last = unet.up_blocks[-1].resnets[-1]
        hidden = last.conv_shortcut.in_channels - unet.conv_in.out_channels
        unet.conv_in.weight[:pairs] = 0
        unet.conv_in.bias[:pairs] = 0
        last.conv_shortcut.weight[:pairs] = 0
        for branch in [last.conv2, *(a.proj_out for a in getattr(unet.up_blocks[-1], "attentions", [])[-1:])]:
            branch.weight[:pairs] *= 0.25
            branch.bias[:pairs] *= 0.25
        last.conv_shortcut.bias[:pairs] = 0
        unet.conv_norm_out.weight[:pairs] = 1
        unet.conv_norm_out.bias[:pairs] = 0
        unet.conv_out.weight *= rest
        unet.conv_out.weight[:, :pairs] = 0
        for latent in range(latents):
            for sign, channel in ((1.0, 2 * latent), (-1.0, 2 * latent + 1)):
                unet.conv_in.weight[channel, latent, 1, 1] = sign
                last.conv_shortcut.weight[channel, hidden + channel] = 1
                unet.conv_out.weight[latent, channel, 1, 1] = sign * share
        for parameter in unet.parameters():
            parameter.copy_(parameter.half().float())
