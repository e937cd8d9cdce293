#!/usr/bin/env python3
"""Times diffusers' Stable Diffusion on a GPU, for the same work as `calotype bench`; one JSON line a run.

    gpu_peers.py [FOLDER] [--batch 1 4] [--steps 20] [--repeats 5] [--eager] [--compile] [--mode MODE] [--device cuda]
                 [--small]

FOLDER is a model in the diffusers layout, such as `full_size.py model` makes; without one Stable Diffusion 1.5 is made in
memory with random weights (--small: a tiny one) and fixed token ids are encoded, which takes the same time. f16, DDIM,
guidance 7.5, at the model's own size. Eager runs use PyTorch's scaled_dot_product_attention, as diffusers does by itself;
--compile runs the UNet and the VAE's decoder under torch.compile(mode=MODE, fullgraph=True, dynamic=False), in channels-last order;
MODE is reduce-overhead (CUDA graphs), since max-autotune takes minutes to begin. Without --eager and --compile: eager.

With --repeats 0 nothing is timed: torch.compile's caches on disk are filled, for a run that has less time.

Each line holds the seconds of the first batch (which compiles), the median, least and most of `repeats` warm ones, the
milliseconds of a warm UNet step (a batch less one of a single step, over the steps between), and the most memory that
PyTorch held (allocated, and reserved from the driver). Needs torch, diffusers and transformers.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import diffusers
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

PROMPT = "a photograph of an astronaut riding a horse"


def made(small: bool, dtype, device: str):
    """The architecture alone, with weights as they come."""
    channels, width, size = ((32, 64, 64, 64), 64, 8) if small else ((320, 640, 1280, 1280), 768, 64)
    torch.manual_seed(0)
    torch.set_default_dtype(dtype)
    with torch.device(device):
        # Its defaults are Stable Diffusion 1's: three levels with attention, eight heads.
        unet = UNet2DConditionModel(sample_size=size, block_out_channels=channels, cross_attention_dim=width)
        levels = len(channels)
        vae = AutoencoderKL(
            sample_size=size * 8,
            block_out_channels=(32, 32, 64, 64) if small else (128, 256, 512, 512),
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            layers_per_block=2,
        )
        text = CLIPTextModel(CLIPTextConfig(
            hidden_size=width, intermediate_size=4 * width, num_hidden_layers=2 if small else 12,
            num_attention_heads=4 if small else 12,
        ))
    torch.set_default_dtype(torch.float32)
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
        clip_sample=False, set_alpha_to_one=False,
    )
    return StableDiffusionPipeline(
        vae=vae.eval(), text_encoder=text.eval(), tokenizer=None, unet=unet.eval(), scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )


def load(args):
    # The processor has no kernels for some halves.
    dtype = torch.float16 if args.device == "cuda" else torch.float32
    if args.folder:
        pipe = StableDiffusionPipeline.from_pretrained(
            args.folder, torch_dtype=dtype, safety_checker=None, requires_safety_checker=False
        ).to(args.device)
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    else:
        pipe = made(args.small, dtype, args.device)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def prompt(args, pipe, batch: int) -> dict:
    """The words, or what their ids encode to."""
    if args.folder:
        return {"prompt": PROMPT, "num_images_per_prompt": batch}
    ids = torch.arange(77, device=args.device)[None] + 320
    with torch.no_grad():
        negative, positive = pipe.text_encoder(torch.cat([ids + 9, ids]))[0].chunk(2)
    return {"prompt_embeds": positive, "negative_prompt_embeds": negative, "num_images_per_prompt": batch}


def measure(args, pipe, batch: int, engine: str):
    cuda = args.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()

    def run(steps: int) -> float:
        start = time.perf_counter()
        generator = torch.Generator("cpu").manual_seed(42)
        pipe(
            **prompt(args, pipe, batch),
            num_inference_steps=steps,
            guidance_scale=7.5,
            generator=generator,
        )
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start

    first = run(args.steps)
    if not args.repeats:
        return
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
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--mode", default="reduce-overhead")
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()
    pipe = load(args)
    if args.eager or not args.compile:
        for batch in args.batch:
            measure(args, pipe, batch, "eager")
    if args.compile:
        for part in (pipe.unet, pipe.vae):
            part.to(memory_format=torch.channels_last)
        pipe.unet = torch.compile(pipe.unet, mode=args.mode, fullgraph=True, dynamic=False)
        pipe.vae.decode = torch.compile(pipe.vae.decode, mode=args.mode, fullgraph=True, dynamic=False)
        for batch in args.batch:
            measure(args, pipe, batch, f"torch.compile {args.mode}")


main()
