#!/usr/bin/env python3
"""Files of weights in every container, tiny, and the numbers that their own libraries read of them.

`files/` gets the files, `files.safetensors` every tensor as f32 under `file/name`, and `files.json` for each file what it is,
its tensors' names in order, and what it says beside them. What the libraries read back is the truth; gguf's own functions
are that of blocks. A second run writes the same numbers and not the same bytes: torch's older pickles have addresses in them,
HDF5's newer groups the time.
"""

import collections
import io
import json
import os
import pickle
import shutil
import struct
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import gguf
import h5py
import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

ROOT = Path(__file__).resolve().parent
FOLDER = ROOT / "files"
RANDOM = np.random.default_rng(20)

NUMBERS = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.int16, torch.int8,
           torch.uint8, torch.bool, torch.uint16, torch.uint32, torch.uint64, torch.float8_e4m3fn, torch.float8_e5m2,
           torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu]
# Those that had a class of storages of their own.
CLASSIC = NUMBERS[:10]

tensors, files = {}, []


def normal(*shape):
    return torch.from_numpy(RANDOM.standard_normal(shape).astype(np.float32))


def numbers(dtype):
    """A few of a type's, the awkward ones among them."""
    if dtype == torch.bool:
        return torch.tensor([[True, False, True]])
    if dtype.is_floating_point:
        awkward = torch.tensor([0.0, -0.0, 1e-7, 1 / 3, 240.0], dtype=torch.float64)
        return torch.cat([normal(9).double(), awkward]).to(dtype).reshape(2, 7)
    limits = torch.iinfo(dtype)
    return torch.tensor([[limits.min, limits.max, 0], [1, 77, limits.max // 3]], dtype=dtype)


def record(name, kind, expected, unread=(), metadata=None):
    """`expected` as the library has it; `unread` are tensors that are listed and not lent."""
    for tensor, values in expected.items():
        values = torch.as_tensor(values)
        tensors[f"{name}/{tensor}"] = values.detach().to(torch.float32).contiguous().clone()
    names = sorted([*expected, *unread])
    metadata = {key: str(value) for key, value in (metadata or {}).items()}
    files.append({"file": name, "format": kind, "tensors": names, "unread": sorted(unread), "metadata": metadata})


def loaded(name):
    return torch.load(FOLDER / name, weights_only=False)


# --- PyTorch -------------------------------------------------------------------------------------------------------------


def views():
    """Tensors that do not own their numbers, or not in their order."""
    base = normal(3, 5, 7)
    image = normal(2, 3, 4, 5)
    return {
        "base": base,
        "transposed": base.permute(2, 0, 1),
        "slice": base[1, 1:4, 2:],
        "every second": base[:, ::2, 1::3],
        "last": base[2],
        "channels last": image.to(memory_format=torch.channels_last),
        "lone axes": normal(6).reshape(1, 6, 1, 1).permute(3, 1, 0, 2),
        "repeated": normal(1, 4).expand(3, 4),
        "scalar": torch.tensor(0.25),
        "element": base[0, 0, 3],
        "empty": torch.zeros(0),
        "empty too": torch.zeros(2, 0, 3),
        "shared": base,
        "column": base[:, :, 0],
    }


def named(dtypes):
    return {f"numbers.{str(dtype).removeprefix('torch.')}": numbers(dtype) for dtype in dtypes}


def save(name, kind, value, weights, unread=(), metadata=None, **options):
    torch.save(value, FOLDER / name, **options)
    record(name, kind, weights, unread, metadata)


def torch_files():
    zipped, legacy = "PyTorch pickle (zip)", "PyTorch pickle (legacy)"
    everything = views() | named(NUMBERS)
    save("numbers.ckpt", zipped, {"epoch": 3, "global_step": 875000, "lr": 1e-4, "state_dict": everything}, everything,
         metadata={"epoch": 3, "global_step": 875000, "lr": 1e-4})
    old = views() | named(CLASSIC)
    save("legacy.pth", legacy, collections.OrderedDict(old), old, _use_new_zipfile_serialization=False)
    save("protocol-4.pt", zipped, old, old, pickle_protocol=4)
    save("legacy-protocol-4.pt", legacy, old, old, pickle_protocol=4, _use_new_zipfile_serialization=False)
    save("complex.pt", zipped, {"c": torch.zeros(2, dtype=torch.complex64), "d": torch.zeros(2, dtype=torch.complex128),
                                "f": normal(3)}, {}, ["c", "d"])
    record_more("complex.pt", "f")

    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6)))
    state = {name: value.detach().clone() for name, value in module.state_dict().items()}
    save("state.bin", zipped, module.state_dict(), state)
    save("module.pt", zipped, module, state)
    save("parameters.pt", legacy, {"params_ema": state, "params": {k: v + 1 for k, v in state.items()}}, state,
         metadata={"params": f"({len(state)} tensors, left aside)"}, _use_new_zipfile_serialization=False)
    training(zipped, state)

    vectors = normal(3, 11)
    save("embedding.pt", zipped, {"string_to_token": {"*": 265}, "string_to_param": nn.ParameterDict({"*": vectors}),
                                  "name": "cat", "step": 500, "sd_checkpoint": None},
         {"string_to_param.*": vectors}, metadata={"name": "cat", "step": 500})
    save("embedding.bin", legacy, {"<cat-toy>": vectors[0]}, {"<cat-toy>": vectors[0]},
         _use_new_zipfile_serialization=False)
    layers = {"linear.0.weight": normal(4, 3), "linear.0.bias": normal(4)}
    save("hypernetwork.pt", zipped, {320: [layers, {k: -v for k, v in layers.items()}], "name": "style"},
         {f"320.{i}.{k}": v * s for i, s in ((0, 1), (1, -1)) for k, v in layers.items()}, metadata={"name": "style"})
    nested = {"image_proj": {"proj.weight": normal(2, 3)}, "ip_adapter": {"1.to_k_ip.weight": normal(3, 2)}}
    save("nested.bin", zipped, nested, {f"{a}.{b}": v for a, inner in nested.items() for b, v in inner.items()})
    itself = {"weight": normal(2)}
    itself["self"] = itself
    save("cycle.pt", zipped, itself, {"weight": itself["weight"]})

    scripted(zipped)
    big_endian(zipped, old)
    tarred(old)


def record_more(name, tensor):
    """A tensor beside those that are not lent."""
    tensors[f"{name}/{tensor}"] = loaded(name)[tensor]
    files[-1]["tensors"] = sorted([*files[-1]["tensors"], tensor])


def training(kind, state):
    """What Lightning leaves beside the weights: classes of its own, an optimizer's state, numbers of NumPy's."""
    modules = ["pytorch_lightning", "pytorch_lightning.callbacks", "pytorch_lightning.callbacks.model_checkpoint"]
    for module in modules:
        sys.modules[module] = types.ModuleType(module)
    checkpoint = type("ModelCheckpoint", (), {"__module__": modules[-1]})
    sys.modules[modules[-1]].ModelCheckpoint = checkpoint
    value = {
        "pytorch-lightning_version": "1.4.2",
        "callbacks": {checkpoint: {"monitor": "val/loss", "best": np.float64(0.5)}},
        "optimizer_states": [{"state": {0: {"step": 7, "exp_avg": normal(4)}}}],
        "lr_schedulers": [],
        "state_dict": collections.OrderedDict(state),
    }
    save("training.ckpt", kind, value, state,
         metadata={"pytorch-lightning_version": "1.4.2", "optimizer_states": "(1 tensors, left aside)"})
    for module in modules:
        del sys.modules[module]


def scripted(kind):
    """TorchScript: how upscalers are given on, too."""
    network = nn.Sequential(nn.Conv2d(3, 4, 2), nn.PReLU(4))
    torch.jit.script(network).save(str(FOLDER / "scripted.pt"))
    record("scripted.pt", kind, {k: v.detach().clone() for k, v in network.state_dict().items()})


def big_endian(kind, state):
    """As a big-endian machine would have written it: torch turns the numbers round as it reads."""
    buffer = io.BytesIO()
    state = {k: v for k, v in state.items() if k != "repeated"}
    torch.save(state, buffer)
    # Of the storages only the object knows how wide their numbers are.
    widths = {}
    for value in state.values():
        widths.setdefault(value.untyped_storage()._cdata, value.element_size())
    order = iter(widths.values())
    source = zipfile.ZipFile(buffer)
    with zipfile.ZipFile(FOLDER / "big-endian.pt", "w") as target:
        for name in sorted(source.namelist(), key=lambda n: int(n.split("/data/")[1]) if "/data/" in n else -1):
            data = source.read(name)
            if "/data/" in name:
                width = next(order)
                data = np.frombuffer(data, f"V{width}").view(f"u{width}").byteswap().tobytes()
            if name.endswith("/byteorder"):
                data = b"big"
            target.writestr(zipfile.ZipInfo(name), data)
    theirs = loaded("big-endian.pt")
    for name, value in state.items():
        assert torch.equal(theirs[name], value), name
    record("big-endian.pt", kind, theirs)


def tarred(state):
    """The oldest container, which torch still reads and no longer writes (`legacy_load` in its `serialization.py`)."""
    def dump(value):
        return pickle.dumps(value, protocol=2)

    keys, storages, objects = {}, io.BytesIO(), io.BytesIO()
    classes = {torch.float32: torch.FloatStorage, torch.float16: torch.HalfStorage, torch.int64: torch.LongStorage,
                torch.float64: torch.DoubleStorage, torch.int32: torch.IntStorage, torch.int16: torch.ShortStorage,
                torch.int8: torch.CharStorage, torch.uint8: torch.ByteStorage, torch.bool: torch.BoolStorage,
                torch.bfloat16: torch.BFloat16Storage}
    order = []
    for value in state.values():
        pointer = value.untyped_storage()._cdata
        if pointer not in keys:
            keys[pointer] = 1000 + len(keys)
            order.append(value)
    storages.write(dump(len(order)))
    for value in order:
        raw = bytes(value.untyped_storage())
        storages.write(dump((keys[value.untyped_storage()._cdata], "cpu", classes[value.dtype])))
        storages.write(struct.pack("<q", len(raw) // value.element_size()) + raw)
    # A view of the first one.
    first = keys[order[0].untyped_storage()._cdata]
    storages.write(dump([(77, first, 4, 12)]))
    listed = [(f"t{i}", keys[v.untyped_storage()._cdata], v) for i, v in enumerate(state.values())]
    listed.append(("view", 77, torch.zeros(12).as_strided((3, 2), (4, 1), 1)))
    objects.write(dump(len(listed)))
    for i, (_, storage, value) in enumerate(listed):
        objects.write(dump((i, storage, type(value))))
        objects.write(struct.pack("<ii", value.dim(), 0))
        objects.write(struct.pack(f"<{2 * value.dim()}q", *value.shape, *value.stride()))
        objects.write(struct.pack("<q", value.storage_offset()))

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            return str(value[1]) if isinstance(value, tuple) and value[:1] == ("object",) else None

    buffer = io.BytesIO()
    named_keys = {**{name: i for i, name in enumerate(state)}, "view": len(state)}
    Pickler(buffer, protocol=2).dump(collections.OrderedDict((k, ("object", i)) for k, i in named_keys.items()))
    with tarfile.open(FOLDER / "oldest.pt", "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (("sys_info", dump({"protocol_version": 1000, "little_endian": True})),
                           ("pickle", buffer.getvalue()), ("tensors", objects.getvalue()), ("storages", storages.getvalue())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    theirs = loaded("oldest.pt")
    assert all(torch.equal(theirs[k], v) for k, v in state.items())
    record("oldest.pt", "PyTorch pickle (tar)", theirs)


# --- GGUF ----------------------------------------------------------------------------------------------------------------

BLOCKS = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108],
          "Q4_K": [0, 2], "Q5_K": [0, 2], "Q6_K": [208]}
PLAIN = {"F32": np.float32, "F16": np.float16, "F64": np.float64, "I8": np.int8, "I16": np.int16, "I32": np.int32,
         "I64": np.int64}


def blocks(kind, rows, columns):
    """Any bits are numbers, but the scales should be finite."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    raw = RANDOM.integers(0, 256, (rows, columns // elements, size), dtype=np.uint8)
    for at in BLOCKS[kind.name]:
        scale = (RANDOM.standard_normal(raw.shape[:2]) * 0.05).astype(np.float16)
        raw[:, :, at:at + 2] = scale[..., None].view(np.uint8)
    return raw.reshape(rows, -1)


def gguf_files():
    name = "blocks.gguf"
    writer = gguf.GGUFWriter(FOLDER / name, "sd1", use_temp_file=False)
    writer.add_custom_alignment(64)
    writer.add_name("Tiny")
    writer.add_uint32("a.count", 3)
    writer.add_int8("a.small", -4)
    writer.add_float32("a.scale", 0.5)
    writer.add_bool("a.flag", True)
    writer.add_array("a.list", [1, 2, 3])
    writer.add_array("a.words", ["one", "two"])
    expected = {}

    def add(tensor, raw, kind=None, values=None, original=None):
        writer.add_tensor(tensor, raw, raw_dtype=kind)
        values = np.asarray(gguf.dequantize(raw, kind) if values is None else values)
        expected[tensor] = torch.from_numpy(values.astype(np.float32).reshape(original or values.shape))
        if original:
            writer.add_array(f"comfy.gguf.orig_shape.{tensor}", list(original))

    for kind in BLOCKS:
        kind = gguf.GGMLQuantizationType[kind]
        add(f"{kind.name.lower()}.weight", blocks(kind, 3, 512), kind)
    for kind, dtype in PLAIN.items():
        values = (RANDOM.standard_normal((2, 5)) * 50).astype(dtype)
        add(f"{kind.lower()}.weight", values, gguf.GGMLQuantizationType[kind], values)
    half = normal(3, 4).to(torch.bfloat16)
    add("bf16.weight", half.view(torch.uint8).numpy().reshape(3, 8), gguf.GGMLQuantizationType.BF16, half.float().numpy())
    kind = gguf.GGMLQuantizationType.Q5_1
    add("reshaped.weight", blocks(kind, 3, 256), kind, original=(4, 64, 3, 1))
    kernel = RANDOM.standard_normal((2, 3, 3, 3)).astype(np.float32)
    add("kernel.weight", kernel, None, kernel)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    record(name, "GGUF", expected, metadata={
        "general.architecture": "sd1", "general.alignment": 64, "general.name": "Tiny", "a.count": 3, "a.small": -4,
        "a.scale": 0.5, "a.flag": "true", "a.list": "[1, 2, 3]", "a.words": "[one, two]"})

    # As stable-diffusion.cpp writes them: nothing but tensors, and of these also vectors in blocks.
    name = "bare.gguf"
    raw = blocks(gguf.GGMLQuantizationType.Q8_0, 1, 320)
    names = [("model.diffusion_model.out.0.weight", [320], 8, raw), ("logit_scale", [], 0, np.float32([2.5]))]
    with open(FOLDER / name, "wb") as file:
        file.write(b"GGUF" + struct.pack("<Iqq", 3, len(names), 0))
        offset = 0
        for tensor, dims, kind, data in names:
            file.write(struct.pack("<Q", len(tensor)) + tensor.encode() + struct.pack("<I", len(dims)))
            file.write(struct.pack(f"<{len(dims)}q", *dims) + struct.pack("<IQ", kind, offset))
            offset += -(-data.nbytes // 32) * 32
        for _, _, _, data in names:
            file.write(b"\0" * (-file.tell() % 32) + data.tobytes())
    theirs = {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in gguf.GGUFReader(FOLDER / name).tensors}
    vector, scalar = names[0][0], names[1][0]
    record(name, "GGUF", {vector: torch.from_numpy(theirs[vector].reshape(320).copy()),
                          scalar: torch.tensor(float(theirs[scalar].reshape(-1)[0]))})


# --- HDF5 ----------------------------------------------------------------------------------------------------------------


LAYERS = 12


def h5_content(file, chunks):
    """Datasets of every layout and type, in groups that need more than one node."""
    def put(path, values, **options):
        file.create_dataset(path, data=values, **options)

    numbers = np.asarray(normal(6, 10, 9))
    for kind in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">f4", ">f2", ">i4", ">f8"):
        put(f"types/{kind.replace('>', 'big-')}", (numbers[0] * 40).astype(kind) if "u" not in kind else
            np.abs(numbers[0] * 40).astype(kind))
    put("types/bool", numbers[0] > 0)
    put("scalar", np.float32(0.75))
    put("empty", np.zeros((0, 3), np.float32))
    put("chunks/plain", numbers, chunks=(4, 3, 5))
    put("chunks/gzip", numbers, chunks=(4, 10, 4), compression="gzip")
    put("chunks/shuffled", numbers, chunks=(2, 7, 9), compression="gzip", shuffle=True, fletcher32=True)
    put("chunks/big", numbers.astype(">f8"), chunks=(5, 5, 5), shuffle=True)
    put("chunks/one", numbers, chunks=(6, 10, 9), compression="gzip")
    put("chunks/many", np.arange(chunks, dtype=np.float32), chunks=(1,))
    # A compact one only the lower interface makes.
    space = h5py.h5s.create_simple((3, 2))
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_layout(h5py.h5d.COMPACT)
    compact = h5py.h5d.create(file.id, b"compact", h5py.h5t.NATIVE_FLOAT, space, plan)
    compact.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ascontiguousarray(numbers[0, :3, :2]))
    for i in range(LAYERS):
        group = file.create_group(f"layer_{i}")
        group.attrs["weight_names"] = np.array([f"layer_{i}/kernel:0".encode(), f"layer_{i}/bias:0".encode()])
        put(f"layer_{i}/layer_{i}/kernel:0", np.asarray(normal(2, 3)))
        put(f"layer_{i}/layer_{i}/bias:0", np.asarray(normal(3)))
    file.create_group("no weights").attrs["weight_names"] = np.zeros(0)
    file["again"] = file["chunks"]
    file["by name"] = h5py.SoftLink("/scalar")
    for i in range(300):
        file[f"links/to the same {i:03}"] = file["scalar"]
    file.attrs["layer_names"] = [f"layer_{i}" for i in range(LAYERS)]
    file.attrs["backend"] = "tensorflow"
    file.attrs["keras_version"] = b"2.11.0"
    file.attrs["number"] = np.int32(-5)
    file.attrs["numbers"] = np.array([0.5, 1.5], ">f8")
    group = file.create_group("many attributes")
    for i in range(20):
        group.attrs[f"a{i}"] = i
    group.attrs["long"] = "x" * 6000
    put("unread/text", "words")
    put("unread/record", np.zeros(2, [("a", "f4"), ("b", "i4")]))
    put("unread/growing", numbers, chunks=(2, 10, 9), maxshape=(None, None, 9))
    put("unread/lzf", numbers, compression="lzf")
    file.create_dataset("unread/never", (5, 5), "f4", chunks=(2, 2))


def h5_files():
    for name, options in (("early.h5", {"libver": "earliest"}), ("v108.h5", {"libver": "v108"}),
                          ("latest.h5", {"libver": "latest"})):
        with h5py.File(FOLDER / name, "w", **options) as file:
            # More than a page of the latest index has.
            h5_content(file, 1100 if name == "latest.h5" else 150)
        expected, unread = {}, ["unread/text", "unread/record", "unread/lzf", "unread/never"]
        if name == "latest.h5":
            unread.append("unread/growing")
        with h5py.File(FOLDER / name) as file:
            def visit(path, item):
                if isinstance(item, h5py.Dataset) and path not in unread:
                    expected[path] = torch.from_numpy(np.asarray(item[()]).astype(np.float32))
            # What lies in two groups it visits once.
            file.visititems(visit)
        layers = [f"layer_{i}" for i in range(LAYERS)]
        record(name, "HDF5", expected, unread, {
            "layer_names": json.dumps(layers, separators=(",", ":")), "backend": "tensorflow", "keras_version": "2.11.0",
            "layer_3@weight_names": '["layer_3/kernel:0","layer_3/bias:0"]', "no weights@weight_names": "[]",
            "number": -5, "numbers": "[0.5,1.5]", "many attributes@a7": 7, "many attributes@long": "x" * 6000})

    name = "behind.h5"
    with h5py.File(FOLDER / name, "w", userblock_size=1024) as file:
        file["kernel:0"] = np.float32([[3, 4]])
    with open(FOLDER / name, "r+b") as file:
        file.write(b"a block of the user's")
    record(name, "HDF5", {"kernel:0": torch.tensor([[3.0, 4.0]])})

    name = "pieces.h5"
    with h5py.File(FOLDER / name, "w") as file:
        file.attrs["layer_names0"], file.attrs["layer_names1"] = ["a", "b"], ["c"]
        file["a/a/kernel:0"] = np.float32([[1, 2]])
    record(name, "HDF5", {"a/a/kernel:0": torch.tensor([[1.0, 2.0]])}, metadata={"layer_names": '["a","b","c"]'})


def main():
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    torch.manual_seed(0)
    torch_files()
    gguf_files()
    h5_files()
    save_file(tensors, ROOT / "files.safetensors")
    os.chmod(ROOT / "files.safetensors", 0o644)
    (ROOT / "files.json").write_text(json.dumps(files, indent=1) + "\n")
    sizes = [path.stat().st_size for path in [*FOLDER.iterdir(), ROOT / "files.safetensors", ROOT / "files.json"]]
    print(f"{len(files)} files, {len(tensors)} tensors, {sum(sizes)} bytes")


if __name__ == "__main__":
    main()
