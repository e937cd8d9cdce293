"""Builds the data set from public npm packages: pictures, names and keywords of emoji, packed in two files.

    python prepare.py --out data [--only 40]

`sprites.npz` holds `data`, all pictures as WebP one after another, and `index`, JSON with one entry a picture: style `s`,
code points `h`, code points without skin tone `b`, skin tones `t`, offset `o`, length `n`, main hue `hue` (degrees), and
`dom`, the share of the colourful mass that hue holds. `meta.json` maps code points to `name`, `group` and keywords `kw`.
"""

import argparse
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
from PIL import Image

from sprites import HERE

SIZE, QUALITY = 128, 78
TONES = {"1f3fb": "light", "1f3fc": "medium light", "1f3fd": "medium", "1f3fe": "medium dark", "1f3ff": "dark"}


def install(folder):
    """The packages of package.json, by npm."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in ("package.json", "render.mjs"):
        shutil.copy(HERE / file, folder / file)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent"], cwd=folder, check=True)
    return folder / "node_modules"


def render(modules, package, out, lender, only):
    """Draws one SVG set; starts again after a crash, which leaves a note of the icon at fault."""
    command = ["node", "render.mjs", modules / package, out, str(SIZE), modules / lender] + ([str(only)] if only else [])
    for _ in range(20):
        if subprocess.run(command, cwd=modules.parent, stderr=subprocess.DEVNULL).returncode == 0:
            return out
    raise SystemExit(f"{package}: the renderer keeps failing")


def code_points(text):
    """Hexadecimal code points joined by dashes, without the variation selector."""
    parts = text.lower().split("-") if re.fullmatch(r"[0-9a-fA-F-]+", text) else [f"{ord(c):04x}" for c in text]
    return "-".join(p for p in parts if p != "fe0f")


def names(modules):
    """Names, groups and keywords by code points."""
    read = lambda path: json.loads((modules / path).read_text())
    emoji = read("unicode-emoji-json/data-by-emoji.json")
    library = read("emojilib/dist/emoji-en-US.json")
    annotations = read("cldr-annotations-full/annotations/en/annotations.json")["annotations"]["annotations"]
    meta = {}
    for char, entry in emoji.items():
        cldr = annotations.get(char) or annotations.get(char.replace("\ufe0f", "")) or {}
        words = [w.replace("_", " ").lower() for w in library.get(char, [])] + [w.lower() for w in cldr.get("default", [])]
        words = [w for w in dict.fromkeys(words) if re.fullmatch(r"[a-z][a-z '\-]*", w)]
        name = re.sub("[“”]", "", entry["name"]).replace("’", "'").lower()
        meta[code_points(char)] = dict(name=name, group=entry["group"], kw=words)
    return meta


def square(path):
    """The picture at SIZE, padded to a square, resized with premultiplied alpha so that no dark fringe appears."""
    image = Image.open(path).convert("RGBA")
    side = max(image.size)
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return canvas.convert("RGBa").resize((SIZE, SIZE), Image.LANCZOS).convert("RGBA") if side != SIZE else canvas


def main_hue(image):
    """The 50 degrees of hue holding most of the colour: their middle, and the share they hold; (-1, -1) without colour."""
    small = np.asarray(image.resize((32, 32)), np.float32) / 255
    rgb = small[small[..., 3] > 0.5][:, :3]
    if not len(rgb):
        return -1.0, -1.0
    top, chroma = rgb.max(1), np.ptp(rgb, axis=1) + 1e-6
    r, g, b = rgb.T
    sector = np.where(top == r, (g - b) / chroma, np.where(top == g, 2 + (b - r) / chroma, 4 + (r - g) / chroma))
    weight = np.where(chroma > 0.2, chroma, 0)
    if weight.sum() <= 0.12 * len(rgb):
        return -1.0, -1.0
    bins = np.bincount((sector * 6 % 36).astype(int) % 36, weight, 36)
    mass = sum(np.roll(bins, shift) for shift in range(-2, 3))
    best = int(mass.argmax())
    return best * 10 + 5.0, round(float(mass[best] / weight.sum()), 3)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--out", default="data")
    p.add_argument("--work", default="data/packages")
    p.add_argument("--only", type=int, help="at most so many pictures a style, for a rehearsal")
    a = p.parse_args()
    work, out = Path(a.work).resolve(), Path(a.out)
    modules = install(work)
    flat = "@iconify-json/fluent-emoji-flat"
    files = {"3d": (modules / "@lobehub/fluent-emoji-3d/assets").glob("*.webp")}
    files["gradient"] = render(modules, "@iconify-json/fluent-emoji", work / "gradient", flat, a.only).glob("*.png")
    files["flat"] = render(modules, flat, work / "flat", flat, a.only).glob("*.png")
    noto = "@iconify-json/noto"
    files["noto"] = render(modules, noto, work / "noto", noto, a.only).glob("*.png")
    meta, blobs, index, offset = names(modules), [], [], 0
    for style, paths in files.items():
        for path in sorted(paths)[: a.only]:
            code = code_points(path.stem)
            base = "-".join(part for part in code.split("-") if part not in TONES)
            if base not in meta:
                continue
            image, packed = square(path), io.BytesIO()
            image.save(packed, "WEBP", quality=QUALITY, alpha_quality=QUALITY, method=4)
            hue, share = main_hue(image)
            tones = [TONES[part] for part in code.split("-") if part in TONES]
            entry = dict(s=style, h=code, b=base, t=tones, o=offset, n=packed.tell(), hue=hue, dom=share)
            blobs.append(packed.getvalue())
            index.append(entry)
            offset += entry["n"]
    out.mkdir(parents=True, exist_ok=True)
    data = np.frombuffer(b"".join(blobs), np.uint8)
    np.savez(out / "sprites.npz", data=data, index=np.frombuffer(json.dumps(index).encode(), np.uint8))
    (out / "meta.json").write_text(json.dumps(meta))
    print(f"{len(index)} pictures, {offset / 1e6:.1f} MB, {len({e['b'] for e in index})} concepts")


if __name__ == "__main__":
    main()
