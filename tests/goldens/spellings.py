"""LoRAs in every spelling, number type and form of alpha: the weights that diffusers and PEFT make of them.

The LoRAs change four layers of sd1-tiny. What they make of the layers is compared here between all the spellings that
mean the same, and kept once.
"""

import json
import tempfile
from copy import deepcopy
from pathlib import Path

import torch
from models import load
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from seeded import ROOT, normal, write_json

MODEL, RANK = "sd1-tiny", 3

LAYERS = {
    "unet": ["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q",
             "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_out.0"],
    "text_encoder": ["text_model.encoder.layers.0.self_attn.q_proj",
                     "text_model.encoder.layers.0.self_attn.out_proj"],
}

FLOATS = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16,
          "f8_e4m3": torch.float8_e4m3fn, "f8_e5m2": torch.float8_e5m2}
INTEGERS = {"i64": torch.int64, "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8,
            "bool": torch.bool}
# Types that torch has, and no cast from a file of which it offers for a whole model.
OTHERS = {"u16": torch.uint16, "u32": torch.uint32, "u64": torch.uint64, "f8_e4m3fnuz": torch.float8_e4m3fnuz,
          "f8_e5m2fnuz": torch.float8_e5m2fnuz, "f8_e8m0": torch.float8_e8m0fnu}


def flat(path):
    return path.replace(".", "_")


def unindexed(path):
    return path.removesuffix(".0")


def projections(path):
    """The text encoder's projections, called as the UNet's are."""
    for today, old in (("q_proj", "to_q"), ("k_proj", "to_k"), ("v_proj", "to_v"), ("out_proj", "to_out")):
        path = path.removesuffix(today) + old if path.endswith(today) else path
    return path


def ends(down, up):
    return lambda stem: (stem + down, stem + up)


PEFT = ends(".lora_A.weight", ".lora_B.weight")
KOHYA = ends(".lora_down.weight", ".lora_up.weight")
OLDER = ends(".lora.down.weight", ".lora.up.weight")
OLD = ends("_lora.down.weight", "_lora.up.weight")
LINEAR = ends(".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight")


def processor(component, path):
    """As attention processors held them."""
    return f"unet.{unindexed(path).replace('.to_', '.processor.to_')}" if component == "unet" else f"{component}.{projections(path)}"


def kohya(component, path, text="lora_te_"):
    return KOHYA(f"{'lora_unet_' if component == 'unet' else text}{flat(path)}")


# name: how the two tensors of the layer `path` of `component` are called
SPELLINGS = {
    "peft": lambda c, p: PEFT(f"{c}.{p}"),
    "diffusers": lambda c, p: (OLDER if c == "unet" else LINEAR)(f"{c}.{p}"),
    "diffusers-0.17": lambda c, p: OLD(f"{c}.{unindexed(p) if c == 'unet' else projections(p)}"),
    "diffusers-0.16": lambda c, p: OLD(processor(c, p)),
    "kohya": kohya,
    "kohya-te1": lambda c, p: kohya(c, p, "lora_te1_"),
}
# As `PeftModel.save_pretrained` names them, a file for each component, which it reads itself.
WRAPPED = lambda path: PEFT(f"base_model.model.{path}")


def numbers(name, shape, dtype):
    """Of the type's own: small integers, or a spread like the weights'."""
    values = normal(name, shape)
    if dtype.is_floating_point:
        return (values * 0.3).to(dtype)
    return (values > 0).to(dtype) if dtype == torch.bool else (values.abs() * 1.5).round().to(dtype)


def pairs(model, dtype):
    """A and B of each layer, by component, path and part."""
    found = {}
    for component, paths in LAYERS.items():
        for path in paths:
            out, columns = module(model, component, path).weight.shape
            for part, shape in (("down", (RANK, columns)), ("up", (out, RANK))):
                found[component, path, part] = numbers(f"spellings.{component}.{path}.{part}", shape, dtype)
    return found


def module(model, component, path):
    owner = model[component]
    return owner.get_submodule(path if component == "unet" or hasattr(owner, "text_model") else path.removeprefix("text_model."))


def weights(model):
    return {(c, p): module(model, c, p).weight.detach().clone() for c, paths in LAYERS.items() for p in paths}


def with_diffusers(pipeline, tensors, metadata):
    """The layers' weights after diffusers has loaded the file and fused it; the pipeline stays as it was."""
    before = fused(pipeline)
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, Path(folder) / "lora.safetensors", metadata=metadata)
        # Loaded with its copy: else layers keep the file's types, which torch does not multiply.
        pipeline.load_lora_weights(folder, weight_name="lora.safetensors", low_cpu_mem_usage=False)
    pipeline.fuse_lora()
    found = fused(pipeline)
    pipeline.unload_lora_weights()
    for (component, path), weight in before.items():
        module({component: getattr(pipeline, component)}, component, path).weight.data.copy_(weight)
    return found


def fused(pipeline):
    found = {}
    for component, paths in LAYERS.items():
        for path in paths:
            layer = module({c: getattr(pipeline, c) for c in LAYERS}, component, path)
            found[component, path] = getattr(layer, "base_layer", layer).weight.detach().clone()
    return found


def with_peft(pipeline, component, tensors, config):
    """One component's after `PeftModel` has loaded the folder."""
    with tempfile.TemporaryDirectory() as folder:
        save_file(tensors, Path(folder) / "adapter_model.safetensors")
        (Path(folder) / "adapter_config.json").write_text(json.dumps(config))
        model = PeftModel.from_pretrained(deepcopy(getattr(pipeline, component)), folder).merge_and_unload()
    paths = LAYERS[component]
    return {(component, path): module({component: model}, component, path).weight.detach().clone() for path in paths}


class Golden:
    """What is written: `spellings`, tensors' names with `component/path part` or `alpha`; `cases`; `numbers`."""

    def __init__(self, model):
        self.model, self.base = model, weights(model)
        self.tensors, self.spellings, self.cases, self.numbers = {}, {}, [], []

    def keep(self, name, tensor):
        """Keeps a tensor under its name, in its own type, and returns a copy."""
        known = self.tensors.setdefault(name, tensor.detach().clone(memory_format=torch.contiguous_format))
        raw = lambda values: values.reshape(-1).view(torch.uint8)
        assert known.dtype == tensor.dtype and torch.equal(raw(known), raw(tensor)), name
        return known.clone()

    def file(self, spelling, name_of, dtype, components=tuple(LAYERS), alpha=None):
        """A file's tensors, under names that are kept with it."""
        file, names = {}, {}
        for (component, path, part), values in pairs(self.model, (FLOATS | INTEGERS)[dtype]).items():
            if component in components:
                name = name_of(component, path)[part == "up"]
                names[name] = f"{component}/{path} {part}"
                file[name] = self.keep(f"{dtype} {names[name]}", values)
                if alpha is not None:
                    name = name.split(".")[0] + ".alpha"
                    names[name], file[name] = "alpha", alpha.clone()
        assert self.spellings.setdefault(spelling, names) == names
        return file

    def case(self, name, spelling, dtype, made, like, **more):
        """`like` names the weights: spellings of one meaning agree in them, but for rounding."""
        for (component, path), weight in made.items():
            key = f"{like} {component}/{path}"
            known = self.tensors.setdefault(key, weight.contiguous())
            far = ((known - weight).abs().max() / known.abs().max()).item()
            assert far < 1e-6, f"{name}: {key} is off by {far:.1e}"
            changed = not torch.equal(weight, self.base[component, path])
            assert changed == ("zero" not in name), f"{name}: {changed}"
        self.cases.append({"name": name, "spelling": spelling, "dtype": dtype, "like": like, **more})


def spellings(golden, pipeline):
    """Every spelling with every type."""
    for dtype in FLOATS | INTEGERS:
        for spelling, name_of in SPELLINGS.items():
            made = with_diffusers(pipeline, golden.file(spelling, name_of, dtype), None)
            golden.case(f"{spelling} {dtype}", spelling, dtype, made, f"made {dtype}")


def alphas(golden, pipeline):
    """Alphas of every type and both shapes: 2 of rank 3, and true, which is 1; and 0."""
    forms = [(f"{dtype} {shape}", torch.full(shape, 2).to(kind)) for dtype, kind in (FLOATS | INTEGERS).items() for shape in ([], [1])]
    for name, alpha in forms + [("zero", torch.tensor(0.0))]:
        file = golden.file("kohya with alpha", SPELLINGS["kohya"], "f32", alpha=alpha)
        golden.keep(f"alpha {name}", alpha)
        made = with_diffusers(pipeline, file, None)
        like = f"made alpha {alpha.float().item():.0f}"
        golden.case(f"alpha {name}", "kohya with alpha", "f32", made, like, alpha=f"alpha {name}")


# What PEFT's fields say of the scale.
FIELDS = {
    "plain": {"lora_alpha": RANK},
    "alpha": {"lora_alpha": 2},
    "pattern": {"lora_alpha": 2, "alpha_pattern": {"to_q": 7, "self_attn.q_proj": 5}},
    "regex": {"lora_alpha": 2, "alpha_pattern": {"attn1.to_[kq]": 7, ".*q_proj": 5, "to_q": 1}},
    "rslora": {"lora_alpha": 2, "use_rslora": True},
}


def configurations(golden, pipeline):
    """As diffusers keeps the fields in a file, and as PEFT does beside one."""
    bare = not hasattr(pipeline.text_encoder, "text_model")
    named = lambda path: path.removeprefix("text_model.") if bare else path
    for name, own in FIELDS.items():
        full = {c: {"r": RANK, "target_modules": [named(p) for p in paths], **own} for c, paths in LAYERS.items()}
        metadata = {f"{c}.{key}": value for c, fields in full.items() for key, value in fields.items()}
        file = golden.file("peft", SPELLINGS["peft"], "f32")
        made = with_diffusers(pipeline, file, {"lora_adapter_metadata": json.dumps(metadata)})
        golden.case(f"metadata {name}", "peft", "f32", made, f"made {name}", metadata=metadata)
        for component, fields in full.items():
            config = LoraConfig(**fields).to_dict()
            config |= {"target_modules": sorted(config["target_modules"]), "peft_type": "LORA"}
            spelling = f"PeftModel {component}"
            file = golden.file(spelling, lambda c, p: WRAPPED(named(p)), "f32", [component])
            made = with_peft(pipeline, component, file, config)
            config = json.loads(json.dumps(config, default=str))
            golden.case(f"{spelling} {name}", spelling, "f32", made, f"made {name}", config=config)


def conversions(golden):
    """All numbers of eight bits, and awkward ones of more, as torch converts them."""
    every = torch.arange(256, dtype=torch.int32).to(torch.uint8)
    for dtype, kind in (FLOATS | INTEGERS | OTHERS).items():
        if kind == torch.bool:
            values = every[:2].view(kind)
        elif kind.itemsize == 1:
            values = every.view(kind)
        elif kind.is_floating_point:
            awkward = torch.tensor([0.0, -0.0, 1e-7, 1 / 3, 1e5], dtype=torch.float64)
            values = torch.cat([normal("numbers", (32,)).double(), awkward]).to(kind)
        else:
            limits = torch.iinfo(kind)
            values = torch.tensor([limits.min, limits.max, 0, 1, 77, limits.max // 3], dtype=kind)
        golden.keep(f"numbers {dtype}", values)
        golden.keep(f"numbers {dtype} as f32", values.float())
        golden.numbers.append(dtype)


def main():
    pipeline = load(MODEL)
    golden = Golden({component: getattr(pipeline, component) for component in LAYERS})
    spellings(golden, pipeline)
    alphas(golden, pipeline)
    configurations(golden, pipeline)
    conversions(golden)
    names = [{"name": name, "tensors": tensors} for name, tensors in golden.spellings.items()]
    file, kept = ROOT / MODEL / "spellings.json", ROOT / MODEL / "spellings.safetensors"
    write_json(file, {"numbers": golden.numbers, "spellings": names, "cases": golden.cases}, compact=True)
    save_file(golden.tensors, kept)
    kept.chmod(0o644)
    size = file.stat().st_size + kept.stat().st_size
    print(f"  {len(golden.cases)} cases, {len(golden.tensors)} tensors, {size} bytes")
