#!/usr/bin/env python3
"""Tiny models as Keras' files have them, `keras/*.h5`, and their tensors by diffusers' names, `keras/expected.safetensors`.

KerasCV's layers are written in the order of its constructors (`keras_cv/models/stable_diffusion`), with names by counters; the
file of divamgupta's kind has all weights in one layer. Dense kernels are `[in, out]`, convolutions' `[height, width, in, out]`.
"""

import os
import shutil

import h5py
import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import save_file
from seeded import ROOT, normal
from transformers import CLIPTextConfig, CLIPTextModel

FOLDER = ROOT / "keras"
LEVELS, LAYERS = 2, 1
# As wide as the text of sd1-tiny.
CONTEXT = 32


def models(linear: bool):
    unet = UNet2DConditionModel(
        block_out_channels=[32, 32],
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        layers_per_block=LAYERS,
        attention_head_dim=8,
        cross_attention_dim=CONTEXT,
        use_linear_projection=linear,
    )
    vae = AutoencoderKL(
        block_out_channels=[32, 32],
        down_block_types=["DownEncoderBlock2D"] * LEVELS,
        up_block_types=["UpDecoderBlock2D"] * LEVELS,
        layers_per_block=LAYERS,
    )
    text = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=60, hidden_size=CONTEXT, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2
        )
    )
    return {"unet": unet, "vae": vae, "text_encoder": text}


class Model:
    """Layers in order, each a list of weights by diffusers' names."""

    def __init__(self, state: dict):
        self.state, self.layers = state, []

    def both(self, *names):
        return [f"{name}.{kind}" for name in names for kind in ("weight", "bias")]

    def add(self, kind: str, names: list):
        self.layers.append((kind, names))

    def conv(self, name):
        self.add("padded_conv2d", self.both(name))

    def norm(self, name):
        self.add("group_normalization", self.both(name))

    def residual(self, at, time):
        middle = [f"{at}.time_emb_proj"] if time else []
        names = self.both(f"{at}.norm1", f"{at}.conv1", *middle, f"{at}.norm2", f"{at}.conv2")
        if f"{at}.conv_shortcut.weight" in self.state:
            names += self.both(f"{at}.conv_shortcut")
        self.add("res_block" if time else "resnet_block", names)

    def transformer(self, at):
        if f"{at}.norm.weight" not in self.state:
            return
        block = f"{at}.transformer_blocks.0"
        names = self.both(f"{at}.norm", f"{at}.proj_in")
        for norm, attention in (("norm1", "attn1"), ("norm2", "attn2")):
            names += self.both(f"{block}.{norm}")
            names += [f"{block}.{attention}.to_{part}.weight" for part in "qkv"]
            names += self.both(f"{block}.{attention}.to_out.0")
        names += self.both(f"{block}.norm3", f"{block}.ff.net.0.proj", f"{block}.ff.net.2", f"{at}.proj_out")
        self.add("spatial_transformer", names)


def unet(state: dict) -> Model:
    model = Model(state)
    # In the order of a graph's depth.
    model.add("dense", model.both("time_embedding.linear_1"))
    model.conv("conv_in")
    model.add("dense", model.both("time_embedding.linear_2"))
    for level in range(LEVELS):
        for i in range(LAYERS):
            model.residual(f"down_blocks.{level}.resnets.{i}", True)
            model.transformer(f"down_blocks.{level}.attentions.{i}")
        if level < LEVELS - 1:
            model.conv(f"down_blocks.{level}.downsamplers.0.conv")
    model.residual("mid_block.resnets.0", True)
    model.transformer("mid_block.attentions.0")
    model.residual("mid_block.resnets.1", True)
    for level in range(LEVELS):
        for i in range(LAYERS + 1):
            model.residual(f"up_blocks.{level}.resnets.{i}", True)
            model.transformer(f"up_blocks.{level}.attentions.{i}")
        if level < LEVELS - 1:
            model.conv(f"up_blocks.{level}.upsamplers.0.conv")
    model.norm("conv_norm_out")
    model.conv("conv_out")
    return model


def middle(model: Model, half: str):
    model.residual(f"{half}.mid_block.resnets.0", False)
    at = f"{half}.mid_block.attentions.0"
    names = model.both(*[f"{at}.{part}" for part in ("group_norm", "to_q", "to_k", "to_v", "to_out.0")])
    model.add("attention_block", names)
    model.residual(f"{half}.mid_block.resnets.1", False)


def decoder(state: dict) -> Model:
    model = Model(state)
    model.conv("post_quant_conv")
    model.conv("decoder.conv_in")
    middle(model, "decoder")
    for level in range(LEVELS):
        for i in range(LAYERS + 1):
            model.residual(f"decoder.up_blocks.{level}.resnets.{i}", False)
        if level < LEVELS - 1:
            model.conv(f"decoder.up_blocks.{level}.upsamplers.0.conv")
    model.norm("decoder.conv_norm_out")
    model.conv("decoder.conv_out")
    return model


def encoder(state: dict) -> Model:
    model = Model(state)
    model.conv("encoder.conv_in")
    for level in range(LEVELS):
        for i in range(LAYERS):
            model.residual(f"encoder.down_blocks.{level}.resnets.{i}", False)
        if level < LEVELS - 1:
            model.conv(f"encoder.down_blocks.{level}.downsamplers.0.conv")
    middle(model, "encoder")
    model.norm("encoder.conv_norm_out")
    model.conv("encoder.conv_out")
    model.conv("quant_conv")
    return model


def text(state: dict) -> Model:
    model, at = Model(state), "text_model."
    model.add("clip_embedding", [f"{at}embeddings.{table}_embedding.weight" for table in ("token", "position")])
    for i in range(2):
        layer = f"{at}encoder.layers.{i}"
        attention = [f"{layer}.self_attn.{part}_proj" for part in ("q", "k", "v", "out")]
        names = [f"{layer}.layer_norm1", *attention, f"{layer}.layer_norm2", f"{layer}.mlp.fc1", f"{layer}.mlp.fc2"]
        model.add("clip_encoder_layer", model.both(*names))
    model.norm(f"{at}final_layer_norm")
    return model


def keras(name: str, tensor: torch.Tensor, one_by_one: bool) -> np.ndarray:
    if name.endswith("_embedding.weight"):
        return tensor.numpy()
    if one_by_one and tensor.dim() == 2:
        tensor = tensor[:, :, None, None]
    order = {1: (0,), 2: (1, 0), 4: (2, 3, 1, 0)}[tensor.dim()]
    return np.ascontiguousarray(tensor.permute(order).numpy())


def write(file: str, model: Model, flat: bool = False, root: str = "", convs: str = "!"):
    """`convs` is in the names of matrices that Keras has as convolutions of one pixel."""
    layers = [("stable_diffusion", [name for _, names in model.layers for name in names])] if flat else model.layers
    left = set(model.state) - {name for _, names in layers for name in names}
    assert not left, sorted(left)[:4]
    counter = 17
    with h5py.File(FOLDER / file, "w", libver="earliest") as out:
        at = out.create_group(root) if root else out
        names = ["input_1"]
        at.create_group("input_1").attrs["weight_names"] = np.zeros(0)
        for kind, weights in layers:
            layer, listed = f"{kind}_{counter}", []
            group = at.create_group(layer)
            for i, weight in enumerate(weights):
                counter += 1
                # Their own paths nest, as Keras' do.
                own = f"{layer}/weight_{counter}/{'bias' if weight.endswith('bias') else 'kernel'}:0"
                group.create_dataset(own, data=keras(weight, model.state[weight], convs in weight))
                listed.append(own.encode())
            group.attrs["weight_names"] = np.array(listed)
            names.append(layer)
        at.create_group("top_level_model_weights").attrs["weight_names"] = np.zeros(0)
        at.attrs["layer_names"] = np.array([name.encode() for name in names])
        at.attrs["backend"], at.attrs["keras_version"] = "tensorflow", "2.11.0"


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    expected = {}

    def state(folder: str, module, only=()):
        named = {
            n if folder != "text_encoder" or n.startswith("text_model.") else f"text_model.{n}": t
            for n, t in module.state_dict().items()
            if not n.endswith("position_ids")
        }
        made = {}
        for name, tensor in named.items():
            fan = max(1, tensor[0].numel()) if tensor.dim() > 1 else 25
            base = 1.0 if "norm" in name and name.endswith("weight") else 0.0
            # Halves hold them, so that both files have the same numbers; and coarse ones are packed well.
            coarse = (normal(f"keras.{folder}.{name}", list(tensor.shape)) / fan**0.5 * 64).round() / 64
            made[name] = base + coarse
        expected.update({f"{folder}/{name}": tensor.half() for name, tensor in made.items()})
        return made

    first, linear = models(False), models(True)
    net = unet(state("unet", first["unet"]))
    write("kcv_diffusion_model.h5", net)
    vae = state("vae", first["vae"])
    half = lambda part, quant: {n: t for n, t in vae.items() if n.startswith((part, quant))}
    write("kcv_decoder.h5", decoder(half("decoder.", "post_quant_conv.")), convs=".attentions.")
    write("vae_encoder.h5", encoder(half("encoder.", "quant_conv.")), convs=".attentions.")
    write("kcv_encoder.h5", text(state("text_encoder", first["text_encoder"])))
    # All in one layer, in a file of a whole model; and with linear projections.
    flat = unet(state("unet_linear", linear["unet"]))
    flat.layers[1], flat.layers[2] = flat.layers[2], flat.layers[1]
    write("diffusion_model.h5", flat, flat=True, root="model_weights")
    save_file({name: tensor.contiguous() for name, tensor in expected.items()}, FOLDER / "expected.safetensors")
    for file in FOLDER.iterdir():
        os.chmod(file, 0o644)
        print(file.name, file.stat().st_size)


if __name__ == "__main__":
    main()
