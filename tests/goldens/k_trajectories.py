"""Samplers by A1111's, k-diffusion's and ComfyUI's rules with the tiny UNets: k_samplers.py's peers, ten steps from given
latents and text states with guidance. `python k_trajectories.py` writes k_trajectories.json and .safetensors beside each
model's others."""

import math

import numpy as np
import torch
from k_samplers import COMFY, DISCARD, SAMPLERS, SCHEDULES, TABLE, BAR, adaptive, peers_timesteps, time_of
from models import MODELS, load
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, normal, write_json
from stages import ids

STEPS, SHAPE = 10, (1, 4, 8, 8)
# name, sampler, schedule, dialect, guidance, knobs
CASES = [
    ("euler_uniform", "euler", "discrete", "k", 7.5, {}),
    ("euler_churn", "euler", "karras", "k", 7.5, dict(s_churn=4.0, s_tmin=0.05, s_tmax=8.0, s_noise=1.003)),
    ("dpm2_a", "dpm2_a", "karras", "k", 7.5, {}),
    ("dpmpp_2s_a", "dpm++_2s_a", "karras", "k", 7.5, {}),
    ("dpmpp_2m_sgm", "dpm++_2m", "sgm_uniform", "k", 7.5, {}),
    ("dpmpp_2m_sde", "dpm++_2m_sde", "exponential", "k", 7.5, {}),
    ("dpmpp_3m_sde", "dpm++_3m_sde", "exponential", "k", 7.5, {}),
    ("dpmpp_sde", "dpm++_sde", "karras", "k", 7.5, {}),
    ("restart", "restart", "karras", "k", 7.5, {}),
    ("deis", "deis", "beta", "k", 7.5, {}),
    ("sa_solver", "sa_solver", "simple", "k", 7.5, {}),
    ("seeds_3", "seeds_3", "karras", "k", 7.5, {}),
    ("euler_cfg_pp", "euler_cfg_pp", "karras", "k", 1.5, {}),
    ("res_multistep_cfg_pp", "res_multistep_ancestral_cfg_pp", "karras", "k", 1.0, {}),
    ("unipc_comfy", "unipc", "simple", "comfy", 7.5, {}),
    ("euler_comfy", "euler", "discrete", "comfy", 7.5, {}),
    ("plms", "plms", None, "k", 7.5, {}),
    ("ddim_cfg_pp", "ddim_cfg++", None, "k", 7.5, {}),
    ("dpm_adaptive", "dpm_adaptive", None, "k", 7.5, dict(eta=0.0)),
    ("dpm_adaptive_eta", "dpm_adaptive", None, "k", 7.5, dict(eta=1.0)),
]


class Run:
    """The UNet as a denoiser of flat vectors."""

    def __init__(self, pipeline, states, dialect, guidance, name):
        self.unet, self.states, self.whole, self.guidance = pipeline.unet, states, dialect == "comfy", guidance
        self.v = pipeline.scheduler.config.prediction_type == "v_prediction"
        self.name, self.times, self.drawn = name, [], []

    def outputs(self, x, t):
        self.times.append(float(t))
        latents = torch.from_numpy(x.reshape(SHAPE)).float().repeat(2, 1, 1, 1)
        out = self.unet(latents, torch.tensor(t, dtype=torch.float32), encoder_hidden_states=self.states)[0].double().numpy()
        u, c = out[0].ravel(), out[1].ravel()
        return u + self.guidance * (c - u), u

    def clean(self, x, sigma):
        c = 1 / math.sqrt(sigma * sigma + 1)
        return tuple(x * c * c - m * sigma * c if self.v else x - sigma * m for m in self.outputs(x * c, time_of(sigma, self.whole)))

    def eps(self, x, t):
        bar = math.exp(np.interp(t, range(1000), np.log(BAR)))
        return tuple(math.sqrt(bar) * m + math.sqrt(1 - bar) * x if self.v else m for m in self.outputs(x, t))

    def noise(self, a, b):
        self.drawn.append(normal(f"k.{self.name}.noise.{len(self.drawn)}", SHAPE))
        return self.drawn[-1].double().numpy().ravel()


class Enough(Exception):
    """Raised with the sample as it is."""


def ten_attempts(run, x, knobs):
    """As far as DPM adaptive comes in ten attempts. A network of random weights is no smooth function: a start that is
    1e-6 off ends up to 0.2 off, by k-diffusion too, some of whose attempts are refused then and others not."""
    def told(info):
        if info["i"] + 1 == STEPS:
            raise Enough(info["x"][0].numpy())
    try:
        adaptive(run.clean, x * TABLE[-1], [TABLE[-1], TABLE[0]], run.noise, callback=told, **knobs)
    except Enough as enough:
        return enough.args[0]
    raise SystemExit(f"{run.name}: fewer than {STEPS} attempts")


def play(run, latents, sampler, schedule, dialect, knobs):
    x = latents.double().numpy().ravel()
    if sampler == "dpm_adaptive":
        return ten_attempts(run, x, knobs)
    if schedule is None:
        run.guidance /= 12.5 if sampler == "ddim_cfg++" else 1
        return (peers_timesteps.a1_plms(run.eps, x, BAR, STEPS, run.noise) if sampler == "plms"
                else peers_timesteps.a1_ddim(run.eps, x, BAR, STEPS, run.noise, plus=True))
    discards = sampler in DISCARD[dialect]
    s = [float(v) for v in SCHEDULES[schedule][int(dialect == "comfy")](STEPS + discards)]
    if discards:
        del s[-2]
    f, options = (COMFY if dialect == "comfy" else SAMPLERS)[sampler]
    scale = math.sqrt(1 + s[0] ** 2) if dialect == "comfy" and s[0] > TABLE[-1] * (1 - 1e-5) else s[0]
    return f(run.clean, x * scale, s, run.noise, **options, **knobs)


def make(model: str):
    pipeline, file, manifest = load(model), Tensors(), []
    bar = pipeline.scheduler.alphas_cumprod.double().numpy()
    assert np.allclose(bar, BAR, rtol=1e-6), "not Stable Diffusion's betas"
    with torch.no_grad():
        states = [pipeline.text_encoder(ids(pipeline.tokenizer, text))[0] for text in (PROMPT, NEGATIVE)]
        embeds, negative = file.keep("prompt_embeds", states[0]), file.keep("negative_prompt_embeds", states[1])
        latents = normal("k.latents", SHAPE)
        file.keep("latents", latents)
        for name, sampler, schedule, dialect, guidance, knobs in CASES:
            run = Run(pipeline, torch.cat([states[1], states[0]]), dialect, guidance, name)
            final = torch.from_numpy(np.asarray(play(run, latents, sampler, schedule, dialect, knobs)).reshape(SHAPE)).float()
            if sampler == "dpm_adaptive" and not knobs["eta"]:
                run.drawn.clear()  # It draws and adds nothing of it.
            manifest.append(dict(
                name=name, sampler=sampler, schedule=schedule, dialect=dialect, steps=STEPS, guidance=guidance, knobs=knobs,
                latents="latents", prompt_embeds=embeds, negative_prompt_embeds=negative, timesteps=run.times,
                noise=[file.keep(f"{name}.noise.{i}", tensor) for i, tensor in enumerate(run.drawn)],
                final=file.keep(f"{name}.final", final)))
            print(f"  {name}: std {final.std():.3g}, {len(run.times)} calls, {len(run.drawn)} draws", flush=True)
    write_json(ROOT / model / "k_trajectories.json", manifest, compact=True)
    file.write(ROOT / model / "k_trajectories.safetensors")


def main():
    torch.set_num_threads(1)
    for model in MODELS:
        print(f" {model}")
        make(model)


if __name__ == "__main__":
    main()
