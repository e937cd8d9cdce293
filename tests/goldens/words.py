"""Ids of prompts with words that were added to a tokenizer, for crates/pipeline/tests/words.rs.

    pip install transformers==5.23.0 diffusers==0.42.1 torch
    python tests/goldens/words.py           # writes words.json and words.safetensors; a second run writes the same bytes

Each variant is a tokenizer folder: the vocabulary of sd1-tiny, and JSON files that are drawn at random from the forms in
which transformers has kept added words over the years. Prompts go through diffusers' maybe_convert_prompt and then
through CLIPTokenizer as the pipelines call it. Those whose conversion hangs on the order of a Python set are left out.

`states` is the text encoder of sd1-tiny with the rows `rows` added, given the first prompt with all vectors of a word.
"""

import json
import random
import tempfile
from pathlib import Path

import torch
import transformers
from diffusers.loaders import textual_inversion
from safetensors.torch import load_file, save_file
from transformers import CLIPTextModel, CLIPTokenizer

HERE = Path(__file__).resolve().parent
MODEL = HERE / "sd1-tiny" / "model"
BASE = json.loads((MODEL / "tokenizer" / "vocab.json").read_text())
START, END = "<|startoftext|>", "<|endoftext|>"
WORDS = ["<toy>", "<toy>_1", "<toy>_2", "<cat-toy>", "<cat-toy>_1", "*", "sks", "<Big>", "ohwx man", "é", "<|new|>", "moon",
         "<pad>", "a</w>", "#", "<toy>_3", "x_1", "x", "İ"]  # fmt: skip
PIECES = ["a", "photo of", "the moon", "red house", ",", "!", "  ", "<toy>", "<toy>", "<TOY>", "<toy>s", "a<toy>b", "<toy>_1",
          "<cat-toy>", "sks", "SKS", "sksy", "*", "**", "<big>", "<Big>", "ohwx man", "ohwx  man", "é", "e\u0301", "<|new|>",
          "<pad>", "#1", "x", "i̇", START, END, "🐱", "<toy>,", "(<toy>:1.2)"]  # fmt: skip


def draw_token(draw: random.Random, content: str, full: bool = True) -> dict:
    flags = {name: draw.random() < 0.25 for name in ("lstrip", "rstrip", "single_word")}
    flags |= {"normalized": draw.random() < 0.6, "special": draw.random() < 0.3}
    if not full:
        flags = {name: value for name, value in flags.items() if draw.random() < 0.6}
    return {"content": content, **flags}


def variant(draw: random.Random) -> dict:
    words = draw.sample(WORDS, draw.randint(1, 6))
    if draw.random() < 0.6:
        words = list(dict.fromkeys([*words, *WORDS[: draw.randint(1, 4)]]))
    if draw.random() < 0.8:
        words.sort(key=WORDS.index)
    first = len(BASE) + draw.choice([0, 0, 0, 5])
    ids = {word: BASE.get(word, first + i) for i, word in enumerate(words)}
    config, files = {"model_max_length": draw.choice([77, 77, 77, 16])}, {}
    form = draw.choice(["decoder", "decoder", "added", "added", "json", "both", "added json"])
    if form in ("decoder", "both"):
        listed = dict(ids)
        if draw.random() < 0.7:
            listed = {START: BASE[START], END: BASE[END], **ids}
        config["added_tokens_decoder"] = {str(i): draw_token(draw, word) for word, i in listed.items()}
    if form in ("added", "both", "added json"):
        files["added_tokens.json"] = {w: i + (form == "both") for w, i in ids.items() if w not in BASE or draw.random() < 0.5}
    if "json" in form:
        files["tokenizer.json"] = {"added_tokens": [{"id": i, **draw_token(draw, w)} for w, i in ids.items()]}
        if draw.random() < 0.2:
            files["tokenizer.json"]["truncation"] = {
                "direction": draw.choice(["Left", "Right"]), "max_length": 77, "strategy": "LongestFirst", "stride": 0}
    role = lambda text: draw.choice([text, {"__type": "AddedToken", **draw_token(draw, text)}])
    roles = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": draw.choice([END, END, "!", "<pad>"])}
    config |= {name: role(text) for name, text in roles.items() if draw.random() < 0.7}
    if draw.random() < 0.4:
        flags = lambda text: {k: v for k, v in draw_token(draw, text).items() if k != "special"}
        files["special_tokens_map.json"] = {
            name: draw.choice([text, flags(text)]) for name, text in roles.items() if draw.random() < 0.8}
    if draw.random() < 0.25:
        where = draw.choice([config, files.setdefault("special_tokens_map.json", {})])
        where[draw.choice(["additional_special_tokens", "extra_special_tokens"])] = draw.sample(WORDS, 2)
    if draw.random() < 0.08:
        config[draw.choice(["padding_side", "truncation_side"])] = "left"
    if draw.random() < 0.08:
        config["split_special_tokens"] = True
    if draw.random() < 0.08:
        config["concept_token"] = "<cat-toy>"
    if draw.random() < 0.9:
        files["tokenizer_config.json"] = config
    return {name: value for name, value in files.items() if value}


def write(folder: Path, files: dict):
    merges = (MODEL / "tokenizer" / "merges.txt").read_text()
    for name, value in files.items():
        if name == "tokenizer.json":
            pairs = [line for line in merges.splitlines() if line and not line.startswith("#version")]
            model = {"type": "BPE", "dropout": None, "unk_token": END, "continuing_subword_prefix": "",
                     "end_of_word_suffix": "</w>", "fuse_unk": False, "vocab": BASE, "merges": pairs}  # fmt: skip
            value = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "pre_tokenizer": None,
                     "post_processor": None, "decoder": None, "model": model, **value}  # fmt: skip
        (folder / name).write_text(json.dumps(value), encoding="utf-8")
    if "tokenizer.json" not in files:
        (folder / "vocab.json").write_text(json.dumps(BASE, ensure_ascii=False), encoding="utf-8")
        (folder / "merges.txt").write_text(merges, encoding="utf-8")


def converted(prompt: str, tokenizer) -> str | None:
    """The prompt with all vectors, if the order of a set does not matter."""
    mixin, found = textual_inversion.TextualInversionLoaderMixin(), set()
    for backwards in (False, True):
        textual_inversion.set = lambda tokens, b=backwards: sorted(dict.fromkeys(tokens), reverse=b)
        found.add(mixin.maybe_convert_prompt(prompt, tokenizer))
    del textual_inversion.set
    return found.pop() if len(found) == 1 else None


def ask(folder: Path, prompts: list) -> list:
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    most, rows = tokenizer.model_max_length, []
    # Without a limit of its own it is the text encoder's.
    call = dict(padding="max_length", max_length=most if most < 1e6 else 77, truncation=True)
    for prompt in prompts:
        text = converted(prompt, tokenizer)
        if text is None:
            continue
        ids = tokenizer(text, **call).input_ids
        pad = tokenizer.pad_token_id
        # Padding shortened: at which side, and how much.
        left = next((i for i, id in enumerate(ids) if id != pad), len(ids)) if tokenizer.padding_side == "left" else 0
        right = len(ids)
        while tokenizer.padding_side == "right" and right > 1 and ids[right - 1] == ids[right - 2] == pad:
            right -= 1
        rows.append([prompt, left, ids[left:right], len(ids) - right])
    return [{"pad": tokenizer.pad_token_id, "prompts": rows}]


def main():
    transformers.utils.logging.set_verbosity_error()
    draw, variants = random.Random(17), []
    while len(variants) < 225:
        files = variant(draw)
        pieces = lambda most: draw.choice(["", " "]).join(draw.choices(PIECES, k=draw.randint(1, most)))
        prompts = [pieces(6), " ".join(draw.choices(PIECES, k=5)), pieces(12)]
        if draw.random() < 0.1:
            prompts[2] = " ".join(draw.choices(PIECES, k=60))
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder), files)
            try:
                [asked] = ask(Path(folder), prompts)
            except (TypeError, ValueError, KeyError) as error:
                asked = {"error": f"{type(error).__name__}: {error}"[:80]}
        variants.append({"files": files, **asked})
    path = HERE / "words.json"
    dump = lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    head = f'{{"transformers":"{transformers.__version__}","text":"a <toy> here, and <toy>",\n"variants":[\n'
    path.write_text(head + ",\n".join(map(dump, variants)) + "\n]}\n", encoding="utf-8")
    count = sum(len(v.get("prompts", [])) for v in variants)
    errors = sorted({v["error"] for v in variants if "error" in v})
    print(len(variants), "variants,", count, "prompts,", sum("error" in v for v in variants), errors, path.stat().st_size)
    states()


def states():
    """The text encoder as textual_inversion.py leaves it: three rows more."""
    tokenizer = CLIPTokenizer.from_pretrained(MODEL / "tokenizer")
    tokenizer.add_tokens(["<toy>", "<toy>_1", "<toy>_2"])
    encoder = CLIPTextModel.from_pretrained(MODEL / "text_encoder", torch_dtype=torch.float32)
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    rows = torch.randn(3, encoder.config.hidden_size, generator=torch.Generator().manual_seed(3)).half()
    with torch.no_grad():
        encoder.get_input_embeddings().weight[-3:] = rows.float()
    text = converted("a <toy> here, and <toy>", tokenizer)
    ids = tokenizer(text, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        states = encoder(ids)[0]
        floor = (states - encoder.double()(ids)[0]).abs().max().item()
    save_file({"rows": rows, "states": states}, HERE / "words.safetensors", {"floor": str(floor)})
    print("floor", floor, "largest", states.abs().max().item(), text)


if __name__ == "__main__":
    main()
