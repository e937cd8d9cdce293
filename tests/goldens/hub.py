"""What huggingface_hub makes of environments, caches and servers, for crates/hub/src/peer.rs.

    pip install huggingface_hub==2.4.0
    python tests/goldens/hub.py             # writes hub.json beside itself; a second run writes the same bytes
    python tests/goldens/hub.py BINARY      # has calotype fetch a model, and huggingface_hub find it, and the other way round

Nothing leaves this machine. "{root}" stands for a temporary folder, "{here}" for the hub's address and "{there}" for
another's. A download's "tags" name what huggingface_hub refuses or cannot do and Calotype need not.
"""

import hashlib
import importlib
import itertools
import json
import ntpath
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path, PureWindowsPath

# Before huggingface_hub: it sets what that reads.
from hub_servers import ADDRESSES, BODY, COMMIT, OTHER, REPO, Answers, downloads, plant, serve

import huggingface_hub
from huggingface_hub import constants
from huggingface_hub._local_folder import _validate_relative_filename
from huggingface_hub.file_download import hf_hub_download
from huggingface_hub.utils import _headers, validate_repo_id

# --- environments ---

TOKEN_FILES = {
    "user/.cache/huggingface/token": "hf_default\n",
    "user/models/token": "hf_models",
    "plain/token": "  hf_plain\r\n",
    "tokens/one": "hf_one",
    "tokens/blank": " \n",
    "xdg/huggingface/token": "hf_xdg",
}
FOLDERS = ["", "~", "~/models", "$HOME/m", "${HOME}/m", "$NOWHERE/m", "${NOWHERE}/$SUB", "{root}/plain", "some/where",
           "~nobody-at-all/x", "{root}/$SUB/$SUBx", "$SUB/y", "{root}/a~b/~", "{root}/${SUB", "{root}/$$SUB", "./~/z",
           "{root}/plain/"]
TRUTHS = ["", "0", "1", "on", "ON", "Yes", "true", "TRUE", "no", "2", "y", " 1", "false"]
POOLS = {
    "HOME": ["{root}/user/", "", "/"],
    "SUB": ["sub", "~/sub", "$HOME", "{root}/sub"],
    "HF_HOME": FOLDERS,
    "XDG_CACHE_HOME": ["", "{root}/xdg", "~/xdg", "$SUB/xdg", "xdg"],
    "HUGGINGFACE_HUB_CACHE": FOLDERS,
    "HF_HUB_CACHE": FOLDERS,
    "HF_TOKEN": ["", " ", "hf_a", " hf_a\n", "hf_a\r\nb", "\t"],
    "HUGGING_FACE_HUB_TOKEN": ["", "hf_old", "\nhf_old "],
    "HF_TOKEN_PATH": ["{root}/tokens/one", "~/models/token", "{root}/tokens/none", "{root}/tokens/blank", "$SUB/t"],
    "HF_HUB_DISABLE_IMPLICIT_TOKEN": TRUTHS,
    "HF_HUB_OFFLINE": TRUTHS,
    "TRANSFORMERS_OFFLINE": TRUTHS,
    "HF_HUB_DISABLE_SYMLINKS": TRUTHS,
    "HF_ENDPOINT": ["https://m.example", "https://m.example/", "http://m.example:8080/art/hf//", "http://127.0.0.1:1"],
    "HF_HUB_ETAG_TIMEOUT": ["0", "5", "ten", " 7 ", "1.5", "+3", ""],
    "HF_HUB_DOWNLOAD_TIMEOUT": ["0", "60", "1e3", "\t9"],
}


def environment(env: dict, root: Path) -> dict:
    kept = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update({name: value.replace("{root}", str(root)) for name, value in env.items()})
        importlib.reload(constants)
        timeout = lambda name, default: value if (value := getattr(constants, name)) != default else None
        return {
            "cache": str(Path(constants.HF_HUB_CACHE).expanduser().resolve()).replace(str(root), "{root}"),
            "endpoint": constants.ENDPOINT,
            "token": _headers.get_token_to_send(None),
            "offline": constants.HF_HUB_OFFLINE,
            "links": not constants.HF_HUB_DISABLE_SYMLINKS,
            "patience": [
                timeout("HF_HUB_ETAG_TIMEOUT", constants.DEFAULT_ETAG_TIMEOUT),
                timeout("HF_HUB_DOWNLOAD_TIMEOUT", constants.DEFAULT_DOWNLOAD_TIMEOUT),
            ],
        }
    except (ValueError, RuntimeError) as error:
        return {"error": type(error).__name__}
    finally:
        os.environ.clear()
        os.environ.update(kept)
        importlib.reload(constants)


def environments(root: Path) -> list:
    draw, rows = random.Random(7), []
    for name, text in TOKEN_FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "cwd").mkdir()
    os.chdir(root / "cwd")
    for index in range(400):
        # Few variables, so that what is behind others is seen too.
        share = [0.12, 0.25, 0.5][index % 3]
        env = {"HOME": "{root}/user"}
        env |= {name: draw.choice(pool) for name, pool in POOLS.items() if draw.random() < share * (0.3 if "TIMEOUT" in name else 1)}
        rows.append({"env": env, **environment(env, root)})
    return rows


# --- paths on Windows ---

HOMES = {
    "USERPROFILE": ["C:\\Users\\ann", "D:/home", "C:\\Users\\ann\\", ""],
    "HOMEDRIVE": ["C:"],
    "HOMEPATH": ["\\Users\\ann", "\\"],
    "USERNAME": ["ann", "Administrator"],
    "SUB": ["sub", "~\\sub", "%HOMEPATH%", "C:\\sub"],
    "A-B": ["dash"],
}
PIECES = ["~", "~ann", "~bob", "\\", "/", "%SUB%", "%NOWHERE%", "%", "%%", "$SUB", "${SUB}", "$NOWHERE", "${NOWHERE}", "$$", "${", "$A-B",
          "'", "models", "é", "%USERPROFILE%"]  # fmt: skip


def windows_paths() -> list:
    """What ntpath, which os.path is on Windows, makes of paths: huggingface_hub applies both functions, in this order."""
    draw, rows, kept = random.Random(17), [], dict(os.environ)
    for _ in range(300):
        env = {name: draw.choice(pool) for name, pool in HOMES.items() if draw.random() < 0.6}
        if "USERPROFILE" not in env and "HOMEPATH" not in env:
            env["USERPROFILE"] = HOMES["USERPROFILE"][0]
        path = draw.choice(["~", "~", "~\\", "~ann\\", "C:\\", ""]) + "".join(draw.choices(PIECES, k=draw.randrange(5)))
        try:
            os.environ.clear()
            os.environ.update(env)
            rows.append({"env": env, "path": path, "means": ntpath.expandvars(ntpath.expanduser(path))})
        finally:
            os.environ.clear()
            os.environ.update(kept)
    return rows


# --- names ---


def refused(check, text: str) -> bool:
    try:
        check(text)
        return False
    except ValueError:
        return True


def repository_names() -> list:
    parts = ["a", "A.b_c", "d-1.5", "-a", "a-", ".a", "a.", "_a_", "a--b", "a..b", "x.git", "é", "a b", "", "..", "n" * 97,
             "n" * 96, "1", "a+b"]
    rows = [f"{owner}/{name}" for owner, name in itertools.product(parts, ["b", *parts[4:12:3]])] + ["a/b/c", "/a/b", "a/b/"]
    return [[name, not refused(validate_repo_id, name)] for name in rows]


def file_names() -> list:
    parts = ["a.json", "..", ".", "", "C:", "C:x", "a\\b", "\\\\host\\share", "nul", "CON.json", "com1", "lpt9.txt", "com",
             "console", "aux ", "a.", "a ", "x:y", "über", "a b", "\0", "a\nb", "..a", "~", "COM¹", "prn.", "$x"]
    paths = parts + ["/".join(pair) for pair in itertools.product(parts, ["a.json", "..", "C:x"])] + ["/etc/passwd", "a/../b", "unet/../../x"]
    reserved = lambda path: any(PureWindowsPath(part).is_reserved() for part in path.split("/"))
    return [[path, refused(_validate_relative_filename, path), reserved(path)] for path in paths]


# --- caches without a network ---

NEEDED = ["model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json", "unet/config.json",
          "vae/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt", "text_encoder/model.safetensors",
          "unet/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors"]  # fmt: skip
OPTIONAL = ["tokenizer/tokenizer_config.json", "tokenizer/special_tokens_map.json", "tokenizer/added_tokens.json"]


def caches() -> list:
    """Each file of a snapshot is a link, a file itself ("plain"), dangling or absent: "lpd."."""
    draw, rows = random.Random(13), []
    for index in range(160):
        damage = [0, 0.04, 0.2][index % 3]
        states = ""
        for name in NEEDED + OPTIONAL:
            damaged = draw.random() < damage or name in OPTIONAL and draw.random() < 0.3
            states += draw.choice(".d" if name in NEEDED else "...d") if damaged else draw.choice("llp")
        refs = {name: draw.choice([COMMIT] * 6 + [OTHER]) for name in ("main", "refs/pr/1", "v1") if draw.random() < 0.6}
        revision = draw.choice(["main", "main", "main", "refs/pr/1", "v1", COMMIT, OTHER, COMMIT.upper(), COMMIT[:7]])
        files = {f"refs/{name}": commit for name, commit in refs.items()}
        for name, state in zip(NEEDED + OPTIONAL, states):
            blob = hashlib.sha1(name.encode()).hexdigest()
            if state != ".":
                link = f"-> {'../' * (2 + name.count('/'))}blobs/{blob}"
                files[f"snapshots/{COMMIT}/{name}"] = "{}" if state == "p" else link
            if state == "l":
                files[f"blobs/{blob}"] = "{}"
        found = ""
        with tempfile.TemporaryDirectory() as cache:
            plant(Path(cache) / REPO, files)
            for name in NEEDED + OPTIONAL:
                try:
                    hf_hub_download("own/tiny", name, revision=revision, cache_dir=cache, local_files_only=True)
                    found += "y"
                except huggingface_hub.errors.LocalEntryNotFoundError:
                    found += "n"
        rows.append({"states": states, "refs": refs, "revision": revision, "found": found})
    return rows


# --- the two side by side ---


def together(binary: str):
    """calotype fetches, huggingface_hub finds; then the other way round."""
    model = Path(__file__).with_name("sd1-tiny") / "model"
    files = sorted(f.relative_to(model).as_posix() for f in model.rglob("*") if f.is_file())
    routes = {}
    for name in files:
        # Weights as text of the right length would do; the binary reads them, so bytes are kept as latin-1.
        body = (model / name).read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(body).hexdigest()}"', "X-Repo-Commit": COMMIT}
        for revision in ("main", COMMIT):
            routes[f"here /own/tiny/resolve/{revision}/{name}"] = {"status": 200, "raw": body, "headers": headers}
    siblings = [{"rfilename": name} for name in files]
    for tail in ("", "/revision/main", f"/revision/{COMMIT}"):
        routes[f"here /api/models/own/tiny{tail}"] = {
            "status": 200, "body": json.dumps({"id": "own/tiny", "sha": COMMIT, "siblings": siblings})}  # fmt: skip
    Answers.routes = {key: {**answer, "body": _Raw(answer["raw"])} if "raw" in answer else answer for key, answer in routes.items()}

    def run(home: str, *more: str):
        env = {"PATH": os.environ["PATH"], "HOME": home, "HF_HOME": home, "HF_ENDPOINT": ADDRESSES["here"]}
        subprocess.run([binary, "inspect", "own/tiny", *more], env=env, check=True, stdout=subprocess.DEVNULL)

    with tempfile.TemporaryDirectory() as home:
        run(home)
        for name in files:
            hf_hub_download("own/tiny", name, cache_dir=f"{home}/hub", local_files_only=True)
        cached = huggingface_hub.try_to_load_from_cache("own/tiny", "tokenizer/added_tokens.json", f"{home}/hub")
        assert cached is huggingface_hub.file_download._CACHED_NO_EXIST, cached
        report = huggingface_hub.scan_cache_dir(f"{home}/hub")
        assert not report.warnings and [r.repo_id for r in report.repos] == ["own/tiny"], report
    with tempfile.TemporaryDirectory() as home:
        for name in files:
            hf_hub_download("own/tiny", name, cache_dir=f"{home}/hub", endpoint=ADDRESSES["here"])
        run(home, "--offline")
    print(f"both found the other's {len(files)} files")


class _Raw(str):
    """Bytes where a text is expected."""

    def __new__(cls, raw: bytes):
        self = super().__new__(cls, "raw")
        self.raw = raw
        return self

    def encode(self):
        return self.raw


def main():
    serve()
    if len(sys.argv) > 1:
        return together(os.path.abspath(sys.argv[1]))
    with tempfile.TemporaryDirectory() as root:
        here = os.getcwd()
        parts = {"environments": environments(Path(root).resolve())}
        os.chdir(here)
    parts |= {"windows_paths": windows_paths(), "names": repository_names(), "files": file_names(), "downloads": downloads(), "caches": caches()}
    result = {"huggingface_hub": huggingface_hub.__version__, "commit": COMMIT, "body": BODY, "token_files": TOKEN_FILES}
    result |= {"needed": NEEDED, "optional": OPTIONAL} | parts
    # Files of less than 300 KB.
    for stem, keys in {"hub": [k for k in result if k != "downloads"], "hub_downloads": ["downloads"]}.items():
        write(Path(__file__).resolve().with_name(f"{stem}.json"), {key: result[key] for key in keys}, parts)
    verdicts = [row.get("error", "ok") for row in parts["downloads"]]
    print({verdict: verdicts.count(verdict) for verdict in sorted(set(verdicts))})


def write(path: Path, result: dict, parts: dict):
    lines = []
    for key, value in result.items():
        dump = lambda v: json.dumps(v, separators=(",", ":"), ensure_ascii=False)
        rows = ",\n".join(map(dump, value)) if key in parts else None
        lines.append(f'"{key}":[\n{rows}\n]' if rows else f'"{key}":{dump(value)}')
    path.write_text("{" + ",\n".join(lines) + "}\n", encoding="utf-8")
    print(path.name, {key: len(result[key]) for key in result if key in parts}, path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
