#!/usr/bin/env python3
"""Numbers in ggml's blocks, as gguf's own functions make them: `blocks.safetensors`, the numbers and the bytes of each kind."""

import os

import gguf
import numpy as np
from safetensors.numpy import save_file
from seeded import ROOT

KINDS = ["Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0"]
BLOCK = 32


def numbers() -> np.ndarray:
    random = np.random.default_rng(32)
    rows = [random.standard_normal(BLOCK) * scale for scale in (1, 1, 1, 1e-3, 1e-5, 1e-8, 3e4)]
    rows += [random.uniform(*span, BLOCK) for span in ((0, 1), (-1, 0), (5, 6))]
    rows += [np.zeros(BLOCK), np.full(BLOCK, 0.3), np.full(BLOCK, -7.0), -np.zeros(BLOCK)]
    # Halfway between two steps, and the farthest on both sides.
    rows += [np.arange(BLOCK) / 2 - 8, np.arange(BLOCK) - 15.5, np.tile([2.0, -2.0], BLOCK // 2), np.eye(1, BLOCK, 5)[0]]
    rows += list(random.standard_normal((40, BLOCK)) * 0.05)
    return np.asarray(rows, np.float32)


def main():
    values = numbers()
    made = {"numbers": values}
    for kind in KINDS:
        made[kind.lower()] = gguf.quantize(values, gguf.GGMLQuantizationType[kind])
    save_file(made, ROOT / "blocks.safetensors")
    os.chmod(ROOT / "blocks.safetensors", 0o644)
    print({name: array.shape for name, array in made.items()})


if __name__ == "__main__":
    main()
