#!/usr/bin/env python3
"""Stable Diffusion 1.5 at its full size with seeded random weights, and what diffusers computes with it.

    full_size.py model FOLDER           writes the model folder: diffusers layout, f16, 2 GB
    full_size.py goldens FOLDER OUT     one UNet forward on 2x4x64x64 and one on 1x4x32x32 latents, one VAE decode on
                                        64x64 latents and the text states of a prompt, in f32 on those weights

Needs the packages of tests/goldens/requirements.txt, about 8 GB of memory and a minute or two for each command.
Each file in OUT holds the inputs under their names in diffusers and the result as `output`; `manifest.json` says what
is what, in the form of `stages.json` (tests/goldens/README.md). Neither belongs in the repository.
"""

import os
import sys
import time
from pathlib import Path

os.environ |= {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "0"}
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "goldens"))

import configs
import diffusers
import torch
import transformers
import vocabulary
from diffusers import AutoencoderKL, UNet2DConditionModel
from models import save, text_name
from prompts import NEGATIVE, PROMPT
from safetensors.torch import save_file
from seeded import both, difference, normal, write_json
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from weights import carry_noise, fill

TEXT = configs.text_encoder(768, 12, 12, "quick_gelu", 49408)
UNET = configs.unet([320, 640, 1280, 1280], 2, 8, 768, norm_num_groups=32, sample_size=64)
VAE = configs.vae([128, 256, 512, 512], 2, 32, sample_size=512)


def make_model(folder: Path):
    assert vocabulary.write(folder / "tokenizer", "<|endoftext|>", full=True) == TEXT["vocab_size"]
    write_json(folder / "model_index.json", configs.model_index("PNDMScheduler"))
    write_json(folder / "scheduler/scheduler_config.json", configs.PNDM)
    for name, config in (("text_encoder", TEXT), ("unet", UNET), ("vae", VAE)):
        write_json(folder / name / "config.json", config)
    text = fill(CLIPTextModel(CLIPTextConfig(**TEXT)), "full.text_encoder")
    save(text, folder / "text_encoder/model.safetensors", text_name)
    del text
    vae = fill(AutoencoderKL.from_config(VAE), "full.vae", {"decoder.conv_out.weight": 0.5})
    save(vae, folder / "vae/diffusion_pytorch_model.safetensors")
    del vae
    unet = fill(UNet2DConditionModel.from_config(UNET), "full.unet", {"conv_out.weight": 1.3})
    carry_noise(unet, share=0.95, rest=0.5)
    save(unet, folder / "unet/diffusion_pytorch_model.safetensors")


def keep(out: Path, name: str, **tensors) -> dict:
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, out / f"{name}.safetensors")
    largest = tensors["output"].abs().max().item()
    print(f"{name}: largest {largest:.3f}, std {tensors['output'].std():.3f}", flush=True)
    return {"file": f"{name}.safetensors", "largest": largest}


def make_goldens(folder: Path, out: Path):
    out.mkdir(parents=True, exist_ok=True)
    manifest = {}
    tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
    text = CLIPTextModel.from_pretrained(folder / "text_encoder", dtype=torch.float32).eval()
    ids = tokenizer([NEGATIVE, PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
    single, double = both(text, lambda _: text(ids)[0])
    manifest["text"] = keep(out, "text", input_ids=ids, output=single) | difference(single, double)
    context = single
    del text

    unet = UNet2DConditionModel.from_pretrained(folder / "unet", dtype=torch.float32).eval()
    for name, shape, timestep in (("unet_1x32", (1, 4, 32, 32), 421), ("unet_2x64", (2, 4, 64, 64), 981)):
        sample, states = normal(f"full.{name}", shape), context[-shape[0] :].contiguous()
        with torch.no_grad():
            start = time.time()
            output = unet(sample, timestep, states)[0]
            print(f"{name}: {time.time() - start:.1f} s", flush=True)
        at = torch.tensor([float(timestep)])
        manifest[name] = keep(out, name, sample=sample, timestep=at, encoder_hidden_states=states, output=output)
        if shape[0] == 1:
            _, double = both(unet, lambda dtype: unet(sample.to(dtype), timestep, states.to(dtype))[0])
            manifest[name] |= difference(output, double)
    del unet

    vae = AutoencoderKL.from_pretrained(folder / "vae", dtype=torch.float32).eval()
    latents = normal("full.vae_64", (1, 4, 64, 64)) / vae.config.scaling_factor
    with torch.no_grad():
        manifest["vae_64"] = keep(out, "vae_64", latents=latents, output=vae.decode(latents).sample)
    write_json(out / "manifest.json", manifest)


def main():
    torch.set_num_threads(2)
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
    match sys.argv[1:]:
        case ["model", folder]:
            make_model(Path(folder))
        case ["goldens", folder, out]:
            make_goldens(Path(folder), Path(out))
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main()
