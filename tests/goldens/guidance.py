"""Kinds of guidance with the tiny UNets: ten steps from given latents and text states, by diffusers' schedulers and the
functions of its guiders where it has the kind, else by ComfyUI's and A1111's rules in float64. `python guidance.py` writes
guidance.json and .safetensors beside each model's others."""

import diffusers
import torch
from diffusers.guiders.adaptive_projected_guidance import MomentumBuffer, normalized_guidance
from diffusers.guiders.classifier_free_zero_star_guidance import cfg_zero_star_scale
from models import MODELS, load
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, normal, write_json
from stages import ids

STEPS, SHAPE = 10, (2, 4, 8, 8)
# name, scheduler, changes, the kind as the command line has it, scale, the sigma below which every other evaluation is alone
CASES = [
    ("apg", "DDIMScheduler", {}, "apg:eta=0.2:norm=2.5:momentum=-0.5", 7.5, 0.0),
    ("apg_unbounded", "EulerDiscreteScheduler", {}, "apg:eta=0:norm=0", 7.5, 0.0),
    ("apg_heun", "HeunDiscreteScheduler", {}, "apg:eta=0.5:momentum=0.3", 5.0, 0.0),
    ("cfg_zero", "DPMSolverMultistepScheduler", {}, "cfg-zero", 7.5, 0.0),
    ("perp_neg", "EulerDiscreteScheduler", {}, "perp-neg", 7.5, 0.0),
    ("perp_neg_more", "DDIMScheduler", {}, "perp-neg:scale=1.5", 4.0, 0.0),
    ("ngms", "EulerDiscreteScheduler", {}, "cfg", 7.5, 3.0),
    ("ngms_apg", "EulerDiscreteScheduler", {}, "apg:eta=0.2:norm=2.5:momentum=-0.5", 7.5, 3.0),
]


def perpendicular(c, n, e, cfg, scale):
    """ComfyUI's PerpNeg (comfy_extras/nodes_perpneg.py), of each picture by itself."""
    c, n, e = (v.double() for v in (c, n, e))
    over = lambda v: v.sum(dim=(1, 2, 3), keepdim=True)
    pos, neg = c - e, n - e
    return e + cfg * (pos - scale * (neg - over(neg * pos) / over(pos * pos) * pos))


def guided(kind, numbers, outputs, cfg, memory):
    c, n, e = outputs
    if kind == "apg":
        return normalized_guidance(c, n, cfg, memory, numbers.get("eta", 1.0), numbers.get("norm", 15.0))
    if kind == "cfg-zero":
        alpha = cfg_zero_star_scale(c.flatten(1), n.flatten(1)).view(-1, 1, 1, 1)
        return n * alpha + cfg * (c - n * alpha)
    if kind == "perp-neg":
        return perpendicular(c, n, e, cfg, numbers.get("scale", 1.0)).float()
    return n + cfg * (c - n)


def run(unet, scheduler, latents, states, guidance, cfg, least):
    kind, *numbers = guidance.split(":")
    numbers = {name: float(value) for name, value in (number.split("=") for number in numbers)}
    memory = MomentumBuffer(numbers["momentum"]) if numbers.get("momentum") else None
    scheduler.set_timesteps(STEPS)
    x, times = latents * scheduler.init_noise_sigma, []
    for i, t in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(x, t)
        outputs = [unet(seen, t, encoder_hidden_states=state)[0] for state in states]
        alone = i % 2 == 1 and least > 0 and float(scheduler.sigmas[i]) < least
        m = outputs[0] if alone else guided(kind, numbers, outputs, cfg, memory)
        x = scheduler.step(m, t, x)[0]
        times.append(float(t))
    return x, times


def make(model: str):
    pipeline, file, manifest = load(model), Tensors(), []
    with torch.no_grad():
        texts = (PROMPT, NEGATIVE, "")
        states = [pipeline.text_encoder(ids(pipeline.tokenizer, text))[0].repeat(SHAPE[0], 1, 1) for text in texts]
        names = ("prompt_embeds", "negative_prompt_embeds", "empty_prompt_embeds")
        keys = {name: file.keep(name, state[:1]) for name, state in zip(names, states)}
        latents = normal("guidance.latents", SHAPE)
        file.keep("latents", latents)
        for name, kind, changes, guidance, cfg, least in CASES:
            scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config, **changes)
            final, times = run(pipeline.unet, scheduler, latents, states, guidance, cfg, least)
            manifest.append(dict(
                name=name, model=model, scheduler_class=kind,
                scheduler_config={k: v for k, v in scheduler.config.items() if not k.startswith("_")},
                steps=STEPS, guidance=cfg, guidance_rescale=0.0, kind=guidance, s_min_uncond=least, eta=0.0, latents="latents",
                timesteps=times, noise=[], per_step=[], final=file.keep(f"{name}.final", final), **keys))
            print(f"  {name}: std {final.std():.3g}, {len(times)} calls", flush=True)
    write_json(ROOT / model / "guidance.json", manifest, compact=True)
    file.write(ROOT / model / "guidance.safetensors")


def main():
    torch.set_num_threads(1)
    for model in MODELS:
        print(f" {model}")
        make(model)


if __name__ == "__main__":
    main()
