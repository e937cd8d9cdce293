"""Draws prompts with a finished model through diffusers; the sheet of prompts.txt when run by itself.

    python draw.py --model ../models/emoji --steps 20 --guidance 2 --out sheet.png
    python draw.py --model ../models/emoji --few-steps --steps 4 --out sheet-4.png
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image, ImageDraw

from sprites import HERE

LABEL = 26  # pixels under each picture for its prompt


def pipeline(folder, few_steps=False):
    """The model at f32, with the few-step difference merged where asked for."""
    pipe = StableDiffusionPipeline.from_pretrained(folder, torch_dtype=torch.float32, safety_checker=None)
    pipe.set_progress_bar_config(disable=True)
    if few_steps:
        pipe.load_lora_weights(Path(folder) / "few_steps", weight_name="pytorch_lora_weights.safetensors")
        pipe.fuse_lora()
    return pipe.to("cuda" if torch.cuda.is_available() else "cpu")


def draw(pipe, prompts, seeds, steps, guidance, batch=32):
    """uint8 [N, 128, 128, 3]: picture i from prompt i with seed i."""
    pictures = []
    for i in range(0, len(prompts), batch):
        noise = [torch.Generator().manual_seed(int(s)) for s in seeds[i : i + batch]]
        with torch.autocast(pipe.device.type, torch.bfloat16, enabled=pipe.device.type == "cpu"):
            made = pipe(list(prompts[i : i + batch]), num_inference_steps=steps, guidance_scale=guidance, generator=noise)
        pictures += [np.asarray(image) for image in made.images]
    return np.stack(pictures)


def sheet(pictures, captions, columns=8):
    """The pictures in rows, each above its caption."""
    side = pictures.shape[1]
    page = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * (side + LABEL)), "white")
    pen = ImageDraw.Draw(page)
    for i, (picture, caption) in enumerate(zip(pictures, captions)):
        x, y = i % columns * side, i // columns * (side + LABEL)
        page.paste(Image.fromarray(picture), (x, y))
        words, lines = caption.split(), [""]
        for word in words:
            if len(lines[-1]) + len(word) > 20:
                lines.append("")
            lines[-1] = f"{lines[-1]} {word}".strip()
        pen.multiline_text((x + side // 2, y + side + 1), "\n".join(lines), fill="black", anchor="ma", align="center", spacing=1)
    return page


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", required=True)
    p.add_argument("--prompts", default=HERE / "prompts.txt")
    p.add_argument("--out", required=True)
    p.add_argument("--steps", type=int, default=20)
    p.add_argument("--guidance", type=float, default=2.0)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--few-steps", action="store_true")
    a = p.parse_args()
    prompts = [line for line in Path(a.prompts).read_text().splitlines() if line]
    guidance = 1.0 if a.few_steps else a.guidance
    pictures = draw(pipeline(a.model, a.few_steps), prompts, [a.seed] * len(prompts), a.steps, guidance)
    sheet(pictures, prompts).save(a.out)


if __name__ == "__main__":
    main()
