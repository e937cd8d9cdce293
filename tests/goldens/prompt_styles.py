"""What prompts mean to A1111 and ComfyUI, for crates/pipeline/tests/prompt_styles.rs: drawn at random from the marks that
their rules know, and read by an implementation of its own, whose grammar for edits lark parses.

    pip install --no-deps lark==1.2.2
    python tests/goldens/prompt_styles.py           # writes prompt_styles.json; a second run writes the same bytes

`attention`: pieces and weights. `parts`: those of AND. `timeline`: texts, each with the step up to which it stands.
`comfy`: pieces and weights. `chunks`: how many tokens each chunk has, where a word is a token and a comma is one.
"""

import json
import random
import re
from pathlib import Path

from lark import Lark, Tree

HERE = Path(__file__).resolve().parent


def attention(text: str) -> list:
    pieces, opened = [], []
    number = re.compile(r":\s*([+-]?[.\d]+)\s*\)")

    def close(mark: str, factor: float) -> bool:
        places = [k for k, (kind, _) in enumerate(opened) if kind == mark]
        if not places:
            return False
        start = opened.pop(places[-1])[1]
        for piece in pieces[start:]:
            piece[1] *= factor
        return True

    at = 0
    while at < len(text):
        here = text[at]
        weight = number.match(text, at)
        if here == "\\":
            escaped = at + 1 < len(text) and text[at + 1] in "()[]\\"
            pieces.append([text[at + 1] if escaped else "", 1.0])
            at += 2 if escaped else 1
        elif here in "([":
            opened.append((here, len(pieces)))
            at += 1
        elif weight:
            if not any(kind == "(" for kind, _ in opened):
                pieces.append([weight.group(), 1.0])
            else:
                close("(", float(weight.group(1)))
            at = weight.end()
        elif here in ")]:":
            done = here != ":" and close({")": "(", "]": "["}[here], 1.1 if here == ")" else 1 / 1.1)
            if not done:
                pieces.append([here, 1.0])
            at += 1
        else:
            run = re.compile(r"[^\\()\[\]:]+").match(text, at).group()
            for k, part in enumerate(re.split(r"\s*\bBREAK\b\s*", run)):
                if k:
                    pieces.append(["BREAK", -1.0])
                pieces.append([part, 1.0])
            at += len(run)
    for kind, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in [start for mark, start in opened if mark == kind]:
            for piece in pieces[start:]:
                piece[1] *= factor
    joined = []
    for piece in pieces or [["", 1.0]]:
        if joined and joined[-1][1] == piece[1]:
            joined[-1][0] += piece[0]
        else:
            joined.append(piece)
    return joined


def parts(text: str) -> list:
    found = []
    for part in re.split(r"\bAND\b", text):
        part = part.rstrip()
        weighted = re.fullmatch(r"(.*?)\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+))", part, re.S)
        found.append([weighted.group(1), float(weighted.group(2))] if weighted else [part, 1.0])
    return found


# Prompts by their brackets: those of a kind that make something, and at the top also such as make nothing.
GRAMMAR = Lark(
    r"""
    top: (inside | stray)*
    stray.-9: STRAY
    inside: (bracket | edit | turns | TEXT | BLANK)*
    bracket: ROUND inside END | ROUND inside COLON inside END | SQUARE inside CLOSE
    edit: SQUARE [inside COLON] inside COLON [BLANK] NUMBER [BLANK] CLOSE
    turns: SQUARE inside (BAR [inside])+ CLOSE
    ROUND: "("
    END: ")"
    SQUARE: "["
    CLOSE: "]"
    COLON: ":"
    BAR: "|"
    STRAY: /[\[\]():]/
    BLANK: /\s+/
    TEXT: /([^\\\[\]():|]|\\.)+/
    %import common.SIGNED_NUMBER -> NUMBER
    """,
    start="top",
)


def timeline(text: str, steps: int, before: int | None = None, old: bool = False) -> list:
    try:
        tree = GRAMMAR.parse(text)
    except Exception:
        return [[steps, text]]

    def when(number: str) -> int:
        value = float(number)
        if old:
            return min(steps, int(value * steps if value < 1 else value))
        if "." in number:
            return min(steps, int((value - (1 if before is not None else 0)) * steps))
        return min(steps, int(value - (before or 0)))

    def options(node: Tree) -> list:
        found, last = [], None
        for child in node.children[1:-1]:
            if getattr(child, "type", None) == "BAR":
                found.append(last)
                last = None
            elif child is not None:
                last = child
        return found + [last]

    def number(node: Tree) -> str:
        return next(c for c in node.children if getattr(c, "type", None) == "NUMBER")

    ends = {steps}
    for node in tree.iter_subtrees():
        if node.data == "edit":
            ends |= {n for n in [when(number(node))] if n >= 1}
        elif node.data == "turns":
            ends |= set(range(1, steps + 1))

    def write(node, step: int) -> str:
        if node is None:
            return ""
        if not isinstance(node, Tree):
            return str(node)
        if node.data == "edit":
            texts = [c for c in node.children if isinstance(c, Tree)]
            first, second = texts if len(texts) == 2 else (None, texts[0])
            return write(first if step <= when(number(node)) else second, step)
        if node.data == "turns":
            choice = options(node)
            return write(choice[(step - 1) % len(choice)], step)
        return "".join(write(child, step) for child in node.children if child is not None)

    return [[end, write(tree, end)] for end in sorted(ends)]


def comfy(text: str) -> list:
    text = text.replace("\\)", "\0\1").replace("\\(", "\0\2")

    def outer(text: str) -> list:
        found, piece, depth = [], "", 0
        for mark in text:
            if mark == "(" and depth == 0:
                found.append(piece)
                piece = ""
            piece += mark
            depth += {"(": 1, ")": -1}.get(mark, 0)
            if mark == ")" and depth == 0:
                found.append(piece)
                piece = ""
        return [piece for piece in found + [piece] if piece]

    def read(text: str, weight: float) -> list:
        found = []
        for piece in outer(text):
            if len(piece) < 2 or piece[0] != "(" or piece[-1] != ")":
                found.append([piece, weight])
                continue
            inner, said = piece[1:-1], weight * 1.1
            colon = inner.rfind(":")
            if colon > 0:
                try:
                    said = float(inner[colon + 1 :])
                    inner = inner[:colon]
                except ValueError:
                    pass
            found += read(inner, said)
        return found

    return [[piece.replace("\0\1", ")").replace("\0\2", "("), weight] for piece, weight in read(text, 1.0)]


def chunks(text: str, size: int, backtrack: int) -> list:
    """Chunks of words by the comma rule."""
    done, chunk = [], []
    for piece, weight in attention(text):
        if piece == "BREAK" and weight == -1:
            done.append(chunk)
            chunk = []
            continue
        for word in re.findall(r"\w+|,", piece):
            if len(chunk) == size:
                commas = [k for k, w in enumerate(chunk) if w == ","]
                tail = []
                if word != "," and backtrack and commas and size - commas[-1] <= backtrack:
                    chunk, tail = chunk[: commas[-1] + 1], chunk[commas[-1] + 1 :]
                done.append(chunk)
                chunk = tail
            chunk.append(word)
    return [len(c) for c in done + ([chunk] if chunk or not done else [])]


MARKS = ["(", ")", "[", "]", ":", ":1.2)", ":0.5]", ":3]", ": 1.4 )", "|", "\\", "\\(", "\\]", "\\\\", " ", ",", "BREAK", " BREAK ", "a", "red fox",
         "AND", " AND ", "1.5", ":-0.5", ":.5)", "é", "\n", "((b))", "[c]", "[d:e:0.5]", "[f:4]", "[g::2]", "[h|i]", "[j||k]", "(l:1.3)",
         "[(m:1.1):n:6]", "([o|p]:0.8)", ":1e1]", ": 2 ]", "BREAKx", "_AND"]  # fmt: skip


def drawn(draw: random.Random) -> str:
    return "".join(draw.choice(MARKS) for _ in range(draw.randint(0, 9)))


def closed(draw: random.Random, depth: int = 0) -> str:
    """Brackets that close, mostly."""
    kinds = ["a", "bc ", " d", "\\)", ""] if depth > 3 else ["a", "bc ", "", "(", "(:", "[", "edit", "edit", "to", "turns", "turns", ":"]
    kind = draw.choice(kinds)
    inner = lambda: "".join(closed(draw, depth + 1) for _ in range(draw.randint(0, 2)))  # noqa: E731
    number = draw.choice(["3", "0.5", " 2 ", ".25", "7.", "-1", "1e0", "12", "1.2"])
    forms = {"(": lambda: f"({inner()})", "(:": lambda: f"({inner()}:1.2)", "[": lambda: f"[{inner()}]",
             "edit": lambda: f"[{inner()}:{inner()}:{number}]", "to": lambda: f"[{inner()}:{number}]",
             "turns": lambda: "[" + "|".join(inner() for _ in range(draw.randint(1, 3))) + "]"}  # fmt: skip
    return forms[kind]() if kind in forms else kind


def main():
    draw = random.Random(13)
    texts = list(dict.fromkeys(drawn(draw) for _ in range(500)))
    nested = list(dict.fromkeys("x" * draw.randint(0, 1) + closed(draw) + closed(draw) for _ in range(900)))
    made = {"attention": [], "parts": [], "timeline": [], "comfy": [], "chunks": []}
    for text in texts:
        if not re.search(r":\s*[+-]?(\.+|[\d.]*\.[\d.]*\.[\d.]*)\s*\)", text):
            made["attention"].append([text, attention(text)])
        made["parts"].append([text, parts(text)])
        made["comfy"].append([text, comfy(text)])
    # Of empty brackets and runs of colons several readings are the grammar's, and which lark takes is its own affair.
    for text in [text for text in nested + texts[:200] if not re.search(r"\[:|::|\[\]", text)]:
        passing = draw.choice([(10, None, False), (4, None, False), (10, 20, False), (10, None, True)])
        made["timeline"].append([text, list(passing), timeline(text, *passing)])
    for _ in range(150):
        words = [draw.choice(["w"] * 6 + [","] + ["BREAK"] * draw.randint(0, 1)) for _ in range(draw.randint(0, 60))]
        size, backtrack = draw.choice([(10, 4), (15, 20), (8, 0), (12, 3)])
        made["chunks"].append([" ".join(words), size, backtrack, chunks(" ".join(words), size, backtrack)])
    lines = [f"{json.dumps(kind)}: [\n" + ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases) + "\n]" for kind, cases in made.items()]
    (HERE / "prompt_styles.json").write_text("{" + ",\n".join(lines) + "}\n")


if __name__ == "__main__":
    main()
