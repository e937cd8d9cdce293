#!/usr/bin/env python3
"""Stable Diffusion XL at its full size with seeded random weights, and what diffusers and transformers compute with it.

    full_size_xl.py model FOLDER        writes the model folder: diffusers layout, f16, 7 GB, in a few minutes
    full_size_xl.py goldens FOLDER      in FOLDER/goldens: one UNet forward on 1x4x32x32 latents, and a prompt's states by both
                                        text encoders, in f32 on those weights

Needs the packages of tests/goldens/requirements.txt and 4 GB of memory: weights are widened a layer at a time.
`CALOTYPE_FULL_SIZE=FOLDER cargo test --release --test calotype full_size -- --ignored --test-threads 1 --nocapture` holds
Calotype to it. Neither belongs in the repository.
"""

import json
import os
import shutil
import sys
import time
from pathlib import Path

os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "goldens"))

import diffusers
import numpy as np
import torch
import transformers
import vocabulary
from diffusers import AutoencoderKL, UNet2DConditionModel
from models import text_name
from prompts import PROMPT
from seeded import Tensors, normal, write_json
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from weights import drawn

CONFIGS = ROOT / "crates/models/src/config/architectures/sdxl"
GAINS = {
    "unet": {"conv_out.weight": 1.3, "add_embedding.linear_1.weight": 2.0, "add_embedding.linear_2.weight": 1.5},
    "vae": {"decoder.conv_out.weight": 0.5},
}
FILES = {
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
}


def component(name: str):
    """A component without weights."""
    config = json.loads((CONFIGS / name / "config.json").read_text())
    with torch.device("meta"):
        match name:
            case "text_encoder":
                return CLIPTextModel(CLIPTextConfig(**config))
            case "text_encoder_2":
                return CLIPTextModelWithProjection(CLIPTextConfig(**config))
            case "unet":
                return UNet2DConditionModel.from_config(config)
            case "vae":
                return AutoencoderKL.from_config(config)


def stored_name(component: str, name: str) -> str:
    return text_name(name) if component.startswith("text") and not name.startswith("text_projection") else name


def write_weights(name: str, path: Path):
    """Tensor by tensor, so that none but one is in memory."""
    parameters = list(component(name).named_parameters())
    header, end = {}, 0
    for key, parameter in parameters:
        start, end = end, end + 2 * parameter.numel()
        header[stored_name(name, key)] = {"dtype": "F16", "shape": list(parameter.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for key, parameter in parameters:
            values = drawn(f"full.sdxl.{name}", key, parameter.shape, GAINS.get(name))
            values.half().numpy().tofile(file)


def make_model(folder: Path):
    for path in CONFIGS.rglob("*.json"):
        target = folder / path.relative_to(CONFIGS)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    vocabulary.write(folder / "tokenizer", "<|endoftext|>", full=True)
    vocabulary.write(folder / "tokenizer_2", "!", full=True)
    for name, file in FILES.items():
        write_weights(name, folder / name / file)
        print(f"{name} is written", flush=True)


def load(folder: Path, name: str) -> torch.nn.Module:
    """A component whose weights stay in its file as f16, and are f32 for as long as their layer computes."""
    path = folder / name / FILES[name]
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    data = np.memmap(path, dtype=np.float16, mode="c", offset=8 + size)
    module = component(name)
    state = {}
    for key, parameter in module.named_parameters():
        start, end = header[stored_name(name, key)]["data_offsets"]
        state[key] = torch.from_numpy(data[start // 2 : end // 2].reshape(tuple(parameter.shape)))
    module.load_state_dict(state, assign=True, strict=False)
    for buffer, values in list(module.named_buffers()):
        if values.is_meta:
            # transformers counts positions.
            owner = module.get_submodule(buffer.rpartition(".")[0])
            owner.register_buffer(buffer.rpartition(".")[2], torch.arange(values.shape[-1]).expand(values.shape))
    for layer in module.modules():
        own = [one for one in layer.parameters(recurse=False)]
        if own:
            widen(layer, own)
    return module.eval()


def widen(layer: torch.nn.Module, parameters: list):
    def before(*_):
        for parameter in parameters:
            parameter.half_of_it = parameter.data
            parameter.data = parameter.data.float()

    def after(*_):
        for parameter in parameters:
            parameter.data = parameter.half_of_it

    for parameter in parameters:
        parameter.requires_grad_(False)
    layer.register_forward_pre_hook(before)
    layer.register_forward_hook(after)


def make_goldens(folder: Path):
    out, file = folder / "goldens", Tensors()
    states, pooled = [], None
    start = time.time()
    for name, tokenizer in (("text_encoder", "tokenizer"), ("text_encoder_2", "tokenizer_2")):
        words = CLIPTokenizer.from_pretrained(folder / tokenizer)
        ids = words([PROMPT], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
        with torch.no_grad():
            told = load(folder, name)(ids, output_hidden_states=True)
        states.append(told.hidden_states[-2])
        pooled = told[0]
    text = {"name": "prompt", "prompt": PROMPT, "prompt_2": None, "seconds": round(time.time() - start, 2)}
    states = torch.cat(states, dim=-1)
    text |= {"states": file.keep("states", states), "pooled": file.keep("pooled", pooled)}

    net = load(folder, "unet")
    sample, ids = normal("full.sdxl.unet_1x32", (1, 4, 32, 32)), [256.0, 256.0, 0.0, 0.0, 256.0, 256.0]
    added = {"text_embeds": pooled, "time_ids": torch.tensor([ids])}
    with torch.no_grad():
        start = time.time()
        output = net(sample, 421, states, added_cond_kwargs=added)[0]
        seconds = time.time() - start
    print(f"unet: {seconds:.1f} s, largest {output.abs().max():.3f}, std {output.std():.3f}", flush=True)
    unet = {
        "name": "1x4x32x32",
        "timestep": 421,
        "time_ids": [ids],
        "seconds": round(seconds, 2),
        "sample": file.keep("sample", sample),
        "encoder_hidden_states": "states",
        "text_embeds": "pooled",
        "output": file.keep("output", output),
    }
    file.write(out / "stages.safetensors")
    write_json(out / "stages.json", {"text": [text], "unet": [unet]})


def main():
    torch.set_num_threads(2)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    match sys.argv[1:]:
        case ["model", folder]:
            make_model(Path(folder))
        case ["goldens", folder]:
            make_goldens(Path(folder))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
