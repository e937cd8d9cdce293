"""Normals of torch's CPU generator, for crates/sampling/tests/noise.rs.

    pip install torch numpy safetensors
    python tests/goldens/noise.py           # writes noise.safetensors beside itself

Each case is a seed and the sizes of the draws made one after the other from one generator. The tensor "values"
holds them all; the metadata entry "cases" lists [seed as unsigned 64-bit text, [sizes]].
"""

import json
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

SIZES = [1, 2, 3, 7, 14, 15, 16, 17, 18, 23, 31, 32, 33, 47, 48, 49, 100, 127, 255, 1000]
SEEDS = [0, 1, 2, 42, 1234, 2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**32 + 42, 2**63 - 1, 2**64 - 1, -1, -42, 987654321]


def main():
    cases = [(seed, SIZES) for seed in SEEDS] + [(seed, list(reversed(SIZES))) for seed in SEEDS[:4]]
    cases += [(7, [4096, 5, 4096, 6]), (8, [4 * 9 * 25, 4 * 9 * 25]), (9, [1, 16, 1, 17, 1, 3, 16, 3])]
    index, values = [], []
    for seed, sizes in cases:
        generator = torch.Generator("cpu").manual_seed(seed)
        values += [torch.randn(size, generator=generator).numpy() for size in sizes]
        index.append([str(seed % 2**64), sizes])
    path = pathlib.Path(__file__).with_name("noise.safetensors")
    metadata = dict(cases=json.dumps(index), torch=torch.__version__, cpu=torch.backends.cpu.get_cpu_capability())
    save_file(dict(values=np.concatenate(values)), path, metadata=metadata)
    print(f"{len(index)} cases, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
