"""Composes captioned pictures and encodes them: latents and token ids in numbered parts, which training takes in as they come.

    python pool.py --preset cpu --data data --model runs/cpu --out runs/cpu/pool
"""

import argparse
import glob
import multiprocessing
import os
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from compose import Composer
from model import device, encode_prompts, load_tokenizer
from presets import PRESETS

PART = 6_000


def compose_part(job):
    """`count` pictures uint8 [N, 128, 128, 3] with captions, from one seed."""
    data, seed, count = job
    composer = Composer(data, seed)
    pictures, captions = zip(*(composer.sample() for _ in range(count)))
    return np.stack(pictures), list(captions)


@torch.no_grad()
def encode(vae, pictures, batch=64):
    """The means of the latents, half precision [N, C, 16, 16]."""
    kind = next(vae.parameters()).device.type
    parts = []
    for i in range(0, len(pictures), batch):
        x = torch.from_numpy(pictures[i : i + batch]).to(kind).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast(kind, torch.bfloat16):
            parts.append(vae.encode(x).latent_dist.mode().half().cpu())
    return torch.cat(parts)


class Pool:
    """All parts written so far, for training; `refresh` takes in new ones."""

    def __init__(self, folder, kind, text=None):
        self.folder, self.kind, self.text, self.files = folder, kind, text, set()
        self.latents = self.ids = self.states = None
        self.refresh()

    def refresh(self):
        """Loads new parts; where a text encoder is given, its states are computed once and kept."""
        join = lambda old, new: new if old is None else torch.cat([old, new])
        for file in sorted(set(glob.glob(f"{self.folder}/*.pt")) - self.files):
            part = torch.load(file)
            ids = part["ids"].to(self.kind)
            self.latents = join(self.latents, part["latents"].to(self.kind))
            self.ids = join(self.ids, ids)
            if self.text is not None:
                self.states = join(self.states, self.encode_text(ids))
            self.files.add(file)

    @torch.no_grad()
    def encode_text(self, ids):
        """States [N, tokens, width] of token ids, bfloat16."""
        with torch.autocast(self.kind, torch.bfloat16):
            return torch.cat([self.text(part.long()).last_hidden_state.bfloat16() for part in ids.split(128)])

    def batch(self, size):
        """Random latents (f32) with the states of their captions, or with token ids where there is no text encoder."""
        pick = torch.randint(len(self.latents), (size,), device=self.kind)
        said = self.ids[pick].long() if self.text is None else self.states[pick].float()
        return self.latents[pick].float(), said


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--data", default="data")
    p.add_argument("--model", required=True, help="folder with vae/ and tokenizer/")
    p.add_argument("--out", required=True)
    p.add_argument("--workers", type=int, default=os.cpu_count())
    a = p.parse_args()
    preset = PRESETS[a.preset]
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL.from_pretrained(f"{a.model}/vae", torch_dtype=torch.float32).to(device()).eval()
    tokenizer = load_tokenizer(f"{a.model}/tokenizer")
    part = min(PART, preset.pool)
    seeds = [s for s in range(preset.pool // part) if not (out / f"{s:03}.pt").exists()]
    with multiprocessing.get_context("spawn").Pool(a.workers) as workers:
        made = workers.imap(compose_part, [(a.data, seed, part) for seed in seeds])
        for seed, (pictures, captions) in zip(seeds, made):
            ids = encode_prompts(tokenizer, captions, preset.tokens)
            file = out / f"{seed:03}.pt"
            torch.save({"latents": encode(vae, pictures), "ids": ids.short(), "captions": captions}, f"{file}.part")
            os.replace(f"{file}.part", file)
            print(file, len(captions), captions[:4], flush=True)


if __name__ == "__main__":
    main()
