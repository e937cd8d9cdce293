"""Pictures of CompVis' txt2img.py and img2img.py and KerasCV's text_to_image with sd1-tiny, for tests/cli/compat.rs, and the invisible watermark.

    pip install --no-deps -r tests/goldens/requirements-compat.txt
    python tests/goldens/compat.py      # writes compat/*.png beside itself

The loops are seeds.py's with the whole pipeline around them: one generator (PyTorch's CPU one) for all noises of all batches,
drawn also where it is not used; values cut to 8 bits; torchvision's make_grid, written once more. TensorFlow's normals are
drawn here by their definition (Philox 4x32-10).
"""

import numpy as np
import torch
from imwatermark import WatermarkEncoder
from models import load
from PIL import Image
from seeded import ROOT
from seeds import keras_new, keras_old, ldm_ddim, ldm_parameters, ldm_step
from stages import ids

STEPS, SCALE, SEED = 4, 7.5, 42
OUT = ROOT / "compat"


def decode(pipeline, x):
    image = pipeline.vae.decode(x.float() / pipeline.vae.config.scaling_factor).sample
    image = torch.clamp((image + 1) / 2, 0, 1).permute(0, 2, 3, 1).numpy()
    return (255 * image).astype(np.uint8)


def model(pipeline, prompts, shape):
    text = lambda words: torch.cat([pipeline.text_encoder(ids(pipeline.tokenizer, word))[0] for word in words])
    states = torch.cat([text([""] * len(prompts)), text(prompts)])

    def eps(x, t):
        latents = torch.from_numpy(np.asarray(x).reshape(shape)).float().repeat(2, 1, 1, 1)
        u, c = pipeline.unet(latents, torch.tensor(float(t)), encoder_hidden_states=states)[0].double().chunk(2)
        return ((u + SCALE * (c - u)).numpy().ravel(),)
    return eps


def make_grid(pictures, nrow):
    pictures = [p for batch in pictures for p in batch]
    h, w, _ = pictures[0].shape
    columns = min(nrow, len(pictures))
    rows = -(-len(pictures) // columns)
    grid = np.zeros((rows * (h + 2) + 2, columns * (w + 2) + 2, 3), np.uint8)
    for i, picture in enumerate(pictures):
        y, x = i // columns * (h + 2) + 2, i % columns * (w + 2) + 2
        grid[y:y + h, x:x + w] = picture
    return grid


def txt2img(pipeline, lines, n_samples, n_iter):
    torch.manual_seed(SEED)
    batches = []
    for _ in range(n_iter):
        for at in range(0, len(lines), n_samples):
            prompts = lines[at:at + n_samples]
            shape = (len(prompts), 4, 8, 8)
            x = torch.randn(shape).double().numpy().ravel()
            noise = lambda a, b: torch.randn(shape).double().numpy().ravel()
            x = ldm_ddim(model(pipeline, prompts, shape), x, STEPS, noise, eta=0.0)
            batches.append(decode(pipeline, torch.from_numpy(x.reshape(shape))))
    return batches


def img2img(pipeline, picture, prompts, strength, steps, n_iter):
    """The encoder's mean in the place of its sample, which hangs on what the model's construction has drawn."""
    torch.manual_seed(SEED)
    image = Image.open(picture).convert("RGB")
    image = image.resize([side - side % 32 for side in image.size], resample=Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(image).astype(np.float32) / 255).permute(2, 0, 1)[None] * 2 - 1
    latent = pipeline.vae.encode(pixels).latent_dist.mode() * pipeline.vae.config.scaling_factor
    latent = latent.repeat(len(prompts), 1, 1, 1)
    parameters, t_enc, batches = ldm_parameters(steps, 0.0), int(strength * steps), []
    noise = lambda *_: torch.randn(latent.shape).double().numpy().ravel()
    for _ in range(n_iter):
        a, eps = parameters[1][t_enc], model(pipeline, prompts, latent.shape)
        x = np.sqrt(a) * latent.double().numpy().ravel() + np.sqrt(1 - a) * noise()
        for index in reversed(range(t_enc)):
            x = ldm_step(x, eps(x, parameters[0][index])[0], index, parameters, noise)
        batches.append(decode(pipeline, torch.from_numpy(x.reshape(latent.shape))))
    return batches


def block(c, k):
    for _ in range(10):
        a, b = 0xd2511f53 * c[0], 0xcd9e8d57 * c[2]
        c = [(b >> 32) ^ c[1] ^ k[0], b & 0xffffffff, (a >> 32) ^ c[3] ^ k[1], a & 0xffffffff]
        k = [(k[0] + 0x9e3779b9) & 0xffffffff, (k[1] + 0xbb67ae85) & 0xffffffff]
    return c


def stateless(seed, count):
    m = block([seed[0], 0, seed[1], 0], [0x3ec8f720, 0x02461e29])
    words = np.array([block([i, 0, m[2], m[3]], m[:2]) for i in range(-(-count // 4))], dtype=np.int64).reshape(-1, 2)
    u, v = ((words & 0x7fffff) / 2**23).T
    r, angle = np.sqrt(-2 * np.log(np.maximum(u, 1e-7))), np.float32(2 * np.pi * v).astype(np.float64)
    return np.stack([r * np.sin(angle), r * np.cos(angle)], 1).ravel()[:count].astype(np.float32)


def text_to_image(pipeline, prompt, seed, rule, steps):
    x = stateless(seed, 16 * 16 * 4).reshape(1, 16, 16, 4).transpose(0, 3, 1, 2)
    shape = (1, 4, 16, 16)
    x = rule(model(pipeline, [prompt], shape), x.astype(np.float64).ravel(), steps, None)
    return decode(pipeline, torch.from_numpy(x.reshape(shape)))[0]


def watermark():
    y, x = np.mgrid[0:262, 0:270]
    rgb = np.stack([(x * 7 + y * 3) % 256, (x * y // 32 + 40) % 256, (y * 5 + x * x // 64) % 256], -1).astype(np.uint8)
    encoder = WatermarkEncoder()
    encoder.set_watermark("bytes", b"StableDiffusionV1")
    return encoder.encode(np.ascontiguousarray(rgb[:, :, ::-1]), "dwtDct")[:, :, ::-1]


def main():
    torch.set_num_threads(1)
    OUT.mkdir(exist_ok=True)
    pipeline = load("sd1-tiny")
    save = lambda name, pixels: Image.fromarray(np.ascontiguousarray(pixels)).save(OUT / f"{name}.png", optimize=True)
    with torch.no_grad():
        save("grid", make_grid(txt2img(pipeline, ["a cat", "a dog", "a house"], 2, 2), 2))
        save("img2img", make_grid(img2img(pipeline, OUT / "grid.png", ["a cat", "a dog"], 0.7, 8, 2), 2))
        save("keras", text_to_image(pipeline, "a cat", [7, 0], keras_new, STEPS))
        save("keras_0.4", text_to_image(pipeline, "a cat", [7, 7], keras_old, 3))
    save("watermark", watermark())


if __name__ == "__main__":
    main()
