"""Tiny models in single files, as CompVis' and Stability's code saves them, and what diffusers draws with them.

diffusers reads each back (its own converters, `StableDiffusionPipeline.from_single_file` for SD 1) before it draws. Of the
token embedding, which is as long as CLIP's vocabulary, only the rows that the prompts use are kept: `rows` says which.
"""

import gzip
import json
import tempfile
from pathlib import Path

import ldm
import torch
from configs import DDIM_V, PNDM, model_index
from diffusers import AutoencoderKL, DDIMScheduler, PNDMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from safetensors.torch import save_file
from seeded import ROOT, Tensors, both, difference, normal, write_json
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from vocabulary import END, START, byte_symbols
from weights import carry_noise, fill

FOLDER = ROOT / "single_files"
PROMPT, NEGATIVE = "a little red house on the moon", "blurry"
WIDTH, HEIGHT, STEPS, GUIDANCE = 64, 48, 5, 5.0
TOKENS = "embeddings.token_embedding.weight"

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


def draw(pipeline, model: str, file: Tensors) -> dict:
    latents = normal(f"single.{model}.latents", (1, 4, HEIGHT // 4, WIDTH // 4))

    def compute(dtype):
        final = pipeline(
            prompt=PROMPT,
            negative_prompt=NEGATIVE,
            width=WIDTH,
            height=HEIGHT,
            num_inference_steps=STEPS,
            guidance_scale=GUIDANCE,
            latents=latents.to(dtype),
            output_type="latent",
        ).images
        image = pipeline.vae.decode(final / pipeline.vae.config.scaling_factor).sample
        return final, pipeline.image_processor.postprocess(image, output_type="np")

    (single, pixels), (double, _) = both([pipeline.unet, pipeline.text_encoder, pipeline.vae], compute)
    levels = (255 * pixels[0]).round().astype("uint8")
    png = f"{model}.png"
    Image.fromarray(levels).save(FOLDER / png, optimize=True)
    floor = difference(single, double)
    print(f"  {model}: mean {levels.mean():.0f}, std {levels.std():.0f}, latents std {single.std():.2f}, {floor}")
    return {
        "latents": file.keep(f"{model}.latents", latents),
        "final": file.keep(f"{model}.final", single),
        "png": png,
        **floor,
    }


def main():
    FOLDER.mkdir(exist_ok=True)
    goldens, manifest = Tensors(), []
    for model in MODELS:
        with tempfile.TemporaryDirectory() as folder:
            pipeline, tensors = build(model, Path(folder))
        token = next(name for name in tensors if name.endswith("token_embedding.weight"))
        ids = pipeline.tokenizer([PROMPT, NEGATIVE], padding="max_length", max_length=77)["input_ids"]
        rows = sorted({i for prompt in ids for i in prompt})
        tensors[token] = tensors[token][rows]
        path = FOLDER / f"{model}.safetensors"
        save_file({name: t.contiguous() for name, t in tensors.items()}, path)
        path.chmod(0o644)
        case = {"name": model, "file": path.name, "tokens": token, "rows": rows, "vocabulary": 49408}
        case |= {"prompt": PROMPT, "negative_prompt": NEGATIVE, "width": WIDTH, "height": HEIGHT}
        manifest.append({**case, "steps": STEPS, "guidance": GUIDANCE, **draw(pipeline, model, goldens)})
    write_json(ROOT / "single_files.json", manifest, compact=True)
    goldens.write(ROOT / "single_files.safetensors")


if __name__ == "__main__":
    main()
