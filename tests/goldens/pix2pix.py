"""Pictures that a picture and an instruction make, as StableDiffusionInstructPix2PixPipeline has them: a UNet that is told the
picture's latents (eight channels), and two guidances."""

import diffusers
from diffusers import StableDiffusionInstructPix2PixPipeline
from image_to_image import HEIGHT, STEPS, WIDTH, picture
from inpaint import widened
from models import load
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import KARRAS, recorded_noise

CHANNELS = 8

# name, scheduler class, changes, guidance by the text, guidance by the picture
CASES = [
    ("ddim", "DDIMScheduler", {}, 5.0, 1.5),
    ("euler_ancestral", "EulerAncestralDiscreteScheduler", {}, 7.5, 1.5),
    ("dpmpp_2m", "DPMSolverMultistepScheduler", KARRAS, 5.0, 1.0),
    ("euler_far", "EulerDiscreteScheduler", {}, 3.0, 4.0),
    ("alone", "DDIMScheduler", {}, 1.0, 1.5),
]


def make(model: str, cases: list):
    loaded, file, manifest = load(model), Tensors(), []
    image = picture(WIDTH, HEIGHT)
    own = loaded.scheduler
    parts = {**loaded.components, "unet": widened(loaded.unet, file, CHANNELS)}
    pipeline = StableDiffusionInstructPix2PixPipeline(**parts, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    noise = normal("pix2pix.noise", (1, 4, HEIGHT // 8, WIDTH // 8))
    key = file.keep("noise", noise)
    for name, kind, changes, guidance, by_picture in cases:

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
            shown = []
            for output in ("latent", "pil"):
                with recorded_noise(f"pix2pix.{name}", drawn := []):
                    shown += pipeline(
                        prompt=PROMPT,
                        negative_prompt=NEGATIVE,
                        image=image,
                        latents=noise.to(dtype),
                        num_inference_steps=STEPS,
                        guidance_scale=guidance,
                        image_guidance_scale=by_picture,
                        output_type=output,
                    ).images
            return shown[0][None], shown[1], drawn

        (single, drawing, drawn), (double, _, _) = both([pipeline.unet, pipeline.text_encoder, pipeline.vae], compute)
        path = f"pictures/pix2pix_{name}.png"
        drawing.save(ROOT / model / path, optimize=True)
        manifest.append(
            {
                "name": name,
                "model": model,
                "scheduler_class": kind,
                "scheduler_config": {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
                "prompt": PROMPT,
                "negative_prompt": NEGATIVE,
                "init": "pictures/init.png",
                "steps": STEPS,
                "guidance": guidance,
                "image_guidance": by_picture,
                "noise": [key, *(file.keep(f"{name}.noise.{i}", each) for i, each in enumerate(drawn))],
                "final": file.keep(f"{name}.final", single),
                "png": [path],
                **difference(single, double),
            }
        )
        print(f"  {name}: floor {manifest[-1]['floor']:.1e}")
    write_json(ROOT / model / "pix2pix.json", {"pictures": manifest}, compact=True)
    file.write(ROOT / model / "pix2pix.safetensors")


def main():
    for model in ("sd1-tiny", "sd2-tiny"):
        print(f" {model}")
        make(model, CASES if model == "sd1-tiny" else CASES[:1])
