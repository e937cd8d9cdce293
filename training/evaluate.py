"""Counts how often the model draws what was asked for: 1,000 plain things, and colours by the hue of the pixels.

    python evaluate.py --model ../models/emoji --classifier runs/cpu/classifier.pt --steps 8 [--few-steps --steps 4]
"""

import argparse

import numpy as np
import torch

from classifier import load, tensor
from compose import article
from draw import draw, pipeline
from model import device
from sprites import Sprites, concepts

# Colour word -> hues in degrees that a person calls so; the rule needs no training and cannot be fooled by shape.
HUES = {
    "red": (340, 20),
    "orange": (12, 45),
    "yellow": (40, 70),
    "green": (75, 165),
    "blue": (190, 250),
    "purple": (245, 310),
    "pink": (290, 358),
}
THINGS = ["car", "apple", "heart", "balloon", "umbrella", "backpack", "dress", "book", "star", "flower", "shirt", "crown"]


def main_hue(picture):
    """The hue that most of the colour of a picture on white has: the mode over 15 degrees, weighed by chroma."""
    rgb = picture.reshape(-1, 3).astype(np.float32) / 255
    top, low = rgb.max(1), rgb.min(1)
    chroma = top - low
    r, g, b = rgb.T
    safe = np.maximum(chroma, 1e-6)
    sector = np.where(top == r, (g - b) / safe % 6, np.where(top == g, 2 + (b - r) / safe, 4 + (r - g) / safe))
    weight = np.where(chroma > 0.2, chroma, 0)
    bins = np.bincount((sector * 60).astype(int) % 360, weight, 360)
    smooth = sum(np.roll(bins, shift) for shift in range(-7, 8))
    return int(smooth.argmax()), weight.sum() / len(rgb)


def has_colour(picture, colour):
    """Whether the main hue lies in the range of the word, and there is colour at all."""
    hue, amount = main_hue(picture)
    low, high = HUES[colour]
    inside = low <= hue <= high if low < high else hue >= low or hue <= high
    return inside and amount > 0.01


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--model", required=True)
    p.add_argument("--classifier", required=True)
    p.add_argument("--data", default="data")
    p.add_argument("--steps", type=int, default=8)
    p.add_argument("--guidance", type=float, default=2.0)
    p.add_argument("--few-steps", action="store_true")
    p.add_argument("--seeds", type=int, default=5)
    a = p.parse_args()
    pipe = pipeline(a.model, a.few_steps)
    guidance = 1.0 if a.few_steps else a.guidance
    listed = concepts(Sprites(a.data))
    prompts = [article(concept.words[0]) for concept in listed] * a.seeds
    seeds = np.repeat(np.arange(a.seeds), len(listed))
    labels = np.tile(np.arange(len(listed)), a.seeds)
    pictures = draw(pipe, prompts, seeds, a.steps, guidance)
    network = load(a.classifier, device())
    with torch.no_grad():
        named = torch.cat([network(tensor(part).to(device())).argmax(1).cpu() for part in np.array_split(pictures, 20)])
    right = named.numpy() == labels
    print(f"things: {right.mean():.1%} of {len(right)} pictures named rightly")
    missed = [listed[i].words[0] for i in range(len(listed)) if not right[labels == i].any()]
    print(f"never named rightly: {', '.join(missed) or 'none'}")
    pairs = [(colour, thing) for colour in HUES for thing in THINGS]
    prompts = [article(f"{colour} {thing}") for colour, thing in pairs]
    pictures = draw(pipe, prompts, range(len(prompts)), a.steps, guidance)
    right = np.array([has_colour(picture, colour) for picture, (colour, _) in zip(pictures, pairs)])
    by = {colour: f"{right[[c == colour for c, _ in pairs]].mean():.0%}" for colour in HUES}
    print(f"colours: {right.mean():.1%} of {len(right)} pictures; {by}")


if __name__ == "__main__":
    main()
