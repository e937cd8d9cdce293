"""What diffusers makes of a scheduler for models of few steps, set up as their authors' cards say. Writes few_steps.json.

    python tests/goldens/few_steps.py

Each case: a file's or a LoRA's name, the class and its configuration as diffusers has it, steps and guidance.
"""

import json

import diffusers
from sdxl import EULER
from seeded import ROOT, write_json

TRAILING = {"timestep_spacing": "trailing"}
# Name, class, what is said besides, steps, guidance (0 there is none, which is 1 here).
CASES = [
    # docs/source/en/api/pipelines/stable_diffusion/sdxl_turbo.md in diffusers, stabilityai/sdxl-turbo
    ("sd_xl_turbo_1.0_fp16", "EulerAncestralDiscreteScheduler", TRAILING, 4, 1.0),
    # ByteDance/SDXL-Lightning
    ("sdxl_lightning_4step_unet", "EulerDiscreteScheduler", TRAILING, 4, 1.0),
    ("sdxl_lightning_8step_lora", "EulerDiscreteScheduler", TRAILING, 8, 1.0),
    ("sdxl_lightning_1step_unet_x0", "EulerDiscreteScheduler", TRAILING | {"prediction_type": "sample"}, 1, 1.0),
    # ByteDance/Hyper-SD
    ("Hyper-SDXL-2steps-lora", "DDIMScheduler", TRAILING | {"clip_sample": False}, 2, 1.0),
    ("Hyper-SDXL-8steps-CFG-lora", "DDIMScheduler", TRAILING | {"clip_sample": False}, 8, 5.0),
    # latent-consistency/lcm-lora-sdxl
    ("lcm-lora-sdxl", "LCMScheduler", {}, 4, 1.0),
    # tianweiy/DMD2: at timesteps 999, 749, 499 and 249
    ("dmd2_sdxl_4step_lora_fp16", "LCMScheduler", {"original_inference_steps": 4}, 4, 1.0),
]


def case(name: str, scheduler: str, fields: dict, steps: int, guidance: float) -> dict:
    own = diffusers.EulerDiscreteScheduler.from_config(EULER)
    made = getattr(diffusers, scheduler).from_config(own.config, **fields)
    if name.startswith("dmd2"):
        made.set_timesteps(4)
        assert made.timesteps.tolist() == [999, 749, 499, 249], made.timesteps
    config = json.loads(made.to_json_string())
    return {"name": name, "class": scheduler, "config": config, "steps": steps, "guidance": guidance}


if __name__ == "__main__":
    write_json(ROOT / "few_steps.json", [case(*told) for told in CASES], compact=True)
