"""A tiny refiner of Stable Diffusion XL, and what it makes of what `sdxl-tiny` has begun, as diffusers hands one to the other:
StableDiffusionXLPipeline with denoising_end, StableDiffusionXLImg2ImgPipeline with denoising_start.

Not for three samplers: diffusers' Heun is cut within a step, its PNDM goes on one timestep too late, and its LMS takes the weights
of a history that it does not have."""

import json
import shutil

import diffusers
import sdxl
import torch
from configs import text_encoder, unet
from diffusers import StableDiffusionXLImg2ImgPipeline, UNet2DConditionModel
from models import save, text_name
from PIL import Image
from prompts import NEGATIVE, OTHER, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import recorded_noise
from transformers import CLIPTextConfig, CLIPTextModelWithProjection
from weights import carry_noise, fill

MODEL = "sdxl-refiner-tiny"
FOLDER = ROOT / MODEL / "model"

INDEX = {
    **sdxl.INDEX,
    "_class_name": "StableDiffusionXLImg2ImgPipeline",
    "force_zeros_for_empty_prompt": False,
    "requires_aesthetics_score": True,
    "text_encoder": [None, None],
    "tokenizer": [None, None],
}

TEXT = (36, 3, 3, "gelu")
PROJECTION, IDS = 28, 12
UNET = unet(
    [16, 16, 24, 24],
    1,
    [2, 4, 3, 3],
    TEXT[0],
    addition_embed_type="text_time",
    addition_embed_type_num_heads=64,
    addition_time_embed_dim=IDS,
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    projection_class_embeddings_input_dim=PROJECTION + 5 * IDS,
    transformer_layers_per_block=2,
    up_block_types=["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    use_linear_projection=True,
)


def load() -> StableDiffusionXLImg2ImgPipeline:
    pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        FOLDER, dtype=torch.float32, local_files_only=True, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make():
    shutil.rmtree(ROOT / MODEL, ignore_errors=True)
    # Of the base model it has the words and the VAE.
    for part in ("tokenizer_2", "vae"):
        shutil.copytree(sdxl.FOLDER / part, FOLDER / part)
    tokens = json.loads((sdxl.FOLDER / "text_encoder_2/config.json").read_text())["vocab_size"]
    config = text_encoder(*TEXT, tokens)
    config |= {"architectures": ["CLIPTextModelWithProjection"], "projection_dim": PROJECTION}
    text = fill(CLIPTextModelWithProjection(CLIPTextConfig(**config)), f"{MODEL}.text_encoder_2")
    net = fill(UNet2DConditionModel.from_config(UNET), f"{MODEL}.unet", sdxl.GAINS)
    carry_noise(net, share=0.95, rest=0.5)
    write_json(FOLDER / "model_index.json", INDEX)
    write_json(FOLDER / "scheduler/scheduler_config.json", sdxl.EULER)
    write_json(FOLDER / "text_encoder_2/config.json", config)
    write_json(FOLDER / "unet/config.json", UNET)
    second = lambda name: name if name.startswith("text_projection") else text_name(name)
    save(text, FOLDER / "text_encoder_2/model.safetensors", second)
    save(net, FOLDER / "unet/diffusion_pytorch_model.safetensors")


def stages(pipeline):
    file = Tensors()
    text = [
        sdxl.text_case(pipeline, file, "prompt", PROMPT, None),
        # One encoder reads the first prompt.
        sdxl.text_case(pipeline, file, "two", PROMPT, OTHER),
        sdxl.text_case(pipeline, file, "empty", "", None),
    ]
    ids = [[64, 64, 0, 0, 2.5], [128, 96, 8, 16, 6.0]]
    nets = [
        sdxl.unet_case(pipeline, file, "refiner", (2, 4, 8, 8), 181, [NEGATIVE, PROMPT], ids),
        sdxl.unet_case(pipeline, file, "refiner_odd", (1, 4, 9, 25), 21, [OTHER], [[1024, 1024, 0, 512, 7.5]]),
    ]
    write_json(ROOT / MODEL / "stages.json", {"text": text, "unet": nets}, compact=True)
    file.write(ROOT / MODEL / "stages.safetensors")


EULER = "EulerDiscreteScheduler"
# name, scheduler, steps, switch, width, height, arguments of both, of the refiner
PICTURES = [
    ("euler", EULER, 6, 0.8, 64, 64, {}, {}),
    ("half", EULER, 6, 0.5, 104, 72, {"original_size": (96, 128), "crops_coords_top_left": (8, 16)}, {}),
    ("ddim", "DDIMScheduler", 6, 0.7, 64, 64, {}, {}),
    ("batch", EULER, 5, 0.6, 64, 64, {"prompt": [PROMPT, OTHER], "negative_prompt": None}, {}),
    ("score", EULER, 6, 0.5, 64, 64, {}, {"aesthetic_score": 9.0}),
    ("negative_score", EULER, 6, 0.5, 64, 64, {}, {"negative_aesthetic_score": 5.0}),
    ("ancestral", "EulerAncestralDiscreteScheduler", 6, 0.6, 64, 64, {}, {}),
    # What a sampler remembers of its steps ends with the first model.
    ("multistep", "DPMSolverMultistepScheduler", 10, 0.5, 64, 64, {}, {}),
    ("long", "DPMSolverMultistepScheduler", 16, 0.9, 64, 64, {}, {}),
    ("unipc", "UniPCMultistepScheduler", 10, 0.5, 64, 64, {}, {}),
]


def pictures(base, refiner):
    file, manifest, folder = Tensors(), [], ROOT / MODEL / "pictures"
    folder.mkdir(parents=True)
    own, first = base.scheduler, None
    for name, kind, steps, switch, width, height, shared, apart in PICTURES:
        shared = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": sdxl.GUIDANCE, **shared}
        prompts = shared["prompt"] if isinstance(shared["prompt"], list) else [shared["prompt"]]
        shape = (len(prompts), 4, height // 8, width // 8)
        latents = normal(f"{MODEL}.pictures.{shape}", shape)

        def compute(dtype):
            for pipeline in (base, refiner):
                pipeline.scheduler = getattr(diffusers, kind).from_config(own.config)
            known = {"num_inference_steps": steps, "output_type": "latent", **shared}
            with recorded_noise(f"{MODEL}.{name}", drawn := []):
                begun = base(latents=latents.to(dtype), width=width, height=height, denoising_end=switch, **known).images
                before = len(drawn)
                final = refiner(image=begun, denoising_start=switch, **known, **apart).images
            image = base.vae.decode(final / base.vae.config.scaling_factor).sample
            return final, begun, (drawn, before), base.image_processor.postprocess(image, output_type="np")

        (single, begun, (noise, before), pixels), (double, *_) = both(
            [*sdxl.modules(base), *sdxl.modules(refiner)], compute
        )
        first = single if first is None else first
        levels = (255 * pixels).round().astype("uint8")
        files = []
        for index, picture in enumerate(levels):
            files.append(f"pictures/{name}{f'.{index}' if len(levels) > 1 else ''}.png")
            Image.fromarray(picture).save(ROOT / MODEL / files[-1], optimize=True)
        sides = lambda key: None if key not in shared else list(reversed(shared[key]))
        manifest.append(
            {
                "name": name,
                "sampler": kind,
                "steps": steps,
                "switch": switch,
                "width": width,
                "height": height,
                "prompts": prompts,
                "negative_prompt": shared["negative_prompt"] or "",
                "original_size": sides("original_size"),
                "crop": sides("crops_coords_top_left"),
                **{key: apart.get(key) for key in ("aesthetic_score", "negative_aesthetic_score")},
                "latents": file.keep(f"{name}.latents", latents),
                "noise": [file.keep(f"{name}.noise.{index}", tensor) for index, tensor in enumerate(noise)],
                "drawn_before": before,
                "begun": file.keep(f"{name}.begun", begun),
                "final": file.keep(f"{name}.final", single),
                "png": files,
                **difference(single, double),
            }
        )
        moved = f", moved {((single - first).norm() / first.norm()).item():.1%}" if single.shape == first.shape else ""
        print(f"  {name}: levels {levels.min()}..{levels.max()}, floor {manifest[-1]['floor']:.1e}{moved}", flush=True)
    write_json(ROOT / MODEL / "pictures.json", manifest, compact=True)
    file.write(ROOT / MODEL / "pictures.safetensors")


def main():
    make()
    refiner = load()
    stages(refiner)
    pictures(sdxl.load(), refiner)
