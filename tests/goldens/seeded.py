"""Seeded numbers, precision switching and the one way in which tensors and JSON are written."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from diffusers.models import embeddings
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent


def normal(name: str, shape, std: float = 1.0) -> torch.Tensor:
    """Normal f32 numbers which depend on `name` alone, so that adding a tensor changes no other."""
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    values = np.random.default_rng(seed).standard_normal(tuple(shape)) * std
    return torch.from_numpy(values.astype(np.float32))


def difference(single: torch.Tensor, double: torch.Tensor) -> dict:
    """The noise floor of an f32 result, relative to the largest magnitude of the f64 one."""
    largest = double.abs().max().item()
    floor = (single.double() - double).abs().max().item() / largest
    return {"floor": float(f"{floor:.3g}"), "largest": float(f"{largest:.6g}")}


def exact_timestep_embedding(timesteps, dim, flip_sin_to_cos=False, downscale_freq_shift=1, scale=1, max_period=10000):
    """diffusers' function of this name in f64: its own is f32 whatever the model is, which would hide its error."""
    half = dim // 2
    exponents = torch.arange(half, dtype=torch.float64) / (half - downscale_freq_shift)
    angles = scale * timesteps.double()[:, None] * torch.exp(-np.log(max_period) * exponents)
    parts = [angles.cos(), angles.sin()] if flip_sin_to_cos else [angles.sin(), angles.cos()]
    return torch.nn.functional.pad(torch.cat(parts, dim=-1), (0, dim % 2))


def both(modules, compute):
    """Runs `compute(dtype)` in f32, then in f64, with `modules` converted; returns both results."""
    modules = [modules] if isinstance(modules, torch.nn.Module) else list(modules)
    theirs = embeddings.get_timestep_embedding
    with torch.no_grad():
        single = compute(torch.float32)
        embeddings.get_timestep_embedding = exact_timestep_embedding
        for module in modules:
            module.to(torch.float64)
        double = compute(torch.float64)
        for module in modules:
            module.to(torch.float32)
    embeddings.get_timestep_embedding = theirs
    return single, double


class Tensors:
    """A `.safetensors` file in the making: `keep` stores a tensor and returns its name."""

    def __init__(self):
        self.tensors = {}

    def keep(self, name: str, tensor: torch.Tensor) -> str:
        assert name not in self.tensors, name
        if tensor.is_floating_point():
            tensor = tensor.float()
        assert not tensor.is_floating_point() or torch.isfinite(tensor).all(), name
        self.tensors[name] = tensor.detach().clone().contiguous()
        return name

    def write(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(self.tensors, path)
        path.chmod(0o644)


def write_json(path: Path, value, compact: bool = False):
    """Writes JSON; `compact` puts each element of the outermost arrays on a line of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not compact:
        path.write_text(json.dumps(value, indent=2) + "\n")
        return
    lines = lambda items: "[\n" + ",\n".join("  " + json.dumps(item) for item in items) + "\n]"
    if isinstance(value, list):
        path.write_text(lines(value) + "\n")
        return
    fields = (f"{json.dumps(k)}: {lines(v) if isinstance(v, list) else json.dumps(v)}" for k, v in value.items())
    path.write_text("{" + ",\n".join(fields) + "}\n")
