"""Words with vectors of their own (textual inversion), for tests/embeddings.rs.

    python tests/goldens/embeddings.py              # writes embeddings/; a second run writes the same tensors

`embeddings/` has a file as each trainer writes it. Of plain prompts states are those of diffusers' pipelines after
`load_textual_inversion`. Of A1111's and ComfyUI's they are put together here as in prompt_states.py, by
modules/textual_inversion/textual_inversion.py (`find_embedding_at_position`), modules/sd_hijack_clip.py and comfy/sd1_clip.py,
in text encoders of transformers whose tables have the vectors as further rows.

In `embeddings.safetensors` states are MODEL/CASE, pooled vectors MODEL/CASE.pooled; the metadata holds each case: its prompt, how
it is read, its files, each with the name that prompts have for it or null.
"""

import base64
import json
import shutil
import zlib
from pathlib import Path

import models
import numpy as np
import sdxl
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from prompt_states import framed_weights, weigh
from prompt_styles import attention, comfy
from prompts import NEGATIVE
from safetensors.torch import load_file, save_file
from seeded import normal

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "embeddings"
WIDTHS = {"sd1-tiny": 32, "sd2-tiny": 48}
XL = [24, 40]


def vectors(name: str, count: int, width: int) -> torch.Tensor:
    return normal(f"embeddings.{name}", (count, width), 0.3).half().float()


def noise(count: int) -> np.ndarray:
    """What A1111 mixes the hidden numbers with (modules/textual_inversion/image_embedding.py)."""
    state, values = 0, []
    for _ in range(count):
        state = (1664525 * state + 1013904223) % 2**32
        values.append(state % 255)
    return np.array(values, np.uint8)


def pictures(word: dict):
    """A word in pictures, as A1111 puts it there: as text beside the pixels, and in their low bits; and with the text lost."""
    saved = word | {"string_to_param": {key: {"TORCHTENSOR": value.tolist()} for key, value in word["string_to_param"].items()}}
    text = json.dumps(saved).encode()
    packed, height = np.frombuffer(zlib.compress(text, 9), np.uint8), 40
    packed = np.resize(packed, -(-len(packed) // (3 * height)) * 3 * height)
    # What is seen there are the high bits.
    shades = np.where(np.arange(packed.size) % 48 < 24, 0x90, 0x50).astype(np.uint8)
    low, high = (nibbles ^ (noise(packed.size) & 15) | shade for nibbles, shade in ((packed & 15, shades), (packed >> 4, shades[::-1])))
    low, high = (block.reshape(height, -1, 3) for block in (low, high))
    shown = np.full((height, 24, 3), (200, 40, 90), np.uint8)
    line = np.zeros((height, 1, 3), np.uint8)
    whole = np.concatenate([low, line, shown, line, high], axis=1)
    # Sites put pictures on black.
    framed = np.pad(whole, ((3, 2), (0, 5), (0, 0)))
    said = PngInfo()
    said.add_text("sd-ti-embedding", base64.b64encode(text).decode())
    Image.fromarray(whole).save(FOLDER / "sd1-shown.png", pnginfo=said)
    Image.fromarray(framed).save(FOLDER / "sd1-hidden.png")
    Image.fromarray(framed).save(FOLDER / "sd1-hidden.webp", lossless=True)


def write():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    for model, width in WIDTHS.items():
        side = model.removesuffix("-tiny")
        web = {
            "string_to_token": {"*": 265},
            "string_to_param": {"*": vectors(f"{side}.web", 3, width)},
            "name": "my-cat",
            "step": 1500,
            "sd_checkpoint": "0123456789",
            "sd_checkpoint_name": "tiny",
        }
        torch.save(web, FOLDER / f"{side}-web.pt")
        if side == "sd1":
            pictures(web)
        parameters = torch.nn.ParameterDict({"*": torch.nn.Parameter(vectors(f"{side}.first", 2, width))})
        first = {"string_to_token": {"*": torch.tensor(265)}, "string_to_param": parameters}
        torch.save(first, FOLDER / f"{side}-first.pt")
        torch.save({"<toy>": vectors(f"{side}.one", 1, width)[0]}, FOLDER / f"{side}-one.bin")
        save_file({"<many>": vectors(f"{side}.many", 4, width).half()}, FOLDER / f"{side}-many.safetensors")
        save_file({"emb_params": vectors(f"{side}.kohya", 2, width).bfloat16()}, FOLDER / f"{side}-kohya.safetensors")
    both = {name: vectors(f"xl.{name}", 3, width) for name, width in zip(("clip_l", "clip_g"), XL)}
    save_file(both, FOLDER / "xl.safetensors")
    torch.save(both, FOLDER / "xl-pickle.pt")


def read(file: str) -> tuple[str | None, list[torch.Tensor]]:
    """The word that a file has, and its vectors for each text encoder."""
    path = FOLDER / file
    state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=False)
    if "clip_l" in state:
        return None, [state["clip_l"].float(), state["clip_g"].float()]
    if "string_to_param" in state:
        return state.get("name"), [state["string_to_param"]["*"].detach().float()]
    [(word, tensor)] = state.items()
    return None if word == "emb_params" else word, [tensor.float().reshape(-1, tensor.shape[-1])]


class Tower:
    """A text encoder, its table longer by words that were added."""

    def __init__(self, tokenizer, model, pads_with_zeros: bool, before_last: bool, words: list):
        self.tokenizer, self.model, self.before_last = tokenizer, model, before_last
        self.pad = 0 if pads_with_zeros else tokenizer.eos_token_id
        table = model.get_input_embeddings()
        self.words, rows = [], [table.weight.detach()]
        next_id = table.weight.shape[0]
        for name, vectors in words:
            self.words.append((name, self.ids(name), list(range(next_id, next_id + len(vectors)))))
            rows.append(vectors)
            next_id += len(vectors)
        table.weight = torch.nn.Parameter(torch.cat(rows))
        table.num_embeddings = next_id

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids

    def states(self, chunks: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor | None]:
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        rows = torch.tensor([[start] + chunk + [end] + [self.pad] * (75 - len(chunk)) for chunk in chunks])
        with torch.no_grad():
            out = self.model(rows, output_hidden_states=True)
            if not self.before_last:
                return out.last_hidden_state, None
            pooled = None
            if hasattr(self.model, "text_projection"):
                last = self.model.text_model.final_layer_norm(out.hidden_states[-1])
                pooled = self.model.text_projection(last[0, chunks[0].__len__() + 1])
            return out.hidden_states[-2], pooled

    def chunked(self, pieces: list) -> list[list[tuple]]:
        """Pairs of id and weight by A1111's rule, the vectors of a word in one chunk."""
        done, chunk = [], []
        for text, weight in pieces:
            if text == "BREAK" and weight == -1:
                done, chunk = done + [chunk], []
                continue
            tokens, at = self.ids(text), 0
            while at < len(tokens):
                if len(chunk) == 75:
                    done, chunk = done + [chunk], []
                here = [word for word in self.words if tokens[at : at + len(word[1])] == word[1]]
                if not here:
                    chunk.append((tokens[at], weight))
                    at += 1
                    continue
                _, own, vectors = max(here, key=lambda word: len(word[1]))
                if len(chunk) + len(vectors) > 75:
                    done, chunk = done + [chunk], []
                chunk += [(vector, weight) for vector in vectors]
                at += len(own)
        return done + ([chunk] if chunk or not done else [])

    def by_words(self, pieces: list) -> list[list[tuple]]:
        """Pairs by ComfyUI's rule, of groups of less than eight."""
        chunks = [[]]
        for text, weight in pieces:
            for word in text.replace("\n", " ").split(" "):
                groups = [self.ids(word)] if word else []
                if word.startswith("embedding:"):
                    name = word.removeprefix("embedding:")
                    [vectors] = [vectors for known, _, vectors in self.words if known == name.rstrip(",")]
                    groups = [vectors, self.ids(name[len(name.rstrip(",")) :])]
                for group in groups:
                    assert len(group) < 8
                    if len(chunks[-1]) + len(group) > 75:
                        chunks.append([])
                    chunks[-1] += [(token, weight) for token in group]
        return chunks


def towers(model: str, words: list) -> list[Tower]:
    pipeline = sdxl.load() if model == "sdxl-tiny" else models.load(model)
    pairs = [(pipeline.tokenizer, pipeline.text_encoder, model == "sd2-tiny", model == "sdxl-tiny")]
    if model == "sdxl-tiny":
        pairs.append((pipeline.tokenizer_2, pipeline.text_encoder_2, True, True))
    return [Tower(*pair, [(name, all[i]) for name, all in words]) for i, pair in enumerate(pairs)]


def by_style(model: str, style: str, prompt: str, words: list) -> tuple[torch.Tensor, torch.Tensor | None]:
    found, pooled = [], None
    for tower in towers(model, words):
        chunks = tower.chunked(attention(prompt)) if style == "a1111" else tower.by_words(comfy(prompt))
        weights, parts = framed_weights(chunks), []
        for chunk, weight in zip(chunks, weights):
            states, first = tower.states([[token for token, _ in chunk]])
            if style == "a1111":
                states = weigh(states, weight[None], "Original")
            else:
                empty, _ = tower.states([[]])
                states = (states - empty) * weight[None, :, None] + empty
            parts.append(states[0])
            pooled = first if pooled is None else pooled
        found.append(torch.cat(parts))
    return torch.cat(found, dim=-1), pooled


def by_diffusers(model: str, prompt: str, files: list) -> tuple[torch.Tensor, torch.Tensor | None, object]:
    pipeline = sdxl.load() if model == "sdxl-tiny" else models.load(model)
    for file, name in files:
        if model == "sdxl-tiny":
            state = dict(zip(("clip_l", "clip_g"), read(file)[1]))
            pairs = [("clip_l", pipeline.text_encoder, pipeline.tokenizer)]
            pairs += [("clip_g", pipeline.text_encoder_2, pipeline.tokenizer_2)]
            # A configuration that names the end token as 2 has transformers take the highest id for the end, which an added word is.
            for module in [*pipeline.text_encoder_2.modules(), pipeline.text_encoder_2.config]:
                if hasattr(module, "eos_token_id"):
                    module.eos_token_id = pipeline.tokenizer_2.eos_token_id
            for key, encoder, tokenizer in pairs:
                pipeline.load_textual_inversion(state[key], token=name, text_encoder=encoder, tokenizer=tokenizer)
        else:
            path = str(FOLDER / file)
            pipeline.load_textual_inversion(path, token=name)
    with torch.no_grad():
        if model == "sdxl-tiny":
            states, _, pooled, _ = pipeline.encode_prompt(prompt, do_classifier_free_guidance=False)
            return states[0], pooled[0], pipeline
        states, _ = pipeline.encode_prompt(prompt, "cpu", 1, False)
        return states[0], None, pipeline


LONG = "red house by the sea " * 14 + "red my-cat, (moon my-cat:1.3) blue"
# The style, the prompt, the files with what they are called.
CASES = [
    ("plain_one", "plain", "a <toy> by the sea", [("one.bin", None)]),
    ("plain_many", "plain", "a <many> house <toy>", [("many.safetensors", None), ("one.bin", None)]),
    ("plain_web", "plain", "red my-cat, blue my-cat", [("web.pt", None)]),
    ("plain_kohya", "plain", "a red<k>house", [("kohya.safetensors", "<k>")]),
    ("web", "a1111", "a red My-Cat by the sea", [("web.pt", "my-cat")]),
    ("inside", "a1111", "(redcat:1.2) [cathouse] cat", [("first.pt", "cat")]),
    ("longest", "a1111", "red cat, cat BREAK (cat red cat:0.7)", [("one.bin", "cat"), ("kohya.safetensors", "red cat")]),
    ("long", "a1111", LONG, [("web.pt", "my-cat")]),
    ("comfy", "comfy", "a (embedding:cat, house:1.3) embedding:sea", [("many.safetensors", "cat"), ("one.bin", "sea")]),
]  # fmt: skip
XL_CASES = [
    ("plain", "plain", "a red <cat> by the sea", [("xl.safetensors", "<cat>")]),
    ("weights", "a1111", "a (red cat:1.3), blue moon", [("xl-pickle.pt", "cat")]),
    ("long", "a1111", LONG, [("xl.safetensors", "my-cat")]),
]


def main():
    write()
    tensors, cases = {}, []
    for model in [*WIDTHS, "sdxl-tiny"]:
        for name, style, prompt, files in XL_CASES if model == "sdxl-tiny" else CASES:
            if model != "sdxl-tiny":
                files = [(f"{model.removesuffix('-tiny')}-{file}", called) for file, called in files]
            if style == "plain":
                states, pooled, _ = by_diffusers(model, prompt, files)
            else:
                states, pooled = by_style(model, style, prompt, [(called, read(file)[1]) for file, called in files])
            tensors[f"{model}/{name}"] = states.contiguous().clone()
            if pooled is not None:
                tensors[f"{model}/{name}.pooled"] = pooled.contiguous().clone()
            cases.append({"model": model, "name": name, "style": style, "prompt": prompt, "files": files})

    name, prompt, files = "picture", "a <many> house by the sea", [("sd1-many.safetensors", None)]
    _, _, pipeline = by_diffusers("sd1-tiny", prompt, files)
    latents = normal("embeddings.latents", (1, 4, 8, 8))
    how = {"width": 64, "height": 64, "num_inference_steps": 6, "guidance_scale": 7.5, "latents": latents}
    final = pipeline(prompt, negative_prompt=NEGATIVE, output_type="latent", **how).images
    with torch.no_grad():
        image = pipeline.vae.decode(final / pipeline.vae.config.scaling_factor).sample
    [levels] = (255 * pipeline.image_processor.postprocess(image, output_type="np")).round().astype("uint8")
    Image.fromarray(levels).save(FOLDER / "picture.png", optimize=True)
    tensors |= {"picture.latents": latents, "picture.final": final}
    picture = {"prompt": prompt, "negative_prompt": NEGATIVE, "files": files, "steps": 6, "guidance": 7.5, "size": 64}
    said = {"cases": json.dumps(cases), "picture": json.dumps(picture)}
    save_file(tensors, HERE / "embeddings.safetensors", said)


if __name__ == "__main__":
    main()
