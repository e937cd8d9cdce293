"""Sizes and budgets: `smoke` runs every stage in seconds, `cpu` is what was trained on two cores, `gpu` is for one GPU."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Preset:
    """One setting of the whole recipe. Budgets are in minutes of wall time, so that a stage ends when it should."""

    # Text encoder (CLIP's architecture) and its context length in tokens.
    text_width: int = 192
    text_layers: int = 3
    text_heads: int = 3
    tokens: int = 32
    # UNet: channels of its three resolutions (16x16, 8x8, 4x4 latents), multiples of 32 for the group norms.
    unet_channels: tuple = (64, 128, 192)
    # Autoencoder: channels of its four resolutions (128 to 16 pixels); 8 latent channels.
    vae_channels: tuple = (24, 48, 96, 128)
    latent_channels: int = 8
    vae_minutes: float = 55
    vae_batch: int = 16
    vae_crop: int = 64
    vae_rate: float = 1.5e-3
    pool: int = 24_000
    text_minutes: float = 5
    text_batch: int = 64
    minutes: float = 80
    anneal: float = 0.35  # share of the budget over which the learning rates fall to zero
    batch: int = 48
    adam_rate: float = 1e-3
    muon_rate: float = 0.01
    distill_iterations: int = 400
    distill_batch: int = 32
    classifier_steps: int = 900


PRESETS = {
    "smoke": Preset(
        text_width=64,
        text_layers=1,
        text_heads=2,
        unet_channels=(32, 32, 64),
        vae_channels=(8, 16, 16, 32),
        vae_minutes=0.1,
        vae_batch=4,
        pool=64,
        text_minutes=0.05,
        text_batch=8,
        minutes=0.1,
        batch=8,
        distill_iterations=2,
        distill_batch=4,
        classifier_steps=4,
    ),
    "cpu": Preset(),
    "gpu": Preset(
        text_layers=4,
        unet_channels=(96, 160, 224),
        vae_minutes=6,
        vae_batch=64,
        vae_crop=128,
        vae_rate=1e-3,
        pool=300_000,
        text_minutes=1,
        text_batch=1024,
        minutes=9,
        batch=1024,
        adam_rate=2e-3,
        muon_rate=0.02,
        distill_iterations=4000,
        distill_batch=512,
        classifier_steps=6000,
    ),
}
