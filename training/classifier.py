"""A small network that names the concept in a picture, trained on real sprites: the judge of what the model draws.

It learns from three styles (3D, flat and Noto) in random colours, sizes, places and backgrounds, and is tested on pictures
composed from seeds it never saw and on a whole style it never saw (gradient).

    python classifier.py --preset cpu --data data --out runs/cpu/classifier.pt
"""

import argparse

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

from compose import BACKGROUNDS, COLOURS, SIZE, paste, recolour
from model import device
from presets import PRESETS
from sprites import Sprites, concepts

INPUT = 64  # pictures are halved: enough to tell 200 things apart
SEEN, UNSEEN = ("3d", "flat", "noto"), ("gradient",)


class Classifier(nn.Module):
    """Five convolutions, each halving the picture, then the mean."""

    def __init__(self, classes, widths=(32, 64, 128, 192, 256)):
        super().__init__()
        layers, before = [], 3
        for width in widths:
            layers += [nn.Conv2d(before, width, 3, 2, 1), nn.GroupNorm(8, width), nn.GELU()]
            layers += [nn.Conv2d(width, width, 3, 1, 1, groups=8), nn.GroupNorm(8, width), nn.GELU()]
            before = width
        self.features = nn.Sequential(*layers)
        self.out = nn.Linear(before, classes)

    def forward(self, x):
        """Logits of pictures [B, 3, 128, 128] in [-1, 1]."""
        return self.out(self.features(F.avg_pool2d(x, SIZE // INPUT)).mean((2, 3)))


def tensor(pictures):
    """uint8 [N, 128, 128, 3] to float [N, 3, 128, 128] in [-1, 1]."""
    return torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1


class Examples:
    """Augmented sprites with the number of their concept."""

    def __init__(self, data, seed, styles):
        self.sprites, self.rng = Sprites(data), np.random.default_rng(seed)
        self.items = [
            (number, concept.code, style)
            for number, concept in enumerate(concepts(self.sprites))
            for style in styles
            if (concept.code, style) in self.sprites.entries
        ]

    def batch(self, size):
        rng, pictures, labels = self.rng, np.empty((size, SIZE, SIZE, 3), np.uint8), []
        for i in range(size):
            number, code, style = self.items[rng.integers(len(self.items))]
            rgba, hue = self.sprites.rgba(code, style), self.sprites.hue(code, style)[0]
            if rng.random() < 0.3:
                rgba = recolour(rgba, hue, str(rng.choice(list(COLOURS))))
            canvas = np.empty((SIZE, SIZE, 3), np.float32)
            canvas[:] = (255,) * 3 if rng.random() < 0.6 else BACKGROUNDS[str(rng.choice(list(BACKGROUNDS)))]
            paste(canvas, rgba, rng.uniform(0.75, 1.0), *(0.5 + rng.normal(0, 0.03, 2)))
            pictures[i] = (canvas + rng.normal(0, rng.uniform(0, 8), canvas.shape)).clip(0, 255)
            labels.append(number)
        return tensor(pictures), torch.tensor(labels)


@torch.no_grad()
def accuracy(network, examples, count, kind):
    """Share of `count` examples named rightly."""
    right = 0
    for _ in range(count // 50):
        x, y = examples.batch(50)
        right += (network(x.to(kind)).argmax(1).cpu() == y).sum().item()
    return right / (count // 50 * 50)


def load(path, kind):
    """A trained classifier, ready to judge."""
    state = torch.load(path)
    network = Classifier(len(state["out.bias"])).to(kind).eval()
    network.load_state_dict(state)
    return network


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--data", default="data")
    p.add_argument("--out", required=True)
    p.add_argument("--seed", type=int, default=0)
    a = p.parse_args()
    preset, kind = PRESETS[a.preset], device()
    torch.manual_seed(a.seed)
    train = Examples(a.data, a.seed, SEEN)
    network = Classifier(1 + max(number for number, *_ in train.items)).to(kind)
    adam = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(adam, 2e-3, preset.classifier_steps, pct_start=0.1)
    for step in range(preset.classifier_steps):
        x, y = train.batch(64)
        loss = F.cross_entropy(network(x.to(kind)), y.to(kind), label_smoothing=0.05)
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}, loss {loss.item():.3f}", flush=True)
    network.eval()
    count = min(2000, 50 * preset.classifier_steps)
    fresh = accuracy(network, Examples(a.data, a.seed + 1, SEEN), count, kind)
    unseen = accuracy(network, Examples(a.data, a.seed + 1, UNSEEN), count, kind)
    print(f"fresh pictures of the styles it learned: {fresh:.1%}; of a style it never saw: {unseen:.1%}")
    torch.save(network.cpu().state_dict(), a.out)


if __name__ == "__main__":
    main()
