"""Teaches a low-rank difference to draw in few steps without guidance: progressive distillation (Salimans & Ho 2022) with
classifier-free guidance folded in (Meng et al. 2023).

In one of its steps the student must arrive where the guided teacher arrives in two.

    python distill.py --preset cpu --model runs/cpu --pool runs/cpu/pool --steps 4 --guidance 2
"""

import argparse
import copy
import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel

import lora
import model as m
from parallel import agree, average_gradients, finish, start
from pool import Pool
from presets import PRESETS


def grid(steps, k):
    """The k-th of `steps` trailing times: 999 first; -1, the clean picture, after the last."""
    return torch.round(1000 - k * 1000 / steps).long() - 1


class Teacher:
    """The guided model: each step is two passes."""

    def __init__(self, unet, noise, empty, guidance):
        self.unet, self.noise, self.empty, self.guidance = unet, noise, empty, guidance

    def v(self, x, t, states):
        """Guided prediction: u + g (c - u)."""
        both = torch.cat([self.empty.expand_as(states), states])
        out = self.unet(torch.cat([x, x]), torch.cat([t, t]), encoder_hidden_states=both).sample.float()
        without, given = out.chunk(2)
        return without + self.guidance * (given - without)

    def target(self, x, t, middle, s, states):
        """The v at (x, t) that a single DDIM step needs to land where two of the teacher's land."""
        y = self.noise.ddim(x, self.v(x, t, states), t, middle)
        y = self.noise.ddim(y, self.v(y, middle, states), middle, s)
        a, b = self.noise.level(t), self.noise.level(s)
        # One step is y = (sqrt(ab) + sqrt((1-a)(1-b))) x - (sqrt(b(1-a)) - sqrt(a(1-b))) v; solve for v.
        keep = (a * b).sqrt() + ((1 - a) * (1 - b)).sqrt()
        return (keep * x - y) / ((b * (1 - a)).sqrt() - (a * (1 - b)).sqrt())


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--model", required=True, help="run folder; few_steps/ is written here")
    p.add_argument("--pool", required=True)
    p.add_argument("--steps", type=int, default=4)
    p.add_argument("--guidance", type=float, default=2.0)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--rate", type=float, default=1.5e-3)
    p.add_argument("--minutes", type=float, default=1e9, help="stop early; the rate falls with whichever ends first")
    p.add_argument("--init", help="low-rank difference of an earlier model to start from")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    preset, kind = PRESETS[a.preset], m.device()
    rank, world = start()
    load = dict(torch_dtype=torch.float32)
    unet = UNet2DConditionModel.from_pretrained(f"{a.model}/unet", **load).to(kind)
    if kind == "cpu":
        unet.set_attn_processor(AttnProcessor())  # plain matrix products: quicker than fused attention on a CPU
    text = CLIPTextModel.from_pretrained(f"{a.model}/text_encoder", **load).to(kind).eval()
    noise, pool = m.Noise(kind), Pool(a.pool, kind, text)
    tokenizer = m.load_tokenizer(f"{a.model}/tokenizer")
    with torch.no_grad():
        empty = text(m.encode_prompts(tokenizer, [""], preset.tokens).to(kind)).last_hidden_state
    teacher = Teacher(copy.deepcopy(unet).requires_grad_(False), noise, empty, a.guidance)
    torch.manual_seed(a.seed)  # the same start for every process
    added = lora.attach(unet, a.rank)
    if a.init:
        lora.restore(added, a.init)
    parameters = [q for difference in added.values() for q in difference.parameters()]
    average = [q.detach().clone() for q in parameters]
    adam = torch.optim.AdamW(parameters, a.rate, betas=(0.9, 0.98), weight_decay=0.0)
    torch.manual_seed(1000 * a.seed + rank + 1)
    began, total, size = time.time(), 0.0, preset.distill_batch // world
    for step in range(preset.distill_iterations):
        minutes = (time.time() - began) / 60
        done, *_ = agree([max(step / preset.distill_iterations, minutes / a.minutes)], world)
        if done >= 1:
            break
        x0, states = pool.batch(size)
        k = torch.randint(a.steps, (size,), device=kind)
        t, middle, s = grid(a.steps, k), grid(2 * a.steps, 2 * k + 1), grid(a.steps, k + 1)
        x, _ = noise.add(x0, torch.randn_like(x0), t)
        with torch.no_grad(), torch.autocast(kind, torch.bfloat16):
            target = teacher.target(x, t, middle, s, states)
        with torch.autocast(kind, torch.bfloat16), lora.parametrize.cached():
            out = unet(x, t, encoder_hidden_states=states).sample
        loss = (out.float() - target).square().mean()
        adam.zero_grad()
        loss.backward()
        average_gradients(parameters, world)
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        for group in adam.param_groups:
            group["lr"] = a.rate * min(1.0, (step + 1) / 20) * (1 - done)
        adam.step()
        torch._foreach_lerp_(average, [q.data for q in parameters], 1 - min(0.98, (1 + step) / (10 + step)))
        total += loss.item()
        if step % 20 == 19 and rank == 0:
            print(f"step {step + 1} {minutes:.1f} min, loss {total / 20:.4f}", flush=True)
            total = 0.0
    if rank == 0:
        for q, smooth in zip(parameters, average):
            q.data.copy_(smooth)
        out = Path(a.model) / "few_steps"
        out.mkdir(parents=True, exist_ok=True)
        lora.save(added, out / "pytorch_lora_weights.safetensors")
    finish(world)


if __name__ == "__main__":
    main()
