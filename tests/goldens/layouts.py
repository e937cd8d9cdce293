#!/usr/bin/env python3
"""Names and shapes of the published single files, from the published configurations: `layouts.txt.gz`.

A model is a line `# name`; then a line a stored tensor: its name, its shape, and behind it each of diffusers' tensors that
it gives, with its component and shape. Weights are made on torch's `meta` device, which has none.
"""

import gzip
import json

import ldm
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from seeded import ROOT
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

ATTENDS, PLAIN = "CrossAttnDownBlock2D", "DownBlock2D"


def unet(channels: list, depths: list, heads, context: int, linear: bool, add: int | None = None) -> dict:
    """diffusers' configuration; a level of depth 0 has no transformers."""
    down = [ATTENDS if depth else PLAIN for depth in depths]
    config = {
        "block_out_channels": channels,
        "down_block_types": down,
        "up_block_types": [kind.replace("Down", "Up") for kind in reversed(down)],
        "transformer_layers_per_block": [depth or max(depths) for depth in depths],
        "attention_head_dim": heads,
        "cross_attention_dim": context,
        "use_linear_projection": linear,
    }
    if add:
        config |= {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        config |= {"projection_class_embeddings_input_dim": add}
    return config


VAE = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
}


def text(width: int, layers: int, projected: bool, act: str = "gelu"):
    config = CLIPTextConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        projection_dim=width,
        hidden_act=act,
    )
    return (CLIPTextModelWithProjection if projected else CLIPTextModel)(config)


# The UNet, the prefix and the layout of each text encoder, and the layers that its file has.
MODELS = {
    "sd15": (
        unet([320, 640, 1280, 1280], [1, 1, 1, 0], 8, 768, False),
        {"text_encoder": ("cond_stage_model.transformer.", lambda: text(768, 12, False, "quick_gelu"), 12)},
    ),
    # diffusers leaves the last of 24 layers out.
    "sd21": (
        unet([320, 640, 1280, 1280], [1, 1, 1, 0], [5, 10, 20, 20], 1024, True),
        {"text_encoder": ("cond_stage_model.model.", lambda: text(1024, 23, False), 24)},
    ),
    "sdxl": (
        unet([320, 640, 1280], [0, 2, 10], [5, 10, 20], 2048, True, 2816),
        {
            "text_encoder": ("conditioner.embedders.0.transformer.", lambda: text(768, 12, False, "quick_gelu"), 12),
            "text_encoder_2": ("conditioner.embedders.1.model.", lambda: text(1280, 32, True), 32),
        },
    ),
    # Its one encoder is SDXL's second.
    "refiner": (
        unet([384, 768, 1536, 1536], [0, 4, 4, 0], [6, 12, 24, 24], 1280, True, 2560),
        {"text_encoder": ("conditioner.embedders.0.model.", lambda: text(1280, 32, True), 32)},
    ),
}


class Named:
    """Which of diffusers' tensors went into a stored one: they are told apart by marks in their values' place."""

    def __init__(self, component: str, state: dict):
        self.component, self.shapes = component, {name: list(t.shape) for name, t in state.items()}

    def lines(self, prefix: str, stored: dict, given: dict) -> list[str]:
        """`given`: the stored name of each of diffusers' tensors."""
        behind = {}
        for name, at in given.items():
            behind.setdefault(at, []).append([self.component, name, self.shapes[name]])
        assert set(given) == set(self.shapes)
        return [json.dumps([prefix + name, list(t.shape), behind.get(name, [])]) for name, t in stored.items()]


def traced(convert, state: dict) -> dict:
    """The stored name of each tensor, found by giving each a number of its own to carry."""
    numbers = {name: torch.full([3] if t.dim() == 1 else [3] * t.dim(), i) for i, (name, t) in enumerate(state.items())}
    given, names = {}, list(state)
    for stored, tensor in convert(numbers).items():
        given |= {names[i]: stored for i in tensor.unique().tolist()}
    return given


def lines(model: str) -> list[str]:
    unet_config, texts = MODELS[model]
    with torch.device("meta"):
        net, vae = UNet2DConditionModel.from_config(unet_config), AutoencoderKL.from_config(VAE)
        encoders = {component: (prefix, make(), layers) for component, (prefix, make, layers) in texts.items()}
    out = []
    for component, module, convert, check, prefix in (
        ("unet", net, ldm.unet, ldm.check_unet, "model.diffusion_model."),
        ("vae", vae, ldm.vae, ldm.check_vae, "first_stage_model."),
    ):
        state = module.state_dict()
        stored = convert(state)
        check(stored, module)
        out += Named(component, state).lines(prefix, stored, traced(convert, state))
    for component, (prefix, module, layers) in encoders.items():
        state = ldm.text_state(module)
        own = prefix.endswith("transformer.")
        convert = dict if own else ldm.open_clip
        stored = convert(state)
        if not own:
            ldm.check_open_clip(stored, module)
        given = traced(convert, state)
        missing = layers - module.config.num_hidden_layers
        if missing:
            last = {n: t for n, t in stored.items() if n.startswith("transformer.resblocks.0.")}
            stored |= {n.replace(".0.", f".{layers - 1}.", 1): t for n, t in last.items()}
        out += Named(component, state).lines(prefix, stored, given)
    print(model, len(net.state_dict()), len(vae.state_dict()), len(out))
    return out


def main():
    text = "".join(f"# {model}\n" + "".join(line + "\n" for line in lines(model)) for model in MODELS)
    with open(ROOT / "layouts.txt.gz", "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(text.encode())


if __name__ == "__main__":
    main()
