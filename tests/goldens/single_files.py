"""Tiny models in single files, as CompVis' and Stability's code saves them, and what diffusers draws with them.

diffusers reads each back (its own converters, and `from_single_file` but for SD 2) before it draws. Of each token embedding, which is
as long as CLIP's vocabulary, only the rows that the prompts use are kept: `tokens` says which. A case's `marks` are tensors that its
file has besides.
"""

import gzip
import json
import tempfile
from pathlib import Path

import ldm
import torch
from configs import DDIM_V, PNDM, model_index
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from edm import COSXL, PLAYGROUND
from PIL import Image
from refiner import INDEX as REFINER_INDEX
from safetensors.torch import save_file
from sdxl import EULER, GAINS, INDEX
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import recorded_noise
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from vocabulary import END, START, byte_symbols
from weights import carry_noise, fill

FOLDER = ROOT / "single_files"
PROMPT, NEGATIVE = "a little red house on the moon", "blurry"
WIDTH, HEIGHT, STEPS, GUIDANCE = 64, 48, 5, 5.0
UNET = {"layers_per_block": 1, "norm_num_groups": 32, "sample_size": 16}
VAE = {
    "block_out_channels": [32, 32, 32],
    "down_block_types": ["DownEncoderBlock2D"] * 3,
    "up_block_types": ["UpDecoderBlock2D"] * 3,
    "layers_per_block": 1,
}
MODELS = {
    # One level with transformers of two blocks, eight heads.
    "sd1": {
        "unet": {
            "block_out_channels": [32, 64],
            "down_block_types": ["CrossAttnDownBlock2D", "DownBlock2D"],
            "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D"],
            "transformer_layers_per_block": [2, 1],
            "attention_head_dim": 8,
            "cross_attention_dim": 32,
            **UNET,
        },
        "text": {"hidden_size": 32, "num_attention_heads": 1, "num_hidden_layers": 2, "hidden_act": "quick_gelu"},
        "pad": END,
        "scheduler": PNDM,
    },
    # One head of fewer than 64 channels, linear projections, a text encoder of two heads, and OpenCLIP's tower with one layer too many.
    "sd2": {
        "unet": {
            "block_out_channels": [32, 32],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
            "attention_head_dim": [1, 1],
            "cross_attention_dim": 128,
            "use_linear_projection": True,
            **UNET,
        },
        "text": {"hidden_size": 128, "num_attention_heads": 2, "num_hidden_layers": 2, "hidden_act": "gelu"},
        "pad": "!",
        "scheduler": DDIM_V,
    },
}

# Two text encoders, the second with a projection as wide as nothing else, and the numbers that shapes do not tell as published.
TEXT, TEXT_2, PROJECTION, IDS = 32, 64, 48, 256
SDXL_UNET = {
    "block_out_channels": [32, 32],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2],
    "attention_head_dim": [1, 1],
    "cross_attention_dim": TEXT + TEXT_2,
    "use_linear_projection": True,
    "addition_embed_type": "text_time",
    "addition_time_embed_dim": IDS,
    "projection_class_embeddings_input_dim": PROJECTION + 6 * IDS,
    **UNET,
}
SDXL_VAE = {**VAE, "force_upcast": True, "scaling_factor": 0.13025}
# One text encoder, four levels and five numbers; the VAE is the base's, and not in the golden's file.
REFINER_UNET = {
    **SDXL_UNET,
    "block_out_channels": [32, 32, 32, 32],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": 1,
    "attention_head_dim": [1, 1, 1, 1],
    "cross_attention_dim": TEXT_2,
    "projection_class_embeddings_input_dim": PROJECTION + 5 * IDS,
}
SWITCH = 0.6
# Of the file with the tensors `marks`: the scheduler, and what diffusers' VAE has otherwise.
SDXL = {
    "sdxl": (EulerDiscreteScheduler, EULER, {}, {}),
    # `edm_mean` and `edm_std` are what `from_single_file` knows Playground 2.5 by.
    "playground": (
        EDMDPMSolverMultistepScheduler,
        PLAYGROUND,
        {"edm_mean": [-0.4, 0.5, -0.3, 0.6], "edm_std": [0.8, 0.6, 0.7, 0.5]},
        {"latents_mean": [-0.4, 0.5, -0.3, 0.6], "latents_std": [0.8, 0.6, 0.7, 0.5], "scaling_factor": 0.5},
    ),
    "cosxl": (EDMEulerScheduler, COSXL, {"edm_vpred.sigma_max": [120.0], "edm_vpred.sigma_min": [0.002]}, {}),
}


def tokenizer(folder: Path, pad: str) -> CLIPTokenizer:
    """CLIP's own, from the copy of OpenAI's merges that the engine carries."""
    packed = ROOT.parents[1] / "crates/pipeline/assets/clip_merges.txt.gz"
    merges = [tuple(line.split()) for line in gzip.decompress(packed.read_bytes()).decode().split("\n")]
    merges = [pair for pair in merges if len(pair) == 2]
    symbols = byte_symbols()
    tokens = symbols + [s + "</w>" for s in symbols] + ["".join(pair) for pair in merges] + [START, END]
    assert len(tokens) == 49408
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges))
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "pad_token": pad, "do_lower_case": True}
    config |= {"bos_token": START, "eos_token": END, "unk_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return CLIPTokenizer.from_pretrained(folder)


def whole(parts: dict) -> dict:
    return {f"{prefix}{name}": tensor for prefix, part in parts.items() for name, tensor in part.items()}


def build(model: str, folder: Path):
    """The pipeline, and its tensors as a single file has them."""
    spec = MODELS[model]
    words = tokenizer(folder / "tokenizer", spec["pad"])
    text_config = {"intermediate_size": 4 * spec["text"]["hidden_size"], "vocab_size": 49408, **spec["text"]}
    text = fill(CLIPTextModel(CLIPTextConfig(**text_config)), f"single.{model}.text")
    unet = fill(UNet2DConditionModel.from_config(spec["unet"]), f"single.{model}.unet", {"conv_out.weight": 1.3})
    vae = fill(AutoencoderKL.from_config(VAE), f"single.{model}.vae", {"decoder.conv_out.weight": 0.5})
    if model == "sd1":
        carry_noise(unet, share=0.95, rest=0.5)
    scheduler = (PNDMScheduler if model == "sd1" else DDIMScheduler).from_config(spec["scheduler"])
    pipeline = StableDiffusionPipeline(
        vae, text, words, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)

    unet_ldm, vae_ldm = ldm.unet(unet.state_dict()), ldm.vae(vae.state_dict())
    ldm.check_unet(unet_ldm, unet)
    ldm.check_vae(vae_ldm, vae)
    parts = {"model.diffusion_model.": unet_ldm, "first_stage_model.": vae_ldm}
    if model == "sd1":
        parts["cond_stage_model.transformer."] = ldm.text_state(text)
        file, published = folder / "sd1.safetensors", folder / "published"
        save_file({name: t.contiguous() for name, t in whole(parts).items()}, file)
        pipeline.save_pretrained(published)
        write_json(published / "model_index.json", model_index("PNDMScheduler"))
        read = StableDiffusionPipeline.from_single_file(
            str(file), config=str(published), local_files_only=True, safety_checker=None
        )
        for made, theirs in ((text, read.text_encoder), (unet, read.unet), (vae, read.vae)):
            ldm.same(theirs.state_dict(), made.state_dict(), "from_single_file")
    else:
        tower = ldm.open_clip(ldm.text_state(text))
        ldm.check_open_clip(tower, text)
        # The layer whose output nobody takes, and the projection that goes with it.
        last = "transformer.resblocks.2."
        tower |= {
            n.replace("transformer.resblocks.1.", last): normal(f"single.{n}", t.shape)
            for n, t in tower.items()
            if n.startswith("transformer.resblocks.1.")
        }
        width = spec["text"]["hidden_size"]
        tower |= {"text_projection": normal("single.projection", [width, width]), "logit_scale": torch.tensor(4.6)}
        parts["cond_stage_model.model."] = tower
    return pipeline, {name: t.half() for name, t in whole(parts).items()}


def build_xl(folder: Path):
    """The same of Stable Diffusion XL, as `from_single_file` has it."""
    text = fill(CLIPTextModel(CLIPTextConfig(**text_xl(TEXT, "quick_gelu"))), "single.sdxl.text")
    unet, vae, text_2, tower = parts_xl("sdxl", SDXL_UNET)
    words = [tokenizer(folder / name, pad) for name, pad in (("words", END), ("words_2", "!"))]
    scheduler = EulerDiscreteScheduler.from_config(EULER)
    pipeline = StableDiffusionXLPipeline(vae, text, text_2, *words, unet, scheduler, add_watermarker=False)
    parts = {
        "model.diffusion_model.": ldm.unet(unet.state_dict()),
        "first_stage_model.": ldm.vae(vae.state_dict()),
        "conditioner.embedders.0.transformer.": ldm.text_state(text),
        "conditioner.embedders.1.model.": tower,
    }
    return read_back(pipeline, parts, INDEX, folder)


def build_refiner(folder: Path):
    """The same of its refiner."""
    unet, vae, text_2, tower = parts_xl("refiner", REFINER_UNET)
    scheduler = EulerDiscreteScheduler.from_config(EULER)
    pipeline = StableDiffusionXLImg2ImgPipeline(
        vae,
        None,
        text_2,
        None,
        tokenizer(folder / "words_2", "!"),
        unet,
        scheduler,
        requires_aesthetics_score=True,
        force_zeros_for_empty_prompt=False,
        add_watermarker=False,
    )
    parts = {
        "model.diffusion_model.": ldm.unet(unet.state_dict()),
        "first_stage_model.": ldm.vae(vae.state_dict()),
        "conditioner.embedders.0.model.": tower,
    }
    return read_back(pipeline, parts, REFINER_INDEX, folder)


def text_xl(width: int, activation: str) -> dict:
    layers = {"num_attention_heads": 1, "num_hidden_layers": 3, "vocab_size": 49408}
    return {"hidden_size": width, "intermediate_size": 4 * width, "hidden_act": activation, **layers}


def parts_xl(model: str, config: dict) -> tuple:
    """A UNet, the VAE, the second text encoder, and that in open_clip's names."""
    text_2 = CLIPTextModelWithProjection(CLIPTextConfig(**text_xl(TEXT_2, "gelu"), projection_dim=PROJECTION))
    fill(text_2, f"single.{model}.text_2")
    unet = fill(UNet2DConditionModel.from_config(config), f"single.{model}.unet", GAINS)
    carry_noise(unet, share=0.95, rest=0.5)
    vae = fill(AutoencoderKL.from_config(SDXL_VAE), "single.sdxl.vae", {"decoder.conv_out.weight": 0.5})
    tower = ldm.open_clip(ldm.text_state(text_2))
    ldm.check_unet(ldm.unet(unet.state_dict()), unet)
    ldm.check_vae(ldm.vae(vae.state_dict()), vae)
    ldm.check_open_clip(tower, text_2)
    return unet, vae, text_2, tower | {"logit_scale": torch.tensor(4.6)}


def read_back(pipeline, parts: dict, index: dict, folder: Path):
    """The pipeline as diffusers reads it of the file, and the file's tensors."""
    file, published = folder / "model.safetensors", folder / "published"
    save_file({name: t.contiguous() for name, t in whole(parts).items()}, file)
    pipeline.save_pretrained(published)
    write_json(published / "model_index.json", index)
    read = type(pipeline).from_single_file(str(file), config=str(published), local_files_only=True, add_watermarker=False)
    for name in ("text_encoder", "text_encoder_2", "unet", "vae"):
        if made := getattr(pipeline, name):
            ldm.same(getattr(read, name).state_dict(), made.state_dict(), "from_single_file")
    read.set_progress_bar_config(disable=True)
    return read, {name: t.half() for name, t in whole(parts).items()}


def draw(pipeline, model: str, file: Tensors, refiner=None) -> dict:
    latents = normal(f"single.{model}.latents", (1, 4, HEIGHT // 4, WIDTH // 4))

    def compute(dtype):
        arguments = {
            "prompt": PROMPT,
            "negative_prompt": NEGATIVE,
            "num_inference_steps": STEPS,
            "guidance_scale": GUIDANCE,
        }
        begun = {"latents": latents.to(dtype), "width": WIDTH, "height": HEIGHT, **arguments}
        end = {"denoising_end": SWITCH} if refiner else {}

        def run(output_type: str):
            with recorded_noise(model, drawn := []):
                images = pipeline(output_type="latent" if refiner else output_type, **begun, **end).images
                if refiner:
                    images = refiner(image=images, denoising_start=SWITCH, output_type=output_type, **arguments).images
            return images, drawn

        (final, drawn), (pixels, _) = run("latent"), run("np")
        return final, pixels, drawn

    parts = ("text_encoder", "text_encoder_2", "unet", "vae")
    modules = [getattr(own, part, None) for own in (pipeline, refiner) if own for part in parts]
    modules = [module for module in modules if module is not None]
    (single, pixels, noise), (double, *_) = both(modules, compute)
    levels = (255 * pixels[0]).round().astype("uint8")
    png = f"{model}.png"
    Image.fromarray(levels).save(FOLDER / png, optimize=True)
    floor = difference(single, double)
    print(f"  {model}: mean {levels.mean():.0f}, std {levels.std():.0f}, latents std {single.std():.2f}, {floor}")
    return {
        "latents": file.keep(f"{model}.latents", latents),
        "noise": [file.keep(f"{model}.noise.{index}", tensor) for index, tensor in enumerate(noise)],
        "final": file.keep(f"{model}.final", single),
        "png": png,
        **floor,
    }


def keep(file: str, tensors: dict, words: dict) -> dict:
    """Writes a file, and says of each token embedding, named with its tokenizer, which rows are left."""
    kept = {}
    for token, tokenizer in words.items():
        ids = tokenizer([PROMPT, NEGATIVE], padding="max_length", max_length=77)["input_ids"]
        kept[token] = sorted({i for prompt in ids for i in prompt})
        tensors[token] = tensors[token][kept[token]]
    path = FOLDER / file
    save_file({name: t.contiguous() for name, t in tensors.items()}, path)
    path.chmod(0o644)
    case = {"file": file, "tokens": kept, "vocabulary": 49408, "prompt": PROMPT, "negative_prompt": NEGATIVE}
    return {**case, "width": WIDTH, "height": HEIGHT, "steps": STEPS, "guidance": GUIDANCE}


def main():
    FOLDER.mkdir(exist_ok=True)
    goldens, manifest = Tensors(), []
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            pipeline, tensors = build(model, Path(folder))
        token = next(name for name in tensors if name.endswith("token_embedding.weight"))
        case = keep(f"{model}.safetensors", tensors, {token: pipeline.tokenizer})
        manifest.append({"name": model, **case, "marks": {}, **draw(pipeline, model, goldens)})
    with tempfile.TemporaryDirectory() as folder:
        pipeline, tensors = build_xl(Path(folder))
    first, second = (name for name in sorted(tensors) if name.endswith("token_embedding.weight"))
    case = keep("sdxl.safetensors", tensors, {first: pipeline.tokenizer, second: pipeline.tokenizer_2})
    with tempfile.TemporaryDirectory() as folder:
        refiner, tensors = build_refiner(Path(folder))
    tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("first_stage_model.")}
    [token] = (name for name in tensors if name.endswith("token_embedding.weight"))
    refined = {**keep("refiner.safetensors", tensors, {token: refiner.tokenizer_2}), "switch": SWITCH}
    drawn = draw(pipeline, "refined", (own := Tensors()), refiner)
    own.write(ROOT / "single_files_refiner.safetensors")
    write_json(ROOT / "single_files_refiner.json", {"base": case, "refiner": refined, **drawn}, compact=True)
    for name, (scheduler, config, marks, vae) in SDXL.items():
        pipeline.scheduler = scheduler.from_config(config)
        pipeline.vae.register_to_config(**{"latents_mean": None, "latents_std": None, **SDXL_VAE, **vae})
        manifest.append({"name": name, **case, "marks": marks, **draw(pipeline, name, goldens)})
    write_json(ROOT / "single_files.json", manifest, compact=True)
    goldens.write(ROOT / "single_files.safetensors")


if __name__ == "__main__":
    main()
