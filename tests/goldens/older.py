"""What earlier releases wrote: fields of their classes with defaults, read from the sources in their wheels."""

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

DIFFUSERS = ["0.2.4", "0.3.0", "0.4.2", "0.6.0", "0.8.1", "0.10.2", "0.12.1", "0.14.0", "0.16.1", "0.18.2", "0.21.4",
             "0.25.1", "0.28.2", "0.31.0", "0.35.2"]
TRANSFORMERS = ["4.19.4", "4.25.1", "4.33.3", "4.41.2", "4.49.0", "4.57.1"]


def wheel(folder: Path, project: str, version: str) -> zipfile.ZipFile:
    """A release's wheel, downloaded unless it is in the folder."""
    find = lambda: next(iter(folder.glob(f"{project}-{version}-*.whl")), None)
    if find() is None:
        args = ["download", "-q", "--no-deps", f"{project}=={version}", "-d", str(folder)]
        subprocess.run([sys.executable, "-m", "pip", *args], check=True)
    return zipfile.ZipFile(find())


def classes(release: zipfile.ZipFile, under: str) -> dict:
    """Every class defined below a path, by its name."""
    found = {}
    for name in release.namelist():
        if name.startswith(under) and name.endswith(".py"):
            for node in ast.parse(release.read(name)).body:
                if isinstance(node, ast.ClassDef):
                    found.setdefault(node.name, node)
    return found


def method(node: ast.ClassDef, name: str):
    return next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == name), None)


def literal(node):
    """A default's value, or Ellipsis where it is no literal that JSON can hold."""
    try:
        value = ast.literal_eval(node)
    except (ValueError, SyntaxError):
        return ...
    return list(value) if isinstance(value, tuple) else value


def signature(node: ast.ClassDef) -> dict:
    """The fields of a class with their defaults: what `save_config` writes."""
    init = method(node, "__init__")
    if init is None:
        return {}
    args = init.args.args[1:]
    pairs = list(zip(args[len(args) - len(init.args.defaults):], init.args.defaults))
    pairs += [(a, d) for a, d in zip(init.args.kwonlyargs, init.args.kw_defaults) if d is not None]
    values = {arg.arg: literal(default) for arg, default in pairs}
    return {name: value for name, value in values.items() if value is not ...}


def popped(node: ast.ClassDef) -> dict:
    """The fields that a class takes out of its keyword arguments, with their defaults."""
    found = {}
    for call in ast.walk(node):
        named = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "pop"
        if named and len(call.args) == 2 and getattr(call.func.value, "id", "") == "kwargs":
            name, value = literal(call.args[0]), literal(call.args[1])
            if isinstance(name, str) and value is not ...:
                found[name] = value
    return found


def state_fields(node: ast.ClassDef) -> list:
    """The names in the dictionary that a class's `state_dict` returns."""
    state = method(node, "state_dict")
    keys = [k for d in ast.walk(state) if isinstance(d, ast.Dict) for k in d.keys] if state else []
    return [k.value for k in keys if isinstance(k, ast.Constant)]


class Older:
    """All releases: `unet`, `vae`, `text` and `schedulers` are lists of (version, fields), the last by class."""

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        self.unet, self.vae, self.text, self.schedulers, self.ema = [], [], [], {}, set()
        for version in DIFFUSERS:
            release = wheel(folder, "diffusers", version)
            models = classes(release, "diffusers/models/")
            self.unet.append((version, signature(models["UNet2DConditionModel"])))
            self.vae.append((version, signature(models["AutoencoderKL"])))
            ema = classes(release, "diffusers/training_utils").get("EMAModel")
            self.ema.update(state_fields(ema) if ema else [])
            for name, node in classes(release, "diffusers/schedulers/").items():
                if name.endswith("Scheduler") and "Flax" not in name:
                    self.schedulers.setdefault(name, []).append((version, signature(node)))
        for version in TRANSFORMERS:
            release = wheel(folder, "transformers", version)
            text = signature(classes(release, "transformers/models/clip/configuration_clip")["CLIPTextConfig"])
            base = classes(release, "transformers/configuration_utils")["PretrainedConfig"]
            generation = classes(release, "transformers/generation/configuration_utils").get("GenerationConfig")
            fields = (popped(generation) if generation else {}) | popped(base) | signature(base)
            self.text.append((version, fields | text))
        self.ema -= {"shadow_params"}
