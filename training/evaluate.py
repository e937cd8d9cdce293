"""Counts how often the model draws what was asked for: plain things, several of them, pairs, styles; colours by the hue of
the pixels.

    python evaluate.py --model ../models/emoji --classifier runs/cpu/classifier.pt --steps 8 [--few-steps --steps 4]
"""

import argparse

import numpy as np
import torch
from PIL import Image

from classifier import load, tensor
from compose import ALONE, COUNTED, COUNTS, PAIR, PAIRED, SIZE, Composer, Scene, Thing, article, plural
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


def name(network, pictures):
    """The concepts that the classifier sees in pictures uint8 [N, 128, 128, 3]."""
    with torch.no_grad():
        parts = np.array_split(pictures, -(-len(pictures) // 50))
        return np.concatenate([network(tensor(part).to(device())).argmax(1).cpu().numpy() for part in parts])


def cut(picture, scale, place):
    """One of several things, enlarged to the size it has alone."""
    half = SIZE * scale / ALONE / 2
    x, y = (SIZE * part for part in place)
    box = (x - half, y - half, x + half, y + half)
    return np.asarray(Image.fromarray(picture).resize((SIZE, SIZE), Image.BICUBIC, box=inside(box)))


def inside(box):
    """`box` moved into the picture."""
    left, top, right, bottom = box
    dx, dy = (max(0, -low) - max(0, high - SIZE) for low, high in ((left, right), (top, bottom)))
    return left + dx, top + dy, right + dx, bottom + dy


def all_named(network, pictures, truth, scale, layouts):
    """Share of the pictures whose every place holds the concept that `truth` [N] gives for that place."""
    cuts = np.stack([cut(picture, scale, place) for picture, places in zip(pictures, layouts) for place in places])
    right = name(network, cuts) == np.concatenate(truth)
    ends = np.cumsum([len(places) for places in layouts])
    return np.mean([part.all() for part in np.split(right, ends[:-1])])


def nearer(picture, wanted, other):
    """Whether a picture is nearer to `wanted` than to `other`, pixel by pixel."""
    far = lambda b: np.square(picture.astype(np.float32) - b).mean()
    return far(wanted) < far(other)


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
    right = name(network, pictures) == labels
    print(f"things: {right.mean():.1%} of {len(right)} pictures named rightly")
    missed = [listed[i].words[0] for i in range(len(listed)) if not right[labels == i].any()]
    print(f"never named rightly: {', '.join(missed) or 'none'}")
    pairs = [(colour, thing) for colour in HUES for thing in THINGS]
    prompts = [article(f"{colour} {thing}") for colour, thing in pairs]
    pictures = draw(pipe, prompts, range(len(prompts)), a.steps, guidance)
    right = np.array([has_colour(picture, colour) for picture, (colour, _) in zip(pictures, pairs)])
    by = {colour: f"{right[[c == colour for c, _ in pairs]].mean():.0%}" for colour in HUES}
    print(f"colours: {right.mean():.1%} of {len(right)} pictures; {by}")
    everything = np.arange(len(listed))
    noun = lambda i: listed[i].words[0]
    numbers = [list(COUNTS)[i % len(COUNTS)] for i in everything]
    pictures = draw(pipe, [f"{number} {plural(noun(i))}" for i, number in enumerate(numbers)], everything, a.steps, guidance)
    layouts = [COUNTS[number] for number in numbers]
    truth = [[i] * len(places) for i, places in enumerate(layouts)]
    print(f"counts: {all_named(network, pictures, truth, COUNTED, layouts):.1%} of {len(pictures)}, all of the things named rightly")
    partners = np.random.default_rng(0).permutation(len(listed))
    pictures = draw(pipe, [f"{article(noun(i))} and {article(noun(j))}" for i, j in enumerate(partners)], everything, a.steps, guidance)
    right = all_named(network, pictures, list(enumerate(partners)), PAIRED, [PAIR] * len(listed))
    print(f"pairs: {right:.1%} of {len(pictures)}, both things named rightly")
    composer = Composer(a.data, 0)
    both = [i for i in everything if all((listed[i].code, style) in composer.sprites.entries for style in ("flat", "3d"))]
    pictures = draw(pipe, [f"flat {noun(i).lstrip('~')}" for i in both], both, a.steps, guidance)
    real = lambda i, style: composer.picture(Scene((Thing(i, "", None, False),), "one", style, None, ""))
    right = [nearer(picture, real(i, "flat"), real(i, "3d")) for i, picture in zip(both, pictures)]
    print(f"flat: {np.mean(right):.1%} of {len(both)} pictures nearer to the flat sprite than to the 3D one")


if __name__ == "__main__":
    main()
