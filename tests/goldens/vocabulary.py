"""A CLIP tokenizer with a trimmed vocabulary: the first merges of the real one, and those a few words need."""

import gzip
import importlib.util
import json
from pathlib import Path

FIRST_MERGES = 900
WORDS = (
    "photograph of an astronaut riding a horse on the moon watercolour painting lighthouse at sunset castle "
    "mountain blurry low quality deformed beautiful detailed portrait robot garden little red house"
).split()

START, END = "<|startoftext|>", "<|endoftext|>"


def clip_merges() -> list[tuple[str, str]]:
    """All 48,894 merges of CLIP, from the copy of OpenAI's file that open_clip carries (MIT)."""
    package = Path(importlib.util.find_spec("open_clip").submodule_search_locations[0])
    with gzip.open(package / "bpe_simple_vocab_16e6.txt.gz", "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")
    return [tuple(line.split()) for line in lines[1 : 49152 - 256 - 2 + 1]]


def byte_symbols() -> list[str]:
    """The printable stand-in of each byte, in the order in which CLIP numbers them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(hidden))]


def merges_of(word: str, ranks: dict) -> set:
    """The merges that byte pair encoding applies to an ASCII word."""
    parts, used = [*word[:-1], word[-1] + "</w>"], set()
    while len(parts) > 1:
        rank, at = min((ranks.get(pair, len(ranks)), i) for i, pair in enumerate(zip(parts, parts[1:])))
        if rank == len(ranks):
            break
        used.add(rank)
        parts[at : at + 2] = [parts[at] + parts[at + 1]]
    return used


def write(folder: Path, pad: str, full: bool = False):
    """Writes `vocab.json`, `merges.txt` and the two JSON files beside them, as the hub's folders have them."""
    merges = clip_merges()
    if not full:
        ranks = {pair: rank for rank, pair in enumerate(merges)}
        kept = set(range(FIRST_MERGES)).union(*(merges_of(word, ranks) for word in WORDS))
        merges = [merges[rank] for rank in sorted(kept)]
    symbols = byte_symbols()
    tokens = symbols + [symbol + "</w>" for symbol in symbols] + ["".join(pair) for pair in merges] + [START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}

    special = lambda text: {"content": text, "lstrip": False, "normalized": True, "rstrip": False, "single_word": False}
    names = {"bos_token": START, "eos_token": END, "unk_token": END}
    folder.mkdir(parents=True, exist_ok=True)
    dump = lambda name, value: (folder / name).write_text(json.dumps(value, indent=2) + "\n")
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges), encoding="utf-8"
    )
    dump("special_tokens_map.json", {**{key: special(text) for key, text in names.items()}, "pad_token": pad})
    dump(
        "tokenizer_config.json",
        {
            "add_prefix_space": False,
            "do_lower_case": True,
            "errors": "replace",
            "model_max_length": 77,
            "pad_token": pad,
            "tokenizer_class": "CLIPTokenizer",
            **{key: {"__type": "AddedToken", **special(text)} for key, text in names.items()},
        },
    )
    return len(tokens)
