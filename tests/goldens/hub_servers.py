"""A server that answers from a table, and drawn tables with what huggingface_hub makes of them: a part of hub.py."""

import gzip
import hashlib
import json
import os
import random
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

# The plain download is what is compared.
os.environ |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}

from huggingface_hub import constants
from huggingface_hub.file_download import hf_hub_download

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "89abcdef0123456789abcdef0123456789abcdef"
REPO = "models--own--tiny"
BODY = "what is in it: käse, 0123456789\n" * 3
SUMS = {40: hashlib.sha1(BODY.encode()).hexdigest(), 64: hashlib.sha256(BODY.encode()).hexdigest()}


class Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # By host and path: an answer. And who was told a token.
    routes: dict = {}
    told: set = set()
    host = ""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        if self.headers.get("Authorization"):
            Answers.told.add(self.host)
        answer = self.routes.get(f"{self.host} {self.path}", {"status": 404})
        head = self.command == "HEAD"
        body = answer.get("body", "").encode()
        fill = lambda text: text.replace("{here}", ADDRESSES["here"]).replace("{there}", ADDRESSES["there"])
        headers = {name: fill(value) for name, value in answer.get("headers", {}).items()}
        if answer.get("gzip") == "always" or answer.get("gzip") == "get" and not head:
            body = gzip.compress(body, mtime=0)
            headers["Content-Encoding"] = "gzip"
        framing = answer.get("framing", "length")
        if framing == "length":
            headers["Content-Length"] = str(len(body))
        if framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
            body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        self.send_response_only(answer["status"])
        for name, value in {**headers, "Connection": "close"}.items():
            self.send_header(name, value)
        self.end_headers()
        if not head:
            self.wfile.write(body)

    do_GET = do_HEAD


ADDRESSES = {}


def serve():
    for host in ("here", "there"):
        server = ThreadingHTTPServer(("127.0.0.1", 0), type(host, (Answers,), {"host": host}))
        ADDRESSES[host] = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()


def tree(folder: Path) -> dict:
    """Files by path, links as "-> target", without what only huggingface_hub keeps."""
    found = {}
    for path in sorted(folder.rglob("*")) if folder.exists() else []:
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {os.readlink(path)}"
        elif path.is_file():
            found[name] = path.read_text()
    return {name: text for name, text in found.items() if not name.startswith("trees/")}


def plant(folder: Path, files: dict):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)


def download(case: dict) -> dict:
    with tempfile.TemporaryDirectory() as cache:
        plant(Path(cache) / REPO, case["before"])
        Answers.routes, Answers.told = case["routes"], set()
        constants.HF_HUB_DISABLE_SYMLINKS = not case["links"]
        try:
            path = hf_hub_download(
                "own/tiny", case["file"], revision=case["revision"], cache_dir=cache, token="hf_secret",
                endpoint=ADDRESSES["here"] + case["prefix"],
            )  # fmt: skip
            verdict = {"ok": Path(path).read_text() == BODY, "tree": tree(Path(cache) / REPO)}
            assert verdict["ok"], case
        except Exception as error:
            verdict = {"error": type(error).__name__}
        return {**verdict, "told": sorted(Answers.told)}


ETAGS = ['"{40}"', 'W/"{40}"', '"{64}"', '"{40}-1"', '"{40}:gz"', "{40}", '"5f3b~a_b.c"', '"two words"', '"a/b=="', '""', "",
         'W/"{64}"', '"{64}-12"', '"(x)+,;=$"', '"' + "x" * 120 + '"']  # fmt: skip
REFUSALS = [(401, {}), (401, {"X-Error-Code": "RepoNotFound"}), (401, {"X-Error-Code": "GatedRepo"}),
            (403, {"X-Error-Code": "GatedRepo"}), (403, {"X-Error-Message": "No, you"}), (404, {}), (418, {}),
            (404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}), (404, {"X-Error-Code": "RevisionNotFound"}),
            (404, {"X-Error-Code": "RepoNotFound"}), (429, {}), (500, {}), (503, {}), (410, {})]  # fmt: skip


def case(draw: random.Random) -> dict:
    prefix = draw.choice(["", "", "/art/hf"])
    file = draw.choice(["model_index.json", "unet/config.json", "vae/a b.json", "tokenizer/ü#x?.txt", "%41/c+d&e.txt"])
    revision = draw.choice([COMMIT, COMMIT, "main", "v1.0", "refs/pr/3", "topic/x"])
    etag = draw.choice(ETAGS if draw.random() < 0.6 else ETAGS[:3]).replace("{40}", SUMS[40]).replace("{64}", SUMS[64])
    tags, routes = [], {}
    framing, packed = draw.choice(["length"] * 3 + ["chunked", "close"]), draw.choice([None] * 4 + ["get", "always"])
    ending = {"status": 200, "body": BODY, "framing": framing} | ({"gzip": packed} if packed else {})
    # The way: hops on the hub, then perhaps one to storage, whose answer is what the hub has said already.
    styles = [draw.choice(["path", "whole", "near", "host"]) for _ in range(draw.choice([0, 0, 1, 2]))]
    styles += [draw.choice(["storage", "storage", "silent"])] if draw.random() < 0.4 else []
    said = {"ETag": etag} if etag else {}
    if draw.random() < 0.9:
        said["X-Repo-Commit"] = COMMIT
    else:
        tags.append("no commit")
    if draw.random() < 0.3:
        said |= {"X-Xet-Hash": SUMS[64], "X-Xet-Refresh-Route": "/api/xet", "Link": '</x>; rel="xet-auth"'}
    size = draw.choice([None] * 4 + [str(len(BODY.encode())), "7", "many"])
    if size:
        said["X-Linked-Size"] = size
    if packed == "always" and framing == "length" and "storage" not in styles:
        tags.append("length of what is packed")
    starts = [f"{prefix}/own/tiny/resolve/{quote(r, safe='')}/{quote(file)}" for r in dict.fromkeys([revision, COMMIT])]
    for start in starts:
        host, path = "here", start
        for hop, style in enumerate(styles):
            folder, near = path.rsplit("/", 1)[0], f"m{hop}{starts.index(start)}"
            target = {"path": f"{folder}/{near}", "whole": f"{{here}}{folder}/{near}", "near": near,
                      "host": "//" + "{here}".removeprefix("http://") + f"{folder}/{near}"}  # fmt: skip
            status = draw.choice([301, 302, 303, 307, 308])
            answer = {"status": status, "headers": {"Location": target.get(style, f"{{there}}/blob/{near}")}}
            if style == "host":
                answer["headers"]["Location"] = target["path"]
            if style == "storage":
                answer["headers"] |= said
                if etag and draw.random() < 0.6:
                    answer["headers"] |= {"X-Linked-Etag": answer["headers"].pop("ETag"), "ETag": '"of a pointer"'}
            routes[f"{host} {path}"] = answer
            host = "there" if style in ("storage", "silent") else "here"
            path = f"/blob/{near}" if host == "there" else f"{folder}/{near}"
        routes[f"{host} {path}"] = {**ending, "headers": said if "storage" not in styles else {"ETag": '"storage"'}}
    if "silent" in styles or "storage" in styles and not etag.strip('"'):
        tags.append("elsewhere without a word")
    refused = draw.random() < 0.2
    if refused:
        status, headers = draw.choice(REFUSALS)
        routes = {f"here {start}": {"status": status, "headers": headers} for start in starts}
        tags.append("refused")
    listing = f"here {prefix}/api/models/own/tiny/revision/{quote(revision, safe='')}"
    routes[listing] = {"status": 200, "body": json.dumps({"sha": COMMIT, "siblings": [{"rfilename": file}]})}
    plain = etag.lstrip("W/").strip('"')
    before = {}
    links = draw.random() < 0.85
    if not refused and plain and "/" not in plain and len(plain) < 100 and draw.random() < 0.4:
        up = "../" * (2 + file.count("/"))
        state = draw.choice(["blob", "dangling", "there", "other"] if links else ["blob", "file"])
        if state in ("blob", "there", "other"):
            before[f"blobs/{plain}"] = BODY
        if state in ("dangling", "there"):
            before[f"snapshots/{COMMIT}/{file}"] = f"-> {up}blobs/{plain}"
        if state == "other":
            before[f"snapshots/{OTHER}/{file}"] = f"-> {up}blobs/{plain}"
        if state == "file":
            before[f"snapshots/{COMMIT}/{file}"] = BODY
        if draw.random() < 0.5:
            before["refs/main"] = draw.choice([COMMIT, OTHER])
    return {"prefix": prefix, "file": file, "revision": revision, "links": links, "etag": plain, "tags": tags,
            "before": before, "routes": routes}  # fmt: skip


def downloads() -> list:
    draw = random.Random(11)
    time.sleep = lambda _: None
    rows = []
    while len(rows) < 300:
        one = case(draw)
        rows.append(short({**one, **download(one)}))
    return rows


def short(row: dict) -> dict:
    """With names for what recurs."""
    text = json.dumps(row, ensure_ascii=False)
    for name, value in {"{body}": BODY, "{40}": SUMS[40], "{64}": SUMS[64], "{commit}": COMMIT, "{other}": OTHER}.items():
        text = text.replace(json.dumps(value, ensure_ascii=False)[1:-1], name)
    return json.loads(text)
