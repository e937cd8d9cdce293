"""A few steps of a scheduler with three numbers in place of latents, for config_variants.py."""

import itertools
import math

import diffusers
import numpy as np
import torch

rng = np.random.default_rng(9)
START = rng.standard_normal(3).astype(np.float32).round(4)
NOISE = rng.standard_normal((16, 3)).astype(np.float32).round(4)
COMPONENTS = dict.fromkeys(["vae", "text_encoder", "tokenizer", "safety_checker", "feature_extractor"])


def model(x, t):
    """What stands in for the UNet; crates/pipeline/tests knows it too."""
    t = float(t)
    return np.float32(0.3 * math.cos(t / 1000)) * x + np.float32(0.1 * math.sin(t / 100))


def trajectory(scheduler, steps: int):
    """Timesteps, the sample after each evaluation, and the starting scale."""
    drawn = itertools.count()
    draw = lambda shape, **_: torch.from_numpy(NOISE[next(drawn)]).reshape(shape)
    module = __import__(type(scheduler).__module__, fromlist=["x"])
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = draw
    scheduler.set_timesteps(steps)
    sigma = float(torch.as_tensor(scheduler.init_noise_sigma))
    sample = torch.from_numpy(START).reshape(1, 3, 1, 1) * sigma
    samples = []
    extra = {"eta": 0.0} if isinstance(scheduler, diffusers.DDIMScheduler) else {}
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(sample, t)
        output = torch.from_numpy(model(seen.numpy(), t).astype(np.float32))
        sample = scheduler.step(output, t, sample, **extra).prev_sample
        samples.append(sample.numpy().reshape(3).astype(np.float32))
    return [float(t) for t in scheduler.timesteps], np.array(samples), sigma
