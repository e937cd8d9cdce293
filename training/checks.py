"""Checks of the parts whose mistakes would not show: a few seconds, nothing downloaded.

    python checks.py
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

import lora
import model as m
from compose import ALONE, PAIR, PAIRED, SIZE, paste, plural
from distill import Teacher, grid
from evaluate import cut
from muon import orthogonal
from presets import PRESETS


def test_lora_file():
    """What diffusers makes of the saved file equals the network with the sums formed by hand."""
    torch.manual_seed(0)
    unet = m.unet(PRESETS["smoke"]).eval()
    x, t, states = torch.randn(2, 8, 16, 16), torch.tensor([10, 900]), torch.randn(2, 5, 64)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        unet.save_pretrained(folder)
        added = lora.attach(unet, 4)
        for difference in added.values():
            difference.b.normal_(0, 0.1)
            difference.a.copy_(difference.a.half())
            difference.b.copy_(difference.b.half())
        lora.save(added, Path(folder) / "lora.safetensors")
        peer = UNet2DConditionModel.from_pretrained(folder).eval()
        before = peer(x, t, encoder_hidden_states=states).sample
        peer.load_lora_adapter(folder, weight_name="lora.safetensors", prefix="unet")
        ours = unet(x, t, encoder_hidden_states=states).sample
        theirs = peer(x, t, encoder_hidden_states=states).sample
    assert (ours - theirs).abs().max() < 1e-4, (ours - theirs).abs().max()
    assert (before - theirs).abs().max() > 1e-2, "the difference must make one"


def test_target():
    """A student that predicts the target exactly lands where two steps of the teacher land."""
    torch.manual_seed(0)
    noise = m.Noise()
    predict = lambda x, t, encoder_hidden_states: type("Out", (), {"sample": torch.sin(3 * x) + encoder_hidden_states})
    teacher = Teacher(predict, noise, torch.zeros(1, 1, 1, 1), 2.0)
    x, states = torch.randn(4, 8, 4, 4), torch.randn(4, 1, 1, 1)
    k = torch.arange(4)
    t, middle, s = grid(4, k), grid(8, 2 * k + 1), grid(4, k + 1)
    assert t.tolist() == [999, 749, 499, 249] and s.tolist() == [749, 499, 249, -1]
    y = noise.ddim(x, teacher.v(x, t, states), t, middle)
    y = noise.ddim(y, teacher.v(y, middle, states), middle, s)
    once = noise.ddim(x, teacher.target(x, t, middle, s, states), t, s)
    assert torch.allclose(once, y, atol=1e-4)


def test_orthogonal():
    """The singular values come out near one, whatever they were."""
    values = torch.linalg.svdvals(orthogonal(torch.randn(3, 20, 50)))
    assert 0.5 < values.min() and values.max() < 1.4, values


def test_plural():
    """Nouns of more than one word change their head."""
    for one, many in {"cup of tea": "cups of tea", "mouse": "mice", "~dice": "dice", "puppy": "puppies", "fox": "foxes"}.items():
        assert plural(one) == many, plural(one)


def test_cut():
    """Each place of a pair, cut out, is the thing alone, and not its neighbour."""
    grain = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), np.uint8)
    sprites = [np.asarray(Image.fromarray(g).resize((SIZE, SIZE), Image.BILINEAR)) for g in grain]
    sprites = [np.dstack([rgb, np.full((SIZE, SIZE), 255, np.uint8)]) for rgb in sprites]
    alone = [np.full((SIZE, SIZE, 3), 255.0) for _ in sprites]
    both = np.full((SIZE, SIZE, 3), 255.0)
    for picture, rgba, place in zip(alone, sprites, PAIR):
        paste(picture, rgba, ALONE, 0.5, 0.5)
        paste(both, rgba, PAIRED, *place)
    far = lambda a, b: np.abs(a[8:-8, 8:-8].astype(float) - b[8:-8, 8:-8]).mean()
    for i, place in enumerate(PAIR):
        part = cut(both.round().astype(np.uint8), PAIRED, place)
        assert far(part, alone[i]) < 25 < 40 < far(part, alone[1 - i]), (far(part, alone[i]), far(part, alone[1 - i]))


if __name__ == "__main__":
    for name, check in list(globals().items()):
        if name.startswith("test_"):
            check()
            print(name, "ok")
