"""What StableDiffusionXLPipeline draws with `sdxl-tiny` as an EDM whose latents have their own mean and deviation, as Playground 2.5
has them."""

import diffusers
import sdxl
import torch
from PIL import Image
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import recorded_noise

EULER = {"_class_name": "EDMEulerScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5, "rho": 7.0}
PLAYGROUND = {**EULER, "_class_name": "EDMDPMSolverMultistepScheduler", "prediction_type": "epsilon", "solver_order": 2}
COSXL = {**EULER, "sigma_max": 120.0, "sigma_data": 1.0, "sigma_schedule": "exponential", "prediction_type": "v_prediction"}

VAE = {
    "scaling_factor": 0.5,
    "latents_mean": [-0.4, 0.5, -0.3, 0.6],
    "latents_std": [0.8, 0.6, 0.7, 0.5],
}

CASES = [("edm_euler", EULER, 6), ("edm_playground", PLAYGROUND, 8), ("edm_cosxl", COSXL, 6)]


def main():
    pipeline, manifest, file = sdxl.load(), [], Tensors()
    pipeline.vae.register_to_config(**VAE)
    for name, scheduler, steps in CASES:
        latents = normal(f"edm.{name}", (1, 4, 8, 8))

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, scheduler["_class_name"]).from_config(scheduler)
            shown = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": sdxl.GUIDANCE, "num_inference_steps": steps}
            with recorded_noise(name, drawn := []):
                final = pipeline(latents=latents.to(dtype), width=64, height=64, output_type="latent", **shown).images
            with recorded_noise(name, []):
                pixels = pipeline(latents=latents.to(dtype), width=64, height=64, output_type="np", **shown).images
            return final, drawn, pixels

        (single, noise, pixels), (double, *_) = both(sdxl.modules(pipeline), compute)
        levels = (255 * pixels).round().astype("uint8")
        path = f"pictures/{name}.png"
        Image.fromarray(levels[0]).save(ROOT / sdxl.MODEL / path, optimize=True)
        manifest.append(
            {
                "name": name,
                "scheduler": scheduler,
                **VAE,
                "prompt": PROMPT,
                "negative_prompt": NEGATIVE,
                "steps": steps,
                "latents": file.keep(f"{name}.latents", latents),
                "noise": [file.keep(f"{name}.noise.{index}", tensor) for index, tensor in enumerate(noise)],
                "final": file.keep(f"{name}.final", single),
                "png": [path],
                **difference(single, double),
            }
        )
        print(f"  {name}: levels {levels.min()}..{levels.max()}, std {levels.std():.0f}, floor {manifest[-1]['floor']:.1e}")
    write_json(ROOT / sdxl.MODEL / "edm.json", manifest, compact=True)
    file.write(ROOT / sdxl.MODEL / "edm.safetensors")
