#!/usr/bin/env python3
"""Times other engines on the UNet of the full-size folder that `full_size.py` makes; one JSON line each.

    peers.py torch FOLDER GOLDENS                 PyTorch, f32, from the model folder
    peers.py torch-ops FOLDER GOLDENS             where its time goes, op by op: a table
    peers.py export FOLDER MODEL.onnx             writes the UNet as ONNX (f32, 3.4 GB, sizes left open) for the next two
    peers.py onnx-cpu MODEL.onnx GOLDENS          onnxruntime's CPU provider
    peers.py onnx-webgpu MODEL.onnx GOLDENS       onnxruntime's WebGPU provider, on the first adapter that it finds

Options: --case unet_1x32 (a file of GOLDENS), --runs 3, --threads 2.

Each line holds the first run, which compiles or allocates, the median of `runs` more, the largest difference from
the golden relative to its largest magnitude, and the peak resident memory. `torch` and `export` need the packages of
tests/goldens/requirements.txt (`export` also onnx 1.23.2), the other two onnxruntime-webgpu 1.27.0, numpy and
safetensors; onnxruntime-webgpu excludes other onnxruntime packages, so give it an environment of its own. To put
WebGPU on a software device, start the script in an environment where the Vulkan loader finds only that device.
"""

import argparse
import json
import os
import resource
import statistics
import time
from pathlib import Path

os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}

import numpy as np
from safetensors.numpy import load_file

INPUTS = ["sample", "timestep", "encoder_hidden_states"]
PROVIDERS = {"onnx-cpu": "CPUExecutionProvider", "onnx-webgpu": "WebGpuExecutionProvider"}


def measure(peer: str, version: str, args, golden: dict, run):
    """Prints one line for `run`, which returns the UNet's output as a numpy array."""
    seconds = []
    for _ in range(args.runs + 1):
        start = time.perf_counter()
        output = run()
        seconds.append(time.perf_counter() - start)
    expected = golden["output"]
    line = {
        "peer": peer,
        "version": version,
        "case": args.case,
        "threads": args.threads,
        "median_s": round(statistics.median(seconds[1:] or seconds), 3),
        "first_s": round(seconds[0], 3),
        "runs": args.runs,
        "max_error": float(f"{np.abs(output - expected).max() / np.abs(expected).max():.3g}"),
        "peak_rss_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "load_1min": round(os.getloadavg()[0], 1),
    }
    print(json.dumps(line), flush=True)


def load_unet(folder: Path):
    import torch
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32).eval()


def run_torch(args, golden: dict):
    import torch

    torch.set_num_threads(args.threads)
    unet = load_unet(args.model)
    inputs = [torch.from_numpy(golden[name]) for name in INPUTS]

    def run():
        with torch.no_grad():
            return unet(*inputs)[0].numpy()

    measure("torch", torch.__version__, args, golden, run)


def torch_ops(args, golden: dict):
    import torch
    from torch.profiler import ProfilerActivity, profile

    torch.set_num_threads(args.threads)
    unet = load_unet(args.model)
    inputs = [torch.from_numpy(golden[name]) for name in INPUTS]
    least = {}
    with torch.no_grad():
        for _ in range(args.runs + 1):
            with profile(activities=[ProfilerActivity.CPU]) as found:
                unet(*inputs)
            for event in found.key_averages():
                known = least.get(event.key, (0, float("inf")))[1]
                least[event.key] = (event.count, min(known, event.self_cpu_time_total * 1e-6))
    print("| op | calls | seconds |\n|---|---|---|")
    for name, (calls, seconds) in sorted(least.items(), key=lambda row: -row[1][1])[:20]:
        print(f"| {name} | {calls} | {seconds:.3f} |")
    print(f"| all | | {sum(seconds for _, seconds in least.values()):.3f} |")


def export(args):
    import torch

    class Bare(torch.nn.Module):
        def __init__(self, unet):
            super().__init__()
            self.unet = unet

        def forward(self, sample, timestep, encoder_hidden_states):
            return self.unet(sample, timestep, encoder_hidden_states, return_dict=False)[0]

    args.model.parent.mkdir(parents=True, exist_ok=True)
    unet = load_unet(args.folder)
    states = torch.zeros(2, 77, unet.config.cross_attention_dim)
    example = (torch.zeros(2, 4, 32, 32), torch.tensor([421.0]), states)
    sizes = {0: "batch", 2: "height", 3: "width"}
    with torch.no_grad():
        torch.onnx.export(
            Bare(unet),
            example,
            str(args.model),
            input_names=INPUTS,
            output_names=["output"],
            dynamic_axes={"sample": sizes, "output": sizes, "encoder_hidden_states": {0: "batch"}},
            opset_version=17,
            dynamo=False,
        )


def run_onnx(args, golden: dict):
    import onnxruntime

    provider = PROVIDERS[args.peer]
    assert provider in onnxruntime.get_available_providers(), f"this onnxruntime has no {provider}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(args.model), options, providers=[provider])
    assert session.get_providers()[0] == provider, f"{provider} did not start: {session.get_providers()}"
    inputs = {name: golden[name] for name in INPUTS}
    measure(args.peer, onnxruntime.__version__, args, golden, lambda: session.run(["output"], inputs)[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="peer", required=True)
    exporter = commands.add_parser("export")
    exporter.add_argument("folder", type=Path)
    exporter.add_argument("model", type=Path)
    for name in ("torch", "torch-ops", *PROVIDERS):
        command = commands.add_parser(name)
        command.add_argument("model", type=Path)
        command.add_argument("goldens", type=Path)
        command.add_argument("--case", default="unet_1x32")
        command.add_argument("--runs", type=int, default=3)
        command.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if args.peer == "export":
        return export(args)
    golden = load_file(args.goldens / f"{args.case}.safetensors")
    {"torch": run_torch, "torch-ops": torch_ops}.get(args.peer, run_onnx)(args, golden)


if __name__ == "__main__":
    main()
