"""Pictures of which a mask keeps a part, as StableDiffusionInpaintPipeline has them: with plain models by blending after every
step, with every scheduler; with models that are told the mask and what it leaves (nine channels)."""

from contextlib import contextmanager

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionInpaintPipeline
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_inpaint as module
from image_to_image import GUIDANCE, HEIGHT, STEPS, WIDTH, picture
from models import MODELS, load
from PIL import Image
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import KARRAS, recorded_noise

CHANNELS = 9

# name, scheduler class, changes, strength
PLAIN = [
    ("ddim", "DDIMScheduler", {}, 0.75),
    ("ddim_all", "DDIMScheduler", {}, 1.0),
    ("pndm", "PNDMScheduler", {"skip_prk_steps": True}, 0.75),
    ("pndm_all", "PNDMScheduler", {"skip_prk_steps": True}, 1.0),
    ("pndm_prk_all", "PNDMScheduler", {"skip_prk_steps": False}, 1.0),
    ("euler", "EulerDiscreteScheduler", KARRAS, 0.75),
    ("euler_all", "EulerDiscreteScheduler", {"timestep_spacing": "leading"}, 1.0),
    ("euler_ancestral", "EulerAncestralDiscreteScheduler", {}, 0.75),
    ("heun", "HeunDiscreteScheduler", {}, 0.75),
    ("lms", "LMSDiscreteScheduler", {}, 0.75),
    ("dpmpp_2m", "DPMSolverMultistepScheduler", {}, 0.75),
    ("dpmpp_2m_all", "DPMSolverMultistepScheduler", KARRAS, 1.0),
    ("unipc", "UniPCMultistepScheduler", {}, 0.75),
    ("lcm", "LCMScheduler", {}, 0.75),
]
NINE = [
    ("nine_ddim", "DDIMScheduler", {}, 0.75),
    ("nine_euler_all", "EulerDiscreteScheduler", {}, 1.0),
    ("nine_dpmpp_2m", "DPMSolverMultistepScheduler", KARRAS, 0.75),
]
# Only what is masked and some pixels around it, which are as many as are drawn: nothing is resized.
AREA = [("area", "DDIMScheduler", {}, 0.75), ("nine_area", "DDIMScheduler", {}, 0.75)]
SIDE, PADDING = 32, 6


def mask(width: int, height: int, at=(0.4, 0.5), reach=(0.3, 0.4)) -> Image.Image:
    """White in the middle of the left, black at the right, every grey between."""
    y, x = np.mgrid[0:height, 0:width]
    away = np.hypot((x - at[0] * width) / (reach[0] * width), (y - at[1] * height) / (reach[1] * height))
    return Image.fromarray((255 * np.clip(2.2 - 1.6 * away, 0, 1)).round().astype("uint8"))


@contextmanager
def given(noise):
    """Has the pipeline add `noise`, and take the encoder's mean."""
    theirs = module.randn_tensor, module.retrieve_latents
    module.randn_tensor = lambda shape, generator=None, device=None, dtype=None: noise.to(dtype)
    module.retrieve_latents = lambda encoded, generator=None: encoded.latent_dist.mean
    try:
        yield
    finally:
        module.randn_tensor, module.retrieve_latents = theirs


def widened(unet, file: Tensors, channels=CHANNELS):
    """The same UNet with a first convolution that takes more than the latents: the mask and the masked picture, or a picture."""
    wide = diffusers.UNet2DConditionModel.from_config({**unet.config, "in_channels": channels})
    weights = dict(unet.state_dict())
    shape = wide.conv_in.weight.shape
    more = normal("inpaint.conv_in", (shape[0], channels - 4, *shape[2:]), 0.1).half().float()
    weights["conv_in.weight"] = torch.cat([weights["conv_in.weight"], more], dim=1)
    wide.load_state_dict(weights)
    file.keep("conv_in.weight", weights["conv_in.weight"])
    return wide.eval()


def make(model: str, cases: list):
    loaded, file, manifest = load(model), Tensors(), []
    image, black = picture(WIDTH, HEIGHT), mask(WIDTH, HEIGHT)
    black.save(ROOT / model / "pictures/mask.png", optimize=True)
    small = mask(WIDTH, HEIGHT, (0.65, 0.4), (0.1, 0.13))
    small.save(ROOT / model / "pictures/mask_small.png", optimize=True)
    own, unet = loaded.scheduler, loaded.unet
    nine = widened(unet, file)
    noise = normal("inpaint.noise", (1, 4, HEIGHT // 8, WIDTH // 8))
    key = file.keep("noise", noise)
    large = normal("inpaint.area.noise", (1, 4, SIDE // 8, SIDE // 8))
    large_key = file.keep("area.noise", large)
    for name, kind, changes, strength in cases:
        is_area = name.endswith("area")
        width, height = (SIDE, SIDE) if is_area else (WIDTH, HEIGHT)
        begin, shown_mask = (large, small) if is_area else (noise, black)
        parts = {**loaded.components, "unet": nine if name.startswith("nine") else unet}
        pipeline = StableDiffusionInpaintPipeline(**parts, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
            shown, drawn = [], []
            # With an area the pipeline gives pictures alone.
            last = lambda _pipeline, _index, _timestep, tensors: latest.append(tensors["latents"]) or {}
            for output in ("pil",) if is_area else ("latent", "pil"):
                latest = []
                with given(begin), recorded_noise(f"inpaint.{name}", drawn := []):
                    shown += pipeline(
                        prompt=PROMPT,
                        negative_prompt=NEGATIVE,
                        image=image,
                        mask_image=shown_mask,
                        height=height,
                        width=width,
                        padding_mask_crop=PADDING if is_area else None,
                        strength=strength,
                        num_inference_steps=STEPS,
                        guidance_scale=GUIDANCE,
                        output_type=output,
                        callback_on_step_end=last,
                    ).images
            return latest[-1], shown[-1], drawn

        (single, drawing, drawn), (double, _, _) = both([pipeline.unet, pipeline.text_encoder, pipeline.vae], compute)
        path = f"pictures/inpaint_{name}.png"
        pasted = drawing if is_area else pipeline.image_processor.apply_overlay(black, image, drawing)
        pasted.save(ROOT / model / path, optimize=True)
        manifest.append(
            {
                "name": name,
                "model": model,
                "scheduler_class": kind,
                "scheduler_config": {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
                "prompt": PROMPT,
                "negative_prompt": NEGATIVE,
                "init": "pictures/init.png",
                "mask": "pictures/mask_small.png" if is_area else "pictures/mask.png",
                "area": {"size": SIDE, "padding": PADDING} if is_area else None,
                "strength": strength,
                "steps": STEPS,
                "guidance": GUIDANCE,
                "noise": [large_key if is_area else key, *(file.keep(f"{name}.noise.{i}", each) for i, each in enumerate(drawn))],
                "final": file.keep(f"{name}.final", single),
                "png": [path],
                **difference(single, double),
            }
        )
        print(f"  {name}: floor {manifest[-1]['floor']:.1e}")
    write_json(ROOT / model / "inpaint.json", {"pictures": manifest}, compact=True)
    file.write(ROOT / model / "inpaint.safetensors")


def main():
    # Stable Diffusion 2's kind predicts v, which changes blending in nothing but its coefficients.
    for model in MODELS:
        print(f" {model}")
        names = ("ddim", "euler", "dpmpp_2m_all", "unipc", "nine_ddim")
        make(model, [case for case in PLAIN + NINE + AREA if model == "sd1-tiny" or case[0] in names])
