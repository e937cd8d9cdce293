"""Single operations in f64, rounded to f32 once."""

import torch
import torch.nn.functional as F
from seeded import ROOT, Tensors, exact_timestep_embedding, normal, write_json

FILE, CASES = Tensors(), []


def case(op: str, label: str, attrs: dict, inputs: dict, compute):
    """Keeps one case. `compute` gets the inputs in f64."""
    name = f"{op}.{label}"
    doubles = {k: v.double() if v.is_floating_point() else v for k, v in inputs.items()}
    with torch.no_grad():
        output = compute(**doubles)
    assert output.dtype == torch.float64
    CASES.append(
        {
            "op": op,
            "name": name,
            "attrs": attrs,
            "inputs": {key: FILE.keep(f"{name}.{key}", tensor) for key, tensor in inputs.items()},
            "output": FILE.keep(f"{name}.output", output),
        }
    )


def parameters(label: str, out: int, *inner: int) -> dict:
    """A weight [out, *inner] with a gain of 1, and a bias."""
    fan_in = torch.Size(inner).numel()
    return {"weight": normal(f"{label}.weight", (out, *inner), fan_in**-0.5), "bias": normal(f"{label}.bias", (out,), 0.3)}


def affine(label: str, channels: int) -> dict:
    return {"weight": 1 + normal(f"{label}.weight", (channels,), 0.3), "bias": normal(f"{label}.bias", (channels,), 0.3)}


def conv2d():
    def conv(label, batch, cin, cout, height, width, kernel=3, stride=1, padding=1, upsample=1):
        inputs = {"x": normal(f"conv2d.{label}.x", (batch, cin, height, width))}
        inputs |= parameters(f"conv2d.{label}", cout, cin, kernel, kernel)

        def compute(x, weight, bias):
            if upsample > 1:
                x = F.interpolate(x, scale_factor=float(upsample), mode="nearest")
            return F.conv2d(x, weight, bias, stride, padding)

        case("conv2d", label, {"stride": stride, "padding": padding, "upsample": upsample}, inputs, compute)

    conv("3x3", 2, 16, 24, 8, 8)
    conv("3x3_primes", 1, 7, 13, 11, 5)
    conv("3x3_one_pixel", 1, 5, 3, 1, 1)
    conv("3x3_past_a_tile", 1, 33, 65, 9, 17)
    conv("3x3_latents_in", 2, 4, 40, 9, 25)
    conv("3x3_latents_out", 1, 40, 4, 9, 25)
    conv("3x3_rgb", 1, 8, 3, 16, 16)
    conv("stride2", 2, 16, 16, 8, 8, stride=2)
    conv("stride2_odd", 1, 12, 12, 9, 25, stride=2)
    conv("stride2_primes", 1, 7, 11, 13, 3, stride=2)
    conv("1x1", 2, 24, 16, 6, 10, kernel=1, padding=0)
    conv("1x1_primes", 1, 13, 7, 5, 7, kernel=1, padding=0)
    conv("upsample", 1, 16, 16, 5, 9, upsample=2)
    conv("upsample_primes", 2, 5, 7, 3, 1, upsample=2)


def linear():
    activations = {
        "none": lambda x: x,
        "silu": F.silu,
        "gelu": F.gelu,
        "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
        "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
        "geglu": lambda x: x.chunk(2, dim=-1)[0] * F.gelu(x.chunk(2, dim=-1)[1]),
    }

    def line(label, rows, cin, cout, activation="none", bias=True, scale=1.0):
        inputs = {"x": normal(f"linear.{label}.x", (*rows, cin), scale)}
        inputs |= parameters(f"linear.{label}", cout, cin)
        if not bias:
            del inputs["bias"]
        act = activations[activation]
        case("linear", label, {"activation": activation}, inputs, lambda x, weight, bias=None: act(F.linear(x, weight, bias)))

    line("plain", (2, 41), 32, 48)
    line("no_bias", (1, 64), 40, 40, bias=False)
    line("primes", (3,), 31, 17)
    line("one", (1,), 1, 1)
    line("one_row", (1,), 160, 32)
    line("past_a_tile", (65,), 129, 33)
    for activation in ("silu", "gelu", "gelu_tanh", "quick_gelu"):
        # Wide enough for the tails, where the approximations of gelu part.
        line(activation, (2, 9), 24, 20, activation, scale=3.0)
    line("geglu", (2, 11), 24, 96, "geglu", scale=2.0)
    line("geglu_primes", (5,), 13, 38, "geglu", scale=2.0)


def attention():
    def attend(label, batch, heads, dim, queries, keys, causal=False, sharp=1.0):
        shape = lambda length: (batch, length, heads * dim)
        draw = lambda key, length, std=1.0: normal(f"attention.{label}.{key}", shape(length), std)
        inputs = {"q": draw("q", queries, sharp), "k": draw("k", keys), "v": draw("v", keys)}
        scale = dim**-0.5

        def compute(q, k, v):
            split = lambda x: x.unflatten(-1, (heads, dim)).transpose(1, 2)
            scores = split(q) @ split(k).transpose(-1, -2) * scale
            if causal:
                scores = scores.masked_fill(torch.ones(queries, keys, dtype=torch.bool).triu(1), float("-inf"))
            return (scores.softmax(-1) @ split(v)).transpose(1, 2).flatten(-2)

        attrs = {"heads": heads, "head_dim": dim, "causal": causal, "scale": scale}
        case("attention", label, attrs, inputs, compute)

    attend("self_8", 2, 4, 8, 36, 36, sharp=2.0)
    attend("cross_40", 1, 2, 40, 50, 77, sharp=2.0)
    attend("self_40_past_a_tile", 1, 1, 40, 65, 65)
    attend("primes_5", 1, 3, 5, 37, 13)
    attend("self_64", 1, 2, 64, 33, 33, sharp=2.0)
    attend("cross_160", 2, 1, 160, 9, 19)
    attend("one_key", 1, 2, 8, 7, 1)
    attend("one_query", 1, 2, 16, 1, 77)
    attend("causal_8", 2, 4, 8, 77, 77, causal=True, sharp=2.0)
    attend("causal_64", 1, 1, 64, 77, 77, causal=True)
    attend("causal_primes_5", 1, 1, 5, 13, 13, causal=True)
    attend("vae_32", 1, 1, 32, 121, 121, sharp=2.0)
    # Scores far beyond where exp overflows in f32 unless the largest is subtracted.
    attend("huge_scores", 1, 1, 8, 16, 40, sharp=100.0)


def norms():
    def group(label, batch, channels, height, width, groups, eps, silu, mean=0.5, std=2.0):
        inputs = {"x": mean + normal(f"group_norm.{label}.x", (batch, channels, height, width), std)}
        inputs |= affine(f"group_norm.{label}", channels)

        def compute(x, weight, bias):
            y = F.group_norm(x, groups, weight, bias, eps)
            return F.silu(y) if silu else y

        case("group_norm", label, {"groups": groups, "eps": eps, "silu": silu}, inputs, compute)

    group("plain", 2, 32, 8, 8, 8, 1e-6, False)
    group("silu", 2, 32, 8, 8, 8, 1e-5, True)
    group("groups_of_5", 1, 40, 9, 25, 8, 1e-5, True)
    group("one_group", 1, 7, 5, 3, 1, 1e-6, False)
    group("one_channel_each", 1, 13, 3, 5, 13, 1e-5, True)
    group("one_pixel", 2, 64, 1, 1, 32, 1e-5, False)
    group("far_from_zero", 1, 16, 8, 8, 4, 1e-5, False, mean=100.0, std=1.0)
    group("tiny_values", 1, 16, 8, 8, 4, 1e-5, True, mean=0.0, std=1e-3)

    def layer(label, shape, eps=1e-5, mean=0.5):
        inputs = {"x": mean + normal(f"layer_norm.{label}.x", shape, 2.0), **affine(f"layer_norm.{label}", shape[-1])}
        compute = lambda x, weight, bias: F.layer_norm(x, shape[-1:], weight, bias, eps)
        case("layer_norm", label, {"eps": eps}, inputs, compute)

    layer("plain", (2, 77, 32))
    layer("primes", (3, 31))
    layer("wide", (2, 3, 1280))
    layer("eps", (5, 40), 1e-2)
    layer("far_from_zero", (4, 48), mean=100.0)


def timestep_embedding():
    timesteps = torch.tensor([0.0, 1.0, 20.0, 499.5, 613.4375, 999.0])
    for dim, flip, shift in ((32, True, 0), (32, False, 1), (320, True, 0), (20, True, 1), (20, False, 0)):
        attrs = {"dim": dim, "flip_sin_to_cos": flip, "downscale_freq_shift": shift, "max_period": 10000}
        label = f"{dim}{'_flip' if flip else ''}_shift{shift}"
        compute = lambda timesteps: exact_timestep_embedding(timesteps, dim, flip, shift)
        case("timestep_embedding", label, attrs, {"timesteps": timesteps}, compute)


def resampling_and_lookup():
    for label, (height, width), (to_height, to_width) in (
        ("double", (3, 5), (6, 10)),
        ("odd", (5, 13), (9, 25)),
        ("from_one", (1, 1), (2, 2)),
    ):
        x = normal(f"upsample_nearest.{label}.x", (2, 6, height, width))
        compute = lambda x: F.interpolate(x, size=(to_height, to_width), mode="nearest")
        case("upsample_nearest", label, {"height": to_height, "width": to_width}, {"x": x}, compute)
    ids = torch.tensor([[0, 40, 3, 3, 7], [12, 1, 39, 0, 40]])
    weight = normal("embedding.weight", (41, 12))
    case("embedding", "plain", {}, {"ids": ids, "weight": weight}, lambda ids, weight: F.embedding(ids, weight))


def main():
    for make in (conv2d, linear, attention, norms, timestep_embedding, resampling_and_lookup):
        make()
    write_json(ROOT / "ops.json", CASES, compact=True)
    FILE.write(ROOT / "ops.safetensors")
    print(f"  {len(CASES)} cases")
