"""Pictures that control nets steer, as diffusers' pipelines draw them: one and several, scales, from and up to a share of the
steps, guess mode, beside a picture to begin from, SDXL's; and A1111's control modes, by the factors that its extension has
(Mikubill/sd-webui-controlnet, scripts/hook.py).

A net's encoder is the UNet's, as training begins with it, but for what `own` names; so those alone are kept here."""

import diffusers
import ldm
import sdxl
import torch
from diffusers import (
    ControlNetModel,
    StableDiffusionControlNetImg2ImgPipeline,
    StableDiffusionControlNetPipeline,
    StableDiffusionXLControlNetPipeline,
)
from image_to_image import HEIGHT, STEPS, WIDTH, given, picture
from diffusers.pipelines.controlnet import pipeline_controlnet_img2img as img2img
from models import load
from PIL import ImageOps
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import KARRAS, recorded_noise
from weights import drawn

GUIDANCE = 5.0
# What differs from the UNet.
OWN = ("controlnet_", "conv_in.", "time_embedding.")
LDM = {"controlnet_mid_block": "middle_block_out.0", "controlnet_cond_embedding.conv_in": "input_hint_block.0"}

# name, scheduler class, changes, nets, arguments; A1111's mode
CASES = [
    ("one", "DDIMScheduler", {}, "a", {"controlnet_conditioning_scale": 0.8}, None),
    ("two", "DPMSolverMultistepScheduler", KARRAS, "ab", {"controlnet_conditioning_scale": [1.0, 0.5]}, None),
    (
        "apart",
        "EulerAncestralDiscreteScheduler",
        {},
        "ab",
        {"control_guidance_start": [0.0, 0.3], "control_guidance_end": [0.5, 0.9]},
        None,
    ),
    ("guess", "DDIMScheduler", {}, "a", {"guess_mode": True}, None),
    ("unguided", "DDIMScheduler", {}, "a", {"guidance_scale": 1.0}, None),
    ("image", "EulerDiscreteScheduler", {}, "b", {"control_guidance_end": 0.6, "strength": 0.75}, None),
    ("prompt", "DDIMScheduler", {}, "a", {"controlnet_conditioning_scale": 1.5}, "prompt"),
    ("control", "DDIMScheduler", {}, "b", {}, "control"),
]


class Moded(ControlNetModel):
    """A net with A1111's factors: 0.825^(12 - i) for the i-th output, and nothing for the unconditional half, which is first."""

    mode = None

    def forward(self, sample, *arguments, **named):
        down, mid = super().forward(sample, *arguments, **named)
        if self.mode is None:
            return down, mid
        outputs = [0.825 ** (12.0 - i) * output for i, output in enumerate([*down, mid])]
        if self.mode == "control":
            for output in outputs:
                output[: len(output) // 2] = 0
        return outputs[:-1], outputs[-1]


def net(unet, label: str):
    made = Moded.from_unet(unet, conditioning_embedding_out_channels=(8, 12, 16, 20))
    gains = {n: 2.0 if n.startswith("controlnet_cond") else 0.3 for n in made.state_dict() if n.startswith("controlnet_")}
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if name.startswith(OWN):
                parameter.copy_(drawn(f"control.{label}", name, parameter.shape, gains).half().float())
    return made.eval()


def original(name: str, unet: dict) -> str:
    """A tensor's name in lllyasviel/ControlNet's code (cldm/cldm.py)."""
    if name in unet:
        return unet[name]
    stem, kind = name.rsplit(".", 1)
    if stem.startswith("controlnet_down_blocks."):
        return f"zero_convs.{stem.split('.')[1]}.0.{kind}"
    if stem.startswith("controlnet_cond_embedding.blocks."):
        return f"input_hint_block.{2 * (int(stem.split('.')[2]) + 1)}.{kind}"
    return f"{LDM.get(stem, 'input_hint_block.14')}.{kind}"


def original_names(unet, made) -> dict:
    state = unet.state_dict()
    known = {id(tensor): name for name, tensor in state.items()}
    theirs = {known[id(tensor)]: name for name, tensor in ldm.unet(state).items()}
    return {name: f"control_model.{original(name, theirs)}" for name in made.state_dict()}


def nets(unet, file: Tensors):
    both_nets, manifest = {}, {}
    for label in "ab":
        made = net(unet, label)
        config = {k: v for k, v in made.config.items() if not k.startswith("_")}
        own = [name for name in made.state_dict() if name.startswith(OWN)]
        for name in own:
            file.keep(f"{label}.{name}", made.state_dict()[name])
        both_nets[label] = made
        manifest[label] = {
            "config": {"_class_name": "ControlNetModel", "_diffusers_version": "0.42.1", **config},
            "own": own,
            "ldm": original_names(unet, made),
        }
    return both_nets, manifest


def make(model: str, loaded, cases: list, kinds):
    file, manifest = Tensors(), []
    made, told = nets(loaded.unet, file)
    own, image = loaded.scheduler, picture(WIDTH, HEIGHT)
    image.save(ROOT / model / "pictures/init.png", optimize=True)
    hints = {"a": ImageOps.invert(image), "b": ImageOps.mirror(image)}
    for label, hint in hints.items():
        hint.save(ROOT / model / f"pictures/hint_{label}.png", optimize=True)
    noise = normal("control.noise", (1, 4, HEIGHT // 8, WIDTH // 8))
    key = file.keep("noise", noise)
    plain, from_picture = kinds
    for name, kind, changes, labels, arguments, mode in cases:
        begins = "strength" in arguments
        parts = {**loaded.components, "controlnet": [made[label] for label in labels]}
        if len(labels) == 1:
            parts["controlnet"] = made[labels]
        for each in made.values():
            each.mode = mode
        if plain is StableDiffusionXLControlNetPipeline:
            pipeline = plain(**parts, add_watermarker=False)
        else:
            pipeline = (from_picture if begins else plain)(**parts, requires_safety_checker=False)
        pipeline.set_progress_bar_config(disable=True)
        hint = [hints[label] for label in labels]
        hint = hint if len(hint) > 1 else hint[0]
        pictures = {"image": image, "control_image": hint} if begins else {"image": hint, "latents": noise}

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
            shown = []
            for output in ("latent", "pil"):
                with given(noise, None, img2img), recorded_noise(f"control.{name}", drawn := []):
                    named = {k: v.to(dtype) if k == "latents" else v for k, v in pictures.items()}
                    shown += pipeline(
                        **{
                            "prompt": PROMPT,
                            "negative_prompt": NEGATIVE,
                            "num_inference_steps": STEPS,
                            "guidance_scale": GUIDANCE,
                            "output_type": output,
                            **named,
                            **arguments,
                        }
                    ).images
            return shown[0][None], shown[1], drawn

        modules = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
        (single, drawing, drawn_noise), (double, _, _) = both(modules, compute)
        path = f"pictures/control_{name}.png"
        drawing.save(ROOT / model / path, optimize=True)
        each = lambda of, default: (lambda v: v if isinstance(v, list) else [v] * len(labels))(arguments.get(of, default))
        manifest.append(
            {
                "name": name,
                "scheduler_class": kind,
                "scheduler_config": {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
                "prompt": PROMPT,
                "negative_prompt": NEGATIVE,
                "init": "pictures/init.png",
                "begins": begins,
                "strength": arguments.get("strength"),
                "steps": STEPS,
                "guidance": arguments.get("guidance_scale", GUIDANCE),
                "nets": list(labels),
                "scales": each("controlnet_conditioning_scale", 1.0 if not begins else 0.8),
                "starts": each("control_guidance_start", 0.0),
                "ends": each("control_guidance_end", 1.0),
                "mode": mode or ("guess" if arguments.get("guess_mode") else "balanced"),
                "noise": [key, *(file.keep(f"{name}.noise.{i}", each) for i, each in enumerate(drawn_noise))],
                "final": file.keep(f"{name}.final", single),
                "png": [path],
                **difference(single, double),
            }
        )
        print(f"  {name}: floor {manifest[-1]['floor']:.1e}, largest {manifest[-1]['largest']:.2f}")
    write_json(ROOT / model / "control.json", {"nets": told, "pictures": manifest})
    file.write(ROOT / model / "control.safetensors")


def main():
    print(" sd1-tiny")
    make("sd1-tiny", load("sd1-tiny"), CASES, (StableDiffusionControlNetPipeline, StableDiffusionControlNetImg2ImgPipeline))
    print(f" {sdxl.MODEL}")
    ours = [case for case in CASES if case[0] in ("one", "two", "apart", "prompt")]
    make(sdxl.MODEL, sdxl.load(), ours, (StableDiffusionXLControlNetPipeline, None))
