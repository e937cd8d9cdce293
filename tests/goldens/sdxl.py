"""A tiny Stable Diffusion XL, of other widths than the published, and what StableDiffusionXLPipeline gets from it."""

import shutil

import diffusers
import torch
import vocabulary
from configs import BETAS, text_encoder, unet, vae
from diffusers import AutoencoderKL, StableDiffusionXLPipeline, UNet2DConditionModel
from loras import pair
from models import save, text_name
from PIL import Image
from prompts import NEGATIVE, OTHER, PROMPT
from safetensors.torch import save_file
from seeded import ROOT, Tensors, both, difference, normal, write_json
from trajectories import recorded_noise
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection
from weights import carry_noise, fill

MODEL = "sdxl-tiny"
FOLDER = ROOT / MODEL / "model"
STEPS, GUIDANCE = 6, 5.0

EULER = {
    "_class_name": "EulerDiscreteScheduler",
    "_diffusers_version": "0.19.0.dev0",
    **BETAS,
    "interpolation_type": "linear",
    "prediction_type": "epsilon",
    "sample_max_value": 1.0,
    "timestep_spacing": "leading",
    "use_karras_sigmas": False,
}

INDEX = {
    "_class_name": "StableDiffusionXLPipeline",
    "_diffusers_version": "0.19.0.dev0",
    "add_watermarker": None,
    "force_zeros_for_empty_prompt": True,
    "scheduler": ["diffusers", EULER["_class_name"]],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "tokenizer_2": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}

# Nothing is as wide as anything else: hidden states of 24 and 40, a projection to 20, six numbers of 12.
TEXT, TEXT_2 = (24, 3, 3, "quick_gelu"), (40, 5, 4, "gelu")
PROJECTION, IDS = 20, 12
UNET = unet(
    [16, 24, 32],
    1,
    [2, 3, 4],
    TEXT[0] + TEXT_2[0],
    addition_embed_type="text_time",
    addition_embed_type_num_heads=64,
    addition_time_embed_dim=IDS,
    down_block_types=["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    projection_class_embeddings_input_dim=PROJECTION + 6 * IDS,
    transformer_layers_per_block=[1, 2, 3],
    up_block_types=["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    use_linear_projection=True,
)
VAE = vae([8, 16, 16, 16], 1, 4, force_upcast=True, scaling_factor=0.13025)

# The UNet's answer has to feel what is added to the time.
GAINS = {"conv_out.weight": 1.3, "add_embedding.linear_1.weight": 2.0, "add_embedding.linear_2.weight": 1.5}


def load() -> StableDiffusionXLPipeline:
    pipeline = StableDiffusionXLPipeline.from_pretrained(
        FOLDER, dtype=torch.float32, local_files_only=True, add_watermarker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def make():
    shutil.rmtree(ROOT / MODEL, ignore_errors=True)
    tokens = vocabulary.write(FOLDER / "tokenizer", "<|endoftext|>")
    vocabulary.write(FOLDER / "tokenizer_2", "!")
    texts = [text_encoder(*sizes, tokens) for sizes in (TEXT, TEXT_2)]
    texts[1] |= {"architectures": ["CLIPTextModelWithProjection"], "projection_dim": PROJECTION}
    text = fill(CLIPTextModel(CLIPTextConfig(**texts[0])), f"{MODEL}.text_encoder")
    text_2 = fill(CLIPTextModelWithProjection(CLIPTextConfig(**texts[1])), f"{MODEL}.text_encoder_2")
    net = fill(UNet2DConditionModel.from_config(UNET), f"{MODEL}.unet", GAINS)
    carry_noise(net, share=0.95, rest=0.5)
    decoder = fill(AutoencoderKL.from_config(VAE), f"{MODEL}.vae", {"decoder.conv_out.weight": 0.5})

    write_json(FOLDER / "model_index.json", INDEX)
    write_json(FOLDER / "scheduler/scheduler_config.json", EULER)
    for name, config in [("text_encoder", texts[0]), ("text_encoder_2", texts[1]), ("unet", UNET), ("vae", VAE)]:
        write_json(FOLDER / name / "config.json", config)
    save(text, FOLDER / "text_encoder/model.safetensors", text_name)
    # The projection stands beside the transformer.
    second = lambda name: name if name.startswith("text_projection") else text_name(name)
    save(text_2, FOLDER / "text_encoder_2/model.safetensors", second)
    save(net, FOLDER / "unet/diffusion_pytorch_model.safetensors")
    save(decoder, FOLDER / "vae/diffusion_pytorch_model.safetensors")

    loaded = load()
    made = {"text_encoder": text, "text_encoder_2": text_2, "unet": net, "vae": decoder}
    for name, module in made.items():
        state = getattr(loaded, name).state_dict()
        for key, tensor in module.state_dict().items():
            assert torch.equal(tensor, state[key]), f"{name}: {key} did not survive saving"


def modules(pipeline) -> list:
    parts = [pipeline.text_encoder, pipeline.text_encoder_2, pipeline.unet, pipeline.vae]
    return [part for part in parts if part is not None]


def encode(pipeline, prompt: str, prompt_2: str | None = None) -> tuple:
    """States of both encoders side by side, and the pooled vector."""
    states, _, pooled, _ = pipeline.encode_prompt(prompt, prompt_2, do_classifier_free_guidance=False)
    return states, pooled


def text_case(pipeline, file: Tensors, name: str, prompt: str, prompt_2: str | None) -> dict:
    single, double = both(modules(pipeline), lambda _: encode(pipeline, prompt, prompt_2))
    case = {"name": name, "prompt": prompt, "prompt_2": prompt_2}
    for what, one, other in zip(("states", "pooled"), single, double):
        case |= {what: file.keep(f"text.{name}.{what}", one), f"{what}_floor": difference(one, other)["floor"]}
    return case


# UNets that are the same but for some fields, and take some of its tensors: their names, what is changed.
VARIANTS = {
    # Layer by layer, as in SSD-1B, without the middle's transformer.
    "layers": {
        "mid_block_type": "UNetMidBlock2D",
        "transformer_layers_per_block": [1, [2], [1]],
        "reverse_transformer_layers_per_block": [[3, 2], [1, 2], 1],
    },
    # Told the guidance, as latent consistency models are.
    "lcm": {"time_cond_proj_dim": 10},
}
COND = "time_embedding.cond_proj.weight"


def variant(name: str, net):
    """A UNet of the model's own weights."""
    other = UNet2DConditionModel.from_config({**UNET, **VARIANTS[name]})
    own = other.state_dict()
    state = {key: tensor for key, tensor in net.state_dict().items() if key in own}
    if COND in own:
        state[COND] = normal(f"{MODEL}.{COND}", own[COND].shape, 0.5).half().float()
    other.load_state_dict(state)
    return other.eval()


def unet_case(pipeline, file: Tensors, name: str, shape, timestep: int, texts: list, ids: list, of=None) -> dict:
    net = variant(of, pipeline.unet) if of else pipeline.unet
    told = {}
    if net.config.time_cond_proj_dim:
        told["timestep_cond"] = pipeline.get_guidance_scale_embedding(torch.tensor([7.5]), 10)
    sample = normal(f"{MODEL}.unet.{name}", shape)
    with torch.no_grad():
        states, pooled = (torch.cat(each) for each in zip(*(encode(pipeline, text) for text in texts)))
    numbers = torch.tensor(ids, dtype=torch.float32)

    def compute(dtype, numbers=numbers, pooled=pooled):
        added = {"text_embeds": pooled.to(dtype), "time_ids": numbers.to(dtype)}
        more = {key: value.to(dtype) for key, value in told.items()}
        return net(sample.to(dtype), timestep, states.to(dtype), added_cond_kwargs=added, **more)[0]

    single, double = both(net, compute)
    with torch.no_grad():
        moved = lambda **other: ((compute(torch.float32, **other) - single).norm() / single.norm()).item()
        count = numbers.shape[1]
        each = [moved(numbers=numbers + 64 * torch.eye(count)[i]) for i in range(count)]
        print(f"  unet {name}: pooled x0.9 {moved(pooled=pooled * 0.9):.1%}, numbers {[f'{e:.1%}' for e in each]}")
    if COND in net.state_dict():
        file.keep(COND, net.state_dict()[COND])
    return {
        "name": name,
        "variant": VARIANTS.get(of, {}),
        "sample": file.keep(f"unet.{name}.sample", sample),
        "timestep": float(timestep),
        "encoder_hidden_states": file.keep(f"unet.{name}.encoder_hidden_states", states),
        "text_embeds": file.keep(f"unet.{name}.text_embeds", pooled),
        "time_ids": ids,
        "output": file.keep(f"unet.{name}.output", single),
        **difference(single, double),
    }


def stages(pipeline):
    file = Tensors()
    text = [
        text_case(pipeline, file, "prompt", PROMPT, None),
        text_case(pipeline, file, "two", PROMPT, OTHER),
        text_case(pipeline, file, "empty", "", None),
        text_case(pipeline, file, "long", "very " * 90 + "long", None),
        text_case(pipeline, file, "marks", "wow! a robot!!", "! castle"),
    ]
    both_sizes = [[64, 64, 0, 0, 64, 64], [128, 96, 8, 16, 72, 104]]
    nets = [
        unet_case(pipeline, file, "square", (2, 4, 8, 8), 981, [NEGATIVE, PROMPT], both_sizes),
        unet_case(pipeline, file, "odd", (1, 4, 9, 25), 421, [OTHER], [[1024, 1024, 0, 512, 1536, 1]]),
        unet_case(pipeline, file, "layers", (2, 4, 8, 8), 621, [OTHER, PROMPT], both_sizes, "layers"),
        unet_case(pipeline, file, "lcm", (2, 4, 8, 8), 499, [OTHER, PROMPT], both_sizes, "lcm"),
    ]
    write_json(ROOT / MODEL / "stages.json", {"text": text, "unet": nets}, compact=True)
    file.write(ROOT / MODEL / "stages.safetensors")


# name, scheduler, what is changed in the model's own, steps, shape, arguments
TRAJECTORIES = [
    ("euler", "EulerDiscreteScheduler", {}, 10, (2, 4, 8, 8), {}),
    ("odd", "EulerDiscreteScheduler", {}, 10, (1, 4, 9, 25), {"guidance_rescale": 0.7}),
    ("ddim", "DDIMScheduler", {}, 10, (1, 4, 8, 8), {}),
    ("dpmpp_2m_karras", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}, 10, (1, 4, 8, 8), {}),
    (
        "zero_snr",
        "DDIMScheduler",
        {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        10,
        (1, 4, 8, 8),
        {},
    ),
    # As SDXL-Turbo's folder has it.
    (
        "turbo",
        "EulerAncestralDiscreteScheduler",
        {"timestep_spacing": "trailing"},
        1,
        (1, 4, 8, 8),
        {"guidance_scale": 0.0},
    ),
    # As SDXL-Lightning's card says.
    (
        "lightning",
        "EulerDiscreteScheduler",
        {"timestep_spacing": "trailing"},
        4,
        (1, 4, 8, 8),
        {"guidance_scale": 0.0},
    ),
    ("lcm", "LCMScheduler", {"timestep_spacing": "leading"}, 4, (1, 4, 8, 8), {"guidance_scale": 8.5}),
]


def trajectories(pipeline):
    file, manifest, own, base = Tensors(), [], pipeline.scheduler, pipeline.unet
    with torch.no_grad():
        texts = {name: encode(pipeline, text) for name, text in (("prompt", PROMPT), ("other", OTHER), ("not", NEGATIVE))}
    for name, (states, pooled) in texts.items():
        file.keep(f"{name}.states", states)
        file.keep(f"{name}.pooled", pooled)
    for name, kind, changes, steps, shape, changed in TRAJECTORIES:
        latents = normal(f"{MODEL}.trajectories.{name}", shape)
        arguments = {"guidance_scale": GUIDANCE, "guidance_rescale": 0.0, **changed}
        words = ["prompt", "other"][: shape[0]]

        def compute(dtype):
            pipeline.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
            joined = lambda names: [torch.cat(each).to(dtype) for each in zip(*(texts[name] for name in names))]
            (states, pooled), (negative, negative_pooled) = joined(words), joined(["not"] * len(words))
            with recorded_noise(f"{MODEL}.{name}", drawn := []):
                final = pipeline(
                    prompt_embeds=states,
                    pooled_prompt_embeds=pooled,
                    negative_prompt_embeds=negative,
                    negative_pooled_prompt_embeds=negative_pooled,
                    latents=latents.to(dtype),
                    width=8 * shape[3],
                    height=8 * shape[2],
                    num_inference_steps=steps,
                    output_type="latent",
                    **arguments,
                ).images
            return final, drawn

        pipeline.unet = variant(name, base) if name in VARIANTS else base
        (single, noise), (double, _) = both(modules(pipeline), compute)
        manifest.append(
            {
                "name": name,
                "variant": VARIANTS.get(name, {}),
                "noise": [file.keep(f"{name}.noise.{index}", tensor) for index, tensor in enumerate(noise)],
                "scheduler_class": kind,
                "scheduler_config": {k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
                "steps": steps,
                "guidance": arguments["guidance_scale"],
                "guidance_rescale": arguments["guidance_rescale"],
                "prompts": words,
                "latents": file.keep(f"{name}.latents", latents),
                "final": file.keep(f"{name}.final", single),
                **difference(single, double),
            }
        )
        print(f"  {name}: std {single.std():.3g}, floor {manifest[-1]['floor']:.1e}", flush=True)
    pipeline.scheduler, pipeline.unet = own, base
    write_json(ROOT / MODEL / "trajectories.json", manifest, compact=True)
    file.write(ROOT / MODEL / "trajectories.safetensors")


# name, width, height, arguments
PICTURES = [
    ("square", 64, 64, {}),
    ("wide", 104, 72, {}),
    ("batch", 64, 64, {"prompt": [PROMPT, OTHER]}),
    ("two", 64, 64, {"prompt_2": OTHER, "negative_prompt_2": "a castle"}),
    ("no_negative", 64, 64, {"negative_prompt": None}),
    ("unguided", 64, 64, {"guidance_scale": 1.0}),
    ("original", 64, 64, {"original_size": (96, 128)}),
    ("crop", 64, 64, {"crops_coords_top_left": (8, 16)}),
    ("target", 64, 64, {"target_size": (104, 72)}),
    ("lora", 64, 64, {"lora": True}),
]

# The layers that the LoRA changes, in every component.
LORA = {
    "unet": ["attn1.to_q", "attn2.to_k", "ff.net.2", "add_embedding.linear_1", "conv1", "time_emb_proj"],
    "text_encoder": ["self_attn.q_proj", "mlp.fc1"],
    "text_encoder_2": ["self_attn.v_proj", "mlp.fc2"],
}


def lora(pipeline):
    """A LoRA as diffusers saves it, of rank 3."""
    tensors = {}
    for name, endings in LORA.items():
        for path, layer in getattr(pipeline, name).named_modules():
            if path.endswith(tuple(endings)):
                shape, whole = layer.weight.shape, text_name(path) if name != "unet" else path
                down, up = pair(f"{MODEL}.{name}.{path}", shape, 3)
                tensors |= {f"{name}.{whole}.lora_A.weight": down, f"{name}.{whole}.lora_B.weight": up}
    save_file({key: tensor.half().contiguous() for key, tensor in tensors.items()}, ROOT / MODEL / "lora.safetensors")


def pictures(pipeline):
    file, manifest, folder = Tensors(), [], ROOT / MODEL / "pictures"
    folder.mkdir(parents=True)
    first = None
    for name, width, height, changed in PICTURES:
        arguments = {"prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": GUIDANCE, **changed}
        if arguments.pop("lora", False):
            lora(pipeline)
            pipeline.load_lora_weights(ROOT / MODEL, weight_name="lora.safetensors")
            pipeline.fuse_lora(components=list(LORA), lora_scale=0.8)
            pipeline.unload_lora_weights()
        prompts = arguments["prompt"] if isinstance(arguments["prompt"], list) else [arguments["prompt"]]
        if len(prompts) > 1:
            arguments["negative_prompt"] = [NEGATIVE] * len(prompts)
        shape = (len(prompts), 4, height // 8, width // 8)
        latents = normal(f"{MODEL}.pictures.{shape}", shape)

        def compute(dtype):
            shown = {"width": width, "height": height, "num_inference_steps": STEPS}
            final = pipeline(latents=latents.to(dtype), output_type="latent", **shown, **arguments).images
            image = pipeline.vae.decode(final / pipeline.vae.config.scaling_factor).sample
            return final, pipeline.image_processor.postprocess(image, output_type="np")

        (single, pixels), (double, _) = both(modules(pipeline), compute)
        first = single if first is None else first
        levels = (255 * pixels).round().astype("uint8")
        files = []
        for index, picture in enumerate(levels):
            path = f"pictures/{name}{f'.{index}' if len(levels) > 1 else ''}.png"
            Image.fromarray(picture).save(ROOT / MODEL / path, optimize=True)
            files.append(path)
        listed = lambda text: [] if text is None else [text]
        sides = lambda key: None if key not in changed else list(reversed(changed[key]))
        manifest.append(
            {
                "name": name,
                "lora": 0.8 if "lora" in changed else None,
                "prompts": prompts,
                "prompts_2": listed(changed.get("prompt_2")),
                "negative_prompts": [arguments["negative_prompt"] or ""] if len(prompts) == 1 else [NEGATIVE] * len(prompts),
                "negative_prompts_2": listed(changed.get("negative_prompt_2")),
                "width": width,
                "height": height,
                # Width before height, from the left before from the top.
                "original_size": sides("original_size"),
                "crop": sides("crops_coords_top_left"),
                "target_size": sides("target_size"),
                "steps": STEPS,
                "guidance": arguments["guidance_scale"],
                "latents": file.keep(f"{name}.latents", latents),
                "final": file.keep(f"{name}.final", single),
                "png": files,
                **difference(single, double),
            }
        )
        moved = f", moved {((single - first).norm() / first.norm()).item():.1%}" if single.shape == first.shape else ""
        print(f"  {name}: levels {levels.min()}..{levels.max()}, std {levels.std():.0f}, floor {manifest[-1]['floor']:.1e}{moved}")
    write_json(ROOT / MODEL / "pictures.json", manifest, compact=True)
    file.write(ROOT / MODEL / "pictures.safetensors")


def main():
    make()
    pipeline = load()
    stages(pipeline)
    trajectories(pipeline)
    pictures(pipeline)
