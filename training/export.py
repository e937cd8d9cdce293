"""Writes the finished model: half precision, in the folder layout and with the tensor names of Stable Diffusion 1.x.

    python export.py --model runs/cpu --out ../models/emoji
"""

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import model as m

PARTS = {
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "text_encoder": ("transformers", "CLIPTextModel"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "scheduler": ("diffusers", "DDIMScheduler"),
}
WEIGHTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "text_encoder": "model"}
# Facts about the files of one machine, which say nothing about the model.
PRIVATE = ("_name_or_path", "transformers_version", "dtype")


def weights(source, target, part):
    """Copies one network as f16. transformers 5 drops the prefix `text_model.`, which every other reader expects."""
    tensors = load_file(source / part / f"{WEIGHTS[part]}.safetensors")
    prefix = "text_model." if part == "text_encoder" else ""
    named = {k if k.startswith(prefix) else prefix + k: v.to(torch.float16).contiguous() for k, v in tensors.items()}
    (target / part).mkdir(parents=True, exist_ok=True)
    save_file(named, target / part / f"{WEIGHTS[part]}.safetensors", metadata={"format": "pt"})
    config = json.loads((source / part / "config.json").read_text())
    config = {k: v for k, v in config.items() if k not in PRIVATE}
    if part == "text_encoder":
        config["torch_dtype"] = "float16"
    (target / part / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", required=True)
    p.add_argument("--out", required=True)
    a = p.parse_args()
    source, target = Path(a.model), Path(a.out)
    for part in WEIGHTS:
        weights(source, target, part)
    shutil.copytree(source / "tokenizer", target / "tokenizer", dirs_exist_ok=True)
    m.scheduler().save_pretrained(target / "scheduler")
    index = dict(_class_name="StableDiffusionPipeline", _diffusers_version="0.30.0", requires_safety_checker=False)
    index |= {part: list(pair) for part, pair in PARTS.items()}
    index |= {part: [None, None] for part in ("feature_extractor", "safety_checker")}
    (target / "model_index.json").write_text(json.dumps(index, indent=1) + "\n")
    defaults = dict(steps=20, cfg_scale=2.0)
    few = source / "few_steps"
    if few.exists():
        shutil.copytree(few, target / "few_steps", dirs_exist_ok=True)
        defaults["few_steps"] = dict(lora="few_steps/pytorch_lora_weights.safetensors", steps=4, most_steps=8)
    # What Calotype does where the user says nothing of steps and guidance; other readers pass this file by.
    (target / "calotype.json").write_text(json.dumps(defaults, indent=2) + "\n")
    for file in target.rglob("*"):
        file.chmod(0o755 if file.is_dir() else 0o644)  # safetensors writes for the owner alone
    size = sum(f.stat().st_size for f in target.rglob("*") if f.is_file())
    print(f"{target}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
