"""Pictures of which a mask keeps a part, by A1111's rules: its arithmetic in NumPy around the tiny UNets and VAE (modules/
processing.py, sd_samplers_cfg_denoiser.py, sd_samplers_timesteps.py), with k-diffusion's samplers. `python inpaint_a1111.py`
writes inpaint_a1111.json and .safetensors beside sd1-tiny's and sd2-tiny's others."""

import cv2
import numpy as np
import torch
from image_to_image import HEIGHT, WIDTH, picture, tensor
from inpaint import mask
from k_samplers import SAMPLERS, SCHEDULES
from k_trajectories import Run
from models import MODELS, load
from PIL import Image, ImageFilter, ImageOps
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, normal, write_json
from stages import ids

STEPS, GUIDANCE, BLUR = 10, 5.0, 2.0
SHAPE = (1, 4, HEIGHT // 8, WIDTH // 8)
# name, sampler, schedule, strength, what stands in the mask's place, whether the mask is rounded
CASES = [
    ("euler", "euler", "discrete", 0.75, "original", True),
    ("euler_all", "euler", "karras", 1.0, "original", True),
    ("heun", "heun", "karras", 0.5, "original", True),
    ("dpmpp_2m", "dpm++_2m", "karras", 0.75, "original", True),
    ("dpmpp_2s_a", "dpm++_2s_a", "karras", 0.6, "original", True),
    ("fill", "dpm++_2m", "karras", 0.75, "fill", True),
    ("noise", "dpm++_2m", "karras", 0.75, "noise", True),
    ("nothing", "dpm++_2m", "karras", 0.75, "nothing", True),
    ("soft", "dpm++_2m", "karras", 0.75, "original", False),
]


class Masked(Run):
    """A denoiser that tells of the picture where that is kept."""

    def begin(self, kept, own):
        self.kept, self.own = kept, own
        return self

    def outputs(self, x, t):
        latents = torch.from_numpy(x.reshape(SHAPE)).float().repeat(2, 1, 1, 1)
        out = self.unet(latents, torch.tensor(t, dtype=torch.float32), encoder_hidden_states=self.states)[0].double().numpy()
        u, c = out[0].ravel(), out[1].ravel()
        return u + self.guidance * (c - u), u

    def clean(self, x, sigma):
        guided, plain = super().clean(x, sigma)
        return guided * (1 - self.kept) + self.own * self.kept, plain

    def noise(self, a, b):
        self.drawn.append(normal(f"inpaint_a1111.{self.name}.noise.{len(self.drawn)}", SHAPE))
        return self.drawn[-1].double().numpy().ravel()


def softened(values, deviation):
    """Along rows, then along columns."""
    size = 2 * int(2.5 * deviation + 0.5) + 1
    values = cv2.GaussianBlur(values, (size, 1), deviation, sigmaY=0.001)
    return cv2.GaussianBlur(values, (1, size), 0.001, sigmaY=deviation)


def filled(image, soft):
    """What is masked made of what is around it."""
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(soft))
    whole = Image.new("RGBA", image.size)
    for radius, times in ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1)):
        layer = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            whole.alpha_composite(layer)
    return whole.convert("RGB")


def make(model: str):
    pipeline, file, manifest = load(model), Tensors(), []
    image, soft = picture(WIDTH, HEIGHT), Image.fromarray(softened(np.array(mask(WIDTH, HEIGHT)), BLUR))
    soft.save(ROOT / model / "pictures/mask_soft.png", optimize=True)
    small = np.array(soft.convert("RGB").resize((SHAPE[3], SHAPE[2])), dtype=np.float32)[..., 0] / 255
    around = filled(image, soft)
    around.save(ROOT / model / "pictures/init_filled.png", optimize=True)
    with torch.no_grad():
        states = [pipeline.text_encoder(ids(pipeline.tokenizer, text))[0] for text in (NEGATIVE, PROMPT)]
        noise = normal("inpaint_a1111.noise", SHAPE)
        key = file.keep("noise", noise)
        for name, sampler, schedule, strength, fill, rounded in CASES:
            anew = np.around(small) if rounded else small
            kept = np.tile(1 - anew, (4, 1, 1)).astype(np.float64).ravel()
            begin = image if fill == "original" else around
            own = pipeline.vae.encode(tensor(begin).float()).latent_dist.mean * pipeline.vae.config.scaling_factor
            own = own.double().numpy().ravel()
            if fill in ("noise", "nothing"):
                own = own * kept + (noise.double().numpy().ravel() * (1 - kept) if fill == "noise" else 0)
            run = Masked(pipeline, torch.cat(states), "k", GUIDANCE, name).begin(kept, own)
            taken = int(min(strength, 0.999) * STEPS) + 1
            sigmas = [float(v) for v in SCHEDULES[schedule][0](STEPS)][STEPS - taken :]
            f, options = SAMPLERS[sampler]
            x = own + noise.double().numpy().ravel() * sigmas[0]
            final = np.asarray(f(run.clean, x, sigmas, run.noise, **options))
            final = torch.from_numpy((final * (1 - kept) + own * kept).reshape(SHAPE)).float()
            pixels = pipeline.vae.decode(final / pipeline.vae.config.scaling_factor).sample[0].permute(1, 2, 0).numpy()
            drawn = Image.fromarray((255 * np.clip(pixels / 2 + 0.5, 0, 1)).round().astype("uint8")).convert("RGBA")
            twice = Image.fromarray(np.clip(np.array(soft).astype(np.float32) * 2, 0, 255).astype(np.uint8))
            over = Image.new("RGBa", image.size)
            over.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(twice))
            drawn.alpha_composite(over.convert("RGBA"))
            path = f"pictures/inpaint_a1111_{name}.png"
            drawn.convert("RGB").save(ROOT / model / path, optimize=True)
            manifest.append(dict(
                name=name, model=model, sampler=sampler, schedule=schedule, prompt=PROMPT, negative_prompt=NEGATIVE,
                init="pictures/init.png", mask="pictures/mask.png", mask_blur=BLUR, strength=strength, steps=STEPS, guidance=GUIDANCE,
                fill=fill, soft=not rounded,
                noise=[key, *(file.keep(f"{name}.noise.{i}", each) for i, each in enumerate(run.drawn))],
                final=file.keep(f"{name}.final", final), png=[path]))
            print(f"  {name}: std {final.std():.3g}, {len(run.drawn)} draws, kept {kept.mean():.2f}", flush=True)
    write_json(ROOT / model / "inpaint_a1111.json", {"soft": "pictures/mask_soft.png", "filled": "pictures/init_filled.png", "pictures": manifest}, compact=True)
    file.write(ROOT / model / "inpaint_a1111.safetensors")


def main():
    torch.set_num_threads(1)
    for model in MODELS:
        print(f" {model}")
        make(model)


if __name__ == "__main__":
    main()
