"""A tiny decoder (TAESD) and a picture that it makes, for tests/taesd.rs.

    python tests/goldens/taesd.py                   # writes taesd/; a second run writes the same bytes

diffusers' AutoencoderTiny with seeded weights, 12 channels wide, decodes the final latents of sd1-tiny's picture `square`. The same
decoder as diffusers saves it (a folder), as madebyollin's files name its layers (`decoder.safetensors`, `decoder.pth`, in
which the clamp is layer 0), and as ComfyUI's combined files do (`combined.safetensors`).
"""

import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderTiny
from diffusers.image_processor import VaeImageProcessor
from PIL import Image
from safetensors.torch import load_file, save_file
from seeded import normal

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "taesd"


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    width = (12, 12, 12, 12)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=width,
        decoder_block_out_channels=width,
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(2, 1, 1, 1),
    ).eval()
    state = tiny.state_dict()
    for name, tensor in state.items():
        spread = 0.1 if tensor.ndim == 1 else 1.2 / tensor[0].numel() ** 0.5
        state[name] = normal(f"taesd.{name}", tensor.shape, spread).half().float()
    # A picture's range: between nothing and all.
    last = max(int(name.split(".")[2]) for name in state if name.startswith("decoder.layers."))
    state[f"decoder.layers.{last}.weight"] *= 0.2
    state[f"decoder.layers.{last}.bias"] += 1.0
    tiny.load_state_dict(state)
    tiny.half().save_pretrained(FOLDER / "folder")
    tiny.float()
    decoder = {
        f"{int(name.split('.')[2]) + 1}.{name.split('.', 3)[3]}": tensor.half()
        for name, tensor in state.items()
        if name.startswith("decoder.")
    }
    save_file(decoder, FOLDER / "decoder.safetensors")
    torch.save(decoder, FOLDER / "decoder.pth")
    save_file({f"taesd_decoder.{name}": tensor for name, tensor in decoder.items()}, FOLDER / "combined.safetensors")
    encoder = {name.removeprefix("encoder.layers."): t.half() for name, t in state.items() if name.startswith("encoder.")}
    save_file(encoder, FOLDER / "encoder.safetensors")

    square = next(case for case in json.loads((HERE / "sd1-tiny/pictures.json").read_text()) if case["name"] == "square")
    latents = load_file(HERE / "sd1-tiny/pictures.safetensors")[square["final"]].float()
    tiny.load_state_dict({name: tensor.half().float() for name, tensor in state.items()})
    with torch.no_grad():
        image = tiny.decode(latents / tiny.config.scaling_factor).sample
    print(f"image {image.min():.2f} to {image.max():.2f}, spread {image.std():.2f}; latents up to {latents.abs().max():.2f}")
    [levels] = (255 * VaeImageProcessor().postprocess(image, output_type="np")).round().astype("uint8")
    Image.fromarray(levels).save(FOLDER / "picture.png", optimize=True)


if __name__ == "__main__":
    main()
