"""Ids of awkward prompts under the full CLIP vocabulary, for crates/pipeline/tests/tokenizer.rs.

    pip install transformers==5.23.0 tokenizers; pip install --no-deps open_clip_torch
    python tests/goldens/tokens.py          # writes tokens.json beside itself

As diffusers' pipelines call it: padding="max_length", truncation, max_length 77. "end" is Stable Diffusion 1.x's
padding, "bang" that of 2.x. Each prompt has its ids without the padding, and how many it would have uncut.
"""

import json
import tempfile
from pathlib import Path

import prompts
import vocabulary
from transformers import CLIPTokenizer

MORE = [
    "\t\n\r\x0b\x0c",
    "a\x0bb\x0cc\x1cd\x1de\x1ef\x1fg\x85h\u2028i\u2029j\u180ek\u2060l\ufeffm",
    "tab\tnew\nline\r\nreturn\u00a0nbsp\u3000ideographic",
    "null\x00byte and delete\x7f and \u0085next line",
    "!",
    "!!! wow! a!b !c",
    "<|endoftext|>",
    "<|ENDOFTEXT|> <|StartOfText|>",
    "x<|startoftext|>y<|endoftext|>z <| endoftext |>",
    "<|endoftext|>!<|startoftext|>",
    "ΣΣ Σ ΑΣ. ΑΣΑ ς σ Σ",
    "İ I ı i İİ ẞ ß ŉ ǰ ΐ ﬃ",
    "\u1e9e\u0130\u212a\u212b\u2126 Ⓐ Ⅷ",
    "ö o\u0308 \u1100\u1161\u11a8 각 \u0344 \u0958 क\u093c",
    "ｆｕｌｌ１２３　ﾊﾝｶｸ ①②③ ⅓ ١٢٣ १२३ 𝟘𝟙",
    "I'LL WE'VE Don'T 'S 's's 'd've o'clock ''ll",
    "’s ’t ‘re ʼm ＇s",
    "a-b_c.d,e;f:g/h\\i|j@k#l$m%n^o&p*q(r)s+t=u~v`w",
    "3.1415926535 1,234,567.89 0x1F 1e-10 10% $5 #1 №2",
    "😀😃😄 👍🏿 👩🏽‍💻 🏳️‍🌈 🏴󠁧󠁢󠁥󠁮󠁧󠁿 1️⃣ ©️ ™",
    "mixed 北京2008年 Tokyo東京タワー and 한국어text",
    "\u202eright to left override\u202c \u200fRLM\u200e LRM",
    "z\u0351\u036b\u0343a\u0300\u0301l\u0302g\u0303o\u0304",
    "ไทยไม่เว้นวรรค ภาษาไทย မြန်မာ ខ្មែរ ལྷ་ས",
    "\U0001f468\u200d\U0001f469\u200d\U0001f466 \ud7fb \ue000 \uffff \U0010ffff",
    "&amp; &#39; &nbsp; &lt;br/&gt; %20 \\n \\u0041",
    "a" * 300,
    "word " * 75,
    "word " * 76,
    "word " * 74 + "!",
    "word " * 74 + "supercalifragilistic",
    "🐱" * 40,
    "word " * 60 + "  <|endoftext|>  " + "tail " * 20,
]


def main():
    texts = prompts.AWKWARD + [p for p in MORE if p not in prompts.AWKWARD]
    result = {"prompts": texts}
    for name, pad in [("end", "<|endoftext|>"), ("bang", "!")]:
        with tempfile.TemporaryDirectory() as folder:
            vocabulary.write(Path(folder), pad, full=True)
            tokenizer = CLIPTokenizer.from_pretrained(folder)
            # The same after a round through tokenizer.json.
            with tempfile.TemporaryDirectory() as saved:
                tokenizer.save_pretrained(saved)
                again = CLIPTokenizer.from_pretrained(saved)
        rows, lengths = [], []
        for text in texts:
            call = dict(padding="max_length", max_length=tokenizer.model_max_length, truncation=True)
            row = tokenizer(text, **call)
            assert row.input_ids == again(text, **call).input_ids, text
            kept = sum(row.attention_mask)
            assert len(row.input_ids) == 77 and set(row.input_ids[kept:]) <= {tokenizer.pad_token_id}
            rows.append(row.input_ids[:kept])
            lengths.append(len(tokenizer(text, padding="longest").input_ids))
        result[name] = {"pad": tokenizer.pad_token_id, "ids": rows, "uncut": lengths}
    path = Path(__file__).with_name("tokens.json")
    body = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in result.items())
    path.write_text("{" + body + "}\n")
    print(f"{len(texts)} prompts, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
