"""The kinds of change that PEFT has of its own, and what PEFT makes of weights with them, in f64.

Each case is a model of a few layers with diffusers' or transformers' paths, PEFT's adapter of random numbers over it, saved as PEFT
names it, and the weights that PEFT's own `merge_and_unload` leaves. Kept in f32, as the inputs are.
"""

import json

import numpy as np
import torch
from peft import BOFTConfig, IA3Config, LoHaConfig, LoKrConfig, LoraConfig, OFTConfig, get_peft_model, get_peft_model_state_dict
from peft.tuners.boft import layer as boft
from safetensors.numpy import save_file
from seeded import ROOT, normal, write_json

BLOCK = "down_blocks.0.attentions.0"
LINEAR, SQUARE = f"{BLOCK}.transformer_blocks.0.attn1.to_q", f"{BLOCK}.transformer_blocks.0.attn1.to_out.0"
CONV, POINT = "down_blocks.0.resnets.0.conv1", f"{BLOCK}.proj_in"
TOKENS, WORD = "text_model.embeddings.token_embedding", "text_model.encoder.layers.0.self_attn.q_proj"

UNET = {
    LINEAR: lambda: torch.nn.Linear(8, 6, bias=False),
    SQUARE: lambda: torch.nn.Linear(8, 8),
    CONV: lambda: torch.nn.Conv2d(4, 6, 3),
    POINT: lambda: torch.nn.Conv2d(4, 4, 1),
}
TEXT = {TOKENS: lambda: torch.nn.Embedding(7, 4), WORD: lambda: torch.nn.Linear(4, 4)}

def model(layers):
    """Modules at their paths, with numbers that depend on the paths alone."""
    root = torch.nn.Module()
    for path, make in layers.items():
        at, *names = root, *path.split(".")
        for name in names[:-1]:
            if not hasattr(at, name):
                at.add_module(name, torch.nn.Module())
            at = getattr(at, name)
        at.add_module(names[-1], make())
    for name, values in root.state_dict().items():
        values.copy_(normal(f"peft model {name}", values.shape, 0.5))
    return root


class BlockDiagonals:
    """What PEFT's CUDA extension computes: `[stages, blocks, n, n]` as block-diagonal matrices."""

    @staticmethod
    def apply(blocks):
        return torch.stack([torch.block_diag(*stage) for stage in blocks])


# name, layers, configuration
CASES = [
    ("ia3", UNET, IA3Config(target_modules=[LINEAR, SQUARE, CONV, POINT], feedforward_modules=[SQUARE, POINT])),
    ("ia3 of convolutions' inputs", UNET, IA3Config(target_modules=[LINEAR, CONV], feedforward_modules=".*conv\\d")),
    ("loha", UNET, LoHaConfig(r=2, alpha=3, target_modules=[LINEAR, CONV, POINT], rank_pattern={"to_q": 3},
                              alpha_pattern={"conv1": 5})),
    ("loha in tucker's form", UNET, LoHaConfig(r=2, alpha=1, target_modules=[CONV], use_effective_conv2d=True)),
    ("lokr", UNET, LoKrConfig(r=1, alpha=3, target_modules=[LINEAR, CONV, SQUARE], decompose_both=True)),
    ("lokr, whole", UNET, LoKrConfig(r=8, alpha=3, target_modules=[LINEAR, CONV], rank_pattern={"conv1": 6})),
    ("lokr in tucker's form", UNET, LoKrConfig(r=1, alpha=2, target_modules=[CONV], use_effective_conv2d=True, decompose_factor=2)),
    ("oft", UNET, OFTConfig(oft_block_size=4, target_modules=[LINEAR, SQUARE, CONV, POINT])),
    ("oft, solved", UNET, OFTConfig(oft_block_size=2, target_modules=[LINEAR, CONV], use_cayley_neumann=False)),
    ("oft of three terms, one block for all", UNET, OFTConfig(oft_block_size=4, target_modules=[LINEAR, CONV], block_share=True,
                                                             num_cayley_neumann_terms=3)),
    ("oft, bounded", UNET, OFTConfig(oft_block_size=4, target_modules=[LINEAR], coft=True, eps=0.2)),
    ("boft", UNET, BOFTConfig(boft_block_size=4, target_modules=[LINEAR, SQUARE, CONV])),
    ("boft of two stages", UNET, BOFTConfig(boft_block_size=4, boft_n_butterfly_factor=2, target_modules=[LINEAR, SQUARE])),
    ("boft of three stages", UNET, BOFTConfig(boft_block_size=2, boft_n_butterfly_factor=3, target_modules=[LINEAR])),
    ("lora of an embedding", TEXT, LoraConfig(r=2, lora_alpha=3, target_modules=[TOKENS, WORD])),
]


def main():
    boft.FastBlockDiag, boft.get_fbd_cuda = BlockDiagonals, lambda: True
    tensors, cases = {}, []
    for kind, layers in (("unet", UNET), ("text_encoder", TEXT)):
        tensors |= {f"{kind} {name}": values.numpy().copy() for name, values in model(layers).state_dict().items()}
    for name, layers, config in CASES:
        base = model(layers)
        before = {key: values.double().numpy().copy() for key, values in base.state_dict().items()}
        peft = get_peft_model(base, config)
        for key, values in peft.named_parameters():
            if values.requires_grad:
                near_one = "ia3_" in key or "boft_s" in key
                values.data.copy_(normal(f"peft {name} {key}", values.shape, 0.4) + (1.0 if near_one else 0.0))
        for key, values in get_peft_model_state_dict(peft).items():
            tensors[f"{name}: {key}"] = values.detach().numpy().copy()
        made = peft.double().merge_and_unload().state_dict()
        changed = 0
        for key, values in before.items():
            after = made[key].detach().numpy()
            if np.abs(after - values).max() > 1e-6:
                tensors[f"{name} makes {key}"] = after.astype(np.float32)
                changed += 1
        assert changed, name
        said = config.to_dict()
        said = {key: sorted(value) if isinstance(value, set) else getattr(value, "value", value) for key, value in said.items()}
        component = "unet" if layers is UNET else "text_encoder"
        cases.append({"name": name, "component": component, "config": json.dumps(said, sort_keys=True), "changed": changed})
        print(f"  {name}: {changed} tensors")
    write_json(ROOT / "patches" / "peft.json", cases, compact=True)
    save_file(tensors, ROOT / "patches" / "peft.safetensors")
    (ROOT / "patches" / "peft.safetensors").chmod(0o644)


if __name__ == "__main__":
    main()
