#!/usr/bin/env python3
"""Times diffusers' Stable Diffusion on a GPU, for the same work as `calotype bench`; one JSON line a run.

    gpu_peers.py FOLDER [--batch 1 4] [--steps 20] [--repeats 5] [--compile] [--device cuda]

FOLDER is a model in the diffusers layout, such as `full_size.py model` makes. f16, DDIM, guidance 7.5, at the model's own
size. Eager runs use PyTorch's scaled_dot_product_attention, as diffusers does by itself; --compile adds runs with
torch.compile(mode="max-autotune", fullgraph=True) on the UNet and the VAE's decoder, in channels-last order.

Each line holds the seconds of the first batch (which compiles), the median, least and most of `repeats` warm ones, the
milliseconds of a warm UNet step (a batch less one of a single step, over the steps between), and the most memory that
PyTorch held (allocated, and reserved from the driver). Needs the packages of tests/goldens/requirements.txt, with a
torch for the GPU.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import diffusers
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

PROMPT = "a photograph of an astronaut riding a horse"


def load(args):
    # The processor has no kernels for some halves.
    dtype = torch.float16 if args.device == "cuda" else torch.float32
    pipe = StableDiffusionPipeline.from_pretrained(
        args.folder, torch_dtype=dtype, safety_checker=None, requires_safety_checker=False
    ).to(args.device)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def measure(args, pipe, batch: int, engine: str):
    cuda = args.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    def run(steps: int) -> float:
        start = time.perf_counter()
        generator = torch.Generator("cpu").manual_seed(42)
        pipe(
            PROMPT,
            num_images_per_prompt=batch,
            num_inference_steps=steps,
            guidance_scale=7.5,
            generator=generator,
        )
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    first = run(args.steps)
    warm = [run(args.steps) for _ in range(args.repeats)]
    short = statistics.median(run(1) for _ in range(args.repeats))
    median = statistics.median(warm)
    line = {
        "engine": engine,
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "device": torch.cuda.get_device_name() if cuda else "cpu",
        "batch": batch,
        "steps": args.steps,
        "first_s": round(first, 3),
        "warm_s": round(median, 4),
        "least_s": round(min(warm), 4),
        "most_s": round(max(warm), 4),
        "step_ms": round((median - short) / max(args.steps - 1, 1) * 1e3, 3),
    }
    if cuda:
        line["peak_allocated_mib"] = torch.cuda.max_memory_allocated() >> 20
        line["peak_reserved_mib"] = torch.cuda.max_memory_reserved() >> 20
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    pipe = load(args)
    for batch in args.batch:
        measure(args, pipe, batch, "eager")
    if args.compile:
        for part in (pipe.unet, pipe.vae):
            part.to(memory_format=torch.channels_last)
        pipe.unet = torch.compile(pipe.unet, mode="max-autotune", fullgraph=True)
        pipe.vae.decode = torch.compile(pipe.vae.decode, mode="max-autotune", fullgraph=True)
        for batch in args.batch:
            measure(args, pipe, batch, "compile")


main()
