"""What `sdxl-tiny` is told of prompts that are weighted and longer than its encoders take, by A1111's and ComfyUI's rules, and what
StableDiffusionXLPipeline draws of that.

    python tests/goldens/prompts_xl.py      # writes sdxl-tiny/long_prompts.*; a second run writes the same bytes

Each encoder's states are weighed by themselves (modules/sd_hijack_clip.py of A1111, comfy/sd1_clip.py and comfy/sdxl_clip.py), and
the pooled vector is that of the first chunk, without weights. diffusers takes them as `prompt_embeds`; the shorter of two prompts is
told again until it is as long as the other, which changes no attention.
"""

import sdxl
import torch
from embeddings import Tower, towers
from PIL import Image
from prompt_states import LONG, by_words, chunked, framed_weights, weigh
from prompt_styles import attention, comfy
from seeded import ROOT, Tensors, both, difference, normal, write_json

NEGATIVE = "blurry, (low quality:1.4)"
# The style, the prompt, the negative prompt.
CASES = [
    ("weights", "a1111", "a (red:1.3) house, [blue] ((moon)), (sea:-0.5)", NEGATIVE),
    ("long", "a1111", LONG, NEGATIVE),
    ("break", "a1111", "a (red:0.6) house BREAK a (moon:1.5)", LONG),
    ("comfy", "comfy", "a (red:1.3) house, ((moon:0.7) sea:1.5)", NEGATIVE),
    ("comfy_long", "comfy", LONG, NEGATIVE),
]


def told(tower: Tower, style: str, prompt: str) -> tuple[torch.Tensor, torch.Tensor | None]:
    """An encoder's states, and its first chunk's pooled vector."""
    chunks = chunked(tower, attention(prompt)) if style == "a1111" else by_words(tower, comfy(prompt))
    parts, pooled = [], None
    for chunk, weights in zip(chunks, framed_weights(chunks)):
        states, own = tower.states([[token for token, _ in chunk]])
        pooled = own if pooled is None else pooled
        if style == "a1111":
            parts.append(weigh(states, weights[None], "Original")[0])
        else:
            empty, _ = tower.states([[]])
            parts.append(((states - empty) * weights[None, :, None] + empty)[0])
    return torch.cat(parts), pooled


def side_by_side(style: str, prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
    each = [told(tower, style, prompt) for tower in towers(sdxl.MODEL, [])]
    return torch.cat([states for states, _ in each], dim=-1), each[1][1]


def main():
    pipeline, manifest, file = sdxl.load(), [], Tensors()
    for name, style, prompt, negative in CASES:
        with torch.no_grad():
            told_of = [side_by_side(style, text) for text in (prompt, negative)]
        longest = max(states.shape[0] for states, _ in told_of)
        (states, pooled), (negative_states, negative_pooled) = (
            (states.repeat(longest // states.shape[0], 1)[None], pooled.reshape(1, -1)) for states, pooled in told_of
        )
        assert states.shape == negative_states.shape
        latents = normal(f"prompts_xl.{name}", (1, 4, 8, 8))

        def compute(dtype):
            arguments = {
                "prompt_embeds": states.to(dtype),
                "pooled_prompt_embeds": pooled.to(dtype),
                "negative_prompt_embeds": negative_states.to(dtype),
                "negative_pooled_prompt_embeds": negative_pooled.to(dtype),
                "latents": latents.to(dtype),
                "width": 64,
                "height": 64,
                "num_inference_steps": sdxl.STEPS,
                "guidance_scale": sdxl.GUIDANCE,
            }
            return [pipeline(output_type=kind, **arguments).images for kind in ("latent", "np")]

        (single, pixels), (double, _) = both(sdxl.modules(pipeline), compute)
        levels = (255 * pixels).round().astype("uint8")
        path = f"pictures/prompt_{name}.png"
        Image.fromarray(levels[0]).save(ROOT / sdxl.MODEL / path, optimize=True)
        case = {"name": name, "style": style, "prompt": prompt, "negative_prompt": negative, "steps": sdxl.STEPS}
        for what, (states, pooled) in zip(("positive", "negative"), told_of):
            case[what] = file.keep(f"{name}.{what}.states", states[None])
            case[f"{what}_pooled"] = file.keep(f"{name}.{what}.pooled", pooled.reshape(1, -1))
        manifest.append(
            {
                **case,
                "latents": file.keep(f"{name}.latents", latents),
                "final": file.keep(f"{name}.final", single),
                "png": [path],
                **difference(single, double),
            }
        )
        print(f"  {name}: {longest} tokens, std {levels.std():.0f}, floor {manifest[-1]['floor']:.1e}")
    write_json(ROOT / sdxl.MODEL / "long_prompts.json", manifest, compact=True)
    file.write(ROOT / sdxl.MODEL / "long_prompts.safetensors")


if __name__ == "__main__":
    main()
