"""Token ids, text states, UNet forwards and VAE decodes of both models."""

import torch
from models import MODELS, load
from prompts import AWKWARD, NEGATIVE, OTHER, PROMPT
from seeded import ROOT, Tensors, both, difference, normal, write_json


def ids(tokenizer, text: str) -> torch.Tensor:
    return tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids


def prompts(tokenizer) -> dict:
    cases = []
    for text in AWKWARD:
        whole = tokenizer(text, padding="longest", return_tensors="pt").input_ids
        lost = whole[:, 76:-1] if whole.shape[1] > 77 else whole[:, :0]
        dropped = tokenizer.batch_decode(lost)[0] if lost.shape[1] else ""
        row = ids(tokenizer, text)[0].tolist()
        assert len(row) == 77
        cases.append({"text": text, "ids": row, "tokens": whole.shape[1], "dropped": dropped})
    return {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "pad": tokenizer.pad_token_id,
        "max_length": 77,
        "prompts": cases,
    }


def text_states(pipeline, text: str):
    tokens = ids(pipeline.tokenizer, text)
    return tokens, both(pipeline.text_encoder, lambda _: pipeline.text_encoder(tokens)[0])


def unet_case(pipeline, file: Tensors, name: str, shape, timestep: float, texts: list) -> dict:
    sample = normal(f"stages.unet.{name}", shape)
    with torch.no_grad():
        context = torch.cat([pipeline.text_encoder(ids(pipeline.tokenizer, text))[0] for text in texts])
    unet = pipeline.unet
    at = torch.tensor(timestep) if timestep != int(timestep) else int(timestep)
    single, double = both(unet, lambda dtype: unet(sample.to(dtype), at, context.to(dtype))[0])
    bite(unet, name, sample, at, context, single)
    return {
        "name": name,
        "sample": file.keep(f"unet.{name}.sample", sample),
        "timestep": float(timestep),
        "encoder_hidden_states": file.keep(f"unet.{name}.encoder_hidden_states", context),
        "output": file.keep(f"unet.{name}.output", single),
        **difference(single, double),
    }


def bite(unet, name, sample, at, context, output):
    """Prints how far small mistakes in the inputs move the output: a golden that nothing moves tests nothing."""
    moved = lambda s, t, c: ((unet(s, t, c)[0] - output).norm() / output.norm()).item()
    with torch.no_grad():
        print(
            f"  unet {name}: other context {moved(sample, at, context.roll(7, -1)):.1%}, context x0.9 "
            f"{moved(sample, at, context * 0.9):.1%}, t+1 {moved(sample, at + 1, context):.1%}, t+50 "
            f"{moved(sample, at + 50, context):.1%}, sample x0.9 {moved(sample * 0.9, at, context):.1%}, std {output.std():.2f}"
        )


def vae_case(pipeline, file: Tensors, name: str, shape) -> dict:
    latents = normal(f"stages.vae.{name}", shape) / pipeline.vae.config.scaling_factor
    single, double = both(pipeline.vae, lambda dtype: pipeline.vae.decode(latents.to(dtype)).sample)
    spread = ", ".join(f"{q:.2f}" for q in single.flatten().quantile(torch.tensor([0.01, 0.25, 0.5, 0.75, 0.99])))
    print(f"  vae {name}: quantiles {spread}")
    return {
        "name": name,
        "latents": file.keep(f"vae.{name}.latents", latents),
        "output": file.keep(f"vae.{name}.output", single),
        **difference(single, double),
    }


def make(model: str):
    pipeline, file = load(model), Tensors()
    text = []
    for name, prompt in {"prompt": PROMPT, "negative": NEGATIVE, "empty": "", "long": "very " * 90 + "long"}.items():
        tokens, (single, double) = text_states(pipeline, prompt)
        text.append(
            {
                "name": name,
                "prompt": prompt,
                "input_ids": file.keep(f"text.{name}.input_ids", tokens),
                "output": file.keep(f"text.{name}.output", single),
                **difference(single, double),
            }
        )
    unet = [
        unet_case(pipeline, file, "square", (2, 4, 8, 8), 981, [NEGATIVE, PROMPT]),
        unet_case(pipeline, file, "odd", (1, 4, 9, 25), 421, [OTHER]),
        unet_case(pipeline, file, "tall", (2, 4, 17, 5), 1, ["", OTHER]),
        unet_case(pipeline, file, "fractional", (1, 4, 8, 8), 613.4375, [PROMPT]),
    ]
    vae = [
        vae_case(pipeline, file, "square", (1, 4, 8, 8)),
        vae_case(pipeline, file, "odd", (1, 4, 5, 9)),
        vae_case(pipeline, file, "batch", (2, 4, 3, 4)),
    ]
    write_json(ROOT / model / "prompts.json", prompts(pipeline.tokenizer), compact=True)
    write_json(ROOT / model / "stages.json", {"text": text, "unet": unet, "vae": vae}, compact=True)
    file.write(ROOT / model / "stages.safetensors")


def main():
    for model in MODELS:
        print(f" {model}")
        make(model)
