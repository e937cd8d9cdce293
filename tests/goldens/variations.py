"""Noise by A1111's rules for variations and for seeds drawn at another size (modules/rng.py), with torch's CPU generator, and
numpy's RandomState, for crates/sampling/tests/noise.rs.

    python tests/goldens/variations.py        # writes variations.json beside itself
"""

import json
import pathlib

import numpy as np
import torch


def randn(generator, shape):
    return torch.randn(shape, generator=generator)


def fresh(seed, shape):
    return randn(torch.Generator("cpu").manual_seed(seed), shape)


def turned(share, low, high):
    cosine = ((low / low.norm(dim=1, keepdim=True)) * (high / high.norm(dim=1, keepdim=True))).sum(1)
    if cosine.mean() > 0.9995:
        return low * share + high * (1 - share)
    angle = torch.acos(cosine)
    a, b = (torch.sin(v * angle) / torch.sin(angle) for v in (1 - share, share))
    return a.unsqueeze(1) * low + b.unsqueeze(1) * high


def first(seed, shape, other, share, small):
    generator = torch.Generator("cpu").manual_seed(seed)
    size = (shape[0], *small) if small else shape
    noise = fresh(seed, size) if size != shape else randn(generator, shape)
    if other is not None:
        noise = turned(share, noise, fresh(other, size))
    if size != shape:
        around = randn(generator, shape)
        (top, left) = ((shape[i] - size[i]) // 2 for i in (1, 2))
        cut = lambda gap, length: (max(gap, 0), max(-gap, 0), length if gap >= 0 else length + 2 * gap)
        (y, from_y, h), (x, from_x, w) = cut(top, size[1]), cut(left, size[2])
        around[:, y:y + h, x:x + w] = noise[:, from_y:from_y + h, from_x:from_x + w]
        noise = around
    return [noise, randn(generator, shape)]


CASES = [
    (1, (4, 5, 6), 2, 0.3, None), (1, (4, 5, 6), 2, 1.0, None), (7, (4, 6, 5), 7, 0.25, None),
    (3, (4, 8, 6), None, 0.0, (5, 9)), (3, (4, 6, 8), None, 0.0, (4, 3)), (3, (4, 5, 5), 9, 0.6, (8, 8)),
]


def main():
    out = [dict(seed=s, shape=shape, other=o, share=v, small=small,
                noise=[t.flatten().tolist() for t in first(s, shape, o, v, small)]) for s, shape, o, v, small in CASES]
    numpy = [dict(seed=s, values=np.random.RandomState(s).randn(9).astype(np.float32).tolist()) for s in (0, 42, 2**32 - 1)]
    path = pathlib.Path(__file__).parent / "variations.json"
    line = lambda items: "[\n" + ",\n".join(json.dumps(i) for i in items) + "\n]"
    path.write_text(f'{{"variations": {line(out)},\n"numpy": {line(numpy)}}}\n')


if __name__ == "__main__":
    main()
