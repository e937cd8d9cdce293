"""The tiny model folders: made, saved as published folders are, and read back by diffusers."""

import shutil
from pathlib import Path

import torch
import vocabulary
from configs import MODELS, model_index
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import save_file
from seeded import ROOT, write_json
from transformers import CLIPTextConfig, CLIPTextModel
from weights import carry_noise, fill

OLD_VAE_NAMES = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}


def folder(model: str) -> Path:
    return ROOT / model / "model"


def load(model: str) -> StableDiffusionPipeline:
    """The pipeline as a user loads it, in f32."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder(model), dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def save(module: torch.nn.Module, path: Path, rename=lambda name: name, extra: dict | None = None):
    """Stores a module's state in f16 with the names that published files have."""
    tensors = {rename(name): tensor.half().contiguous() for name, tensor in module.state_dict().items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({**tensors, **(extra or {})}, path, metadata={"format": "pt"})
    path.chmod(0o644)


def old_vae_name(name: str) -> str:
    if ".attentions." in name:
        for new, old in OLD_VAE_NAMES.items():
            name = name.replace(f".{new}.", f".{old}.")
    return name


def text_name(name: str) -> str:
    return name if name.startswith("text_model.") else f"text_model.{name}"


def make(model: str):
    """Writes one model folder."""
    spec, target = MODELS[model], folder(model)
    shutil.rmtree(target, ignore_errors=True)
    tokens = vocabulary.write(target / "tokenizer", spec["pad"])
    text_config = spec["text_encoder"](tokens)

    text = fill(CLIPTextModel(CLIPTextConfig(**text_config)), f"{model}.text_encoder")
    unet = fill(UNet2DConditionModel.from_config(spec["unet"]), f"{model}.unet", {"conv_out.weight": 1.3})
    if "prediction_type" not in spec["scheduler"]:
        carry_noise(unet, share=0.95, rest=0.5)
    vae = fill(AutoencoderKL.from_config(spec["vae"]), f"{model}.vae", {"decoder.conv_out.weight": 0.5})

    write_json(target / "model_index.json", model_index(spec["scheduler"]["_class_name"]))
    write_json(target / "scheduler/scheduler_config.json", spec["scheduler"])
    write_json(target / "text_encoder/config.json", text_config)
    write_json(target / "unet/config.json", spec["unet"])
    write_json(target / "vae/config.json", spec["vae"])
    # Files of the first years carry the positions as a tensor; nothing reads it.
    positions = {"text_model.embeddings.position_ids": torch.arange(77)[None]} if spec["old_vae_names"] else None
    save(text, target / "text_encoder/model.safetensors", text_name, positions)
    save(unet, target / "unet/diffusion_pytorch_model.safetensors")
    save(vae, target / "vae/diffusion_pytorch_model.safetensors", old_vae_name if spec["old_vae_names"] else str)

    loaded = load(model)
    for made, read in ((text, loaded.text_encoder), (unet, loaded.unet), (vae, loaded.vae)):
        state = read.state_dict()
        for name, tensor in made.state_dict().items():
            assert torch.equal(tensor, state[name]), f"{model}: {name} did not survive saving"


def main():
    for model in MODELS:
        make(model)
