#!/usr/bin/env python3
"""What a set of commands prints and writes, for tests/cli/recorded.rs: recorded once, from the program as it was before its
upper half was rebuilt (commit d3de790), so that flags and JSON go on meaning what they meant.

    recorded.py PROGRAM      writes recorded.json beside this file

Each case is commands run one after another in a folder of their own, on the CPU executor. Of each command the exit code and
the JSON are kept, and of each PNG its size, its settings and the mean colour of each field of 8 by 8: bits of pictures
differ from processor to processor by what vectors it has. Needs numpy and pillow.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from PIL import Image

HERE = Path(__file__).resolve().parent
MODEL = "sd1-tiny/model"

DRAW = ["generate", "a red apple", "--backend", "cpu", "--json"]
TINY = [*DRAW, "-m", MODEL, "--seed", "5"]
SAMPLERS = {
    "ddim": ["--eta", "0.5"], "pndm": [], "euler": [], "euler_a": [], "heun": [], "lms": [], "dpm++_2m": [],
    "unipc": [], "lcm": [],
}

CASES = [
    [[*DRAW, "--seed", "7", "-o", "a.png"]],
    [[*DRAW, "--seed", "7", "--no-few-steps", "--steps", "3", "--cfg-scale", "4", "-o", "a.png"]],
    *[[[*TINY, "--steps", "4", "--sampler", name, *more, "-o", "a.png"]] for name, more in SAMPLERS.items()],
    [[*TINY, "--steps", "4", "--sampler", "euler", "--scheduler", "karras", "-o", "a.png"]],
    [[*TINY, "--steps", "3", "--cfg-rescale", "0.7", "-n", "blurred, grey", "-o", "a.png"]],
    [[*TINY, "--steps", "2", "-b", "2", "--batch-count", "2", "--grid", "-o", "a-%02d.png"]],
    [[*TINY, "--steps", "2", "-b", "2", "--batch-seeds", "one", "-o", "a-%d.png"]],
    [[*TINY, "--steps", "2", "-W", "72", "-H", "40", "--no-metadata", "-o", "a.png"]],
    [[*TINY, "--steps", "2", "--cfg-scale", "1", "--save-latents", "l.safetensors", "-o", "a.png"],
     [*TINY, "--steps", "2", "--overwrite", "-o", "a.png"]],
    [[*TINY, "--steps", "2", "-o", "a.png"], [*TINY, "--steps", "2", "-o", "a.png"]],
    [["generate", "--from-file", "p.txt", "--backend", "cpu", "--json", "-m", MODEL, "--seed", "1", "--steps", "1",
      "-o", "a-%d.png"]],
    [["plan", "--json", "-m", MODEL]],
    [["plan", "--json", "-m", "synthetic:sd15", "--dtype", "f16", "-b", "2"]],
    [["plan", "--json", "-m", "synthetic:sd21", "--dtype", "f32", "-W", "768", "-H", "512", "--cfg-scale", "1"]],
    [["inspect", "--json"]],
    [["inspect", "--json", MODEL]],
    [["inspect", "--json", "synthetic:sd21"]],
    [[*TINY, "--sampler", "no_such_sampler"]],
    [[*TINY, "--steps", "0"]],
    [[*TINY, "-W", "63"]],
    [["generate", "a", "-m", "no-such-folder", "--json"]],
]


def picture(path: Path) -> dict:
    image = Image.open(path)
    pixels = numpy.asarray(image.convert("RGB"), dtype=numpy.float64)
    height, width, _ = pixels.shape
    fields = pixels.reshape(height // 8, 8, width // 8, 8, 3).mean((1, 3))
    means = [round(float(mean), 2) for mean in fields.reshape(-1)]
    return {"size": [width, height], "settings": image.info.get("parameters"), "means": means}


def run(program: str, commands) -> dict:
    told = []
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "p.txt").write_text("a red apple\na green pear\n")
        for command in commands:
            args = [str(HERE / part) if part == MODEL else part for part in command]
            environment = dict(os.environ, CALOTYPE_CACHE_DIR="", HF_HOME=str(folder / "none"))
            ran = subprocess.run([program, *args], cwd=folder, env=environment, capture_output=True, text=True)
            lines = [json.loads(line.replace(str(HERE) + "/", "")) for line in ran.stdout.splitlines()]
            told.append({"args": command, "code": ran.returncode, "json": lines})
        pictures = {path.name: picture(path) for path in sorted(folder.glob("*.png"))}
        names = sorted(path.name for path in folder.iterdir() if path.name != "p.txt")
    return {"commands": told, "files": names, "pictures": pictures}


cases = [run(sys.argv[1], commands) for commands in CASES]
lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
(HERE / "recorded.json").write_text(f"[\n{lines}\n]\n")
