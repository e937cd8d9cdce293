"""The steps of `gpu-check run`, in the order in which they are worth most, and the table that they end in."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

# What the program reads to leave robust buffer access on.
ROBUST = "CALOTYPE_ROBUST_ACCESS"
BATCHES = {"sd15-512": 1, "sd15-512-b4": 4}


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


@dataclass
class Step:
    name: str
    limit: int
    about: str
    run: Callable


class Card:
    """The machine with the card, what was packed, and how long there is."""

    def __init__(self, args, root: Path, made: Path):
        self.args, self.root, self.made = args, root, made
        self.end = time.monotonic() + args.budget - 10
        self.log = open(args.out / "gpu-check.log", "a")
        self.beside = None
        self.env = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONPATH=str(made / "site"))
        # Kernels that an earlier start left would hide what a first one takes.
        self.env |= {"__GL_SHADER_DISK_CACHE": "0", "MESA_SHADER_CACHE_DISABLE": "true"}
        if not args.runner:
            # Last, so that what the machine has is taken first.
            self.env["LD_LIBRARY_PATH"] = f"{os.environ.get('LD_LIBRARY_PATH', '')}:{made / 'lib'}".lstrip(":")
        icd = Path("/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json")
        if icd.exists() and "VK_DRIVER_FILES" not in self.env:
            self.env["VK_DRIVER_FILES"] = str(icd)

    def left(self) -> float:
        return self.end - time.monotonic()

    def run(self, command, limit, env=(), fine=(0,)) -> str:
        """What a command prints; it is stopped at its limit, with what it started."""
        command = [str(part) for part in command]
        print("$", *command, file=self.log, flush=True)
        limit = max(1, min(limit, self.left()))
        process = subprocess.Popen(
            command, env=self.env | dict(env), cwd=self.root, stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )
        try:
            said, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, _ = process.communicate()
            print(said, file=self.log, flush=True)
            raise Failed(f"not done in {limit:.0f} s\n{said[-2000:]}")
        print(said, file=self.log, flush=True)
        if process.returncode not in fine:
            raise Failed(f"status {process.returncode}: {said.strip()[-500:]}")
        return said

    def program(self, name, *flags, **more) -> str:
        return self.run([*self.args.runner, self.made / name, *flags], **more)

    def start(self, script, *flags):
        """A script beside the steps that are not timed; `settle` waits for it."""
        command = [str(part) for part in (self.args.python, self.root / "scripts" / script, *flags)]
        self.beside = subprocess.Popen(command, env=self.env, cwd=self.root, stdin=subprocess.DEVNULL, stdout=self.log,
            stderr=subprocess.STDOUT, start_new_session=True,
        )

    def settle(self, limit):
        """Ends what was started, at once where it takes longer than that: what comes next is timed."""
        process, self.beside = self.beside, None
        if process:
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                raise Failed(f"not done in {limit:.0f} s more")
            if process.returncode:
                raise Failed(f"status {process.returncode}: the log tells why")

    def torch(self, script, *flags, limit):
        return self.run([self.args.python, self.root / "scripts" / script, *flags], limit)

    def bench(self, preset, cache, *flags, limit, env=()):
        """Of the record's one run, what the table needs."""
        run = self.record(preset, cache, *flags, limit=limit, env=env)
        mib = run["peak_bytes"] / 2**20
        keep = {"cold_s": run["cold"]["total"], "warm_s": run["warm"]["batch"]["median"], "peak_mib": round(mib)}
        parts = {"cold": run["cold"], "warm": run["warm"], "dispatches": run["plan"]["unet_dispatches"]}
        return keep | {"step_ms": run["warm"]["step"]["median"] * 1e3, "tuned": run["tuned"]} | parts

    def record(self, preset, cache, *flags, limit, env=(), quick=False):
        """The record's one run."""
        file, steps = self.made / "bench.json", ("--steps", "2") if quick or self.args.small else ()
        if self.args.small:
            preset, flags = "builtin", (*flags, "-m", "models/emoji", "--adapter", "0")
        repeats = "1" if quick or self.args.small else "3"
        flags = (preset, "--dtype", "f16", *steps, "--repeats", repeats, "--json", file, "--overwrite", *flags)
        self.program("calotype", "bench", *flags, limit=limit, env={"CALOTYPE_CACHE_DIR": str(cache), **dict(env)})
        return json.loads(file.read_text())["runs"][0]

    def presets(self):
        return ["sd15-512"] if self.args.small else list(BATCHES)


def last_json(said: str):
    """The object that ends what was printed, whatever warnings came before."""
    start = said.index("{\n") if "{\n" in said else said.index("{")
    return json.JSONDecoder().raw_decode(said[start:])[0]


def adapter(card, limit):
    found = {}
    if shutil.which("nvidia-smi"):
        query = "--query-gpu=name,driver_version,memory.total,clocks.max.sm"
        found["nvidia_smi"] = card.run(["nvidia-smi", query, "--format=csv,noheader"], limit).strip()
    found["adapters"] = card.program("calotype", "adapters", limit=limit).strip()
    found["commit"] = (card.made / "commit").read_text().strip()
    return found


def warm(card, limit):
    """Compiling takes torch minutes and no card: it goes on beside the steps that are not timed."""
    small = ["--small", "--device", "cpu", "--batch", "1"] if card.args.small else []
    card.start("gpu_peers.py", "--compile", "--steps", "1", "--repeats", "0", *small)
    return "begun"


def settle(card, limit):
    card.settle(limit)
    return "done"


def tests(card, limit):
    """The project's own tests of kernels, against the CPU executor and diffusers' numbers."""
    some = ["tiers::cooperative"] if card.args.small else ["tiers::", "golden::", "ops::", "tuning::", "bounds::"]
    threads = ["--test-threads", "4", "--skip", "same_every_time"]
    return card.program("tests", *some, *threads, limit=limit, env={"CALOTYPE_TEST_GPU": "1"}).strip()[-2000:]


def check(card, limit):
    flags = ["--ops", "--adapter", "0"] if card.args.small else ["-m", "models/emoji"]
    return last_json(card.program("calotype", "check", *flags, "--json", limit=limit, fine=(0, 1)))


SPEED = re.compile(r"^  (\S.*?) +([\d.]+) ms +([\d.]+) TFLOP/s$", re.M)


def ops(card, limit):
    said = card.program("gpu_proof", *(["128", "20", "8"] if card.args.small else []), limit=limit)
    tiers = {}
    for part in re.split(r"^tier ", said, flags=re.M)[1:]:
        rows = {name: {"ms": float(ms), "tflops": float(t)} for name, ms, t in SPEED.findall(part)}
        tiers[part.split()[0].rstrip(":")] = {"said": part.splitlines()[0], "ops": rows}
    if not any(tier["ops"] for tier in tiers.values()):
        raise Failed(said[-500:])
    return {"tiers": tiers, "said": said}


def torch_ops(card, limit):
    found = card.results.get("ops", {}).get("found")
    if not found:
        raise Skipped("our own ops were not timed")
    names = list(dict.fromkeys(name for tier in found["tiers"].values() for name in tier["ops"]))
    device = ["--device", "cpu"] if card.args.small else []
    said = card.torch("gpu_ops.py", *device, *names, limit=limit)
    return last_json(said)


def untuned(card, limit):
    cache = card.made / "untuned"
    return {p: card.bench(p, cache, "--no-autotune", limit=limit / 2) for p in card.presets()}


def tuned(card, limit):
    """Starts until tuning has nothing left to try, at most eight, and then one as the last of them left it."""
    end, found, cache = time.monotonic() + limit, {}, card.made / "tuned"
    said = {"RUST_LOG": "calotype_gpu=debug"}  # The log then has every cut's time.
    for preset in card.presets():
        before = -1
        for start in range(8):
            now = card.record(preset, cache, limit=end - time.monotonic(), env=said, quick=True)["tuned"]
            if now == before:
                break
            before = now
        found[preset] = card.bench(preset, cache, limit=end - time.monotonic()) | {"starts": start + 1}
    return found


def second(card, limit):
    """A start that finds its kernels compiled and tuned."""
    end, cache = time.monotonic() + limit, card.made / "tuned"
    rounds = 1 if cache.exists() else 2  # The tuned starts may have been another call's.
    for _ in range(rounds):
        found = {p: card.bench(p, cache, limit=end - time.monotonic()) for p in card.presets()}
    return found


def profile(card, limit):
    """Every launch of a step, tuned."""
    run = card.record("sd15-512", card.made / "tuned", "--ops", limit=limit)
    return {"plan": run["plan"], "ops": run["ops"]}


def sdxl(card, limit):
    return {"sdxl-1024": card.bench("sdxl-1024", card.made / "tuned", limit=limit)}


def robust(card, limit):
    found = {}
    for name, value in (("on", "1"), ("off", "0")):
        cache = card.made / f"robust-{name}"
        found[name] = card.bench("sd15-512", cache, "--no-autotune", limit=limit / 2, env={ROBUST: value})
    return found


def peers(*flags):
    def step(card, limit):
        small = ["--small", "--device", "cpu", "--steps", "2", "--repeats", "1", "--batch", "1"]
        said = card.torch("gpu_peers.py", *flags, *(small if card.args.small else ["--repeats", "3"]), limit=limit)
        return [json.loads(line) for line in said.splitlines() if line.startswith("{")]

    return step


def race(card, limit):
    runs = "5" if card.args.small else "2000"
    test = "tiers::products_on_cooperative_matrices_are_the_same_every_time"
    env = {"CALOTYPE_TEST_GPU": "1", "CALOTYPE_RACE_RUNS": runs}
    said = card.program("tests", test, "--exact", "--nocapture", limit=limit, env=env)
    if "1 passed" not in said:
        raise Failed(said[-500:])
    if "no tier coop" in said:
        raise Skipped("the adapter has no cooperative matrices")
    return f"{runs} runs, the same to the bit"


STEPS = [
    Step("adapter", 40, "adapter, driver, tiers, matrix shapes", adapter),
    Step("warm", 5, "torch.compile begins to compile, beside the next one", warm),
    Step("race", 60, "products on matrices, 2000 times, bit by bit", race),
    Step("settle", 80, "torch.compile has compiled", settle),
    Step("ops", 90, "products, convolutions, attention by tier", ops),
    Step("torch-ops", 40, "the same by cuBLAS, cuDNN and SDPA", torch_ops),
    Step("untuned", 60, "sd15-512 and -b4 by the built-in table", untuned),
    Step("compile", 80, "diffusers, torch.compile", peers("--compile")),
    Step("tuned", 120, "ours, tuned", tuned),
    Step("profile", 40, "ours, launch by launch", profile),
    Step("second", 40, "ours, a second start", second),
    Step("eager", 60, "diffusers, f16, eager with SDPA", peers("--eager")),
    Step("robust", 40, "robust buffer access on and off", robust),
    Step("sdxl", 90, "sdxl-1024", sdxl),
    Step("check", 240, "calotype check on every tier: drivers compile for minutes", check),
    Step("tests", 240, "the tests of kernels and stages, likewise", tests),
]


def run(args, root: Path, made: Path):
    args.out = args.out.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    results = json.loads(args.state.read_text()) if args.state else {}
    card = Card(args, root, made)
    card.results = results
    names = [step.name for step in STEPS]
    for name in [*(args.only or []), *([args.start] if args.start else [])]:
        if name not in names:
            raise SystemExit(f"there is no step {name}; there are {', '.join(names)}")
    for step in STEPS[names.index(args.start) if args.start else 0 :]:
        if args.only and step.name not in args.only:
            continue
        if results.get(step.name, {}).get("state") == "done" and not args.only:
            continue
        results[step.name] = one(card, step)
        write(args.out, results)
        told = results[step.name]
        print(f"{step.name}: {told['state']}, {told['seconds']} s {told.get('why', '')}".strip(), flush=True)
    print((args.out / "gpu-check.md").read_text())


def one(card, step) -> dict:
    start = time.monotonic()
    if card.left() < 15:
        return {"state": "left", "seconds": 0, "why": "no time was left: give this JSON to a second call by --state"}
    try:
        # Without a card everything takes longer, and there is no hurry.
        limit = step.limit * (10 if card.args.small else 1)
        told = {"state": "done", "found": step.run(card, min(limit, card.left()))}
    except Skipped as why:
        told = {"state": "skipped", "why": str(why)}
    except Failed as why:
        told = {"state": "failed", "why": str(why)}
    except Exception as why:  # Whatever a step meets, the next ones are worth the card's time.
        told = {"state": "failed", "why": f"{type(why).__name__}: {why}"}
    return told | {"seconds": round(time.monotonic() - start, 1)}


def write(out: Path, results: dict):
    """Whole or not at all: a run may be killed at any time."""
    for name, text in (("json", json.dumps(results, indent=1)), ("md", table(results))):
        part = out / f"gpu-check.{name}.part"
        part.write_text(text)
        part.rename(out / f"gpu-check.{name}")


def first_line(text: str) -> str:
    return next(iter(text.splitlines()), "no reason was given")


def table(results: dict) -> str:
    found = {name: told["found"] for name, told in results.items() if told["state"] == "done"}
    lines = [f"- {name}: {t['state']}: {first_line(t['why'])}" for name, t in results.items() if "why" in t]
    head = found.get("adapter", {})
    lines[:0] = [f"{head.get('nvidia_smi', '')} at {head.get('commit', '?')}", "", "```", head.get("adapters", "?"), "```", ""]
    if "check" in found:
        lines += ["", "| tier | `calotype check` |", "|---|---|"]
        for tier in found["check"]["tiers"]:
            first = tier["departures"][0]["name"] if tier["departures"] else None
            verdict = f"departs at {first}" if first else tier["note"] or f"{tier['held']} agree"
            lines.append(f"| {tier['tier']} | {verdict} |")
    lines += ops_table(found)
    lines += pictures_table(found)
    if "race" in found:
        lines += ["", f"Memory order: {found['race']}."]
    return "\n".join(lines) + "\n"


def ops_table(found) -> list[str]:
    tiers = {n: t["ops"] for n, t in found.get("ops", {}).get("tiers", {}).items() if t["ops"]}
    if not tiers:
        return []
    theirs = found.get("torch-ops", {}).get("ops", {})
    lines = ["", f"| op, f16, TFLOP/s | {' | '.join(tiers)} | PyTorch | best of it |", "|---" * (len(tiers) + 3) + "|"]
    for name in dict.fromkeys(name for ops in tiers.values() for name in ops):
        ours = [ops.get(name, {}).get("tflops") for ops in tiers.values()]
        peer = theirs.get(name)
        ratio = f"{max(filter(None, ours), default=0) / peer:.2f}" if peer else "-"
        cells = " | ".join("-" if t is None else f"{t:.2f}" for t in ours)
        lines.append(f"| {name} | {cells} | {f'{peer:.2f}' if peer else '-'} | {ratio} |")
    return lines


def pictures_table(found) -> list[str]:
    rows = []
    for step in ("untuned", "tuned", "second", "sdxl"):
        for preset, run in found.get(step, {}).items():
            rows.append((BATCHES.get(preset, 1), f"calotype, {step}", run["cold_s"], run["warm_s"], run["step_ms"], run["peak_mib"]))
    for name, run in found.get("robust", {}).items():
        rows.append((1, f"calotype, untuned, robust access {name}", run["cold_s"], run["warm_s"], run["step_ms"], run["peak_mib"]))
    for peer in [*found.get("eager", []), *found.get("compile", [])]:
        memory = peer.get("peak_reserved_mib", "-")
        rows.append((peer["batch"], f"diffusers, {peer['engine']}", peer["first_s"], peer["warm_s"], peer["step_ms"], memory))
    if not rows:
        return []
    lines = ["", "| batch | what | first s | warm s | ms a step | peak MiB |", "|---|---|---|---|---|---|"]
    for batch, what, first, warm, step, memory in sorted(rows, key=lambda row: row[0]):
        lines.append(f"| {batch} | {what} | {first:.2f} | {warm:.3f} | {step:.2f} | {memory} |")
    return lines
