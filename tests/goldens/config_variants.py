#!/usr/bin/env python3
"""How diffusers and transformers take configuration files: every field of every class at many values, as other
releases wrote them, and with classes that disagree. Writes config_variants.json.

    config_variants.py FOLDER     # FOLDER keeps the wheels of older releases, which are only read

See README.md for the layout.
"""

import copy
import dataclasses
import inspect
import json
import math
import random
import sys
import tempfile
import warnings
from pathlib import Path

import diffusers
import numpy as np
import torch
import transformers
from older import Older
from schedulers_run import COMPONENTS, NOISE, START, trajectory
from seeded import ROOT

ABSENT = "(absent)"
CLASSES = ["DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler",
           "EulerAncestralDiscreteScheduler", "HeunDiscreteScheduler", "LMSDiscreteScheduler", "UniPCMultistepScheduler",
           "LCMScheduler"]

BASES = {
    "unet": {
        "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.10.0", "sample_size": 16,
        "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"], "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
        "block_out_channels": [8, 16], "layers_per_block": 1, "cross_attention_dim": 8, "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
    "vae": {
        "_class_name": "AutoencoderKL", "_diffusers_version": "0.10.0", "block_out_channels": [8, 16],
        "down_block_types": ["DownEncoderBlock2D"] * 2, "up_block_types": ["UpDecoderBlock2D"] * 2, "norm_num_groups": 4,
    },
    "text": {
        "model_type": "clip_text_model", "vocab_size": 32, "hidden_size": 8, "intermediate_size": 16,
        "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 8,
    },
    "scheduler": {
        "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_start": 0.00085, "beta_end": 0.012,
        "beta_schedule": "scaled_linear", "num_train_timesteps": 1000, "set_alpha_to_one": False,
        "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None, "clip_sample": False,
    },
    "index": json.loads((ROOT / "sd1-tiny/model/model_index.json").read_text()),
}

# Values that some field of some class accepts.
WORDS = {
    "act_fn": ["swish", "SiLU", "mish", "gelu", "relu", "gelu_new"],
    "hidden_act": ["quick_gelu", "gelu", "gelu_new", "gelu_fast", "gelu_accurate", "gelu_python", "gelu_pytorch_tanh",
                   "gelu_python_tanh", "relu", "relu6", "silu", "swish", "mish", "tanh", "linear", "GELU"],
    "mid_block_type": ["UNetMidBlock2D", "UNetMidBlock2DSimpleCrossAttn"],
    "beta_schedule": ["linear", "scaled_linear", "squaredcos_cap_v2", "exp", "sigmoid"],
    "solver_type": ["midpoint", "heun", "bh1", "bh2", "logrho"],
    "algorithm_type": ["deis", "dpmsolver", "sde-dpmsolver++"],
    "prediction_type": ["v_prediction", "sample", "flow_prediction"],
    "timestep_spacing": ["linspace", "leading", "trailing"],
    "interpolation_type": ["log_linear"], "timestep_type": ["continuous"], "final_sigmas_type": ["sigma_min"],
    "variance_type": ["fixed_small", "learned_range"],
    "down_block_types": [["UNetResCrossAttnDownBlock2D", "UNetResDownBlock2D"], ["DownBlock2D", "DownBlock2D"],
                         ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D"], ["AttnDownBlock2D", "DownBlock2D"]],
    "up_block_types": [["UNetResUpBlock2D", "UNetResCrossAttnUpBlock2D"], ["UpBlock2D", "UpBlock2D"],
                       ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D"], ["UpBlock2D", "AttnUpBlock2D"]],
    "class_embed_type": ["timestep", "identity"], "addition_embed_type": ["text"], "attention_type": ["gated"],
    "time_embedding_type": ["fourier"], "resnet_time_scale_shift": ["scale_shift"], "cross_attention_norm": ["layer_norm"],
    "time_embedding_act_fn": ["silu"], "timestep_post_act": ["silu"], "encoder_hid_dim_type": ["text_proj"],
    "sample_size": [64, 8, [16, 24], [16]], "trained_betas": [[0.001, 0.002]],
    "attention_head_dim": [4, [2, 4], [1, 2]], "cross_attention_dim": [[8, 8], [8, 4], [8]],
    "layers_per_block": [2, [1, 2], [2]], "transformer_layers_per_block": [2, [1, 2], [[1], [1]]],
    "block_out_channels": [[8, 12], [12, 8], [10, 16]], "only_cross_attention": [[False, False], [False, True], [True, False]],
    "norm_eps": [1e-2], "layer_norm_eps": [1e-2], "scaling_factor": [0.5, -0.5], "shift_factor": [0.1],
    "steps_offset": [1], "solver_order": [1, 2, 3, 4], "disable_corrector": [[0], [0, 1]], "lambda_min_clipped": [-5.1],
    "original_inference_steps": [10, 50], "timestep_scaling": [1.0, 3], "clip_sample_range": [2, 1.5], "sigma_min": [0.1],
    "sigma_max": [5.0, 5], "num_train_timesteps": [100, 500], "beta_start": [0.001], "beta_end": [0.01], "time_embedding_dim": [16],
    "eos_token_id": [[2, 3]], "num_hidden_layers": [1, 3], "intermediate_size": [12], "max_position_embeddings": [9],
    "vocab_size": [40], "text_config": [{"hidden_size": 4}], "tensor_format": ["np"],
}


def values(default, field):
    """What to try in place of a default: nothing, every type, and what is known to be meant."""
    tried = [ABSENT, default, None, True, False, 0, 1, 0.5, "", "words", []]
    if isinstance(default, bool):
        tried += [int(default), str(default).lower()]
    elif isinstance(default, int):
        tried += [float(default), str(default), [default, default]]
    elif isinstance(default, float) and math.isfinite(default):
        tried += [str(default)] + ([int(default)] if default.is_integer() else [])
    elif isinstance(default, (list, tuple)):
        tried += [list(default)[::-1], list(default)[:1], ",".join(map(str, default))]
    tried += WORDS.get(field, [])
    unique = {json.dumps(v, sort_keys=True): v for v in tried}
    return list(unique.values())


def defaults_of(cls) -> dict:
    """The fields of a class as it is today."""
    found = {}
    for name, p in list(inspect.signature(cls.__init__).parameters.items())[1:]:
        if p.default is not inspect.Parameter.empty and p.kind != p.VAR_KEYWORD:
            found[name] = list(p.default) if isinstance(p.default, tuple) else p.default
    return found


def one_by_one(fields: dict, base: dict):
    """Each field at each of its values: the changes to the base."""
    for field, default in sorted(fields.items()):
        for value in values(base.get(field, default), field):
            yield {field: value}


def as_written(releases, base: dict, keep):
    """A whole file as each release wrote it, with the sizes of the base."""
    before = None
    for version, fields in releases:
        if fields != before:
            yield {"_diffusers_version": version} | fields | {k: base[k] for k in keep if k in base}
        before = fields


def changed(base: dict, changes: dict) -> dict:
    return {k: v for k, v in (base | copy.deepcopy(changes)).items() if v != ABSENT}


# Numbers which depend on their name alone: what crates/weights makes for synthetic models.
def numbers(name: str, shape, std: float) -> torch.Tensor:
    def mix(z):
        z = z * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    key = 0xCBF29CE484222325
    for byte in name.encode():
        key = (key ^ byte) * 0x100000001B3 % 2**64
    with np.errstate(over="ignore"):
        bits = mix(mix(np.array([key], np.uint64)) + np.arange(math.prod(shape), dtype=np.uint64))
    lanes = sum((bits >> np.uint64(s)) & np.uint64(0xFFFF) for s in (0, 16, 32, 48))
    unit = ((lanes + np.uint64(2)).astype(np.float32) * np.float32(1 / 65536) - np.float32(2)) * np.float32(3**0.5)
    return torch.from_numpy((np.float32(std) * unit).astype(np.float16).astype(np.float32).reshape(tuple(shape)))


def std_of(name: str, shape) -> float:
    if name.endswith(".bias"):
        return 0.125
    if len(shape) == 1 or "embedding.weight" in name:
        return 0.5
    return 1.0 / math.sqrt(math.prod(shape[1:]))


def filled(module, rename=lambda name: name):
    with torch.no_grad():
        for name, tensor in module.named_parameters():
            tensor.copy_(numbers(rename(name), tensor.shape, std_of(rename(name), tensor.shape)))
    return module.eval()


def rounded(numbers) -> list:
    return [float(f"{float(n):.6g}") for n in numbers]


def picked(output: torch.Tensor) -> list:
    """Eight of a tensor's elements, evenly spread."""
    flat = output.reshape(-1)
    if not torch.isfinite(flat).all():
        raise FloatingPointError("not finite")
    return rounded(flat[i * (len(flat) - 1) // 7] for i in range(8))


def through_disk(cls, config: dict):
    """The configuration as a folder's file gives it."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        return cls.load_config(folder)


def unet(config: dict) -> list:
    model = filled(diffusers.UNet2DConditionModel.from_config(through_disk(diffusers.UNet2DConditionModel, config)))
    sample, states = numbers("sample", [1, 4, 8, 8], 1.0), numbers("states", [1, 3, 8], 1.0)
    output = picked(model(sample, 301.0, states, return_dict=False)[0])
    pipeline = diffusers.StableDiffusionPipeline(**COMPONENTS, unet=model, scheduler=None, requires_safety_checker=False)
    size = pipeline.unet.config.sample_size
    if size is None or isinstance(size, float):
        return output  # Then the size has to be given.
    sides = [size, size] if pipeline._is_unet_config_sample_size_int else [size[0], size[1]]
    if not all(isinstance(side, int) and side > 0 for side in sides):
        raise TypeError("no size")
    return output + [int(side) for side in sides]


def vae(config: dict) -> list:
    model = filled(diffusers.AutoencoderKL.from_config(through_disk(diffusers.AutoencoderKL, config)))
    latents = numbers("latents", [1, 4, 4, 4], 1.0)
    return picked(model.decode(latents / model.config.scaling_factor, return_dict=False)[0])


def text(config: dict) -> list:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(config))
        read = transformers.CLIPTextConfig.from_pretrained(folder)
    model = filled(transformers.CLIPTextModel(read), lambda n: n if n.startswith("text_model.") else f"text_model.{n}")
    return picked(model(torch.tensor([[0, 5, 9, 31, 2, 1]]))[0])


def scheduler(case: dict) -> list:
    """A folder's scheduler under its index, loaded by the pipeline and, where a sampler was chosen, exchanged."""
    loaded = getattr(diffusers, case["class"]).from_config(json.loads(json.dumps(case["file"])))
    pipeline = diffusers.StableDiffusionPipeline(**COMPONENTS, unet=None, scheduler=loaded, requires_safety_checker=False)
    chosen = pipeline.scheduler
    if case["sampler"]:
        chosen = getattr(diffusers, case["sampler"]).from_config(chosen.config)
    timesteps, samples, sigma = trajectory(chosen, 6)
    if not np.isfinite(samples).all():
        raise FloatingPointError("not finite")
    return rounded([sigma, *timesteps, *samples[-1]])


def index(config: dict) -> list:
    """The class of the scheduler that the whole folder is loaded with."""
    with tempfile.TemporaryDirectory() as folder:
        for path in (ROOT / "sd1-tiny/model").iterdir():
            if path.is_dir():
                (Path(folder) / path.name).symlink_to(path)
        (Path(folder) / "model_index.json").write_text(json.dumps(config))
        pipeline = diffusers.StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    return [type(pipeline.scheduler).__name__, type(pipeline.unet).__name__, type(pipeline.vae).__name__]


def scheduler_cases(older: Older):
    """(class in the index, changes to the file, chosen sampler)."""
    foreign = {name: default for releases in older.schedulers.values() for _, fields in releases
               for name, default in fields.items()}
    for name in CLASSES:
        own = defaults_of(getattr(diffusers, name))
        for changes in one_by_one(own | {"tensor_format": "pt", "predict_epsilon": True}, BASES["scheduler"]):
            yield name, changes, None
        for changes in as_written(older.schedulers[name], BASES["scheduler"], ["beta_start", "beta_end", "beta_schedule"]):
            whole = {k: ABSENT for k in BASES["scheduler"]} | changes
            whole = {k: v for k, v in whole.items() if k[0] != "_"}
            yield name, whole, None
            yield name, whole, "EulerDiscreteScheduler"
    # Classes that disagree, and samplers in place of classes that are not implemented.
    draw = random.Random(9)
    betas = [n for n in older.schedulers if "beta_schedule" in defaults_of(getattr(diffusers, n, object)) and
             not n.startswith(("UnCLIP", "RePaint", "DDIMInverse", "Cog", "DPMSolverMultistepInverse"))]
    for _ in range(300):
        said, wrote, chosen = draw.choice(betas), draw.choice(betas), draw.choice(CLASSES + [None])
        _, fields = draw.choice(older.schedulers[wrote])
        changes = {"_class_name": wrote} if wrote != said else {}
        changes |= {k: ABSENT for k in BASES["scheduler"] if draw.random() < 0.1 and k != "_diffusers_version"}
        for field in draw.sample(sorted(fields), min(len(fields), 4)):
            changes[field] = fields[field] if draw.random() < 0.5 else draw.choice(values(fields[field], field))
        yield said, changes, chosen
    for field, default in sorted(foreign.items()):
        for value in [default, None, True]:
            yield "DDIMScheduler", {field: value}, None


def cases(older: Older):
    """(kind, case) for everything that is tried."""
    today = defaults_of(diffusers.UNet2DConditionModel)
    ema = {field: 1 for field in older.ema}
    unknown = {"quantization_config": None, "from_tomorrow": None}
    sizes = ["sample_size", "down_block_types", "up_block_types", "block_out_channels", "layers_per_block",
             "cross_attention_dim", "attention_head_dim", "norm_num_groups"]
    for changes in one_by_one(today | ema | unknown | {"_class_name": "UNet2DModel"}, BASES["unet"]):
        yield "unet", changes
    for changes in as_written(older.unet + [("0.42.1", today)], BASES["unet"], sizes):
        yield "unet", changes
        yield "unet", changes | ema
    for version in ["0.2.4", "0.8.1", "0.9.0", "0.10.2"]:
        for size in [8, 63, 64, [8, 8], None]:
            yield "unet", {"_diffusers_version": version, "sample_size": size}
    draw = random.Random(8)
    for _ in range(150):
        fields = draw.sample(sorted(today), 3)
        yield "unet", {f: draw.choice(values(BASES["unet"].get(f, today[f]), f)) for f in fields}

    today = defaults_of(diffusers.AutoencoderKL)
    for changes in one_by_one(today | unknown | {"_class_name": "AutoencoderTiny"}, BASES["vae"]):
        yield "vae", changes
    for changes in as_written(older.vae + [("0.42.1", today)], BASES["vae"], sizes):
        yield "vae", changes

    today = {f: d for f, d in transformers.CLIPTextConfig().to_dict().items() if not f.startswith("_")}
    every = {name: default for _, fields in older.text for name, default in fields.items() if not name.startswith("_")}
    extra = {"text_config": None, "model_type": "clip", "per_layer_config": None} | unknown
    read = {f.name for f in dataclasses.fields(transformers.CLIPTextConfig)}
    for changes in one_by_one({f: d for f, d in (every | today | extra).items() if f in read or f in extra}, BASES["text"]):
        yield "text", changes
    for field, default in every.items():
        for value in [default, None, True, "words"] if field not in read else []:
            yield "text", {field: value}
    for version, fields in older.text + [("5", today)]:
        yield "text", {k: v for k, v in fields.items() if k not in BASES["text"]} | {"transformers_version": version}
    nested = {"model_type": "clip", "text_config": BASES["text"], "vision_config": {"hidden_size": 8}, "projection_dim": 8}
    yield "text", {k: ABSENT for k in BASES["text"]} | nested

    for said, changes, chosen in scheduler_cases(older):
        yield "scheduler", [said, changes, chosen]

    for field in [*BASES["index"], "image_encoder", "controlnet", "text_encoder_2", "force_zeros_for_empty_prompt"]:
        for value in [ABSENT, None, [None, None], [], True, ["diffusers", "UNet2DConditionModel"],
                      ["transformers", "CLIPTokenizerFast"], ["diffusers", "DDIMScheduler"], ["diffusers", "NoScheduler"]]:
            yield "index", {field: value}


def grouped(kind: str, cases: list) -> dict:
    """Variants of one field by class and field, which is most of them, and the others one by one."""
    fields, others = {}, []
    for case, verdict in cases:
        said, changes, chosen = case if kind == "scheduler" else ("", case, None)
        if len(changes) == 1 and chosen is None:
            (field, value), = changes.items()
            fields.setdefault(said, {}).setdefault(field, []).append([value, verdict])
        else:
            others.append([case, verdict])
    return {"fields": [[said, field, values] for said, of in fields.items() for field, values in of.items()], "cases": others}


def write(found: dict):
    """One line a field, a case, an outcome."""
    lines = lambda items: "[\n" + ",\n".join(json.dumps(i, separators=(",", ":")) for i in items) + "\n]"
    parts = []
    for kind, part in found.items():
        part |= grouped(kind, part["cases"]) if "cases" in part else {}
        many = ("cases", "fields", "outcomes")
        parts.append(f'"{kind}":{{' + ",\n".join(f'"{k}":' + (lines(v) if k in many else json.dumps(v)) for k, v in part.items()) + "}")
    path = ROOT / "config_variants.json"
    path.write_text("{" + ",\n".join(parts) + "}\n")
    print(path.stat().st_size, "bytes")


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity(50)
        library.utils.logging.disable_progress_bar()
    tell = {"unet": unet, "vae": vae, "text": text, "scheduler": scheduler, "index": index}
    found = {kind: {"base": BASES[kind], "outcomes": [], "cases": []} for kind in tell}
    seen, counts = set(), {}
    for kind, case in cases(Older(Path(sys.argv[1]))):
        key = json.dumps([kind, case], sort_keys=True)
        if key in seen or "Infinity" in key or len(key) > 4000:
            continue
        seen.add(key)
        into = found[kind]
        try:
            if kind == "scheduler":
                said, changes, chosen = case
                file = changed(BASES[kind], {"_class_name": said} | changes)
                outcome = scheduler({"class": said, "file": file, "sampler": chosen})
            else:
                outcome = tell[kind](changed(BASES[kind], case))
            if outcome not in into["outcomes"]:
                into["outcomes"].append(outcome)
            verdict = into["outcomes"].index(outcome)
        except Exception as error:
            verdict = None
            if "-v" in sys.argv:
                print(json.dumps(case), f"{type(error).__name__}: {error}".split("\n")[0][:100], file=sys.stderr)
        into["cases"].append([case, verdict])
        count = counts.setdefault(kind, [0, 0])
        count[isinstance(verdict, int)] += 1
    found["scheduler"] |= {"start": START.tolist(), "noise": NOISE.tolist()}
    found["versions"] = {"diffusers": diffusers.__version__, "transformers": transformers.__version__}
    for kind, (raised, loaded) in counts.items():
        print(f"{kind}: {loaded + raised} variants, {loaded} load, {raised} raise, {len(found[kind]['outcomes'])} outcomes")
    write(found)


if __name__ == "__main__":
    main()
