"""The tensors of a model as CompVis' and Stability's code names them, from what diffusers has.

Written from that code (openaimodel.py, model.py, open_clip's transformer.py), not from a converter: `check` holds it
against diffusers' own converters, which go the other way.
"""

import torch
from diffusers.loaders import single_file_utils as theirs
from transformers import CLIPTextModelWithProjection

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
TEXT_BLOCK = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def within(state: dict, prefix: str) -> dict:
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def layer(block: dict, resnet: int, attention: int | None) -> list[dict]:
    """A numbered block: a residual block, and the transformer behind it."""
    found = within(block, f"resnets.{resnet}.")
    parts = [{f"{RESNET[name.rsplit('.', 1)[0]]}.{name.rsplit('.', 1)[1]}": t for name, t in found.items()}]
    if attention is not None:
        parts.append(within(block, f"attentions.{attention}."))
    return [part for part in parts if part]


def unet(state: dict) -> dict:
    """`UNetModel`'s constructor, block after block."""
    ldm, inputs, outputs = {}, [[]], []
    for ours, named in UNET_ENDS.items():
        ldm |= {f"{named}.{kind}": state[f"{ours}.{kind}"] for kind in ("weight", "bias") if f"{ours}.{kind}" in state}
    levels = range(1 + max(int(name.split(".")[1]) for name in state if name.startswith("down_blocks.")))
    for level in levels:
        block, at = within(state, f"down_blocks.{level}."), 0
        while f"resnets.{at}.conv1.weight" in block:
            inputs.append(layer(block, at, at))
            at += 1
        if level != levels[-1]:
            inputs.append([{f"op.{kind}": block[f"downsamplers.0.conv.{kind}"] for kind in ("weight", "bias")}])
    middle = within(state, "mid_block.")
    middle = layer(middle, 0, 0) + layer(middle, 1, None)
    for level in levels:
        block, at = within(state, f"up_blocks.{level}."), 0
        while f"resnets.{at}.conv1.weight" in block:
            outputs.append(layer(block, at, at))
            at += 1
        if level != levels[-1]:
            outputs[-1].append({f"conv.{kind}": block[f"upsamplers.0.conv.{kind}"] for kind in ("weight", "bias")})
    for section, blocks in (("input_blocks", inputs), ("output_blocks", outputs)):
        for i, parts in enumerate(blocks):
            for j, part in enumerate(parts):
                ldm |= {f"{section}.{i}.{j}.{name}": tensor for name, tensor in part.items()}
    for j, part in enumerate(middle):
        ldm |= {f"middle_block.{j}.{name}": tensor for name, tensor in part.items()}
    return ldm


def vae(state: dict) -> dict:
    """`Encoder` and `Decoder`; attention is made of 1x1 convolutions there."""
    levels = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("decoder.up_blocks."))
    ldm = {}
    for name, tensor in state.items():
        half, *rest = name.split(".")
        if rest[0] == "down_blocks" or rest[0] == "up_blocks":
            down = rest[0] == "down_blocks"
            level = int(rest[1]) if down else levels - 1 - int(rest[1])
            kind = {"resnets": f"block.{rest[3]}", "downsamplers": "downsample", "upsamplers": "upsample"}[rest[2]]
            rest = ["down" if down else "up", str(level), kind, *rest[4:]]
        elif rest[0] == "mid_block" and rest[1] == "resnets":
            rest = ["mid", f"block_{int(rest[2]) + 1}", *rest[3:]]
        elif rest[0] == "mid_block":
            inner = ".".join(rest[3:-1])
            rest = ["mid", "attn_1", VAE_ATTENTION[inner], rest[-1]]
            tensor = tensor[:, :, None, None] if tensor.dim() == 2 else tensor
        elif rest[0] == "conv_norm_out":
            rest[0] = "norm_out"
        ldm[".".join([half, *rest]).replace(".conv_shortcut.", ".nin_shortcut.")] = tensor
    return ldm


def open_clip(state: dict) -> dict:
    """`CLIP`'s text half: queries, keys and values in one, the projection transposed."""
    ldm, blocks = {}, {}
    for name, tensor in state.items():
        name = name.removeprefix("text_model.")
        if name.startswith("encoder.layers."):
            at, rest = name.removeprefix("encoder.layers.").split(".", 1)
            blocks.setdefault(at, {})[rest] = tensor
        elif name == "text_projection.weight":
            ldm["text_projection"] = tensor.T
        else:
            name = name.replace("embeddings.position_embedding.weight", "positional_embedding")
            ldm[name.replace("embeddings.", "").replace("final_layer_norm", "ln_final")] = tensor
    for at, block in blocks.items():
        for kind in ("weight", "bias"):
            parts = [block.pop(f"self_attn.{part}_proj.{kind}") for part in "qkv"]
            ldm[f"transformer.resblocks.{at}.attn.in_proj_{kind}"] = torch.cat(parts)
        for name, tensor in block.items():
            module, kind = name.rsplit(".", 1)
            ldm[f"transformer.resblocks.{at}.{TEXT_BLOCK[module]}.{kind}"] = tensor
    return ldm


def text_state(module: torch.nn.Module) -> dict:
    """A text encoder's tensors as transformers writes them up to version 4."""
    prefix = lambda name: name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}"
    return {prefix(name): t for name, t in module.state_dict().items() if not name.endswith("position_ids")}


def same(made: dict, state: dict, what: str):
    assert set(made) == set(state), f"{what}: {sorted(set(made) ^ set(state))[:4]}"
    for name, tensor in state.items():
        assert made[name].shape == tensor.shape, f"{what}: {name}"
        assert tensor.is_meta or torch.equal(made[name], tensor), f"{what}: {name}"


def check_unet(ldm: dict, module):
    whole = {f"model.diffusion_model.{name}": tensor for name, tensor in ldm.items()}
    same(theirs.convert_ldm_unet_checkpoint(whole, dict(module.config)), module.state_dict(), "unet")


def check_vae(ldm: dict, module):
    whole = {f"first_stage_model.{name}": tensor for name, tensor in ldm.items()}
    same(theirs.convert_ldm_vae_checkpoint(whole, dict(module.config)), module.state_dict(), "vae")


def check_open_clip(ldm: dict, module):
    # Of SD 2's encoder, by its prefix, it leaves the 24th layer out.
    prefix, width = "conditioner.embedders.1.model.", module.config.hidden_size
    whole = {f"{prefix}{name}": tensor for name, tensor in ldm.items()}
    # It takes the width from the projection, which it must be given.
    whole.setdefault(f"{prefix}text_projection", torch.empty(width, width, device="meta"))
    made = theirs.convert_open_clip_checkpoint(module, whole, prefix=prefix)
    made = {name: t for name, t in made.items() if not name.endswith("position_ids")}
    if not isinstance(module, CLIPTextModelWithProjection):
        made.pop("text_projection.weight", None)
    prefixed = {name if name.startswith(("text_model.", "text_projection.")) else f"text_model.{name}": t for name, t in made.items()}
    same(prefixed, text_state(module), "text encoder")
