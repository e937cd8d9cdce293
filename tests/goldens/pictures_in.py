"""Files of pictures as PIL reads them, and pictures at other sizes as A1111 makes them with it (modules/images.py,
`resize_image`)."""

import shutil

from image_to_image import picture
from PIL import Image, ImageOps
from seeded import ROOT, write_json

FOLDER = ROOT / "pictures_in"
# Width and height of what is resized, and of what comes of it: sizes at which this Pillow goes over columns first, as all did
# before it; where rows first are less work it now begins with those, which tells by a few of 255 at sharp edges.
SIZES = [((72, 48), (64, 64)), ((72, 48), (128, 56)), ((48, 72), (96, 96)), ((90, 50), (40, 64)), ((50, 91), (50, 64))]
ORIENTATION = 0x0112


def resize(mode: str, image: Image.Image, width: int, height: int) -> Image.Image:
    if mode == "stretch":
        return image.resize((width, height), Image.Resampling.LANCZOS)
    ratio, own = width / height, image.width / image.height
    if mode == "crop":
        scaled_width = width if ratio > own else image.width * height // image.height
        scaled_height = height if ratio <= own else image.height * width // image.width
    else:
        scaled_width = width if ratio < own else image.width * height // image.height
        scaled_height = height if ratio >= own else image.height * width // image.width
    scaled = image.resize((scaled_width, scaled_height), Image.Resampling.LANCZOS)
    left, top = width // 2 - scaled_width // 2, height // 2 - scaled_height // 2
    result = Image.new("RGB", (width, height))
    result.paste(scaled, (left, top))
    if mode == "fill" and top > 0:
        first, last = scaled.crop((0, 0, width, 1)), scaled.crop((0, scaled_height - 1, width, scaled_height))
        result.paste(first.resize((width, top)), (0, 0))
        result.paste(last.resize((width, height - top - scaled_height)), (0, top + scaled_height))
    elif mode == "fill" and left > 0:
        first, last = scaled.crop((0, 0, 1, height)), scaled.crop((scaled_width - 1, 0, scaled_width, height))
        result.paste(first.resize((left, height)), (0, 0))
        result.paste(last.resize((width - left - scaled_width, height)), (left + scaled_width, 0))
    return result


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    read, resized = [], []

    def keep(name: str, off: int, *, like: Image.Image | None = None, save=None):
        """`like` where PIL does not say what the file looks like."""
        if save:
            save(FOLDER / name)
        shown = like or ImageOps.exif_transpose(Image.open(FOLDER / name)).convert("RGB")
        png = f"{name}.png"
        shown.save(FOLDER / png, optimize=True)
        read.append({"file": name, "png": png, "off": off})

    image = picture(40, 24)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        keep(f"turned_{orientation}.jpg", 2, save=lambda to: image.save(to, quality=95, subsampling=0, exif=exif))
    # How halved colours are widened again is every decoder's own.
    keep("subsampled.jpg", 6, save=lambda to: image.save(to, quality=92))
    keep("progressive.jpg", 2, save=lambda to: image.save(to, quality=95, subsampling=0, progressive=True))
    keep("grey.jpg", 2, save=lambda to: image.convert("L").save(to, quality=95))
    keep("palette.png", 0, save=lambda to: image.quantize(16).save(to))
    keep("grey.png", 0, save=lambda to: image.convert("L").save(to))
    keep("lossless.webp", 0, save=lambda to: image.save(to, lossless=True))
    clear = image.copy()
    clear.putalpha(Image.linear_gradient("L").resize(image.size))
    white = Image.new("RGBA", image.size, "white")
    white.alpha_composite(clear)
    keep("clear.png", 1, like=white.convert("RGB"), save=clear.save)
    deep = image.convert("L").point(lambda level: 257 * level, "I").convert("I;16")
    keep("deep.png", 0, like=image.convert("L").convert("RGB"), save=deep.save)
    image.convert("CMYK").save(FOLDER / "cmyk.jpg", quality=80)
    image.save(FOLDER / "moving.webp", save_all=True, append_images=[ImageOps.mirror(image)], lossless=True)
    whole = (FOLDER / "turned_1.jpg").read_bytes()
    (FOLDER / "cut.jpg").write_bytes(whole[: 2 * len(whole) // 3])
    whole = (FOLDER / "palette.png").read_bytes()
    (FOLDER / "cut.png").write_bytes(whole[: 2 * len(whole) // 3])
    Image.new("1", (60000, 3)).save(FOLDER / "wide.png")

    for size, to in SIZES:
        name = f"{size[0]}x{size[1]}.png"
        made = picture(*size)
        made.save(FOLDER / name, optimize=True)
        for mode in ("stretch", "crop", "fill"):
            png = f"{mode}_{size[0]}x{size[1]}_{to[0]}x{to[1]}.png"
            resize(mode, made, *to).save(FOLDER / png, optimize=True)
            resized.append({"file": name, "mode": mode, "width": to[0], "height": to[1], "png": png})
    write_json(ROOT / "pictures_in.json", {"read": read, "resized": resized}, compact=True)
