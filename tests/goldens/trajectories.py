"""Every sampler's whole way from given latents, as StableDiffusionPipeline walks it."""

import inspect
from contextlib import contextmanager

import diffusers
import torch
from models import MODELS, load
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from stages import ids

STEPS, GUIDANCE = 10, 7.5
SMALL, ODD = (1, 4, 8, 8), (1, 4, 9, 25)

KARRAS = {"use_karras_sigmas": True}
# B(h) = h is infinite where the last sigma is 0.
BH1 = {"solver_type": "bh1", "solver_order": 3, "final_sigmas_type": "sigma_min"}
# name, scheduler class, what is changed in the config that comes from the model's own scheduler
SAMPLERS = [
    ("ddim", "DDIMScheduler", {}),
    ("ddim_trailing", "DDIMScheduler", {"timestep_spacing": "trailing"}),
    ("ddim_linspace", "DDIMScheduler", {"timestep_spacing": "linspace", "set_alpha_to_one": True}),
    ("pndm", "PNDMScheduler", {"skip_prk_steps": True}),
    ("pndm_prk", "PNDMScheduler", {"skip_prk_steps": False}),
    ("dpmpp_2m", "DPMSolverMultistepScheduler", {}),
    ("dpmpp_2m_karras", "DPMSolverMultistepScheduler", KARRAS),
    ("dpmpp_2m_leading", "DPMSolverMultistepScheduler", {"timestep_spacing": "leading"}),
    ("dpmpp_2m_heun_sigma_min", "DPMSolverMultistepScheduler", {"solver_type": "heun", "final_sigmas_type": "sigma_min"}),
    ("dpmpp_3m", "DPMSolverMultistepScheduler", {"solver_order": 3}),
    ("euler", "EulerDiscreteScheduler", {}),
    ("euler_karras", "EulerDiscreteScheduler", KARRAS),
    ("euler_leading", "EulerDiscreteScheduler", {"timestep_spacing": "leading"}),
    ("euler_trailing", "EulerDiscreteScheduler", {"timestep_spacing": "trailing"}),
    ("euler_ancestral", "EulerAncestralDiscreteScheduler", {}),
    ("heun", "HeunDiscreteScheduler", {}),
    ("heun_karras", "HeunDiscreteScheduler", KARRAS),
    ("lms", "LMSDiscreteScheduler", {}),
    ("lms_karras", "LMSDiscreteScheduler", KARRAS),
    ("unipc", "UniPCMultistepScheduler", {}),
    ("unipc_karras", "UniPCMultistepScheduler", KARRAS),
    ("unipc_bh1_order3", "UniPCMultistepScheduler", BH1),
    ("lcm", "LCMScheduler", {}),
    ("tcd", "TCDScheduler", {}),
]
# Fields that change a sampler; only the end of the way is kept.
FIELDS = [
    ("ddim_clip_sample", "DDIMScheduler", {"clip_sample": True, "clip_sample_range": 3.0}),
    ("ddim_thresholding", "DDIMScheduler", {"thresholding": True, "sample_max_value": 1.5}),
    ("ddim_cosine_betas", "DDIMScheduler", {"beta_schedule": "squaredcos_cap_v2"}),
    ("pndm_alpha_to_one", "PNDMScheduler", {"set_alpha_to_one": True, "steps_offset": 0}),
    ("dpmpp_2m_thresholding", "DPMSolverMultistepScheduler", {"thresholding": True}),
    ("dpmpp_2m_lu", "DPMSolverMultistepScheduler", {"use_lu_lambdas": True}),
    ("dpmpp_2m_euler_at_final", "DPMSolverMultistepScheduler", {"euler_at_final": True}),
    ("dpmpp_2m_sde", "DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}),
    ("dpmsolver_2m", "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}),
    ("euler_linear_betas", "EulerDiscreteScheduler", {"beta_schedule": "linear"}),
    ("euler_log_linear", "EulerDiscreteScheduler", {"interpolation_type": "log_linear"}),
    ("euler_exponential", "EulerDiscreteScheduler", {"use_exponential_sigmas": True}),
    ("euler_beta", "EulerDiscreteScheduler", {"use_beta_sigmas": True}),
    ("unipc_noise_prediction", "UniPCMultistepScheduler", {"predict_x0": False, "final_sigmas_type": "sigma_min"}),
]
ZERO_SNR = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def cases(model: str) -> list:
    """(name, scheduler, changes, shape, pipeline arguments, whether to keep each step)"""
    listed = [(name, kind, changes, SMALL, {}, True) for name, kind, changes in SAMPLERS]
    for name, kind, changes in FIELDS:
        # Clipping amplifies rounding; less guidance keeps it in bounds.
        calm = {"guidance_scale": 2.0} if {"clip_sample", "thresholding"} & changes.keys() else {}
        listed.append((name, kind, changes, SMALL, calm, False))
    listed += [
        ("ddim_eta", "DDIMScheduler", {}, SMALL, {"eta": 1.0}, True),
        ("tcd_eta", "TCDScheduler", {}, SMALL, {"eta": 0.3}, True),
        ("ddim_no_guidance", "DDIMScheduler", {}, SMALL, {"guidance_scale": 1.0}, False),
        ("ddim_rescale", "DDIMScheduler", {}, SMALL, {"guidance_rescale": 0.7}, False),
        ("euler_batch", "EulerDiscreteScheduler", {}, (2, *SMALL[1:]), {}, False),
        ("dpmpp_2m_odd", "DPMSolverMultistepScheduler", {}, ODD, {}, False),
        ("euler_ancestral_odd", "EulerAncestralDiscreteScheduler", {}, ODD, {}, False),
    ]
    if "prediction_type" in MODELS[model]["scheduler"]:
        listed += [
            ("ddim_zero_snr", "DDIMScheduler", ZERO_SNR, SMALL, {"guidance_rescale": 0.7}, True),
            ("euler_zero_snr", "EulerDiscreteScheduler", ZERO_SNR, SMALL, {}, True),
        ]
    return listed


@contextmanager
def recorded_noise(name: str, drawn: list):
    """Lets every scheduler draw its noise from `normal`, and lists what was drawn."""

    def draw(shape, generator=None, device=None, dtype=None, layout=None):
        noise = normal(f"trajectories.{name}.noise.{len(drawn)}", shape)
        drawn.append(noise)
        return noise.to(dtype)

    holders = [inspect.getmodule(getattr(diffusers, kind)) for kind in {kind for _, kind, _ in SAMPLERS}]
    holders = [module for module in holders if hasattr(module, "randn_tensor")]
    theirs = holders[0].randn_tensor
    for module in holders:
        module.randn_tensor = draw
    try:
        yield
    finally:
        for module in holders:
            module.randn_tensor = theirs


def run(pipeline, name: str, dtype, latents, embeds, negative, arguments) -> tuple:
    """The latents after each UNet call, the timesteps and the noise drawn."""
    steps, timesteps, drawn = [], [], []

    def record(_pipeline, _index, timestep, tensors):
        steps.append(tensors["latents"].clone())
        timesteps.append(float(timestep))
        return {}

    guided = arguments["guidance_scale"] > 1
    with recorded_noise(name, drawn):
        pipeline(
            prompt_embeds=embeds.to(dtype),
            negative_prompt_embeds=negative.to(dtype) if guided else None,
            latents=latents.to(dtype),
            width=8 * latents.shape[3],
            height=8 * latents.shape[2],
            num_inference_steps=STEPS,
            output_type="latent",
            callback_on_step_end=record,
            **arguments,
        )
    return torch.stack(steps), timesteps, drawn


def make(model: str):
    pipeline, file, manifest = load(model), Tensors(), []
    own = pipeline.scheduler
    with torch.no_grad():
        states = [pipeline.text_encoder(ids(pipeline.tokenizer, text))[0] for text in (PROMPT, NEGATIVE)]
    embeds, negative = file.keep("prompt_embeds", states[0]), file.keep("negative_prompt_embeds", states[1])
    starts = {}
    for name, kind, changes, shape, changed, each in cases(model):
        if shape not in starts:
            key = "latents." + "x".join(map(str, shape))
            starts[shape] = file.keep(key, normal(f"trajectories.{key}", shape))
        latents = file.tensors[starts[shape]]
        arguments = {"guidance_scale": GUIDANCE, "guidance_rescale": 0.0, "eta": 0.0, **changed}
        batch = [state.repeat(shape[0], 1, 1) for state in states]

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
            return run(pipeline, name, dtype, latents, *batch, arguments)

        (single, timesteps, noise), (double, _, _) = both([pipeline.unet, pipeline.text_encoder], compute)
        keys = [file.keep(f"{name}.step.{index}", step) for index, step in enumerate(single[:-1])] if each else []
        final = file.keep(f"{name}.final", single[-1])
        manifest.append(
            {
                "name": name,
                "model": model,
                "scheduler_class": kind,
                "scheduler_config": {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
                "steps": STEPS,
                "guidance": arguments["guidance_scale"],
                "guidance_rescale": arguments["guidance_rescale"],
                "eta": arguments["eta"],
                "prompt_embeds": embeds,
                "negative_prompt_embeds": negative,
                "latents": starts[shape],
                "timesteps": timesteps,
                "noise": [file.keep(f"{name}.noise.{index}", tensor) for index, tensor in enumerate(noise)],
                "per_step": keys + [final] if each else [],
                "final": final,
                **difference(single[-1], double[-1]),
            }
        )
        print(f"  {name}: std {single[-1].std():.3g}, floor {manifest[-1]['floor']:.1e}, {len(timesteps)} calls", flush=True)
    write_json(ROOT / model / "trajectories.json", manifest, compact=True)
    file.write(ROOT / model / "trajectories.safetensors")


def main():
    for model in MODELS:
        print(f" {model}")
        make(model)
