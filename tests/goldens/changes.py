"""What is changed of the tiny UNets as they draw: FreeU, guidance away from a weaker model, deep layers taken again. Ten steps
from given latents and text states by diffusers' pipelines and guiders and by the package DeepCache (requirements-k.txt), which
changes the pipeline's UNet; FreeU by ComfyUI's rules, which diffusers has not, in the place of its `apply_freeu`.
`python changes.py` writes changes.json and .safetensors beside each model's others."""

import diffusers
import models
import sdxl
import torch
from DeepCache import DeepCacheSDHelper
from diffusers import StableDiffusionPAGPipeline, StableDiffusionXLPAGPipeline
from diffusers.guiders import SkipLayerGuidance
from diffusers.models.unets import unet_2d_blocks as blocks
from diffusers.utils.torch_utils import fourier_filter
from prompts import NEGATIVE, PROMPT
from seeded import ROOT, Tensors, normal, write_json
from stages import ids

STEPS = 10
# name, scheduler, the latents' shape, guidance, what is changed
CASES = [
    ("freeu", "DDIMScheduler", (2, 4, 8, 8), 7.5, {"freeu": "1.5,1.6,0.9,0.2"}),
    ("freeu_odd", "EulerDiscreteScheduler", (1, 4, 9, 13), 5.0, {"freeu": "1.2,1.4,0.6,0.3"}),
    ("freeu_v1", "DDIMScheduler", (2, 4, 8, 8), 7.5, {"freeu": "v1:1.5,1.6,0.9,0.2"}),
    ("freeu_v2", "EulerDiscreteScheduler", (2, 4, 8, 12), 7.5, {"freeu": "v2:1.3,1.4,0.9,0.2"}),
    ("pag", "EulerDiscreteScheduler", (2, 4, 8, 8), 5.0, {"kind": "pag"}),
    ("pag_alone", "DDIMScheduler", (1, 4, 8, 8), 1.0, {"kind": "pag:scale=2"}),
    ("slg", "EulerDiscreteScheduler", (1, 4, 8, 8), 5.0, {"kind": "slg:start=0.2:end=0.7"}),
    ("slg_heun", "HeunDiscreteScheduler", (1, 4, 8, 8), 5.0, {"kind": "slg:scale=1.5:end=0.6"}),
    ("deep_3", "DDIMScheduler", (2, 4, 8, 8), 7.5, {"cache": "deep:3"}),
    ("deep_2_branch", "EulerDiscreteScheduler", (1, 4, 9, 13), 5.0, {"cache": "deep:2:branch=1"}),
    ("deep_4_block", "EulerDiscreteScheduler", (1, 4, 8, 8), 5.0, {"cache": "deep:4:branch=4"}),
    ("all", "EulerDiscreteScheduler", (2, 4, 8, 8), 5.0, {"freeu": "1.5,1.6,0.9,0.2", "kind": "pag", "cache": "deep:3"}),
]


def by_channels(first: int, structured: bool):
    """ComfyUI's FreeU and FreeU_V2 (comfy_extras/nodes_freelunch.py): a stage is what takes so many channels."""

    def apply(resolution_idx, h, skip, *, s1, s2, b1, b2):
        stages = {4 * first: (b1, s1), 2 * first: (b2, s2)}
        if h.shape[1] not in stages:
            return h, skip
        backbone, slow = stages[h.shape[1]]
        gain = torch.full_like(h[:, :1], backbone)
        if structured:
            mean = h.mean(1, keepdim=True)
            least, most = mean.amin((1, 2, 3), keepdim=True), mean.amax((1, 2, 3), keepdim=True)
            gain = (backbone - 1) * (mean - least) / (most - least) + 1
        half = h.shape[1] // 2
        return torch.cat([h[:, :half] * gain, h[:, half:]], 1), fourier_filter(skip, 1, slow)

    return apply


def free_u(pipeline, text: str):
    """Returns what undoes it."""
    rule, _, numbers = text.rpartition(":")
    b1, b2, s1, s2 = map(float, numbers.split(","))
    pipeline.enable_freeu(s1=s1, s2=s2, b1=b1, b2=b2)
    own = blocks.apply_freeu
    if rule:
        blocks.apply_freeu = by_channels(pipeline.unet.config.block_out_channels[0], rule == "v2")

    def undo():
        blocks.apply_freeu = own
        pipeline.disable_freeu()

    return undo


def deep(pipeline, text: str):
    """Returns what undoes it."""
    _, interval, *branch = text.split(":")
    helper = DeepCacheSDHelper(pipe=pipeline)
    helper.set_params(cache_interval=int(interval), cache_branch_id=int(branch[0].split("=")[1]) if branch else 0)
    helper.enable()
    return helper.disable


def numbers(kind: str) -> dict:
    return {name: float(value) for name, value in (word.split("=") for word in kind.split(":")[1:])}


def pag(pipeline, kind: str, arguments: dict):
    classes = {"StableDiffusionPipeline": StableDiffusionPAGPipeline, "StableDiffusionXLPipeline": StableDiffusionXLPAGPipeline}
    more = {"add_watermarker": False} if "XL" in type(pipeline).__name__ else {}
    own = classes[type(pipeline).__name__](**pipeline.components, pag_applied_layers="mid", **more)
    own.set_progress_bar_config(disable=True)
    return own(pag_scale=numbers(kind).get("scale", 3.0), **arguments).images


def slg(pipeline, kind: str, arguments: dict):
    """A loop of our own, since the pipelines take no guider; the three outputs go into diffusers'."""
    told = numbers(kind)
    guider = SkipLayerGuidance(
        guidance_scale=arguments["guidance_scale"],
        skip_layer_guidance_scale=told.get("scale", 2.8),
        skip_layer_guidance_start=told.get("start", 0.01),
        skip_layer_guidance_stop=told.get("end", 0.2),
        skip_layer_guidance_layers=[0],
    )
    unet, scheduler, x = pipeline.unet, pipeline.scheduler, arguments["latents"]
    scheduler.set_timesteps(STEPS)
    x = x * scheduler.init_noise_sigma
    # Steps, not evaluations: Heun's second is its first's step again.
    order = scheduler.order
    for i, t in enumerate(scheduler.timesteps):
        seen = scheduler.scale_model_input(x, t)
        ask = lambda name: unet(seen, t, encoder_hidden_states=arguments[name])[0]
        c, u = ask("prompt_embeds"), ask("negative_prompt_embeds")
        modules = [block for layer in unet.mid_block.attentions for block in layer.transformer_blocks]
        own = [block.forward for block in modules]
        for block in modules:
            block.forward = lambda hidden_states, *_, **__: hidden_states
        weaker = ask("prompt_embeds")
        for block, forward in zip(modules, own):
            block.forward = forward
        guider.set_state(step=i // order, num_inference_steps=STEPS, timestep=t)
        m = guider.forward(c, u, weaker).pred
        x = scheduler.step(m, t, x)[0]
    return x


def draw(pipeline, changes: dict, arguments: dict):
    kind = changes.get("kind", "cfg")
    if kind.startswith("slg"):
        return slg(pipeline, kind, arguments)
    if kind.startswith("pag"):
        return pag(pipeline, kind, arguments)
    return pipeline(**arguments).images


def make(model: str, pipeline, texts: dict, cases):
    file, manifest, own = Tensors(), [], pipeline.scheduler
    for name, tensor in texts.items():
        file.keep(name, tensor)
    # The package's branches count two layers a level.
    two = pipeline.unet.config.layers_per_block == 2
    for name, kind, shape, guidance, changes in cases:
        if "branch" in changes.get("cache", "") and not two:
            continue
        pipeline.scheduler = getattr(diffusers, kind).from_config(own.config)
        latents = normal(f"{model}.changes.{name}", shape)
        arguments = {key: tensor.repeat(shape[0], *[1] * (tensor.dim() - 1)) for key, tensor in texts.items()}
        arguments |= dict(latents=latents, guidance_scale=guidance, width=8 * shape[3], height=8 * shape[2])
        arguments |= dict(num_inference_steps=STEPS, output_type="latent")
        makers = {"freeu": free_u, "cache": deep}
        undo = [makers[what](pipeline, text) for what, text in changes.items() if what in makers]
        with torch.no_grad():
            final = draw(pipeline, changes, arguments)
        for each in reversed(undo):
            each()
        manifest.append(dict(
            name=name, scheduler_class=kind,
            scheduler_config={k: v for k, v in pipeline.scheduler.config.items() if not k.startswith("_")},
            steps=STEPS, guidance=guidance, guidance_rescale=0.0, eta=0.0, noise=[], per_step=[], variant={}, prompts=["prompt"],
            timesteps=[float(t) for t in pipeline.scheduler.timesteps], prompt_embeds="prompt_embeds",
            negative_prompt_embeds="negative_prompt_embeds", latents=file.keep(f"{name}.latents", latents),
            final=file.keep(f"{name}.final", final), **changes))
        print(f"  {name}: std {final.std():.3g}", flush=True)
    pipeline.scheduler = own
    write_json(ROOT / model / "changes.json", manifest, compact=True)
    file.write(ROOT / model / "changes.safetensors")


def main():
    torch.set_num_threads(1)
    for model in models.MODELS:
        print(f" {model}")
        pipeline = models.load(model)
        with torch.no_grad():
            states = [pipeline.text_encoder(ids(pipeline.tokenizer, text))[0] for text in (PROMPT, NEGATIVE)]
        make(model, pipeline, dict(zip(("prompt_embeds", "negative_prompt_embeds"), states)), CASES)
    print(f" {sdxl.MODEL}")
    pipeline, texts = sdxl.load(), {}
    with torch.no_grad():
        for before, text in (("", PROMPT), ("negative_", NEGATIVE)):
            states, pooled = sdxl.encode(pipeline, text)
            texts |= {f"{before}prompt_embeds": states, f"{before}pooled_prompt_embeds": pooled}
    # SLG's loop knows no sizes.
    make(sdxl.MODEL, pipeline, texts, [case for case in CASES if not case[4].get("kind", "").startswith("slg")])


if __name__ == "__main__":
    main()
