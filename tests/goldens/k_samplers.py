"""Samplers and schedules by A1111's, k-diffusion's and ComfyUI's rules, for crates/sampling/tests/k.rs.

    pip install --no-deps -r tests/goldens/requirements-k.txt
    python tests/goldens/k_samplers.py        # writes k_samplers.safetensors and k_schedules.json beside itself

k-diffusion's own functions where it has the sampler, peers.py (held to the programs' own numbers) for the others; all in
float64. The "model" is an elementwise function of the scaled sample and the timestep that both sides can evaluate. Tensors:
start [8], noise [200, 8], and, over all cases one after the other, timesteps [evaluations], inputs [evaluations, 8], what the
model sees, and ends [cases, 8]. The metadata entry "cases" says which rows are whose.

Also the weights of torchsde's Brownian tree, by drawing unit vectors in the place of normals.
"""

import importlib.util
import json
import math
import pathlib
import sys
import types

import numpy as np
import scipy.stats
import torch
from safetensors.numpy import save_file

import peers
import peers_check
import peers_timesteps

ROOT = pathlib.Path(__file__).parent


def k_diffusion():
    """sampling.py alone: the package's other modules want what is not needed here."""
    folder = pathlib.Path(importlib.util.find_spec("torchsde").origin).parent.parent / "k_diffusion"
    package = types.ModuleType("k_diffusion")
    package.__path__ = [str(folder)]
    utils = types.ModuleType("k_diffusion.utils")
    utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    package.utils = utils
    odeint = types.ModuleType("torchdiffeq")
    odeint.odeint = None
    sys.modules |= {"k_diffusion": package, "k_diffusion.utils": utils, "torchdiffeq": odeint}
    return importlib.import_module("k_diffusion.sampling")


K = k_diffusion()
SIZE = 8
rng = np.random.default_rng(77)
START = rng.standard_normal(SIZE).astype(np.float32)
NOISE = rng.standard_normal((200, SIZE)).astype(np.float32)


def tables(zsnr=False):
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    bar = torch.cumprod(1 - betas, 0)
    if zsnr:
        root = bar.sqrt()
        bar = ((root - root[-1]) * (root[0] / (root[0] - root[-1]))) ** 2
        bar[-1] = 4.8973451890853435e-08
    bar = bar.double().numpy()
    return bar, np.sqrt((1 - bar) / bar)


BAR, TABLE = tables()
LOGS = np.log(TABLE)
LOW, HIGH = TABLE[0], TABLE[-1]


def time_of(sigma, whole):
    t = float(np.interp(math.log(sigma), LOGS, range(1000)))
    return float(np.abs(LOGS - math.log(sigma)).argmin()) if whole else t


def sigma_of(t):
    return float(np.exp(np.interp(t, range(1000), LOGS)))


def at(times):
    return [sigma_of(t) for t in times]


def between(values, n):
    if n == len(values):
        return list(values)
    y = np.log(np.array(values)[::-1])
    return list(np.exp(np.interp(np.linspace(0, 1, n), np.linspace(0, 1, len(y)), y))[::-1])


AYS = [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, .963, .652, .399, .152, .029]
AYS_COMFY = [14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092, .9642583904, .6523686016,
             .3977456272, .1515232662, .0291671582]
GITS = [14.615, 4.617, 2.507, 1.236, .702, .402, .240, .156, .104, .094, .029]
# The same of SDXL.
AYS_XL = [14.615, 6.315, 3.771, 2.181, 1.342, .862, .555, .380, .234, .113, .029]
AYS_COMFY_XL = [14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, .8620721141, .5550693289, .3798540708,
                .2332364134, .1114188177, .0291671582]
GITS_XL = [14.615, 4.734, 2.567, 1.529, .987, .652, .418, .268, .179, .127, .029]

# Searched for 32 steps, as Forge has it.
AYS_32 = [14.615, 11.23951352, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.99196065, 3.5195609, 3.13490466, 2.79228788,
          2.48773628, 2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953, 1.314849, 1.16642497, 1.03475547, 0.91573744,
          0.80748169, 0.71202361, 0.621739, 0.53065202, 0.4529096, 0.37491455, 0.27461819, 0.2011529, 0.14105873, 0.06682881,
          0.03166121, 0.015]
AYS_32_XL = [14.615, 11.1491618, 8.50522127, 6.48827151, 5.43707402, 4.60398619, 3.89854704, 3.27407457, 2.74396527, 2.29968659,
             1.95448514, 1.67108715, 1.42878152, 1.23181009, 1.06789649, 0.92579443, 0.80290886, 0.69660121, 0.60436903, 0.52852552,
             0.46773344, 0.41393379, 0.36258186, 0.31008517, 0.26518925, 0.22326461, 0.17653877, 0.13959192, 0.10587381, 0.05519369,
             0.02877334, 0.015]


def quadratic(n, threshold=0.025):
    if n == 1:
        return [HIGH, 0.0]
    linear = n // 2
    first = [i * threshold / linear for i in range(linear)]
    rest = linear - threshold * n
    quad = n - linear
    a, b = rest / (linear * quad**2), threshold / linear - 2 * rest / quad**2
    second = [a * i * i + b * i + a * linear**2 for i in range(linear, n)]
    return [HIGH * (1 - v) for v in [*first, *second, 1.0]]


def beta_comfy(n):
    q = scipy.stats.beta.ppf(1 - np.linspace(0, 1, n, endpoint=False), 0.6, 0.6)
    found = []
    for t in np.rint(q * 999):
        if not found or found[-1] != t:
            found.append(t)
    return [TABLE[int(t)] for t in found]


def laplace(n):
    x = np.linspace(0, 1, n)
    lamb = -0.5 * np.sign(0.5 - x) * np.log(1 - 2 * np.abs(0.5 - x) + 1e-5)
    return list(np.clip(np.exp(lamb), LOW, HIGH))


def kl(n, last):
    return [math.tan(k / last * math.atan(LOW) + (1 - k / last) * math.atan(HIGH)) for k in range(n)]


zero = lambda values: [*map(float, values), 0.0]
ddim = lambda n: [TABLE[t] for t in range(1, 1000, max(1000 // n, 1))][::-1]
f64 = torch.float64

# By dialect: what n steps go through.
SCHEDULES = {
    "discrete": (lambda n: zero(at(np.linspace(999, 0, n))),) * 2,
    "sgm_uniform": (lambda n: zero(at(np.linspace(999, 0, n + 1)[:-1])),) * 2,
    "simple": (lambda n: zero(TABLE[-(1 + int(k * 1000 / n))] for k in range(n)),) * 2,
    "ddim_uniform": (lambda n: zero(ddim(n)),) * 2,
    "karras": (lambda n: peers.karras(n, LOW, HIGH),) * 2,
    "exponential": (lambda n: zero(np.exp(np.linspace(math.log(HIGH), math.log(LOW), n))),) * 2,
    "polyexponential": (lambda n: zero(np.exp(np.linspace(1, 0, n) * (math.log(HIGH) - math.log(LOW)) + math.log(LOW))),) * 2,
    "beta": (lambda n: zero(LOW + scipy.stats.beta.ppf(1 - np.linspace(0, 1, n), 0.6, 0.6) * (HIGH - LOW)),
             lambda n: zero(beta_comfy(n))),
    "kl_optimal": (lambda n: kl(n + 1, n), lambda n: zero(kl(n, max(n - 1, 1)))),
    "linear_quadratic": (quadratic,) * 2,
    "align_your_steps": (lambda n: zero(between(AYS, n)), lambda n: [*between(AYS_COMFY, n + 1)[:-1], 0.0]),
    "align_your_steps_gits": (lambda n: zero(between(GITS, n)),) * 2,
    "align_your_steps_32": (lambda n: zero(between(AYS_32, n)),) * 2,
    "align_your_steps_32_xl": (lambda n: zero(between(AYS_32_XL, n)),) * 2,
    "align_your_steps_xl": (lambda n: zero(between(AYS_XL, n)), lambda n: [*between(AYS_COMFY_XL, n + 1)[:-1], 0.0]),
    "align_your_steps_gits_xl": (lambda n: zero(between(GITS_XL, n)),) * 2,
    "vp": (lambda n: zero(np.sqrt(np.expm1(19.9 * np.linspace(1, 1e-3, n)**2 / 2 + 0.1 * np.linspace(1, 1e-3, n)))),) * 2,
    "laplace": (laplace,) * 2,
    "turbo": (lambda n: zero(TABLE[max(round((n - k) * 1000 / n - 1), 0)] for k in range(n)),
              lambda n: zero(TABLE[999 - 100 * k] for k in range(n))),
}

# What A1111 gives for five steps, as published.
KNOWN = {
    ("discrete", 0): [14.615, 4.0861, 1.6156, .69515, .029167, 0], ("sgm_uniform", 0): [14.615, 5.0924, 2.2797, 1.1629, .57119, 0],
    ("simple", 0): [14.615, 5.0878, 2.2765, 1.1606, .56928, 0], ("ddim_uniform", 0): [5.1344, 2.2929, 1.1682, .57405, .041314, 0],
    ("karras", 0): [14.615, 4.7965, 1.2741, .24795, .029167, 0], ("exponential", 0): [14.615, 3.089, .65289, .138, .029167, 0],
    ("beta", 0): [14.615, 12.052, 7.3219, 2.5915, .029167, 0], ("beta", 1): [14.615, 7.3718, 2.6152, 1.0273, .39551, 0],
    ("kl_optimal", 0): [14.615, 2.6329, 1.2948, .71163, .33564, .029167], ("kl_optimal", 1): [14.615, 2.1427, .96159, .41984, .029167, 0],
    ("linear_quadratic", 1): [HIGH * v for v in (1, .9875, .975, .85833, .53333, 0)],
    ("align_your_steps", 0): [14.615, 3.2269, 1.396, .51005, .029, 0], ("align_your_steps", 1): [14.615, 3.8637, 1.8842, .96426, .39775, 0],
}


def schedules():
    out = []
    for name, forms in SCHEDULES.items():
        for dialect, form in zip(("k", "comfy"), forms):
            for n in (1, 2, 3, 5, 10, 11, 20, 30, 32):
                try:
                    values = [float(v) for v in form(n)]
                except IndexError:
                    continue
                known = KNOWN.get((name, int(dialect == "comfy"))) if n == 5 else None
                if known and not np.allclose(values, known, rtol=1e-4, atol=1e-9):
                    raise SystemExit(f"{name} {dialect}: {values}, not {known}")
                if len(values) > 1 and all(a > b for a, b in zip(values, values[1:])):
                    out.append([name, dialect, n, values])
    return out


class Run:
    """A model that writes down what it sees, and noises one after the other."""

    def __init__(self, prediction, whole):
        self.prediction, self.whole, self.seen, self.drawn = prediction, whole, [], 0

    def outputs(self, x_in, t):
        m = 0.3 * x_in * math.cos(t / 1000) + 0.1 * math.sin(t / 100)
        u = 0.2 * x_in * math.cos(t / 900) + 0.05 * math.cos(t / 80)
        return m, u

    def see(self, x_in, t):
        self.seen.append((t, np.array(x_in, dtype=np.float64)))
        return self.outputs(x_in, t)

    def clean(self, x, sigma):
        c = 1 / math.sqrt(sigma * sigma + 1)
        m, u = self.see(x * c, time_of(sigma, self.whole))
        if self.prediction == "v_prediction":
            return tuple(x * c * c - v * sigma * c for v in (m, u))
        return x - sigma * m, x - sigma * u

    def eps(self, x, t):
        """In the variance-preserving view."""
        m, u = self.see(x, t)
        if self.prediction == "v_prediction":
            bar = math.exp(np.interp(t, range(1000), np.log(BAR)))
            return tuple(math.sqrt(bar) * v + math.sqrt(1 - bar) * x for v in (m, u))
        return m, u

    def noise(self, a, b):
        self.drawn += 1
        return NOISE[self.drawn - 1].astype(np.float64)


def by_k(function, **options):
    f = getattr(K, function)
    code = f.__wrapped__.__code__
    names = code.co_varnames[:code.co_argcount]

    def run(model, x, s, noise, **knobs):
        def denoise(x, sigma):
            return torch.from_numpy(model(x[0].numpy(), float(sigma[0]))[0])[None]
        draw = lambda *_: torch.from_numpy(noise(None, None))[None]
        torch.randn_like, before = draw, torch.randn_like
        knobs = {k: v for k, v in (options | knobs).items() if k in names}
        if "noise_sampler" in names:
            knobs["noise_sampler"] = draw
        try:
            return f(denoise, torch.from_numpy(x)[None], torch.tensor(s, dtype=f64), disable=True, **knobs)[0].numpy()
        finally:
            torch.randn_like = before
    return run


def fast(run, n, eta=1.0):
    def denoise(x, sigma):
        return torch.from_numpy(run.clean(x[0].numpy(), float(sigma[0]))[0])[None]
    draw = lambda *_: torch.from_numpy(run.noise(None, None))[None]
    solver = K.DPMSolver(denoise)
    t = lambda v: -torch.tensor(v, dtype=f64).log()
    x = torch.from_numpy(START.astype(np.float64) * HIGH)[None]
    return solver.dpm_solver_fast(x, t(HIGH), t(LOW), n, eta, 1.0, draw)[0].numpy()


def adaptive(model, x, s, noise, **knobs):
    """From the first sigma to the last but zero."""
    def denoise(x, sigma):
        return torch.from_numpy(model(x[0].numpy(), float(sigma[0]))[0])[None]
    draw = lambda *_: torch.from_numpy(noise(None, None))[None]
    low, high = (torch.tensor(v, dtype=f64) for v in (min(v for v in s if v > 0), s[0]))
    options = dict(disable=True, noise_sampler=draw) | knobs
    return K.sample_dpm_adaptive(denoise, torch.from_numpy(x)[None], low, high, **options)[0].numpy()


def lcm_a1(run, n):
    """Over the fifty timesteps of the distillation, with the boundary condition; eps only."""
    times = np.arange(19, 1000, 20)
    table = TABLE[times]
    steps = zero(np.exp(np.interp(np.linspace(49, 0, n), range(50), np.log(table))))
    x = START.astype(np.float64) * steps[0]
    for a, b in zip(steps, steps[1:]):
        t = float(times[np.abs(np.log(table) - math.log(a)).argmin()])
        m, _ = run.see(x / math.sqrt(a * a + 1), t)
        D = x - a * m
        s = t * 10.0
        x = s / math.sqrt(s * s + 0.25) * D + 0.25 / (s * s + 0.25) * x
        if b > 0:
            x = x + b * run.noise(a, b)
    return x


SHARE = {"sa_solver": dict(tau=peers.tau_of(sigma_of(0.2 * 999), sigma_of(0.8 * 999)))}
SHARE["sa_solver_pece"] = SHARE["sa_solver"] | dict(pece=True)
# Samplers over sigmas: the peer, its options, and the dialects in which it stands.
SAMPLERS = {
    "euler": (by_k("sample_euler"), {}), "euler_a": (by_k("sample_euler_ancestral"), {}),
    "heun": (by_k("sample_heun"), {}), "dpm2": (by_k("sample_dpm_2"), {}), "dpm2_a": (by_k("sample_dpm_2_ancestral"), {}),
    "lms": (by_k("sample_lms"), {}), "dpm++_2s_a": (by_k("sample_dpmpp_2s_ancestral"), {}),
    "dpm++_sde": (by_k("sample_dpmpp_sde"), {}), "dpm++_2m": (by_k("sample_dpmpp_2m"), {}),
    "dpm++_2m_sde": (by_k("sample_dpmpp_2m_sde"), {}), "dpm++_2m_sde_heun": (by_k("sample_dpmpp_2m_sde", solver_type="heun"), {}),
    "dpm++_3m_sde": (by_k("sample_dpmpp_3m_sde"), {}),
    "restart": (peers.restart, {}), "heunpp2": (peers.heunpp2, {}), "ipndm": (peers.ipndm, {}),
    "ipndm_v": (peers.ipndm, dict(variable=True)), "deis": (peers.deis, {}), "res_multistep": (peers.res, {}),
    "res_multistep_ancestral": (peers.res, dict(ancestral=True)), "res_multistep_cfg_pp": (peers.res, dict(plus=True)),
    "res_multistep_ancestral_cfg_pp": (peers.res, dict(ancestral=True, plus=True)),
    "gradient_estimation": (peers.gradient, {}), "gradient_estimation_cfg_pp": (peers.gradient, dict(plus=True)),
    "er_sde": (peers.er_sde, {}), "seeds_2": (peers.seeds_2, {}), "seeds_3": (peers.seeds_3, {}),
    "sa_solver": (peers.sa_solver, SHARE["sa_solver"]), "sa_solver_pece": (peers.sa_solver, SHARE["sa_solver_pece"]),
    "euler_cfg_pp": (peers.euler_plus, {}), "euler_ancestral_cfg_pp": (peers.euler_plus, dict(ancestral=True)),
    "dpmpp_2m_cfg_pp": (peers.two_m_plus, {}), "dpmpp_2s_ancestral_cfg_pp": (peers.two_s_plus, {}), "ddpm": (peers.ddpm, {}),
}
COMFY = {"euler": (peers.euler, {}), "heunpp2": (peers.heunpp2, {}), "lcm": (peers.lcm, {}), "unipc": (peers.unipc, {}),
         "unipc_bh2": (peers.unipc, dict(bh2=True)), "dpm_adaptive": (adaptive, {}), "ddim": (peers.euler, {})}
DISCARD = {"k": {"dpm2", "dpm2_a", "dpm++_3m_sde"}, "comfy": {"dpm2", "dpm2_a", "unipc", "unipc_bh2"}}


def cases():
    """(sampler, dialect, schedule, steps, prediction, knobs)"""
    for name in SAMPLERS:
        yield name, "k", "karras", 10, "epsilon", {}
        # sgm_uniform would meet the bound of SA-Solver's noise to the last digit.
        yield name, "k", "simple" if name.startswith("sa_") else "sgm_uniform", 10, "v_prediction", {}
        for n in (1, 2, 3, 4, 5):
            yield name, "k", "exponential", n, "epsilon", {}
    yield "restart", "k", "karras", 20, "epsilon", {}
    yield "restart", "k", "karras", 38, "epsilon", {}
    for name in ("euler", "heun", "dpm2", "heunpp2"):
        yield name, "k", "karras", 10, "epsilon", dict(s_churn=3.0, s_tmin=0.1, s_tmax=10.0, s_noise=1.003)
    for name in ("euler_a", "dpm2_a", "dpm++_2s_a", "dpm++_sde", "dpm++_2m_sde", "dpm++_3m_sde", "seeds_2", "res_multistep_ancestral"):
        yield name, "k", "karras", 10, "epsilon", dict(eta=0.6)
        yield name, "k", "karras", 10, "epsilon", dict(eta=0.0)
    for name in COMFY:
        for n in (10, 2, 3):
            yield name, "comfy", "simple", n, "epsilon", {}
        yield name, "comfy", "karras", 10, "v_prediction", {}
    yield "euler", "comfy", "karras", 10, "epsilon", dict(s_churn=3.0, s_tmin=0.1, s_tmax=10.0)
    for schedule in [name for name in SCHEDULES if not name.endswith("_xl")]:
        yield "dpm++_2m", "k", schedule, 10, "epsilon", {}
    for name in ("ddim", "ddim_cfg++", "plms", "unipc", "unipc_bh2", "lcm"):
        for n in (10, 7, 3, 2, 20) if name != "lcm" else (10, 4, 2, 1):
            yield name, "k", None, n, "epsilon", {}
        if name not in ("lcm", "ddim_cfg++"):
            yield name, "k", None, 10, "v_prediction", {}
    yield "ddim", "k", None, 10, "epsilon", dict(eta=0.7)
    for n in (1, 2, 3, 4, 5, 10, 12):
        for eta in (0.0, 0.6):
            yield "dpm_fast", "k", None, n, "epsilon", dict(eta=eta)
    for eta in (0.0, 0.6, 1.0):
        yield "dpm_adaptive", "k", None, 10, "epsilon", dict(eta=eta)
        yield "dpm_adaptive", "k", None, 10, "v_prediction", dict(eta=eta, s_noise=1.01)


def play(name, dialect, schedule, n, prediction, knobs):
    run = Run(prediction, dialect == "comfy")
    x = START.astype(np.float64)
    if schedule is None:
        timed = {"ddim": lambda: peers_timesteps.a1_ddim(run.eps, x, BAR, n, run.noise, **knobs),
                 "ddim_cfg++": lambda: peers_timesteps.a1_ddim(run.eps, x, BAR, n, run.noise, plus=True),
                 "plms": lambda: peers_timesteps.a1_plms(run.eps, x, BAR, n, run.noise),
                 "unipc": lambda: peers_timesteps.a1_unipc(run.eps, x, BAR, n, run.noise),
                 "unipc_bh2": lambda: peers_timesteps.a1_unipc(run.eps, x, BAR, n, run.noise, bh2=True),
                 "lcm": lambda: lcm_a1(run, n), "dpm_fast": lambda: fast(run, n, **knobs),
                 "dpm_adaptive": lambda: adaptive(run.clean, x * HIGH, [HIGH, LOW], run.noise, **knobs)}
        return run, timed[name]()
    discards = name in DISCARD[dialect]
    s = [float(v) for v in SCHEDULES[schedule][int(dialect == "comfy")](n + discards)]
    if discards and len(s) > 2:
        del s[-2]
    f, options = (COMFY if dialect == "comfy" else SAMPLERS)[name]
    scale = math.sqrt(1 + s[0] ** 2) if dialect == "comfy" and s[0] > HIGH * (1 - 1e-5) else s[0]
    if name == "euler" and dialect == "comfy":
        options = dict(always=False)
    return run, f(run.clean, x * scale, s, run.noise, **options, **knobs)


def brownian():
    """Weights of torchsde's tree: each normal is counted by the seed that it is drawn with."""
    import torchsde
    import torchsde._brownian.brownian_interval as interval
    seeds, out = [], []
    def counted(size, dtype, device, seed):
        if seed not in seeds:
            seeds.append(seed)
        values = torch.zeros(64, dtype=f64)
        values[seeds.index(seed)] = 1.0
        return values
    interval._randn = counted
    for entropy in (42, 0, 2**32 + 5):
        for a, b in ((8.0, 14.614642), (3.0, 8.0), (0.5, 0.75), (0.0291675, 0.5), (1.0, 1.000001)):
            seeds.clear()
            low, high = torch.tensor(0.0291675, dtype=f64), torch.tensor(14.614642, dtype=f64)
            tree = torchsde.BrownianTree(low, torch.zeros(64, dtype=f64), high, entropy=entropy)
            gain = tree(torch.tensor(a, dtype=f64), torch.tensor(b, dtype=f64))
            found = {str(seed): float(gain[i]) for i, seed in enumerate(seeds) if abs(float(gain[i])) > 1e-12}
            out.append([str(entropy), a, b, found])
    return out


def main():
    if peers_check.check():
        raise SystemExit(1)
    times, inputs, ends, listed = [], [], [], []
    for case in cases():
        name, dialect, schedule, n, prediction, knobs = case
        with np.errstate(all="ignore"):
            try:
                run, end = play(*case)
            except (ArithmeticError, LookupError, NameError, ValueError, RuntimeError) as error:
                print(case, type(error).__name__, error, file=sys.stderr)
                continue
        if not np.isfinite(end).all():
            print(case, "not finite", file=sys.stderr)
            continue
        listed.append(dict(sampler=name, dialect=dialect, schedule=schedule, steps=n, prediction=prediction, knobs=knobs,
                           at=len(times), count=len(run.seen), draws=run.drawn))
        times += [t for t, _ in run.seen]
        inputs += [x for _, x in run.seen]
        ends.append(end)
    f32 = lambda values: np.array(values, dtype=np.float32)
    save_file(dict(start=START, noise=NOISE, timesteps=f32(times), inputs=f32(inputs), ends=f32(ends)),
              ROOT / "k_samplers.safetensors", metadata={"cases": json.dumps(listed)})
    lines = lambda items: "[\n" + ",\n".join(json.dumps(i) for i in items) + "\n]"
    (ROOT / "k_schedules.json").write_text(f'{{"schedules": {lines(schedules())},\n"brownian": {lines(brownian())}}}\n')
    print(len(listed), "cases,", len(times), "evaluations")


if __name__ == "__main__":
    main()
