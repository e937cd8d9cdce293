"""LoRAs: random ones for sd1-tiny in the spellings that are about, and the pictures that diffusers draws with them.

diffusers fuses those that it reads. LyCORIS' kinds it does not: their weights are made with NumPy (patches.py), and it draws.
"""

import json
import shutil

import torch
from models import load
from patches import KINDS, kohya as underscored
from prompts import NEGATIVE, PROMPT
from safetensors.torch import load_file, save_file
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
    ("dora", [("dora", 1.0)]),
    ("lycoris", [("lycoris", 0.8)]),
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


def dora(pipeline) -> dict:
    """As diffusers saves one that was trained with PEFT's `use_dora`: lengths of outputs, a little off the model's own."""
    tensors = {}
    for path, layer in pipeline.unet.named_modules():
        if path.endswith(("attn1.to_q", "attn2.to_v", "ff.net.2")):
            down, up = pair(f"dora.{path}", layer.weight.shape, RANK)
            length = layer.weight.detach().norm(dim=1) * (1 + normal(f"loras.dora.{path}.length", layer.weight.shape[:1], 0.2))
            tensors |= {f"unet.{path}.lora_A.weight": down, f"unet.{path}.lora_B.weight": up}
            tensors[f"unet.{path}.lora_magnitude_vector"] = length
    return tensors


def original(path: str) -> str:
    """A module of the way down as the original layout has it; this model has two residual blocks a level."""
    half, level, kind, at, rest = path.split(".", 4)
    assert half == "down_blocks" and kind in ("resnets", "attentions")
    rest = {"conv1": "in_layers.2", "conv2": "out_layers.3"}.get(rest, rest)
    return f"input_blocks.{1 + 3 * int(level) + int(at)}.{'01'[kind == 'attentions']}.{rest}"


def lycoris(pipeline) -> dict:
    """As kohya saves LyCORIS' kinds in the original layout: LoKr of linear layers, LoHa of convolutions."""
    tensors = {}
    for path, layer in pipeline.unet.named_modules():
        if not path.startswith("down_blocks."):
            continue
        shape = getattr(getattr(layer, "weight", None), "shape", None)
        if path.endswith(("attn1.to_k", "attn2.to_q", "attn1.to_out.0")):
            parts = {"lokr_w1": (2, 2), "lokr_w2_a": (shape[0] // 2, RANK), "lokr_w2_b": (RANK, shape[1] // 2)}
        elif path.endswith((".conv1", ".conv2")):
            columns = shape[1:].numel()
            parts = {"hada_w1_a": (shape[0], RANK), "hada_w1_b": (RANK, columns)}
            parts |= {"hada_w2_a": (shape[0], RANK), "hada_w2_b": (RANK, columns)}
        else:
            continue
        name = underscored(original(path))
        for end, size in parts.items():
            tensors[f"{name}.{end}"] = normal(f"loras.lycoris.{path}.{end}", size, 0.25)
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
    return tensors


def lay(pipeline, tensors: dict, scale: float):
    """Changes a pipeline's weights by LyCORIS' formulas."""
    laid = set()
    for path, layer in pipeline.unet.named_modules():
        if not path.startswith("down_blocks.") or len(path.split(".")) < 5 or ".downsamplers." in path:
            continue
        start = underscored(original(path)) + "."
        own = {name.removeprefix(start): values.double().numpy() for name, values in tensors.items() if name.startswith(start)}
        if own:
            laid |= {start + end for end in own}
            w = layer.weight.detach().double().numpy()
            changed = KINDS["lokr" if "lokr_w1" in own else "loha"](own, w)
            layer.weight.data.copy_(torch.from_numpy(w + scale * (changed - w)))
    assert laid == set(tensors)


def fuse(pipeline, folder, loras):
    for lora, _ in loras:
        pipeline.load_lora_weights(folder, weight_name=f"{lora}.safetensors", adapter_name=lora)
    pipeline.set_adapters([lora for lora, _ in loras], [scale for _, scale in loras])
    pipeline.fuse_lora(adapter_names=[lora for lora, _ in loras])
    pipeline.unload_lora_weights()


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
    for name, make in (("peft", peft), ("kohya", kohya), ("dora", dora), ("lycoris", lycoris)):
        tensors = {key: tensor.half().contiguous() for key, tensor in make(plain).items()}
        save_file(tensors, folder / f"{name}.safetensors", metadata={"format": "pt"})
        (folder / f"{name}.safetensors").chmod(0o644)
    latents = normal("loras.latents", (1, 4, 8, 8))
    base, _ = draw(plain, latents)
    file, manifest = Tensors(), []
    key = file.keep("latents", latents)
    for name, loras in CASES:
        pipeline = load(MODEL)
        if name == "lycoris":
            for lora, scale in loras:
                lay(pipeline, load_file(folder / f"{lora}.safetensors"), scale)
        else:
            fuse(pipeline, folder, loras)
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
