"""LoRAs of every kind, and what LyCORIS' formulas make of weights with them, computed here with NumPy in f64.

Where `lycoris` can be imported (lycoris-lora==4.1.3, installed with --no-deps) the formulas are held against it too.
"""


import numpy as np
from safetensors.numpy import save_file
from seeded import ROOT, normal, write_json

BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0"
LINEAR, SQUARE = f"{BLOCK}.attn1.to_q", f"{BLOCK}.attn1.to_out.0"
CONV, FIRST, NORM = "down_blocks.0.resnets.0.conv1", "conv_in", "down_blocks.0.resnets.0.norm1"
UP = "up_blocks.0.resnets.1.conv2"

# What the LoRAs are laid over.
SHAPES = {
    f"{LINEAR}.weight": (8, 6),
    f"{SQUARE}.weight": (6, 6),
    f"{SQUARE}.bias": (6,),
    f"{CONV}.weight": (8, 4, 3, 3),
    f"{CONV}.bias": (8,),
    f"{UP}.weight": (8, 4, 3, 3),
    f"{NORM}.weight": (8,),
    f"{NORM}.bias": (8,),
    # An inpainting model's.
    f"{FIRST}.weight": (4, 9, 3, 3),
}
STRENGTHS = (1.0, -0.6)
EPS = np.finfo(np.float32).eps


def kohya(path, start="lora_unet_"):
    return start + path.replace(".", "_")


def draw(name, *shape, std=0.4):
    return normal(f"patches.{name}", shape, std).numpy()


def flat(values):
    return values.reshape(len(values), -1)


# --- The formulas. Each takes the layer's tensors by the ends of their names, in f64, and returns W at full strength.


def by_rank(t, rank):
    return t["alpha"] / rank if "alpha" in t else 1.0


def rebuilt(core, a, b):
    """Tucker: `core[i, j, ...]`, `a[i, out]`, `b[j, in]`."""
    return np.einsum("ij...,ip,jr->pr...", core, a, b)


def lora(t, w):
    down, up = t["lora_down.weight"], t["lora_up.weight"]
    return w + by_rank(t, len(down)) * (flat(up) @ flat(down)).reshape(w.shape)


def tucker(t, w):
    down, up = t["lora_down.weight"], t["lora_up.weight"]
    return w + by_rank(t, len(down)) * rebuilt(t["lora_mid.weight"], flat(up).T, flat(down))


def loha(t, w):
    factors = []
    for n in "12":
        a, b = t[f"hada_w{n}_a"], t[f"hada_w{n}_b"]
        factors.append(rebuilt(t[f"hada_t{n}"], a, b) if f"hada_t{n}" in t else (a @ b).reshape(w.shape))
    return w + by_rank(t, len(t["hada_w1_b"])) * factors[0] * factors[1]


def lokr(t, w):
    rank = None
    if "lokr_w1" in t:
        one = t["lokr_w1"]
    else:
        one, rank = t["lokr_w1_a"] @ t["lokr_w1_b"], len(t["lokr_w1_b"])
    if "lokr_w2" in t:
        other = t["lokr_w2"]
    elif "lokr_t2" in t:
        other, rank = rebuilt(t["lokr_t2"], t["lokr_w2_a"], t["lokr_w2_b"]), len(t["lokr_w2_b"])
    else:
        other, rank = t["lokr_w2_a"] @ flat(t["lokr_w2_b"]), len(t["lokr_w2_b"])
    one = one.reshape(one.shape + (1,) * (other.ndim - 2))
    return w + (by_rank(t, rank) if rank else 1.0) * np.kron(one, other).reshape(w.shape)


def ia3(t, w):
    gains = t["weight"].ravel()
    shape = (1, -1) if t["on_input"] else (-1, 1)
    return w * (1 + gains.reshape(shape + (1,) * (w.ndim - 2)))


def glora(t, w):
    a1, a2, b1, b2 = (flat(t[f"{name}.weight"]) for name in ("a1", "a2", "b1", "b2"))
    rank = min(a1.shape)
    if b1.shape != (len(w), rank):
        a1, a2, b1, b2 = a2, a1, b2, b1
    added = rebuilt(t["bm.weight"], b1.T, b2) if "bm.weight" in t else (b1 @ b2).reshape(w.shape)
    return w + by_rank(t, rank) * (np.einsum("oi...,ij,jk->ok...", w, a1, a2) + added)


def rotations(t, w):
    if "oft_diag" in t:
        return t["oft_diag"]
    q = t["oft_blocks"] - np.swapaxes(t["oft_blocks"], -1, -2)
    most, norm = t.get("alpha", 0.0) * len(w), np.sqrt((q**2).sum()) + 1e-8
    if 0 < most < norm:
        q = q * most / norm
    unit = np.eye(q.shape[-1])
    return (unit + q) @ np.linalg.inv(unit - q)


def rescaled(t, w, strength):
    gains = 1 + strength * (t["rescale"].ravel() - 1) if "rescale" in t else np.ones(len(w))
    return w * gains.reshape((-1,) + (1,) * (w.ndim - 1))


def oft(t, w, strength):
    r = rotations(t, w)
    turned = np.einsum("knm,kn...->km...", r, w.reshape(r.shape[:2] + w.shape[1:])).reshape(w.shape)
    return rescaled(t, w + strength * (turned - w), strength)


def boft(t, w, strength):
    """As matrices over all outputs, one for each stage."""
    out, r = w, rotations(t, w)
    half = r.shape[-1] // 2
    for stage, blocks in enumerate(r):
        order = np.arange(len(w)).reshape(-1, 2, 2**stage * half).swapaxes(1, 2).ravel()
        turn = np.zeros((len(w), len(w)))
        for k, block in enumerate(blocks):
            rows = order[k * len(block) : (k + 1) * len(block)]
            turn[np.ix_(rows, rows)] = strength * block + (1 - strength) * np.eye(len(block))
        out = np.einsum("ij,j...->i...", turn, out)
    return rescaled(t, out, strength)


def dora(t, w, changed, peft):
    """The change brought to lengths of its own: of outputs, or of inputs where the magnitudes are `[1, in, ...]`."""
    s = t["lora_magnitude_vector" if peft else "dora_scale"]
    outputs = peft or s.shape[0] == len(w)
    axes = tuple(axis for axis in range(w.ndim) if axis != (0 if outputs else 1))
    norm = np.sqrt((changed**2).sum(axes, keepdims=True)) + (0 if peft else EPS)
    return changed * (s.ravel().reshape(norm.shape) / norm)


KINDS = {"lora": lora, "tucker": tucker, "loha": loha, "lokr": lokr, "ia3": ia3, "glora": glora}


def merged(kind, t, w, strength):
    """What a layer makes of its weight."""
    t = {name: values.astype(np.float64) if values.ndim else float(values) for name, values in t.items()}
    if kind in ("oft", "boft"):
        return {"oft": oft, "boft": boft}[kind](t, w, strength)
    changed, peft = KINDS[kind](t, w), "lora_magnitude_vector" in t
    if peft or "dora_scale" in t:
        changed = dora(t, w, changed, peft)
    return w + strength * (changed - w)


# --- The cases: name, kind, layer, its tensors.


def number(value, dtype=np.float32):
    return np.array(value, dtype)


def pair(name, shape, rank, kernel=()):
    down = draw(f"{name}.down", rank, *shape[1:])
    return {"lora_down.weight": down, "lora_up.weight": draw(f"{name}.up", shape[0], rank, *kernel)}


def cases():
    linear, conv, square = SHAPES[f"{LINEAR}.weight"], SHAPES[f"{CONV}.weight"], SHAPES[f"{SQUARE}.weight"]

    def hada(name, shape, rank=2, core=False):
        t = {}
        for n in "12":
            if core:
                t |= {f"hada_t{n}": draw(f"{name}.t{n}", rank, rank, *shape[2:])}
                t |= {f"hada_w{n}_a": draw(f"{name}.a{n}", rank, shape[0]), f"hada_w{n}_b": draw(f"{name}.b{n}", rank, shape[1])}
            else:
                t |= {f"hada_w{n}_a": draw(f"{name}.a{n}", shape[0], rank)}
                t |= {f"hada_w{n}_b": draw(f"{name}.b{n}", rank, int(np.prod(shape[1:])))}
        return t

    def kron(name, one, other, **ranks):
        t = {}
        for n, shape in (("1", one), ("2", other)):
            rank = ranks.get(f"r{n}")
            if rank is None:
                t[f"lokr_w{n}"] = draw(f"{name}.{n}", *shape)
            elif ranks.get("core") and n == "2":
                t["lokr_t2"] = draw(f"{name}.t2", rank, rank, *shape[2:])
                t |= {"lokr_w2_a": draw(f"{name}.a2", rank, shape[0]), "lokr_w2_b": draw(f"{name}.b2", rank, shape[1])}
            else:
                t[f"lokr_w{n}_a"] = draw(f"{name}.a{n}", shape[0], rank)
                t[f"lokr_w{n}_b"] = draw(f"{name}.b{n}", rank, int(np.prod(shape[1:])))
        return t

    def halves(name, shape, rank=2, older=False, core=False):
        a1, a2 = draw(f"{name}.a1", shape[1], rank), draw(f"{name}.a2", rank, shape[1])
        b1, b2 = draw(f"{name}.b1", shape[0], rank), draw(f"{name}.b2", rank, *(shape[1:2] if core else shape[1:]))
        if older:
            a1, a2, b1, b2 = a2, a1, b2, b1
        if len(shape) > 2:
            a1, a2, b1 = (v[..., None, None] for v in (a1, a2, b1))
            b2 = b2[..., None, None] if core else b2
        t = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2}
        return t | ({"bm.weight": draw(f"{name}.bm", rank, rank, *shape[2:])} if core else {})

    alpha = lambda value: {"alpha": number(value)}
    length = lambda name, *shape: {"dora_scale": np.abs(draw(name, *shape, std=1.0)) + 0.3}
    yield "lora", "lora", LINEAR, pair("lora", linear, 2) | alpha(3)
    yield "lora of a convolution", "lora", CONV, pair("conv", conv, 2, (1, 1)) | alpha(1)
    yield "lora in the original layout", "lora", UP, pair("up", SHAPES[f"{UP}.weight"], 2, (1, 1))
    yield "lora of a plain model's first layer", "lora", FIRST, pair("first", (4, 4, 3, 3), 2, (1, 1))
    yield "tucker", "tucker", CONV, {
        "lora_down.weight": draw("tucker.down", 3, 4, 1, 1),
        "lora_mid.weight": draw("tucker.mid", 3, 3, 3, 3),
        "lora_up.weight": draw("tucker.up", 8, 3, 1, 1),
    } | alpha(2)
    yield "loha", "loha", LINEAR, hada("loha", linear) | alpha(1)
    yield "loha of a convolution", "loha", CONV, hada("loha conv", conv) | alpha(3)
    yield "loha in tucker's form", "loha", CONV, hada("loha core", conv, core=True) | alpha(1)
    # Alpha says nothing where both factors are whole.
    yield "lokr, both whole", "lokr", LINEAR, kron("whole", (2, 3), (4, 2)) | alpha(1e10)
    yield "lokr, the second a product", "lokr", LINEAR, kron("second", (2, 2), (4, 3), r2=2) | alpha(1)
    yield "lokr, the first a product", "lokr", LINEAR, kron("first", (4, 3), (2, 2), r1=3) | alpha(1)
    yield "lokr, both products", "lokr", LINEAR, kron("both", (4, 3), (2, 2), r1=2, r2=2) | alpha(5)
    yield "lokr of a convolution, whole", "lokr", CONV, kron("conv whole", (2, 2), (4, 2, 3, 3)) | alpha(2)
    yield "lokr of a convolution, a product", "lokr", CONV, kron("conv product", (2, 2), (4, 2, 3, 3), r2=3) | alpha(2)
    yield "lokr in tucker's form", "lokr", CONV, kron("conv core", (4, 2), (2, 2, 3, 3), r2=3, core=True) | alpha(2)
    on = lambda value: {"on_input": number(value, np.int64)}
    yield "ia3 of outputs", "ia3", LINEAR, {"weight": draw("ia3.out", 8)} | on(0)
    yield "ia3 of inputs", "ia3", LINEAR, {"weight": draw("ia3.in", 6)} | on(1)
    yield "ia3 of a square's inputs", "ia3", SQUARE, {"weight": draw("ia3.square", 6)} | on(1)
    yield "ia3 of a convolution's outputs", "ia3", CONV, {"weight": draw("ia3.conv out", 1, 8, 1, 1)} | on(0)
    yield "ia3 of a convolution's inputs", "ia3", CONV, {"weight": draw("ia3.conv in", 1, 4, 1, 1)} | on(1)
    yield "dora by outputs", "lora", LINEAR, pair("dora out", linear, 2) | alpha(1) | length("dora out", 8, 1)
    yield "dora by inputs", "lora", LINEAR, pair("dora in", linear, 2) | alpha(1) | length("dora in", 1, 6)
    yield "dora of a square by outputs", "lora", SQUARE, pair("dora sq", square, 2) | length("dora sq", 6, 1)
    yield "dora of a square by inputs", "lora", SQUARE, pair("dora sq", square, 2) | length("dora sq in", 1, 6)
    yield "dora of a convolution by outputs", "lora", CONV, pair("dora conv", conv, 2, (1, 1)) | length("dora conv", 8, 1, 1, 1)
    yield "dora of a convolution by inputs", "lora", CONV, pair("dora conv", conv, 2, (1, 1)) | length("dora conv in", 1, 4, 1, 1)
    yield "dora of loha", "loha", LINEAR, hada("dora loha", linear) | alpha(1) | length("dora loha", 8, 1)
    yield "dora of lokr", "lokr", LINEAR, kron("dora lokr", (2, 3), (4, 2)) | length("dora lokr", 8, 1)
    yield "glora", "glora", LINEAR, halves("glora", linear) | alpha(1)
    yield "glora of a square", "glora", SQUARE, halves("glora sq", square) | alpha(1)
    yield "glora's first form", "glora", LINEAR, halves("glora old", linear, older=True) | alpha(1)
    yield "glora's first form of a square", "glora", SQUARE, halves("glora old sq", square, older=True)
    yield "glora of a convolution", "glora", CONV, halves("glora conv", conv) | alpha(3)
    yield "glora in tucker's form", "glora", CONV, halves("glora core", conv, core=True) | alpha(3)
    blocks = lambda name, *shape: {"oft_blocks": draw(name, *shape)}
    gains = lambda name, *shape: {"rescale": 1 + draw(name, *shape)}
    yield "oft", "oft", LINEAR, blocks("oft", 2, 4, 4) | alpha(0)
    yield "oft, bounded", "oft", LINEAR, blocks("oft", 2, 4, 4) | alpha(0.05)
    yield "oft of a convolution, rescaled", "oft", CONV, blocks("oft conv", 4, 2, 2) | alpha(1e3) | gains("oft", 8, 1, 1, 1)
    turn = np.linalg.qr(draw("oft.diag", 2, 4, 4).astype(np.float64))[0].astype(np.float32)
    yield "oft's first form", "oft", LINEAR, {"oft_diag": turn}
    yield "boft", "boft", LINEAR, blocks("boft", 3, 4, 2, 2) | alpha(0)
    yield "boft of blocks of four, bounded", "boft", LINEAR, blocks("boft four", 2, 2, 4, 4) | alpha(0.05)
    yield "boft of a convolution, rescaled", "boft", CONV, blocks("boft conv", 2, 4, 2, 2) | alpha(0) | gains("boft", 8, 1, 1, 1)


ORIGINAL = {UP: "output_blocks.1.0.out_layers.3"}


def named(kind, path, tensors):
    start = "oft_unet_" if kind == "oft" else "lora_unet_"
    return {f"{kohya(ORIGINAL.get(path, path), start)}.{end}": values for end, values in tensors.items()}


class Golden:
    """What is written: `cases`, and in the file of tensors the model, each LoRA's, and what each case makes."""

    def __init__(self):
        self.tensors, self.cases = {}, []
        self.model = {name: draw(f"model.{name}", *shape, std=0.5) for name, shape in SHAPES.items()}
        for name, values in self.model.items():
            self.tensors[f"model {name}"] = values

    def weight(self, name):
        return self.model[name].astype(np.float64)

    def keep(self, name, values):
        assert name not in self.tensors, name
        assert np.isfinite(values).all(), name
        self.tensors[name] = np.ascontiguousarray(values)
        return name

    def file(self, name, tensors):
        """Keeps a file's tensors behind its name."""
        for tensor, values in tensors.items():
            self.keep(f"{name}: {tensor}", values)
        return name

    def case(self, name, loras, expected):
        """`loras`: files by name, with strengths."""
        for tensor, values in expected.items():
            assert not np.allclose(values, self.model[tensor], atol=1e-4), name
            self.keep(f"{name} makes {tensor}", values)
        self.cases.append({"name": name, "loras": loras})


def single(golden):
    """Each kind by itself."""
    for name, kind, path, tensors in cases():
        file, w = golden.file(name, named(kind, path, tensors)), golden.weight(f"{path}.weight")
        if path == FIRST:
            w = w[:, :4]
        for strength in STRENGTHS:
            made = merged(kind, tensors, w, strength)
            if path == FIRST:
                made = np.concatenate([made, golden.weight(f"{path}.weight")[:, 4:]], axis=1)
            golden.case(f"{name} at {strength}", [(file, strength)], {f"{path}.weight": made})


def several(golden):
    """Biases, norms, PEFT's forms, and several at once, in either order."""
    w = golden.weight
    full = {"diff": draw("full.w", 8, 4, 3, 3), "diff_b": draw("full.b", 8), "alpha": number(3)}
    norm = {"w_norm": draw("norm.w", 8), "b_norm": draw("norm.b", 8)}
    file = golden.file("differences", named("full", CONV, full) | named("norm", NORM, norm))
    parts = {f"{CONV}.weight": "diff", f"{CONV}.bias": "diff_b", f"{NORM}.weight": "w_norm", f"{NORM}.bias": "b_norm"}
    for strength in STRENGTHS:
        made = {tensor: w(tensor) + strength * (full | norm)[part] for tensor, part in parts.items()}
        golden.case(f"differences at {strength}", [(file, strength)], made)

    # PEFT: magnitudes of outputs, and a bias of the second half.
    half = pair("peft", SHAPES[f"{SQUARE}.weight"], 2)
    half["lora_magnitude_vector"] = np.abs(draw("peft.s", 6)) + 0.3
    bias = draw("peft.bias", 6)
    ends = {"lora_down.weight": "lora_A.weight", "lora_up.weight": "lora_B.weight"}
    tensors = {f"base_model.model.{SQUARE}.{ends.get(end, end)}": values for end, values in half.items()}
    file = golden.file("peft", tensors | {f"base_model.model.{SQUARE}.lora_B.bias": bias})
    for strength in STRENGTHS:
        made = merged("lora", half, w(f"{SQUARE}.weight"), strength)
        made = {f"{SQUARE}.weight": made, f"{SQUARE}.bias": w(f"{SQUARE}.bias") + strength * bias}
        golden.case(f"peft at {strength}", [(file, strength)], made)

    scaled = pair("scaled", SHAPES[f"{LINEAR}.weight"], 2)
    file = golden.file("scale", named("lora", LINEAR, scaled | {"scale": number(0.3), "alpha": number(7)}))
    made = merged("lora", scaled | {"alpha": number(2 * np.float32(0.3))}, w(f"{LINEAR}.weight"), 1.0)
    golden.case("scale in place of alpha", [(file, 1.0)], {f"{LINEAR}.weight": made})

    # Each is laid over what those before it have made.
    kinds = {name: (kind, tensors) for name, kind, path, tensors in cases() if path == LINEAR}
    chosen = ["dora by inputs", "lora", "oft", "boft", "glora"]
    files = {}
    for name in chosen:
        kind, tensors = kinds[name]
        files[name] = golden.file(f"one of several, {name}", named(kind, LINEAR, tensors))
    for order in (chosen, chosen[::-1], ["lora", "lora"]):
        made, loras = w(f"{LINEAR}.weight"), []
        for at, name in enumerate(order):
            strength = 0.7 - 0.3 * at
            made = merged(*kinds[name], made, strength)
            loras.append((files[name], strength))
        golden.case(" then ".join(order), loras, {f"{LINEAR}.weight": made})


def against_lycoris():
    """LyCORIS' own functions, in f32, at full strength."""
    try:
        import torch
        from lycoris.functional import boft as their_boft, diag_oft, general, loha as their_loha, lokr as their_lokr
        from lycoris.modules import glora as their_glora, ia3 as their_ia3
    except ImportError as missing:
        print(f"  lycoris is not held against: {missing}")
        return
    held = set()
    for name, kind, path, tensors in cases():
        w = torch.from_numpy(draw(f"model.{path}.weight", *SHAPES[f"{path}.weight"], std=0.5))
        t = {end: torch.from_numpy(values) for end, values in tensors.items()}
        alpha = float(t["alpha"]) if "alpha" in t else None
        get = t.get
        if path == FIRST:
            w = w[:, :4]
        if kind in ("lora", "tucker"):
            down, up = get("lora_down.weight"), get("lora_up.weight")
            delta = general.tucker_weight_from_conv(up, down, t["lora_mid.weight"]) if kind == "tucker" else up.flatten(1) @ down.flatten(1)
            theirs = w + delta.reshape(w.shape) * (1 if alpha is None else alpha / len(down))
        elif kind == "loha":
            parts = [get(f"hada_{part}") for part in ("w1_b", "w1_a", "w2_b", "w2_a", "t1", "t2")]
            gamma = torch.tensor(1.0 if alpha is None else alpha / len(parts[0]))
            weight = their_loha.make_weight if parts[4] is None else their_loha.make_weight_tucker
            order = parts[:4] if parts[4] is None else [parts[4], *parts[:2], parts[5], *parts[2:4]]
            theirs = w + weight(*order, gamma).reshape(w.shape)
        elif kind == "lokr":
            parts = [get(f"lokr_{part}") for part in ("w1", "w1_a", "w1_b", "w2", "w2_a", "w2_b", "t2")]
            rank = next((len(b) for b in (parts[5], parts[2]) if b is not None), None)
            scale = 1.0 if rank is None or alpha is None else alpha / rank
            theirs = w + their_lokr._kron_weight(*parts, scale).reshape(w.shape)
        elif kind == "ia3":
            theirs = their_ia3._ia3_weight(w, t["weight"], bool(t["on_input"]), 1, False)
        elif kind == "glora" and "first form" not in name:
            parts = [get(f"{part}.weight") for part in ("a1", "a2", "b1", "b2", "bm")]
            theirs = w + their_glora._glora_weight(w, *parts, (alpha or 2) / 2)
        elif kind == "oft" and "oft_blocks" in t:
            theirs = w + diag_oft._diff_weight(w, t["oft_blocks"], get("rescale"), alpha * len(w))
        elif kind == "boft":
            theirs = w + their_boft._diff_weight(w, t["oft_blocks"], get("rescale"), alpha * len(w), 1)
        else:
            continue
        if "dora_scale" in t:
            theirs = general._weight_decompose(theirs, t["dora_scale"], 1, t["dora_scale"].shape[0] == len(w))
        ours = merged(kind, tensors, w.double().numpy(), 1.0)
        far = np.abs(ours - theirs.numpy()).max() / np.abs(ours).max()
        assert far < 3e-6, f"{name}: {far:.1e}"
        held.add(name)
    print(f"  {len(held)} cases are those of lycoris")


def main():
    against_lycoris()
    golden = Golden()
    single(golden)
    several(golden)
    folder = ROOT / "patches"
    folder.mkdir(exist_ok=True)
    write_json(folder / "patches.json", golden.cases, compact=True)
    save_file(golden.tensors, folder / "patches.safetensors")
    (folder / "patches.safetensors").chmod(0o644)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"  {len(golden.cases)} cases, {len(golden.tensors)} tensors, {size} bytes")
