"""Teaches the text encoder what its captions look like and what they say, before the UNet sees it.

Throw-away linear layers read the caption's final state: one gives the latent picture, the others the facts of the scene
(which thing, which second thing, how many, colours, background, style). Where they succeed, the states tell all of that
apart linearly, and the UNet's cross-attention has something to read from its first step on. A sample costs about a fortieth
of one of the UNet's, and without this stage the UNet drew the same blob for every caption after 15,000 samples. The latent
picture alone does not do: 192 numbers cannot hold two things' pictures at once, and a flat picture is all but a 3D one.

    python text.py --preset cpu --data data --model runs/cpu --pool runs/cpu/pool
"""

import argparse
import time

import torch
import torch.nn as nn
import torch.nn.functional as F
from transformers import CLIPTextModel

import model as m
from compose import BACKGROUNDS, COLOURS, COUNTS, Composer
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


NUMBERS, STYLES = ["one", *COUNTS], ["3d", "flat"]
GROUNDS, HUES = [None, *BACKGROUNDS], [None, *COLOURS]
FACTS = ("thing", "second thing", "number", "colour", "second colour", "background", "style")


def facts(scene):
    """The facts of a scene as class numbers, in the order of FACTS; a second thing that is not there is 0."""
    first, second = scene.things[0], scene.things[1] if len(scene.things) == 2 else None
    return [
        first.concept,
        second.concept + 1 if second else 0,
        NUMBERS.index(scene.number),
        HUES.index(first.colour),
        HUES.index(second.colour) if second else 0,
        GROUNDS.index(scene.ground),
        STYLES.index(scene.style),
    ]


class Reader(nn.Module):
    """One linear layer for each fact."""

    def __init__(self, width, things):
        super().__init__()
        sizes = [things, things + 1, len(NUMBERS), len(HUES), len(HUES), len(GROUNDS), len(STYLES)]
        self.layers = nn.ModuleList(nn.Linear(width, size) for size in sizes)

    def forward(self, x, truth):
        """The mean cross-entropy of the facts, and which [B, facts] were read rightly."""
        logits = [layer(x) for layer in self.layers]
        loss = sum(F.cross_entropy(guess, truth[:, i]) for i, guess in enumerate(logits)) / len(logits)
        right = torch.stack([guess.argmax(1) for guess in logits], 1) == truth
        return loss, right


class Captions:
    """Fresh captions with their facts; nothing is drawn."""

    def __init__(self, data, seed, tokenizer, length, kind):
        self.composer, self.tokenizer, self.length, self.kind = Composer(data, seed), tokenizer, length, kind

    def batch(self, size):
        """Token ids [B, tokens] and facts [B, len(FACTS)]."""
        scenes = [self.composer.scene() for _ in range(size)]
        ids = m.encode_prompts(self.tokenizer, [scene.caption for scene in scenes], self.length)
        return ids.to(self.kind), torch.tensor([facts(scene) for scene in scenes], device=self.kind)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--data", default="data")
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
    captions = Captions(a.data, a.seed + 1, tokenizer, preset.tokens, kind)
    head = nn.Linear(preset.text_width, pool.latents[0].numel()).to(kind)
    reader = Reader(preset.text_width, len(captions.composer.concepts)).to(kind)
    matrices, rest = split(text)
    muon = Muon(matrices, 2 * preset.muon_rate)
    adam = torch.optim.AdamW(
        [{"params": rest, "lr": 2e-3}, {"params": [*head.parameters(), *reader.parameters()], "lr": 3e-3}], betas=(0.9, 0.98), weight_decay=0.0
    )
    peaks = [group["lr"] for group in adam.param_groups]
    budget, start, step = 60 * preset.text_minutes, time.time(), 0
    total, known = 0.0, torch.zeros(len(FACTS), device=kind)
    while (elapsed := time.time() - start) < budget:
        factor = min((step + 1) / 50, 2 * (1 - elapsed / budget), 1.0)
        x, shown = pool.batch(preset.text_batch)
        told, truth = captions.batch(preset.text_batch)
        ids = torch.cat([shown, told])
        end = (ids == len(tokenizer) - 1).int().argmax(1)
        if step % 2:  # half of the steps leave the padding out: quicker, and the same states for what remains
            ids = ids[:, : int(end.max()) + 1]
        seen, read = states(text, ids, end).split(preset.text_batch)
        picture = (head(seen) - x.flatten(1)).square().mean()
        said, right = reader(read, truth)
        loss = picture + said
        adam.zero_grad()
        for q in matrices:
            q.grad = None
        loss.backward()
        for group, peak in zip(adam.param_groups, peaks):
            group["lr"] = peak * factor
        adam.step()
        muon.step(factor)
        step, total, known = step + 1, total + picture.item(), known + right.float().mean(0)
        if step % 100 == 0:
            read = ", ".join(f"{name} {share:.0%}" for name, share in zip(FACTS, known / 100))
            print(f"step {step} {elapsed:.0f} s, latent mse {total / 100:.4f}; read: {read}", flush=True)
            total, known = 0.0, torch.zeros_like(known)
    text.save_pretrained(f"{a.model}/text_encoder")


if __name__ == "__main__":
    main()
