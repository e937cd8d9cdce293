"""Pictures into latents, and pictures that begin from one, as AutoencoderKL and StableDiffusionImg2ImgPipeline have them: the
encoder's mean and sample; strengths; every scheduler, from where the strength begins."""

from contextlib import contextmanager

import diffusers
import numpy as np
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from diffusers.pipelines.stable_diffusion import pipeline_stable_diffusion_img2img as module
from models import MODELS, load
from PIL import Image, ImageDraw
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import KARRAS, recorded_noise

STEPS, GUIDANCE = 10, 5.0
WIDTH, HEIGHT = 72, 48

# name, scheduler class, changes, strength, whether the encoder's sample is taken
CASES = [
    ("ddim_weak", "DDIMScheduler", {}, 0.3, False),
    ("ddim", "DDIMScheduler", {}, 0.75, False),
    ("ddim_all", "DDIMScheduler", {}, 1.0, False),
    ("ddim_sampled", "DDIMScheduler", {}, 0.75, True),
    ("pndm_weak", "PNDMScheduler", {"skip_prk_steps": True}, 0.3, False),
    ("pndm", "PNDMScheduler", {"skip_prk_steps": True}, 0.75, False),
    ("pndm_most", "PNDMScheduler", {"skip_prk_steps": True}, 0.95, False),
    ("pndm_all", "PNDMScheduler", {"skip_prk_steps": True}, 1.0, False),
    ("euler_weak", "EulerDiscreteScheduler", {}, 0.3, False),
    ("euler", "EulerDiscreteScheduler", {}, 0.75, False),
    ("euler_all", "EulerDiscreteScheduler", {"timestep_spacing": "leading"}, 1.0, False),
    ("euler_karras", "EulerDiscreteScheduler", KARRAS, 0.75, False),
    ("euler_ancestral", "EulerAncestralDiscreteScheduler", {}, 0.75, False),
    ("heun", "HeunDiscreteScheduler", {}, 0.75, False),
    ("lms", "LMSDiscreteScheduler", {}, 0.75, False),
    ("lms_weak", "LMSDiscreteScheduler", KARRAS, 0.3, False),
    ("dpmpp_2m", "DPMSolverMultistepScheduler", {}, 0.75, False),
    ("dpmpp_2m_karras", "DPMSolverMultistepScheduler", KARRAS, 0.3, False),
    ("dpmpp_2m_all", "DPMSolverMultistepScheduler", KARRAS, 1.0, False),
    ("unipc", "UniPCMultistepScheduler", {}, 0.75, False),
    ("unipc_karras", "UniPCMultistepScheduler", KARRAS, 0.3, False),
    ("lcm", "LCMScheduler", {}, 0.75, False),
]


def picture(width: int, height: int) -> Image.Image:
    """Shapes on a gradient: what an encoder tells from each other."""
    y, x = np.mgrid[0:height, 0:width]
    levels = np.stack([255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 5) * np.cos(y / 7)], axis=-1)
    image = Image.fromarray(levels.round().astype("uint8"))
    draw = ImageDraw.Draw(image)
    draw.ellipse((width // 8, height // 6, width // 2, 3 * height // 4), fill=(220, 40, 30))
    draw.rectangle((5 * width // 8, height // 2, 15 * width // 16, 7 * height // 8), fill=(20, 60, 200))
    return image


@contextmanager
def given(noise, sample, module=module):
    """Has the pipeline add `noise`, and take the encoder's mean, or with `sample` its sample by that noise."""
    theirs = module.randn_tensor, module.retrieve_latents

    def retrieve(encoded, generator=None):
        posterior = encoded.latent_dist
        return posterior.mean if sample is None else posterior.mean + posterior.std * sample.to(posterior.mean.dtype)

    module.randn_tensor = lambda shape, generator=None, device=None, dtype=None: noise.to(dtype)
    module.retrieve_latents = retrieve
    try:
        yield
    finally:
        module.randn_tensor, module.retrieve_latents = theirs


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.asarray(image)).permute(2, 0, 1)[None].double() / 127.5 - 1.0


def encodings(model: str, vae, image: Image.Image, file: Tensors) -> list:
    """The moments of whole pictures."""
    manifest = []
    for name, size in (("small", (64, 64)), ("odd", (WIDTH, HEIGHT))):
        resized = image.resize(size, Image.Resampling.LANCZOS)
        path = f"pictures/encoded_{name}.png"
        resized.save(ROOT / model / path, optimize=True)
        noise = normal(f"image_to_image.{name}.vae_noise", (1, 4, size[1] // 8, size[0] // 8))

        def compute(dtype):
            posterior = vae.encode(tensor(resized).to(dtype)).latent_dist
            return posterior.mean, posterior.mean + posterior.std * noise.to(dtype)

        (mean, sample), (exact, _) = both(vae, compute)
        manifest.append(
            {
                "name": name,
                "png": path,
                "noise": file.keep(f"{name}.vae_noise", noise),
                "mean": file.keep(f"{name}.mean", mean),
                "sample": file.keep(f"{name}.sample", sample),
                **difference(mean, exact),
            }
        )
    return manifest


def make(model: str):
    loaded, file = load(model), Tensors()
    pipeline = StableDiffusionImg2ImgPipeline(**loaded.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    own, image, manifest = pipeline.scheduler, picture(WIDTH, HEIGHT), []
    image.save(ROOT / model / "pictures/init.png", optimize=True)
    shape = (1, 4, HEIGHT // 8, WIDTH // 8)
    noise = normal("image_to_image.noise", shape)
    sample = normal("image_to_image.odd.vae_noise", shape)
    encoded = encodings(model, pipeline.vae, image, file)
    key = file.keep("noise", noise)
    for name, kind, changes, strength, sampled in CASES:

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
            pictures, drawn = [], []
            for output in ("latent", "np"):
                with given(noise, sample if sampled else None), recorded_noise(f"image_to_image.{name}", drawn := []):
                    shown = pipeline(
                        prompt=PROMPT,
                        negative_prompt=NEGATIVE,
                        image=image,
                        strength=strength,
                        num_inference_steps=STEPS,
                        guidance_scale=GUIDANCE,
                        output_type=output,
                    )
                pictures.append(shown.images)
            return *pictures, drawn

        (single, pixels, drawn), (double, exact, _) = both([pipeline.unet, pipeline.text_encoder, pipeline.vae], compute)
        path = f"pictures/img2img_{name}.png"
        levels = (255 * pixels).round().astype("uint8")
        Image.fromarray(levels[0]).save(ROOT / model / path, optimize=True)
        manifest.append(
            {
                "name": name,
                "model": model,
                "scheduler_class": kind,
                "scheduler_config": {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
                "prompt": PROMPT,
                "negative_prompt": NEGATIVE,
                "init": "pictures/init.png",
                "strength": strength,
                "steps": STEPS,
                "guidance": GUIDANCE,
                "vae_noise": "odd.vae_noise" if sampled else None,
                "noise": [key, *(file.keep(f"{name}.noise.{i}", each) for i, each in enumerate(drawn))],
                "final": file.keep(f"{name}.final", single),
                "png": [path],
                **difference(single, double),
            }
        )
        off = np.abs(levels.astype(int) - (255 * exact).round()).max()
        print(f"  {name}: std {levels.std():.0f}, f64 differs by {off:.0f}, floor {manifest[-1]['floor']:.1e}")
    write_json(ROOT / model / "image_to_image.json", {"encodings": encoded, "pictures": manifest}, compact=True)
    file.write(ROOT / model / "image_to_image.safetensors")


def main():
    for model in MODELS:
        print(f" {model}")
        make(model)
