"""What control nets are shown of photographs, as A1111's extension makes it (Mikubill/sd-webui-controlnet,
scripts/processor.py): OpenCV's edges and lightness, and what NumPy says in a line. Needs opencv-python-headless."""

import cv2
import numpy as np
from image_to_image import picture
from inpaint import mask
from PIL import Image
from seeded import ROOT, write_json

FOLDER = ROOT / "hints"


def photographs():
    y, x = np.mgrid[0:61, 0:83]
    noise = np.random.default_rng(7).integers(0, 256, (61, 83, 3))
    waves = np.stack([127 + 120 * np.sin(x / 3 + y / 9), 127 + 120 * np.cos(y / 4), 255 * x / 83], axis=-1)
    return {
        "shapes": np.asarray(picture(96, 64)),
        "waves": waves.round().astype("uint8"),
        "rough": (0.75 * waves + 0.25 * noise).round().astype("uint8"),
        "soft": np.stack([np.asarray(mask(80, 56))] * 3, axis=-1),
    }


HINTS = {
    "canny": lambda image: cv2.Canny(image, 100, 200),
    "threshold": lambda image: np.where(image.min(axis=2) > 127, 255, 0).astype("uint8"),
    "luminance": lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2LAB)[:, :, 0],
    "invert": lambda image: 255 - image,
}


def main():
    FOLDER.mkdir(exist_ok=True)
    manifest = []
    for name, image in photographs().items():
        path = f"hints/{name}.png"
        Image.fromarray(image).save(ROOT / path, optimize=True)
        for hint, make in HINTS.items():
            made = f"hints/{name}_{hint}.png"
            Image.fromarray(make(np.ascontiguousarray(image))).convert("RGB").save(ROOT / made, optimize=True)
            manifest.append({"hint": hint, "picture": path, "png": made})
    write_json(ROOT / "hints.json", {"hints": manifest}, compact=True)


if __name__ == "__main__":
    main()
