"""The packed sprites: 128x128 RGBA pictures with style, code points and dominant hue, and the names of their concepts."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Concept:
    """One thing the model can draw: its Unicode name, code points, group, and the words people type for it."""

    name: str
    code: str
    group: str
    words: tuple[str, ...]  # a leading "~" marks a word that takes no article


class Sprites:
    """Sprites by (code points, style), decoded on first use."""

    def __init__(self, folder):
        packed = np.load(Path(folder) / "sprites.npz")
        self._bytes = packed["data"].tobytes()
        self.meta = json.loads((Path(folder) / "meta.json").read_text())
        index = json.loads(packed["index"].tobytes())
        # Skin tones are left out: the plain sprite stands for the concept.
        self.entries = {(e["b"], e["s"]): e for e in index if not e["t"]}
        self._cache = {}

    def rgba(self, code, style):
        """The picture as uint8 [128, 128, 4], or None where the style lacks this concept."""
        key = (code, style)
        if key not in self._cache:
            entry = self.entries.get(key)
            if entry is None:
                return None
            blob = self._bytes[entry["o"] : entry["o"] + entry["n"]]
            self._cache[key] = np.asarray(Image.open(io.BytesIO(blob)).convert("RGBA"))
        return self._cache[key]

    def hue(self, code, style):
        """Dominant hue in degrees and the share of the colourful mass it holds, (-1, -1) without colour."""
        entry = self.entries[(code, style)]
        return entry["hue"], entry["dom"]


def concepts(sprites, path=HERE / "concepts.txt"):
    """Reads `concepts.txt` and joins it with the sprites' code points and groups."""
    by_name = {m["name"]: code for code, m in sprites.meta.items()}
    listed = []
    for line in Path(path).read_text().splitlines():
        if line and not line.startswith("#"):
            name, words = (part.strip() for part in line.split("|"))
            code = by_name[name]
            listed.append(Concept(name, code, sprites.meta[code]["group"], tuple(w.strip() for w in words.split(","))))
    return listed
