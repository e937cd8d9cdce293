"""Pictures of several prompts at once (A1111's AND), and of runs that are guided in a part of their steps, with the tiny UNets,
for tests/together.rs.

    python tests/goldens/together.py           # writes together.safetensors; a second run writes the same bytes

Prompts are read by prompt_styles.py, their states put together by prompt_states.py. Prompts of one picture that are of
different lengths end in their last state again and again (modules/prompt_parser.py `reconstruct_multicond_batch` of A1111
1.10), and the outputs are combined as modules/sd_samplers_cfg_denoiser.py `combine_denoised` has it: the unconditional one
plus, of each prompt, its weight times the scale of what it says otherwise. A step that is not guided takes the first prompt's in
the place of the unconditional one, and scale 1 (`skip_uncond` there); which are, diffusers' guiders say: those from int(start n)
to before int(stop n). Steps are diffusers' own, in f64.

Names are MODEL/CASE, the latents after ten steps; the metadata holds each case, and MODEL/latents are those it begins with.
"""

import json
from pathlib import Path

import numpy as np
import torch
import diffusers
from models import MODELS, load
from prompt_states import HERE, STEPS, Encoder, a1111
from prompt_styles import parts
from safetensors.torch import save_file
from seeded import normal

SHAPE = (4, 8, 8)
LONG = "red house by the sea, " * 12 + "(blue:1.4) moon"
# name, an image's prompts, negative prompt, scale, from and up to which share of the steps it counts, diffusers' scheduler
DDIM, DPM = "DDIMScheduler", "DPMSolverMultistepScheduler"
ALL = (0.0, 1.0)
CASES = [
    ("two", ["a red house AND a blue moon"], "sea", 5.0, ALL, DDIM),
    ("weights", ["a red house :1.2 AND a moon:-0.3 AND (sea:1.3) : 0.5"], "", 4.0, ALL, DDIM),
    ("one_weight", ["a red house :1.4"], "sea", 3.0, ALL, DDIM),
    ("lengths", [LONG + " AND a moon :0.7"], "sea", 4.0, ALL, DDIM),
    ("turns", ["a [red:blue:4] house AND a moon [by the sea::0.6] :0.8"], "", 4.0, ALL, DDIM),
    ("scale_1", ["a red house :0.6 AND a moon :0.6"], "sea", 1.0, ALL, DDIM),
    ("batch", ["a red house AND a moon :0.5", "the sea", "a cat :2 AND blue AND a dog :-1"], "night", 3.0, ALL, DDIM),
    ("middle", ["a red house"], "sea", 6.0, (0.2, 0.75), DPM),
    ("late", ["a red house AND a moon :0.6"], "sea", 4.0, (0.45, 1.0), DPM),
    ("early", ["a red house", "the sea AND blue"], "night", 4.0, (0.0, 0.5), DDIM),
]  # fmt: skip


def padded(states: list[torch.Tensor]) -> list[torch.Tensor]:
    longest = max(len(one) for one in states)
    return [torch.cat([one, one[-1:].repeat(longest - len(one), 1)]) for one in states]


def standing(turns: list, evaluation: int) -> torch.Tensor:
    return next(states for end, states in turns if end >= evaluation)


def draw(pipeline, encoder: Encoder, prompt: str, negative: str, scale: float, between, kind: str, latents) -> np.ndarray:
    scheduler = getattr(diffusers, kind).from_config(pipeline.scheduler.config)
    scheduler.set_timesteps(STEPS)
    guided = range(*(int(share * STEPS) for share in between))
    said = parts(prompt)
    weights = [weight for _, weight in said]
    each = [a1111(encoder, text, "Original", 1) for text, _ in said]
    without = a1111(encoder, negative, "Original", 1)

    def output(x: np.ndarray, t: int, states: torch.Tensor) -> np.ndarray:
        seen = torch.from_numpy(x).float()[None]
        return pipeline.unet(seen, t, encoder_hidden_states=states[None])[0][0].double().numpy()

    x = latents.double().numpy()
    for evaluation, t in enumerate(scheduler.timesteps):
        states = padded([standing(turns, evaluation) for turns in each])
        is_guided = evaluation in guided
        u = output(x, t, standing(without, evaluation) if is_guided else states[0])
        m = u.copy()
        for one, weight in zip(states, weights):
            m += weight * (scale if is_guided else 1.0) * (output(x, t, one) - u)
        x = scheduler.step(torch.from_numpy(m), t, torch.from_numpy(x)).prev_sample.numpy()
    return x


def main():
    torch.set_num_threads(1)
    tensors, cases = {}, []
    for model in MODELS:
        pipeline, encoder = load(model), Encoder(HERE / model / "model", model == "sd2-tiny")
        tensors[f"{model}/latents"] = torch.stack([normal(f"together.latents.{i}", SHAPE) for i in range(3)])
        with torch.no_grad():
            for name, prompts, negative, scale, between, kind in CASES:
                starts = tensors[f"{model}/latents"]
                finals = [
                    draw(pipeline, encoder, prompt, negative, scale, between, kind, start)
                    for prompt, start in zip(prompts, starts)
                ]
                tensors[f"{model}/{name}"] = torch.from_numpy(np.stack(finals)).float()
                case = {"name": name, "prompts": prompts, "negative": negative, "scale": scale, "steps": STEPS}
                cases.append({"model": model, **case, "between": between, "scheduler": kind})
                print(f"  {model} {name}: std {np.std(finals):.3g}", flush=True)
    save_file(tensors, Path(HERE) / "together.safetensors", {"cases": json.dumps(cases)})


if __name__ == "__main__":
    main()
