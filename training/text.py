"""Teaches the text encoder what its captions look like, before the UNet sees it.

One throw-away linear layer maps the caption's final state to the latent picture. Where that succeeds, the states tell
things, colours, counts and backgrounds apart linearly, and the UNet's cross-attention has something to read from its
first step on. A sample costs about a fortieth of one of the UNet's, and without this stage the UNet drew the same blob
for every caption after 15,000 samples.

    python text.py --preset cpu --model runs/cpu --pool runs/cpu/pool
"""

import argparse
import time

import torch
from transformers import CLIPTextModel

import model as m
from muon import Muon, split
from pool import Pool
from presets import PRESETS


def states(text, ids, end):
    """The state [B, width] at the end token or at one of the padding tokens after it.

    Padding repeats the end token and the attention is causal, so that every one of them has read the whole caption;
    the UNet reads them all, and all should say the same.
    """
    length = ids.shape[1]
    spread = (torch.rand(len(ids), device=ids.device) * (length - end)).long()
    position = (end + spread).clamp_max(length - 1)
    with torch.autocast(ids.device.type, torch.bfloat16):
        hidden = text(ids).last_hidden_state
    return hidden[torch.arange(len(ids), device=ids.device), position].float()


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--model", required=True, help="run folder with tokenizer/; text_encoder/ is written here")
    p.add_argument("--pool", required=True)
    p.add_argument("--init", help="diffusers folder to start from")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    preset, kind = PRESETS[a.preset], m.device()
    torch.manual_seed(a.seed)
    tokenizer = m.load_tokenizer(f"{a.model}/tokenizer")
    if a.init:
        text = CLIPTextModel.from_pretrained(f"{a.init}/text_encoder", torch_dtype=torch.float32)
    else:
        text = m.text_encoder(preset, len(tokenizer))
    text = text.to(kind)
    pool = Pool(a.pool, kind)
    head = torch.nn.Linear(preset.text_width, pool.latents[0].numel(), device=kind)
    matrices, rest = split(text)
    muon = Muon(matrices, 2 * preset.muon_rate)
    adam = torch.optim.AdamW(
        [{"params": rest, "lr": 2e-3}, {"params": head.parameters(), "lr": 3e-3}], betas=(0.9, 0.98), weight_decay=0.0
    )
    peaks = [group["lr"] for group in adam.param_groups]
    budget, start, step, total = 60 * preset.text_minutes, time.time(), 0, 0.0
    while (elapsed := time.time() - start) < budget:
        factor = min((step + 1) / 50, 2 * (1 - elapsed / budget), 1.0)
        x, ids = pool.batch(preset.text_batch)
        end = (ids == len(tokenizer) - 1).int().argmax(1)
        if step % 2:  # half of the steps leave the padding out: quicker, and the same states for what remains
            ids = ids[:, : int(end.max()) + 1]
        loss = (head(states(text, ids, end)) - x.flatten(1)).square().mean()
        adam.zero_grad()
        for q in matrices:
            q.grad = None
        loss.backward()
        for group, peak in zip(adam.param_groups, peaks):
            group["lr"] = peak * factor
        adam.step()
        muon.step(factor)
        step, total = step + 1, total + loss.item()
        if step % 100 == 0:
            print(f"step {step} {elapsed:.0f} s, latent mse {total / 100:.4f}", flush=True)
            total = 0.0
    text.save_pretrained(f"{a.model}/text_encoder")


if __name__ == "__main__":
    main()
