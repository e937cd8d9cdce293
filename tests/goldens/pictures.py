"""Whole pictures: prompt, negative prompt and latents through StableDiffusionPipeline to 8-bit PNG."""

import shutil

import torch
from models import MODELS, load
from PIL import Image
from prompts import NEGATIVE, OTHER, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json

STEPS, GUIDANCE = 6, 7.5

# name, prompts, width, height, guidance rescale
CASES = [
    ("square", [PROMPT], 64, 64, 0.0),
    ("wide", [PROMPT], 200, 72, 0.0),
    ("tall", [OTHER], 72, 200, 0.0),
    ("batch", [PROMPT, OTHER], 64, 64, 0.0),
    ("rescale", [OTHER], 64, 64, 0.7),
]


def make(model: str):
    pipeline, file, manifest = load(model), Tensors(), []
    folder = ROOT / model / "pictures"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, prompts, width, height, rescale in CASES:
        shape = (len(prompts), 4, height // 8, width // 8)
        latents = normal(f"pictures.{name}.latents", shape)

        def compute(dtype):
            final = pipeline(
                prompt=prompts,
                negative_prompt=[NEGATIVE] * len(prompts),
                width=width,
                height=height,
                num_inference_steps=STEPS,
                guidance_scale=GUIDANCE,
                guidance_rescale=rescale,
                latents=latents.to(dtype),
                output_type="latent",
            ).images
            image = pipeline.vae.decode(final / pipeline.vae.config.scaling_factor).sample
            return final, pipeline.image_processor.postprocess(image, output_type="np")

        (single, pixels), (double, exact) = both([pipeline.unet, pipeline.text_encoder, pipeline.vae], compute)
        levels = (255 * pixels).round().astype("uint8")
        files = []
        for index, picture in enumerate(levels):
            path = f"pictures/{name}{f'.{index}' if len(levels) > 1 else ''}.png"
            Image.fromarray(picture).save(ROOT / model / path, optimize=True)
            files.append(path)
        manifest.append(
            {
                "name": name,
                "model": model,
                "prompts": prompts,
                "negative_prompts": [NEGATIVE] * len(prompts),
                "width": width,
                "height": height,
                "steps": STEPS,
                "guidance": GUIDANCE,
                "guidance_rescale": rescale,
                "latents": file.keep(f"{name}.latents", latents),
                "final": file.keep(f"{name}.final", single),
                "png": files,
                **difference(single, double),
            }
        )
        ends = ((levels == 0) | (levels == 255)).mean()
        off = (levels.astype(int) - (255 * exact).round()).__abs__().max()
        print(
            f"  {name}: levels {levels.min()}..{levels.max()}, mean {levels.mean():.0f}, std {levels.std():.0f}, "
            f"{ends:.1%} clipped, f64 differs by {off:.0f}, latents std {single.std():.2f}, floor {manifest[-1]['floor']:.1e}"
        )
    write_json(ROOT / model / "pictures.json", manifest, compact=True)
    file.write(ROOT / model / "pictures.safetensors")


def main():
    for model in MODELS:
        print(f" {model}")
        make(model)
