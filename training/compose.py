"""Pictures with exact captions, composed from sprites: colours, backgrounds, counts, pairs, styles.

Because a sprite has an alpha channel, whatever the caption says is true of the picture by construction.
"""

import re
from dataclasses import dataclass

import numpy as np
from PIL import Image

from sprites import Sprites, concepts

SIZE = 128

# Colour word -> (hue in degrees, saturation factor, value factor, value lift): applied to a sprite of one main hue.
COLOURS = {
    "red": (2, 1.0, 1.0, 0.0),
    "orange": (28, 1.0, 1.0, 0.05),
    "yellow": (52, 1.0, 1.0, 0.1),
    "green": (125, 0.95, 0.95, 0.0),
    "cyan": (182, 1.0, 1.0, 0.05),
    "blue": (218, 1.0, 1.0, 0.0),
    "purple": (272, 0.95, 0.95, 0.0),
    "pink": (332, 0.62, 1.0, 0.15),
    "brown": (22, 0.8, 0.62, 0.0),
    "grey": (0, 0.05, 0.8, 0.0),
    "black": (0, 0.1, 0.32, 0.0),
    "white": (0, 0.07, 1.0, 0.45),
}
BACKGROUNDS = {
    "red": (225, 60, 60),
    "orange": (250, 160, 60),
    "yellow": (252, 222, 90),
    "green": (110, 190, 100),
    "cyan": (100, 210, 220),
    "blue": (80, 140, 235),
    "purple": (150, 100, 210),
    "pink": (250, 160, 200),
    "grey": (150, 150, 155),
    "black": (20, 20, 22),
    "white": (255, 255, 255),
}
COUNTS = {
    "two": [(0.27, 0.5), (0.73, 0.5)],
    "three": [(0.27, 0.28), (0.73, 0.28), (0.5, 0.73)],
    "four": [(0.27, 0.27), (0.73, 0.27), (0.27, 0.73), (0.73, 0.73)],
}
PAIR = [(0.26, 0.5), (0.74, 0.5)]
# Sizes as parts of the picture: one thing alone, each of a pair, each of several.
ALONE, PAIRED, COUNTED = 0.94, 0.5, 0.45
STYLE_PHRASES = {
    "flat": ["flat {bare}", "{noun}, flat style", "flat icon of {noun}", "{noun}, flat"],
    "3d": ["3d {bare}", "{noun}, 3d style", "3d icon of {noun}", "{noun}, 3d"],
    None: ["a picture of {noun}", "{bare} emoji", "an icon of {noun}", "cute {bare}", "a drawing of {noun}"],
}


def recolour(rgba, main_hue, colour):
    """Turns the main hue of `rgba` (uint8 [.., 4]) into that of `colour`, in HSV: shading and highlights stay."""
    hue, saturation, value, lift = COLOURS[colour]
    rgb = rgba[..., :3].astype(np.float32) / 255
    top, low = rgb.max(-1), rgb.min(-1)
    chroma = np.maximum(top - low, 1e-6)
    r, g, b = np.moveaxis(rgb, -1, 0)
    sector = np.where(top == r, (g - b) / chroma, np.where(top == g, 2 + (b - r) / chroma, 4 + (r - g) / chroma))
    sector = (sector + (hue - main_hue) / 60) % 6
    s = np.clip((top - low) / np.maximum(top, 1e-6) * saturation, 0, 1)
    v = top * value
    v = v + (1 - v) * lift
    # HSV to RGB in closed form: channel n is v - v*s*clip(min(k, 4 - k), 0, 1) with k = (n + sector) mod 6.
    k = (np.array([5, 3, 1], np.float32) + sector[..., None]) % 6
    out = (v[..., None] * (1 - s[..., None] * np.clip(np.minimum(k, 4 - k), 0, 1))) * 255 + 0.5
    return np.concatenate([out.astype(np.uint8), rgba[..., 3:]], -1)


def colour_name(hue, value):
    """The colour word nearest to a hue in degrees; a dark orange is called brown."""
    bounds = [(14, "red"), (40, "orange"), (66, "yellow"), (165, "green"), (195, "cyan"), (255, "blue")]
    bounds += [(292, "purple"), (346, "pink"), (361, "red")]
    name = next(word for bound, word in bounds if hue % 360 < bound)
    return "brown" if name == "orange" and value < 0.72 else name


def paste(canvas, rgba, scale, cx, cy):
    """Draws `rgba` at `scale` of the canvas (float [128, 128, 3]) with its centre at (cx, cy), both as fractions."""
    side = int(round(SIZE * scale))
    # Resizing with premultiplied alpha keeps the edges free of dark fringes.
    small = np.asarray(Image.fromarray(rgba).convert("RGBa").resize((side, side), Image.BILINEAR), np.float32)
    x, y = int(round(cx * SIZE - side / 2)), int(round(cy * SIZE - side / 2))
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + side, SIZE), min(y + side, SIZE)
    part = small[y0 - y : y1 - y, x0 - x : x1 - x]
    canvas[y0:y1, x0:x1] = part[..., :3] + canvas[y0:y1, x0:x1] * (1 - part[..., 3:] / 255)


def article(noun):
    """`noun` with its indefinite article, unless it takes none."""
    if noun.startswith("~") or noun.split()[0] in ("bunch", "stack", "loaf", "slice", "piece", "cup", "glass", "bag"):
        return noun.lstrip("~") if noun.startswith("~") else "a " + noun
    return ("an " if noun[0] in "aeiou" and not noun.startswith(("u", "eu")) or noun.startswith("umb") else "a ") + noun


def plural(noun):
    """The plural of a noun phrase: of its head, the word before "of", "in" or "with"."""
    noun = noun.lstrip("~")
    head, tail = re.match(r"(.*?)((?: (?:of|in|with|on) .*)?)$", noun).groups()
    if head == "thumbs up":
        return head
    for one, many in (("mouse", "mice"), ("die", "dice"), ("loaf", "loaves"), ("sheep", "sheep"), ("deer", "deer")):
        if head.endswith(one):
            return head[: -len(one)] + many + tail
    if head in ("fish", "dice") or head.endswith("s") and not head.endswith(("ss", "us", "bus")):
        return head + tail
    if head.endswith(("s", "x", "ch", "sh", "tomato")):
        return head + "es" + tail
    if head.endswith("y") and head[-2] not in "aeiou":
        return head[:-1] + "ies" + tail
    return head + "s" + tail


@dataclass(frozen=True)
class Thing:
    """One thing of a scene: the number of its concept, its noun with a colour word where it has one, and how to draw it."""

    concept: int
    noun: str
    colour: str | None
    turned: bool  # whether the sprite has to be turned to `colour`, which is its own otherwise


@dataclass(frozen=True)
class Scene:
    """What a picture shows: one thing `number` times, or a pair; `style` and `ground` (None where it is plain white)."""

    things: tuple[Thing, ...]
    number: str
    style: str
    ground: str | None
    caption: str


class Composer:
    """Endless pairs (uint8 [128, 128, 3], caption)."""

    def __init__(self, folder, seed, flat=0.25, pair=0.25, count=0.2, background=0.15, colour=0.4):
        self.sprites = Sprites(folder)
        self.concepts = concepts(self.sprites)
        self.rng = np.random.default_rng(seed)
        self.flat, self.pair, self.count, self.background, self.colour = flat, pair, count, background, colour
        self._own = {}

    def recolourable(self, concept, style):
        """Whether one hue holds most of the colour, so that "a blue ..." can be made true by turning it."""
        if concept.group == "People & Body":
            return False
        _, dominance = self.sprites.hue(concept.code, style)
        return dominance > (0.9 if concept.group == "Smileys & Emotion" and "heart" not in concept.name else 0.5)

    def own_colour(self, concept, style):
        """The word for the colour that a sprite has by itself."""
        key = (concept.code, style)
        if key not in self._own:
            rgba = self.sprites.rgba(*key)
            opaque = rgba[rgba[..., 3] > 128][:, :3]
            self._own[key] = colour_name(self.sprites.hue(*key)[0], opaque.max(1).mean() / 255)
        return self._own[key]

    def thing(self, style, colour_share=None):
        """Any concept that the style has, with a colour word now and then."""
        rng = self.rng
        while True:
            index = int(rng.integers(len(self.concepts)))
            concept = self.concepts[index]
            if (concept.code, style) in self.sprites.entries:
                break
        first = len(concept.words) == 1 or rng.random() < 0.55
        noun = concept.words[0] if first else str(rng.choice(concept.words[1:]))
        share = self.colour if colour_share is None else colour_share
        colour, turned = None, False
        if self.recolourable(concept, style) and rng.random() < share:
            turned = rng.random() < 0.8
            colour = str(rng.choice(list(COLOURS))) if turned else self.own_colour(concept, style)
            spelt = "gray" if colour == "grey" and rng.random() < 0.4 else colour
            mark = "~" if noun.startswith("~") else ""
            noun = f"{mark}{spelt} {noun.lstrip('~')}"
        return Thing(index, noun, colour, turned)

    def phrase(self, noun):
        """The noun as people type it: mostly with its article."""
        return article(noun) if self.rng.random() < 0.6 else noun.lstrip("~")

    def scene(self):
        """What to draw next, with its caption."""
        rng = self.rng
        ground = str(rng.choice(list(BACKGROUNDS))) if rng.random() < self.background else None
        style = "flat" if rng.random() < self.flat else "3d"
        kind, number = rng.random(), "one"
        if kind < self.pair:
            things = self.thing(style, 0.2), self.thing(style, 0.2)
            noun = bare = " and ".join(self.phrase(thing.noun) for thing in things)
        elif kind < self.pair + self.count:
            number = str(rng.choice(list(COUNTS)))
            things = (self.thing(style, 0.25),)
            noun = bare = f"{number} {plural(things[0].noun)}"
        else:
            things = (self.thing(style),)
            noun, bare = self.phrase(things[0].noun), things[0].noun.lstrip("~")
        caption = noun
        if style == "flat" or rng.random() < 0.1:
            caption = str(rng.choice(STYLE_PHRASES[style])).format(noun=noun, bare=bare)
        elif rng.random() < 0.07:
            caption = str(rng.choice(STYLE_PHRASES[None])).format(noun=noun, bare=bare)
        if ground:
            a = "an" if ground == "orange" else "a"
            caption += f", {ground} background" if rng.random() < 0.3 else f" on {a} {ground} background"
        return Scene(things, number, style, ground, caption)

    def picture(self, scene):
        """Draws a scene: uint8 [128, 128, 3]."""
        canvas = np.empty((SIZE, SIZE, 3), np.float32)
        canvas[:] = BACKGROUNDS[scene.ground or "white"]
        if len(scene.things) == 2:
            scale, places = PAIRED, PAIR
        elif scene.number == "one":
            scale, places = ALONE, [(0.5, 0.5)]
        else:
            scale, places = COUNTED, COUNTS[scene.number]
        sprites = [self.sprite(thing, scene.style) for thing in scene.things]
        for i, place in enumerate(places):
            paste(canvas, sprites[i % len(sprites)], scale, *place)
        return canvas.round().astype(np.uint8)

    def sprite(self, thing, style):
        """The picture of one thing in its colour, uint8 [128, 128, 4]."""
        code = self.concepts[thing.concept].code
        rgba = self.sprites.rgba(code, style)
        return recolour(rgba, self.sprites.hue(code, style)[0], thing.colour) if thing.turned else rgba

    def sample(self):
        """One picture and its caption."""
        scene = self.scene()
        return self.picture(scene), scene.caption
