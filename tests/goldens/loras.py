"""LoRAs: random ones for sd1-tiny in the spellings that are about, and the pictures that diffusers draws with them."""

import json
import shutil

import torch
from models import load
from prompts import NEGATIVE, PROMPT
from safetensors.torch import save_file
from seeded import ROOT, Tensors, both, difference, normal, write_json

MODEL = "sd1-tiny"
STEPS, GUIDANCE, RANK = 4, 5.0, 3

# The layers that are changed: every kind of linear layer, 1x1 convolutions, and 3x3 ones.
UNET = (
    ["attn1.to_q", "attn1.to_out.0", "attn2.to_k", "attn2.to_v", "ff.net.0.proj", "ff.net.2"],
    ["proj_in", "conv1", "conv_shortcut", "time_emb_proj", "downsamplers.0.conv"],
)
TEXT = ["self_attn.q_proj", "self_attn.out_proj", "mlp.fc1"]

# name, LoRAs with their scales
CASES = [
    ("peft", [("peft", 1.0)]),
    ("kohya", [("kohya", 0.7)]),
    ("both", [("peft", 0.5), ("kohya", -0.4)]),
]


def layers(module, endings):
    """Layers whose paths end so, with the shapes of their weights."""
    found = [(path, layer.weight.shape) for path, layer in module.named_modules() if path.endswith(tuple(endings))]
    assert found
    return found


def pair(name: str, shape, rank: int):
    """B·A of about a quarter of the weight's own spread."""
    fan = shape[1:].numel()
    down = normal(f"loras.{name}.down", (rank, *shape[1:]), fan**-0.5)
    up = normal(f"loras.{name}.up", (shape[0], rank, *[1] * (len(shape) - 2)), 0.25 * rank**-0.5)
    return down, up


def text_path(path: str) -> str:
    return path if path.startswith("text_model.") else f"text_model.{path}"


def peft(pipeline) -> dict:
    """As diffusers saves a LoRA that was trained with PEFT: alpha is the rank."""
    tensors = {}
    for path, shape in layers(pipeline.unet, sum(UNET, [])):
        down, up = pair(f"peft.{path}", shape, RANK)
        tensors |= {f"unet.{path}.lora_A.weight": down, f"unet.{path}.lora_B.weight": up}
    for path, shape in layers(pipeline.text_encoder, TEXT):
        down, up = pair(f"peft.{text_path(path)}", shape, RANK)
        path = f"text_encoder.{text_path(path)}"
        tensors |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": up}
    return tensors


def kohya(pipeline) -> dict:
    """As kohya-ss/sd-scripts saves one: another rank, and an alpha that is not the rank."""
    tensors = {}
    parts = [("lora_unet_", pipeline.unet, UNET[0] + ["proj_in"]), ("lora_te_", pipeline.text_encoder, TEXT)]
    for prefix, module, endings in parts:
        for path, shape in layers(module, endings):
            path = text_path(path) if prefix == "lora_te_" else path
            down, up = pair(f"kohya.{path}", shape, 2 * RANK)
            name = prefix + path.replace(".", "_")
            alpha = torch.tensor(4.0)
            tensors |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up, f"{name}.alpha": alpha}
    return tensors


def draw(pipeline, latents):
    def compute(dtype):
        return pipeline(
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            width=64,
            height=64,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            latents=latents.to(dtype),
            output_type="latent",
        ).images

    return both([pipeline.unet, pipeline.text_encoder, pipeline.vae], compute)


def main():
    folder = ROOT / MODEL / "loras"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    plain = load(MODEL)
    for name, make in (("peft", peft), ("kohya", kohya)):
        tensors = {key: tensor.half().contiguous() for key, tensor in make(plain).items()}
        save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
        (folder / f"{name}.safetensors").chmod(0o644)
    latents = normal("loras.latents", (1, 4, 8, 8))
    base, _ = draw(plain, latents)
    file, manifest = Tensors(), []
    key = file.keep("latents", latents)
    for name, loras in CASES:
        pipeline = load(MODEL)
        for lora, _ in loras:
            pipeline.load_lora_weights(folder, weight_name=f"{lora}.safetensors", adapter_name=lora)
        pipeline.set_adapters([lora for lora, _ in loras], [scale for _, scale in loras])
        pipeline.fuse_lora(adapter_names=[lora for lora, _ in loras])
        pipeline.unload_lora_weights()
        single, double = draw(pipeline, latents)
        manifest.append(
            {
                "name": name,
                "loras": [[f"loras/{lora}.safetensors", scale] for lora, scale in loras],
                "prompt": PROMPT,
                "negative_prompt": NEGATIVE,
                "width": 64,
                "height": 64,
                "steps": STEPS,
                "guidance": GUIDANCE,
                "latents": key,
                "final": file.keep(f"{name}.final", single),
                **difference(single, double),
            }
        )
        moved = ((single - base).norm() / base.norm()).item()
        print(f"  {name}: moves the latents by {moved:.0%}, floor {manifest[-1]['floor']:.1e}")
    write_json(ROOT / MODEL / "loras.json", manifest, compact=True)
    file.write(ROOT / MODEL / "loras.safetensors")
    print(f"  {sum(f.stat().st_size for f in folder.iterdir())} bytes of LoRAs", json.dumps([m["name"] for m in manifest]))
