"""Trains the UNet on a pool of latents, with the states of the text encoder as text.py left it. Resumes where it stopped.

    python diffusion.py --preset cpu --model runs/cpu --pool runs/cpu/pool
    torchrun --nproc-per-node 2 diffusion.py ...
"""

import argparse
import os
import time
from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel

import model as m
from muon import Muon, split
from parallel import agree, average_gradients, finish, start
from pool import Pool
from presets import PRESETS

UNCONDITIONAL = 0.1  # share of the captions replaced by the empty one, for classifier-free guidance
EMA = 0.997
# Times are drawn as 1000 u^p with u uniform: p below one favours the noisy end, where shapes are decided.
TIME_POWER = 0.5
SAVE_SECONDS = 240


class Run:
    """Everything that training changes: the network, its moving average, the optimisers, the step."""

    def __init__(self, unet, preset, file):
        self.unet, self.file = unet, Path(file)
        self.parameters = list(unet.parameters())
        matrices, rest = split(unet)
        self.muon = Muon(matrices, preset.muon_rate)
        self.adam = torch.optim.AdamW(rest, preset.adam_rate, betas=(0.9, 0.98), weight_decay=0.01)
        self.adam_rate = preset.adam_rate
        self.average = [p.detach().clone() for p in self.parameters]
        self.step, self.seconds = 0, 0.0
        if self.file.exists():
            state = torch.load(self.file)
            for mine, saved in ((self.parameters, state["parameters"]), (self.average, state["average"])):
                for p, value in zip(mine, saved):
                    p.data.copy_(value)
            self.muon.load_state_dict(state["muon"])
            self.adam.load_state_dict(state["adam"])
            self.step, self.seconds = state["step"], state["seconds"]

    def save(self):
        """Writes all of it, whole or not at all."""
        state = dict(parameters=[p.data for p in self.parameters], average=self.average)
        state |= dict(muon=self.muon.state_dict(), adam=self.adam.state_dict(), step=self.step, seconds=self.seconds)
        torch.save(state, f"{self.file}.part")
        os.replace(f"{self.file}.part", self.file)

    def update(self, factor, world):
        """One step of both optimisers at `factor` times their rates."""
        average_gradients(self.parameters, world)
        rest = self.adam.param_groups[0]
        torch.nn.utils.clip_grad_norm_(rest["params"], 1.0)
        rest["lr"] = self.adam_rate * factor
        self.adam.step()
        self.muon.step(factor)
        for p in self.parameters:
            p.grad = None
        self.step += 1
        decay = min(EMA, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(self.average, [p.data for p in self.parameters], 1 - decay)

    def export(self, folder):
        """Writes the averaged network, f32; export.py makes the half-precision model."""
        for p, average in zip(self.parameters, self.average):
            p.data.copy_(average)
        self.unet.save_pretrained(folder)


def times(size, rank, world, kind):
    """Noise levels 0..999, one from each stratum of the batch of all processes: less variance at no cost."""
    strata = torch.randperm(size, device=kind) * world + rank + torch.rand(size, device=kind)
    return (1000 * (strata / (size * world)) ** TIME_POWER).long().clamp(0, 999)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--model", required=True, help="run folder with tokenizer/ and text_encoder/; unet/ is written here")
    p.add_argument("--pool", required=True)
    p.add_argument("--init", help="unet folder to start from")
    p.add_argument("--minutes", type=float, help="whole budget over all calls; the preset's by default")
    p.add_argument("--call-minutes", type=float, default=1e9, help="stop this call after so long, to be resumed")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    preset, kind = PRESETS[a.preset], m.device()
    rank, world = start()
    torch.manual_seed(a.seed)
    unet = UNet2DConditionModel.from_pretrained(a.init, torch_dtype=torch.float32) if a.init else m.unet(preset)
    unet = unet.to(kind)
    if kind == "cpu":
        unet.set_attn_processor(AttnProcessor())  # plain matrix products: quicker than fused attention on a CPU
    text = CLIPTextModel.from_pretrained(f"{a.model}/text_encoder", torch_dtype=torch.float32).to(kind).eval()
    tokenizer = m.load_tokenizer(f"{a.model}/tokenizer")
    run, noise, pool = Run(unet, preset, f"{a.model}/training.pt"), m.Noise(kind), Pool(a.pool, kind, text)
    empty = pool.encode_text(m.encode_prompts(tokenizer, [""], preset.tokens).to(kind)).float()
    network = torch.compile(unet) if kind == "cuda" else unet
    torch.manual_seed(a.seed + 1000 * run.step + rank)
    budget, size = 60 * (a.minutes or preset.minutes), preset.batch // world
    began = saved = time.time()
    before, first, total = run.seconds, run.step, torch.zeros((), device=kind)
    while True:
        run.seconds = before + time.time() - began
        done, called = agree([run.seconds, time.time() - began], world)
        if done >= budget or called >= 60 * a.call_minutes:
            break
        x0, states = pool.batch(size)
        states = torch.where(torch.rand(size, 1, 1, device=kind) < UNCONDITIONAL, empty, states)
        t = times(size, rank, world, kind)
        x, v = noise.add(x0, torch.randn_like(x0), t)
        with torch.autocast(kind, torch.bfloat16):
            out = network(x, t, encoder_hidden_states=states).sample
        loss = (out.float() - v).square().mean()
        loss.backward()
        factor = min(1.0, (run.step + 1) / 40, max(0.01, (1 - done / budget) / preset.anneal))
        run.update(factor, world)
        total += loss.detach()
        if run.step % 50 == 0:
            if rank == 0:
                speed = (run.step - first) * preset.batch / max(called, 1e-3)
                print(f"step {run.step} {done:.0f} s, v-mse {total.item() / 50:.4f}, {speed:.0f}/s, rate x{factor:.2f}", flush=True)
            total.zero_()
            pool.refresh()
        if rank == 0 and time.time() - saved > SAVE_SECONDS:
            run.save()
            saved = time.time()
    if rank == 0:
        run.save()
        run.export(f"{a.model}/unet")
        print(f"{run.step} steps, {run.step * preset.batch} samples, {run.seconds / 60:.1f} minutes")
    finish(world)


if __name__ == "__main__":
    main()
