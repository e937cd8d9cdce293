"""The built-in model: whole pictures by StableDiffusionPipeline, from prompt and seed alone. To be made again, and the
pictures looked at, whenever the model changes: `make.py builtin`."""

import hashlib
import json
import shutil

import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from seeded import ROOT, write_json

MODEL = ROOT.parent.parent / "models/emoji"

# name, prompt, negative prompt, seed, steps, guidance; without steps in the few-steps form, as it is by default
CASES = [
    ("apple", "a red apple", "", 1, 6, 5.0),
    ("cat", "a smiling cat on a yellow background", "blue", 2, 5, 3.0),
    ("quick", "a rocket", "", 3, None, None),
]


def digest() -> str:
    """SHA-256 of the model's files, each path with its bytes."""
    sha = hashlib.sha256()
    for path in sorted(path for path in MODEL.rglob("*") if path.is_file() and path.suffix != ".md"):
        sha.update(f"{path.relative_to(MODEL).as_posix()} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return sha.hexdigest()


def load() -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(MODEL, dtype=torch.float32, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def main():
    folder = ROOT / "builtin"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    own = MODEL / "calotype.json"
    few = json.loads(own.read_text()).get("few_steps") if own.exists() else None
    pipeline, manifest = load(), []
    # The one with a LoRA in it comes last.
    for name, prompt, negative, seed, steps, guidance in sorted(CASES, key=lambda case: case[4] is None):
        quick = steps is None
        if quick:
            if few is None:
                continue
            path = MODEL / few["lora"]
            pipeline.load_lora_weights(path.parent, weight_name=path.name, adapter_name="few")
            pipeline.fuse_lora(adapter_names=["few"], lora_scale=few.get("scale", 1.0))
            steps, guidance = few["steps"], few.get("cfg_scale", 1.0)
        with torch.no_grad():
            picture = pipeline(
                prompt,
                negative_prompt=negative,
                num_inference_steps=steps,
                guidance_scale=guidance,
                generator=torch.Generator("cpu").manual_seed(seed),
                output_type="np",
            ).images[0]
        levels = (255 * picture).round().astype("uint8")
        Image.fromarray(levels).save(folder / f"{name}.png", optimize=True)
        height, width, _ = levels.shape
        manifest.append(
            {
                "name": name,
                "prompt": prompt,
                "negative_prompt": negative,
                "seed": seed,
                "width": width,
                "height": height,
                "steps": steps,
                "guidance": guidance,
                "few_steps": quick,
                "png": f"builtin/{name}.png",
            }
        )
        print(f"  {name}: {width}x{height}, {steps} steps, levels {levels.min()}..{levels.max()}, std {levels.std():.0f}")
    write_json(ROOT / "builtin.json", {"model": digest(), "pictures": manifest})
