"""Text states of prompts by A1111's and ComfyUI's rules, for tests/prompts.rs.

    python tests/goldens/prompt_states.py           # writes prompt_states.safetensors; a second run writes the same bytes

Prompts are read by prompt_styles.py, ids are transformers', states those of its CLIPTextModel; weights, chunks, layers and
turns are put together here, by modules/sd_hijack_clip.py and sd_emphasis.py of A1111, and comfy/sd1_clip.py.

Names are MODEL/CASE/TURN, shapes [77 chunks, width]; the metadata holds each case: its prompt, how it is read, and up to
which evaluation each turn stands.
"""

import json
from pathlib import Path

import torch
from prompt_styles import attention, comfy, timeline
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
STEPS = 10
LONG = "red house by the sea, " * 12 + "(blue:1.4) moon"
CASES = [
    ("plain", "a red house", {}),
    ("weights", "a (red:1.3) house, [blue] ((moon)), (sea:-0.5)", {}),
    ("no_norm", "a (red:1.3) house, [blue] moon", {"emphasis": "No norm"}),
    ("ignore", "a (red:1.3) house \\(blue\\)", {"emphasis": "Ignore"}),
    ("none", "a (red:1.3) house", {"emphasis": "None"}),
    ("long", LONG, {}),
    ("break", "a (red:0.6) house BREAK a moon BREAK BREAK sea", {}),
    ("turns", "a [red:blue:4] (house:1.2) [by the sea::0.8] at night", {}),
    ("longer", "a [red:" + LONG + ":0.5] house", {}),
    ("options", "[red|(blue:1.3)|sea] moon", {}),
    ("skip_2", "a (red:1.2) house", {"clip_skip": 2}),
    ("comfy", "a (red:1.3) house, [blue] ((moon:0.7) sea:1.5)", {"style": "comfy"}),
    ("comfy_long", LONG, {"style": "comfy"}),
    ("comfy_skip_2", "a (red:1.2) house", {"style": "comfy", "clip_skip": 2}),
]  # fmt: skip


class Encoder:
    def __init__(self, folder: Path, padded_with_zeros: bool):
        self.tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer")
        self.model = CLIPTextModel.from_pretrained(folder / "text_encoder", torch_dtype=torch.float32).eval()
        self.pad = self.tokenizer.pad_token_id if padded_with_zeros else self.tokenizer.eos_token_id
        self.has_layers = not padded_with_zeros

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids

    def states(self, chunks: list[list[int]], skip: int) -> torch.Tensor:
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        rows = [[start] + chunk + [end] + [self.pad] * (75 - len(chunk)) for chunk in chunks]
        with torch.no_grad():
            out = self.model(torch.tensor(rows), output_hidden_states=True)
            if skip == 1 or not self.has_layers:
                return out.last_hidden_state
            text_model = getattr(self.model, "text_model", self.model)
            return text_model.final_layer_norm(out.hidden_states[-skip])


def chunked(encoder: Encoder, pieces: list) -> list[list[tuple]]:
    """Pairs of id and weight by A1111's rule."""
    comma = encoder.tokenizer.get_vocab().get(",</w>")
    done, chunk = [], []
    for text, weight in pieces:
        if text == "BREAK" and weight == -1:
            done.append(chunk)
            chunk = []
            continue
        for token in encoder.ids(text):
            if len(chunk) == 75:
                commas = [k for k, (known, _) in enumerate(chunk) if known == comma]
                tail = []
                if token != comma and commas and 75 - commas[-1] <= 20:
                    chunk, tail = chunk[: commas[-1] + 1], chunk[commas[-1] + 1 :]
                done.append(chunk)
                chunk = tail
            chunk.append((token, weight))
    return done + ([chunk] if chunk or not done else [])


def by_words(encoder: Encoder, pieces: list) -> list[list[tuple]]:
    """Pairs by ComfyUI's rule, of words of less than eight tokens."""
    chunks = [[]]
    for text, weight in pieces:
        for word in text.replace("\n", " ").split(" "):
            group = [(token, weight) for token in encoder.ids(word)] if word else []
            assert len(group) < 8
            if len(chunks[-1]) + len(group) > 75:
                chunks.append([])
            chunks[-1] += group
    return chunks


def weigh(states: torch.Tensor, weights: torch.Tensor, emphasis: str) -> torch.Tensor:
    if emphasis not in ("Original", "No norm"):
        return states
    weighted = states * weights[:, :, None]
    return weighted * (states.mean() / weighted.mean()) if emphasis == "Original" else weighted


def framed_weights(chunks: list[list[tuple]]) -> torch.Tensor:
    return torch.tensor([[1.0] + [weight for _, weight in chunk] + [1.0] * (76 - len(chunk)) for chunk in chunks])


def a1111(encoder: Encoder, prompt: str, emphasis: str, skip: int) -> list[tuple[int, torch.Tensor]]:
    turns = timeline(prompt, STEPS)
    texts = [chunked(encoder, [[text, 1.0]] if emphasis == "None" else attention(text)) for _, text in turns]
    length = max(map(len, texts))
    columns = []
    for k in range(length):
        # The same chunk of all texts is one batch, over which the mean is taken.
        chunks = [text[k] if k < len(text) else [] for text in texts]
        states = encoder.states([[token for token, _ in chunk] for chunk in chunks], skip)
        columns.append(weigh(states, framed_weights(chunks), emphasis))
    return [(end, torch.cat([column[i] for column in columns])) for i, (end, _) in enumerate(turns)]


def comfyui(encoder: Encoder, prompt: str, skip: int) -> list[tuple[int, torch.Tensor]]:
    chunks = by_words(encoder, comfy(prompt))
    states = encoder.states([[token for token, _ in chunk] for chunk in chunks], skip)
    empty = encoder.states([[]], skip)
    weighted = (states - empty) * framed_weights(chunks)[:, :, None] + empty
    return [(STEPS, weighted.flatten(0, 1))]


def main():
    tensors, cases = {}, []
    for model in ("sd1-tiny", "sd2-tiny"):
        encoder = Encoder(HERE / model / "model", model == "sd2-tiny")
        for name, prompt, how in CASES:
            style, emphasis, skip = how.get("style", "a1111"), how.get("emphasis", "Original"), how.get("clip_skip", 1)
            if style == "comfy":
                turns = comfyui(encoder, prompt, skip)
            else:
                turns = a1111(encoder, prompt, emphasis, skip)
            for k, (_, states) in enumerate(turns):
                tensors[f"{model}/{name}/{k}"] = states.contiguous().clone()
            case = {"name": name, "prompt": prompt, "style": style, "emphasis": emphasis, "clip_skip": skip}
            cases.append({"model": model, **case, "ends": [end for end, _ in turns]})
    save_file(tensors, HERE / "prompt_states.safetensors", {"cases": json.dumps(cases), "steps": str(STEPS)})


if __name__ == "__main__":
    main()
