#!/usr/bin/env python3
"""Times single ops by PyTorch, f16, of the shapes that the example gpu_proof names; prints one JSON object.

    gpu_ops.py [--device cuda] NAME…      such as 'linear 8192, 320 to 320'

Best of three bursts, as gpu_proof times its own: products by cuBLAS, convolutions by cuDNN (channels last, the fastest of
its algorithms), attention by scaled_dot_product_attention.
"""

import argparse
import json
import re
import time

import torch
import torch.nn.functional as F


def made(name: str, device: str):
    """What computes it, and its floating-point operations."""
    n = [int(number) for number in re.findall(r"\d+", name)]
    dtype = torch.float16 if device == "cuda" else torch.float32

    def tensor(*shape):
        return torch.randn(*shape, device=device, dtype=dtype) / 8

    match name.split()[0], n:
        case "conv", [_, _, batch, height, width, c, out]:
            x = tensor(batch, c, height, width).to(memory_format=torch.channels_last)
            w = tensor(out, c, 3, 3).to(memory_format=torch.channels_last)
            return (lambda: F.conv2d(x, w, padding=1)), 2 * 9 * c * out * batch * height * width
        case "linear", [m, k, out]:
            x, w = tensor(m, k), tensor(out, k)
            return (lambda: F.linear(x, w)), 2 * m * k * out
        case "attention", [rows, keys, batch, heads, size]:
            q, k, v = tensor(batch, heads, rows, size), tensor(batch, heads, keys, size), tensor(batch, heads, keys, size)
            return (lambda: F.scaled_dot_product_attention(q, k, v)), 4 * batch * heads * rows * keys * size
    raise ValueError(f"{name}: no op that PyTorch is asked for")


def seconds(run, device: str) -> float:
    wait = torch.cuda.synchronize if device == "cuda" else lambda: None

    def burst(runs: int) -> float:
        start = time.perf_counter()
        for _ in range(runs):
            run()
        wait()
        return (time.perf_counter() - start) / runs

    burst(2)
    runs = int(min(max(0.2 / burst(1), 1), 200))
    return min(burst(runs) for _ in range(3))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    found = {}
    with torch.no_grad():
        for name in args.names:
            run, flops = made(name, args.device)
            found[name] = round(flops / seconds(run, args.device) * 1e-12, 4)
    device = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    print(json.dumps({"torch": torch.__version__, "device": device, "ops": found}))


main()
