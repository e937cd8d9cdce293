"""Trains the autoencoder on recoloured sprites, reports PSNR on concepts it never saw, and whitens its latents.

    python vae.py --preset cpu --data data --model runs/cpu [--init FOLDER]
"""

import argparse
import time
import zlib
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL

import model as m
from compose import COLOURS, recolour
from presets import PRESETS
from sprites import Sprites

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def over(rgba, ground):
    """A sprite over a plain colour: uint8 [S, S, 4] and rgb 0..255 to float [3, S, S] in [-1, 1]."""
    alpha = rgba[..., 3:].astype(np.float32) / 255
    return ((rgba[..., :3] * alpha + np.asarray(ground, np.float32) * (1 - alpha)) / 127.5 - 1).transpose(2, 0, 1)


class Crops:
    """Random crops of sprites over white or any colour, half of them recoloured. One concept in twenty is held out."""

    def __init__(self, folder, seed):
        self.sprites, self.rng = Sprites(folder), np.random.default_rng(seed)
        keys = [k for k in self.sprites.entries if self.sprites.meta[k[0]]["group"] != "Flags"]
        self.held = [k for k in keys if zlib.crc32(k[0].encode()) % 20 == 0]
        self.seen = [k for k in keys if zlib.crc32(k[0].encode()) % 20]

    def batch(self, size, crop):
        rng, out = self.rng, []
        for _ in range(size):
            key = self.seen[rng.integers(len(self.seen))]
            rgba = self.sprites.rgba(*key)
            y, x = rng.integers(0, m.SIZE - crop + 1, 2)
            rgba = rgba[y : y + crop, x : x + crop]
            if rng.random() < 0.5:
                rgba = recolour(rgba, self.sprites.hue(*key)[0], str(rng.choice(list(COLOURS))))
            out.append(over(rgba, (255,) * 3 if rng.random() < 0.6 else rng.integers(0, 256, 3)))
        return torch.from_numpy(np.stack(out))

    def held_out(self, count):
        """Whole sprites over white, of concepts that training never shows."""
        step = max(1, len(self.held) // count)
        return torch.from_numpy(np.stack([over(self.sprites.rgba(*k), (255,) * 3) for k in self.held[::step][:count]]))


def slopes(x):
    """Differences to the right and lower neighbours."""
    return torch.cat([x.diff(dim=-1).flatten(1), x.diff(dim=-2).flatten(1)], 1)


def loss(made, wanted, latents):
    """L1, L2, edges at two scales, colour by itself, and a touch of KL.

    Without the colour term the shapes come out right and the colours grey: luma dominates L1 on flat art.
    """
    error = made - wanted
    edges = (slopes(made) - slopes(wanted)).abs().mean()
    edges = edges + (slopes(F.avg_pool2d(made, 2)) - slopes(F.avg_pool2d(wanted, 2))).abs().mean()
    luma = (error * torch.tensor(LUMA, device=error.device).view(1, 3, 1, 1)).sum(1, keepdim=True)
    chroma = (error[:, ::2] - luma).abs().mean() + 2 * F.avg_pool2d(error - luma, 8).square().mean()
    return error.abs().mean() + error.square().mean() + 0.5 * edges + 2 * chroma + 1e-6 * latents.kl().float().mean()


@torch.no_grad()
def psnr(vae, pictures, kind):
    """Mean PSNR in dB over pictures, peak 1."""
    total = 0.0
    for x in pictures.split(16):
        x = x.to(kind)
        error = (vae.decode(vae.encode(x).latent_dist.mode()).sample.clamp(-1, 1) - x) / 2
        total += (-10 * error.square().flatten(1).mean(1).log10()).sum().item()
    return total / len(pictures)


@torch.no_grad()
def whiten(vae, pictures):
    """Folds the latents' mean and spread into the 1x1 convolutions on both sides: mean 0, deviation 1, scaling factor 1."""
    z = torch.cat([vae.encode(x).latent_dist.mode() for x in pictures.split(32)])
    mean, spread = z.mean((0, 2, 3)), z.std((0, 2, 3))
    n = len(mean)
    enter, leave = vae.quant_conv, vae.post_quant_conv
    enter.weight[:n] /= spread.view(-1, 1, 1, 1)
    enter.bias[:n] = (enter.bias[:n] - mean) / spread
    enter.bias[n:] -= 2 * spread.log()  # the second half holds log-variances
    leave.bias += leave.weight[:, :, 0, 0] @ mean
    leave.weight *= spread.view(1, -1, 1, 1)
    vae.register_to_config(scaling_factor=1.0)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--data", default="data")
    p.add_argument("--model", required=True, help="run folder; vae/ is written here")
    p.add_argument("--init", help="vae folder to start from")
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    preset, kind = PRESETS[a.preset], m.device()
    torch.manual_seed(a.seed)
    vae = AutoencoderKL.from_pretrained(a.init, torch_dtype=torch.float32) if a.init else m.autoencoder(preset)
    if not a.init:
        # Nearly deterministic at first: at variance one the latents would be noise for the first thousand steps.
        with torch.no_grad():
            vae.quant_conv.bias[preset.latent_channels :] = -6.0
            vae.quant_conv.weight[preset.latent_channels :] *= 0.1
    vae, crops = vae.to(kind), Crops(a.data, a.seed)
    adam = torch.optim.AdamW(vae.parameters(), preset.vae_rate, betas=(0.9, 0.99), weight_decay=1e-4)
    budget, start, step = 60 * preset.vae_minutes, time.time(), 0
    while (elapsed := time.time() - start) < budget:
        for group in adam.param_groups:
            group["lr"] = preset.vae_rate * min((step + 1) / 100, 2 * (1 - elapsed / budget), 1.0)
        x = crops.batch(preset.vae_batch, preset.vae_crop).to(kind)
        with torch.autocast(kind, torch.bfloat16):
            latents = vae.encode(x).latent_dist
            made = vae.decode(latents.sample()).sample
        value = loss(made.float(), x, latents)
        adam.zero_grad()
        value.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        adam.step()
        step += 1
        if step % 50 == 0:
            print(f"step {step} {elapsed:.0f} s, loss {value.item():.4f}", flush=True)
    vae.eval()
    whiten(vae, crops.batch(256, m.SIZE).to(kind))
    print(f"held-out concepts: {psnr(vae, crops.held_out(96), kind):.2f} dB after {step * preset.vae_batch} crops")
    vae.save_pretrained(Path(a.model) / "vae")


if __name__ == "__main__":
    main()
