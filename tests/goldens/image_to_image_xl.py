"""Pictures that begin from one, as StableDiffusionXLImg2ImgPipeline draws them with `sdxl-tiny`."""

import diffusers
import numpy as np
import sdxl
from diffusers import StableDiffusionXLImg2ImgPipeline
from diffusers.pipelines.stable_diffusion_xl import pipeline_stable_diffusion_xl_img2img as module
from image_to_image import GUIDANCE, HEIGHT, STEPS, WIDTH, given, picture
from PIL import Image
from prompts import NEGATIVE, OTHER, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import KARRAS, recorded_noise

# name, scheduler class, changes, strength, whether the encoder's sample is taken, arguments
CASES = [
    ("euler", "EulerDiscreteScheduler", {}, 0.75, False, {}),
    ("euler_weak", "EulerDiscreteScheduler", {}, 0.3, True, {"prompt_2": OTHER}),
    ("dpmpp_2m_karras", "DPMSolverMultistepScheduler", KARRAS, 0.6, False, {"original_size": (96, 128)}),
]


def main():
    base, file, manifest = sdxl.load(), Tensors(), []
    pipeline = StableDiffusionXLImg2ImgPipeline(**base.components, add_watermarker=False)
    pipeline.set_progress_bar_config(disable=True)
    own, image = pipeline.scheduler, picture(WIDTH, HEIGHT)
    image.save(ROOT / sdxl.MODEL / "pictures/init.png", optimize=True)
    noise, sample = (normal(f"image_to_image_xl.{what}", (1, 4, HEIGHT // 8, WIDTH // 8)) for what in ("noise", "vae_noise"))
    key, vae_noise = file.keep("noise", noise), file.keep("vae_noise", sample)
    for name, kind, changes, strength, sampled, arguments in CASES:

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
            pictures, drawn = [], []
            for output in ("latent", "np"):
                mine = given(noise, sample if sampled else None, module)
                with mine, recorded_noise(f"image_to_image_xl.{name}", drawn := []):
                    shown = pipeline(
                        prompt=PROMPT,
                        negative_prompt=NEGATIVE,
                        image=image,
                        strength=strength,
                        num_inference_steps=STEPS,
                        guidance_scale=GUIDANCE,
                        output_type=output,
                        **arguments,
                    )
                pictures.append(shown.images)
            return *pictures, drawn

        (single, pixels, drawn), (double, exact, _) = both(sdxl.modules(pipeline), compute)
        path = f"pictures/img2img_{name}.png"
        levels = (255 * pixels).round().astype("uint8")
        Image.fromarray(levels[0]).save(ROOT / sdxl.MODEL / path, optimize=True)
        manifest.append(
            {
                "name": name,
                "scheduler_class": kind,
                "scheduler_config": {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
                "prompt": PROMPT,
                "prompt_2": arguments.get("prompt_2"),
                "negative_prompt": NEGATIVE,
                # Ours is width, then height.
                "original_size": list(reversed(arguments["original_size"])) if "original_size" in arguments else None,
                "init": "pictures/init.png",
                "strength": strength,
                "steps": STEPS,
                "guidance": GUIDANCE,
                "vae_noise": vae_noise if sampled else None,
                "noise": [key, *(file.keep(f"{name}.noise.{i}", each) for i, each in enumerate(drawn))],
                "final": file.keep(f"{name}.final", single),
                "png": [path],
                **difference(single, double),
            }
        )
        off = np.abs(levels.astype(int) - (255 * exact).round()).max()
        print(f"  {name}: std {levels.std():.0f}, f64 differs by {off:.0f}, floor {manifest[-1]['floor']:.1e}")
    write_json(ROOT / sdxl.MODEL / "image_to_image.json", manifest, compact=True)
    file.write(ROOT / sdxl.MODEL / "image_to_image.safetensors")
