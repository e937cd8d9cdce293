"""Samplers over sigmas that no package on PyPI has, in float64, by the rules of ComfyUI (k_diffusion/sampling.py, deis.py,
sa_solver.py, uni_pc.py), A1111 (modules/sd_samplers_extra.py) and Forge.

Written from the rules, not from their code; peers_check.py holds each to what the programs themselves give.

A sampler is `f(model, x, sigmas, noise, **options)`: `model(x, sigma)` gives the clean sample and the unconditional one,
`noise(a, b)` the next unit noise.
"""

import math

import numpy as np

expm1, exp, log, sqrt = math.expm1, math.exp, math.log, math.sqrt
lam = lambda sigma: math.inf if sigma == 0 else -log(sigma)


def split(a, b, eta):
    """How far an ancestral step goes down, and how much it adds."""
    if not eta:
        return b, 0.0
    up = min(b, eta * sqrt(max(b * b * (a * a - b * b) / (a * a), 0)))
    return sqrt(max(b * b - up * up, 0)), up


def churned(x, sigma, n, noise, s_churn, s_tmin, s_tmax, s_noise, always):
    gamma = min(s_churn / n, sqrt(2) - 1) if s_tmin <= sigma <= s_tmax else 0.0
    hat = sigma * (1 + gamma)
    if gamma > 0 or always:
        e = noise(None, None)
        if gamma > 0:
            x = x + e * s_noise * sqrt(hat * hat - sigma * sigma)
    return x, hat


def euler(model, x, s, noise, s_churn=0, s_tmin=0, s_tmax=math.inf, s_noise=1, always=False, **_):
    for a, b in zip(s, s[1:]):
        x, hat = churned(x, a, len(s) - 1, noise, s_churn, s_tmin, s_tmax, s_noise, always)
        x = x + (x - model(x, hat)[0]) / hat * (b - hat)
    return x


def ddpm(model, x, s, noise, s_noise=1, **_):
    for a, b in zip(s, s[1:]):
        D = model(x, a)[0]
        e = (x - D) / a
        bar, bar_n = 1 / (1 + a * a), 1 / (1 + b * b)
        alpha = bar / bar_n
        vp = x * sqrt(bar)
        mu = (vp - (1 - alpha) * e / sqrt(1 - bar)) / sqrt(alpha)
        if b > 0:
            mu = mu + sqrt((1 - alpha) * (1 - bar_n) / (1 - bar)) * noise(a, b) * s_noise
        x = mu / sqrt(bar_n)
    return x


def lcm(model, x, s, noise, s_noise=1, **_):
    for a, b in zip(s, s[1:]):
        x = model(x, a)[0]
        if b > 0:
            x = x + b * noise(a, b) * s_noise
    return x


def heunpp2(model, x, s, noise, s_churn=0, s_tmin=0, s_tmax=math.inf, s_noise=1, **_):
    slope = lambda x, a: (x - model(x, a)[0]) / a
    for i, (a, b) in enumerate(zip(s, s[1:])):
        x, a = churned(x, a, len(s) - 1, noise, s_churn, s_tmin, s_tmax, s_noise, True)
        d, h = slope(x, a), b - a
        if b == 0:
            x = x + d * h
        elif s[i + 2] == 0:
            w = b / (2 * s[0])
            x = x + h * ((1 - w) * d + w * slope(x + d * h, b))
        else:
            x2 = x + d * h
            d2 = slope(x2, b)
            d3 = slope(x2 + d2 * (s[i + 2] - b), s[i + 2])
            w2, w3 = b / (3 * s[0]), s[i + 2] / (3 * s[0])
            x = x + h * ((1 - w2 - w3) * d + w2 * d2 + w3 * d3)
    return x


AB = [[1], [3 / 2, -1 / 2], [23 / 12, -16 / 12, 5 / 12], [55 / 24, -59 / 24, 37 / 24, -9 / 24]]


def ipndm(model, x, s, noise, variable=False, **_):
    past = []
    for i, (a, b) in enumerate(zip(s, s[1:])):
        D = model(x, a)[0]
        past = [(x - D) / a, *past][:4]
        if b == 0:
            return D
        w = AB[min(i, 3)]
        if variable and i:
            h = [s[i - k + 1] - s[i - k] for k in range(min(i, 3) + 1)]
            w = by_length(*h)
        x = x + (b - a) * sum(c * d for c, d in zip(w, past))
    return x


def by_length(h, h1, h2=None, h3=None):
    q = h / h1
    if h2 is None:
        return (2 + q) / 2, -q / 2
    T = 0.5 * (1 - h / (3 * (h + h1)) * h * (h + h1) / (h1 * (h1 + h2)))
    if h3 is None:
        return (2 + q) / 2 + T, -q / 2 - (1 + h1 / h2) * T, T * h1 / h2
    T2 = (0.5 * (1 - h / (3 * (h + h1))) + (1 - h / (2 * (h + h1))) * h / (6 * (h + h1 + h2))) \
        * h * (h + h1) * (h + h1 + h2) / (h1 * (h1 + h2) * (h1 + h2 + h3))
    a, g = h1 / h2, h1 * (h1 + h2) / (h2 * (h2 + h3))
    return ((2 + q) / 2 + T + T2, -q / 2 - (1 + a) * T - (1 + a + g) * T2,
            a * T + (a + g * (1 + h2 / h3)) * T2, -T2 * g * a)


def deis(model, x, s, noise, **_):
    lo, hi, eps = log(0.002**2 + 1), log(80.0**2 + 1), 1e-3
    bd = 2 * (lo / eps - hi) / (eps - 1)
    bm = hi - 0.5 * bd
    time = [(sqrt(bm * bm + 2 * bd * log(a * a + 1)) - bm) / bd for a in s]
    past = []
    for i, (a, b) in enumerate(zip(s, s[1:])):
        past = [(x - model(x, a)[0]) / a, *past][:3]
        n = min(i + 1, 3)
        if b == 0 or n == 1:
            x = x + (b - a) * past[0]
            continue
        nodes = [time[i - k] for k in range(n)]
        tau = np.linspace(time[i], time[i + 1], 10000)
        la = -0.5 * tau * tau * bd - tau * bm
        alpha = np.exp(la)
        base = 0.5 * (tau * bd + bm) / np.sqrt(alpha * (1 - alpha)) * (time[i + 1] - time[i]) / 10000
        for j in range(n):
            others = [(tau - nodes[k]) / (nodes[j] - nodes[k]) for k in range(n) if k != j]
            x = x + (base * np.prod(others, axis=0)).sum() * past[j]
    return x


def res(model, x, s, noise, eta=1, s_noise=1, ancestral=False, plus=False, **_):
    old = None
    for i, (a, b) in enumerate(zip(s, s[1:])):
        D, Du = model(x, a)
        down, up = split(a, b, eta if ancestral else 0)
        kept = Du if plus else D
        if down == 0 or old is None:
            x = D + (x - kept) / a * down
        else:
            h = lam(down) - lam(a)
            c2 = (lam(s[i - 1]) - lam(old_down)) / h
            f1 = expm1(-h) / -h
            f2 = (f1 - 1) / -h
            b2 = f2 / c2 if c2 else math.nan
            b1, b2 = (0 if math.isnan(v) else v for v in (f1 - b2, b2))
            x = exp(-h) * (x + (D - Du if plus else 0)) + h * (b1 * kept + b2 * old)
        if b > 0:
            x = x + noise(a, b) * s_noise * up
        old, old_down = kept, down
    return x


def gradient(model, x, s, noise, plus=False, **_):
    for i, (a, b) in enumerate(zip(s, s[1:])):
        D, Du = model(x, a)
        d = (x - (Du if plus else D)) / a
        if b == 0:
            return D
        x = D + d * b if plus else x + d * (b - a)
        if i:
            x = x + (d - old) * (b - a)
        old = d
    return x


def er_sde(model, x, s, noise, s_noise=1, **_):
    f = lambda v: v * (np.exp(v**0.3) + 10)
    for i, (a, b) in enumerate(zip(s, s[1:])):
        D = model(x, a)[0]
        if b == 0:
            return D
        R, step = f(b) / f(a), b - a
        x = R * x + (1 - R) * D
        p = b - step * np.arange(200) / 200
        w = -step / 200
        if i >= 1:
            D1 = (D - old) / (a - s[i - 1])
            x = x + (step + (w / f(p)).sum() * f(b)) * D1
            if i >= 2:
                D2 = (D1 - old1) / ((a - s[i - 2]) / 2)
                x = x + (step * step / 2 + ((p - a) * w / f(p)).sum() * f(b)) * D2
            old1 = D1
        old = D
        x = x + noise(a, b) * s_noise * sqrt(max(b * b - a * a * R * R, 0))
    return x


def seeds_2(model, x, s, noise, eta=1, s_noise=1, r=0.5, **_):
    for a, b in zip(s, s[1:]):
        D = model(x, a)[0]
        if b == 0:
            return D
        h = lam(b) - lam(a)
        E, H, m = h * eta, h * (1 + eta), exp(-(lam(a) + r * h))
        n1 = sqrt(-expm1(-2 * r * E)) * noise(a, m)
        x2 = m / a * exp(-r * E) * x - expm1(-r * H) * D + m * n1 * s_noise
        D2 = model(x2, m)[0]
        n2 = exp((r - 1) * E) * n1 + sqrt(-expm1(2 * (r - 1) * E)) * noise(m, b)
        x = b / a * exp(-E) * x - expm1(-H) * ((1 - 1 / (2 * r)) * D + D2 / (2 * r)) + b * n2 * s_noise
    return x


def seeds_3(model, x, s, noise, eta=1, s_noise=1, r1=1 / 3, r2=2 / 3, **_):
    phi = lambda z: (expm1(z) - z) / z
    for a, b in zip(s, s[1:]):
        D = model(x, a)[0]
        if b == 0:
            return D
        h = lam(b) - lam(a)
        E, H = h * eta, h * (1 + eta)
        m1, m2 = (exp(-(lam(a) + r * h)) for r in (r1, r2))
        n1 = sqrt(-expm1(-2 * r1 * E)) * noise(a, m1)
        x2 = m1 / a * exp(-r1 * E) * x - expm1(-r1 * H) * D + m1 * n1 * s_noise
        D2 = model(x2, m1)[0]
        a32 = r2 / r1 * phi(-r2 * H)
        n2 = exp((r1 - r2) * E) * n1 + sqrt(-expm1(2 * (r1 - r2) * E)) * noise(m1, m2)
        x3 = m2 / a * exp(-r2 * E) * x - ((expm1(-r2 * H) - a32) * D + a32 * D2) + m2 * n2 * s_noise
        D3 = model(x3, m2)[0]
        b3 = phi(-H) / r2
        n3 = exp((r2 - 1) * E) * n2 + sqrt(-expm1(2 * (r2 - 1) * E)) * noise(m2, b)
        x = b / a * exp(-E) * x - ((expm1(-H) - b3) * D + b3 * D3) + b * n3 * s_noise
    return x


def adams(nodes, start, end, tau):
    """Weights of clean samples at `nodes` for the way from `start` to `end`, all in lambda."""
    k = 1 + tau * tau
    I = []
    for p in range(len(nodes)):
        J = end**p - start**p * exp(-k * (end - start))
        I.append(J - (p / k * I[-1] if p else 0))
    return np.linalg.solve(np.vander(nodes, increasing=True).T, I)


def sa_solver(model, x, s, noise, tau=None, s_noise=1, pece=False, **_):
    L = [lam(a) for a in s]
    n, D, at = len(s) - 1, [], []
    added = 0
    pred = x
    for i in range(n):
        a, b = s[i], s[i + 1]
        D, at = [*D, model(pred, a)[0]], [*at, L[i]]
        if i == 0 or (not pece and b == 0):
            x = pred
        else:
            k = min(4, len(D), n - i)
            w = adams(at[-k:], L[i - 1], L[i], t)
            x = a / s[i - 1] * exp(-t * t * (L[i] - L[i - 1])) * x + sum(c * d for c, d in zip(w, D[-k:])) + added
            if pece:
                D[-1] = model(x, a)[0]
        if b == 0:
            return D[-1]
        t = tau(b)
        k = min(3, len(D), n - 1 - i)
        h = L[i + 1] - L[i]
        w = adams(at[-k:], L[i], L[i + 1], t)
        added = b * sqrt(-expm1(-2 * t * t * h)) * noise(a, b) * s_noise if t else 0
        pred = b / a * exp(-t * t * h) * x + sum(c * d for c, d in zip(w, D[-k:])) + added
    return x


def euler_plus(model, x, s, noise, eta=1, s_noise=1, ancestral=False, **_):
    for a, b in zip(s, s[1:]):
        D, Du = model(x, a)
        down, up = split(a, b, eta if ancestral else 0)
        x = D + down * (x - Du) / a
        if up:
            x = x + up * noise(a, b) * s_noise
    return x


def two_m_plus(model, x, s, noise, **_):
    for i, (a, b) in enumerate(zip(s, s[1:])):
        D, Du = model(x, a)
        if b == 0:
            return D
        h = lam(b) - lam(a)
        x = D + exp(-h) * (x - Du)
        if i:
            x = x - expm1(-h) / (2 * (old_h / h)) * (D - old)
        old, old_h = Du, h
    return x


def two_s_plus(model, x, s, noise, eta=1, s_noise=1, **_):
    for a, b in zip(s, s[1:]):
        D, Du = model(x, a)
        down, up = split(a, b, eta)
        if down == 0:
            x = D
        else:
            h = lam(down) - lam(a)
            m = exp(-(lam(a) + h / 2))
            D2, Du2 = model(m / a * (x + (D - Du)) - expm1(-h / 2) * D, m)
            # By the first evaluation's guidance and the second's unconditional sample.
            x = down / a * (x + (D - Du2)) - expm1(-h) * D2
        if b > 0:
            x = x + noise(a, b) * s_noise * up
    return x


def unipc(model, x, s, noise, bh2=False, **_):
    """Over sigmas: the last zero is 0.001, and the result is divided by its alpha."""
    s = [*s[:-1], s[-1] or 0.001]
    alpha = [1 / sqrt(1 + a * a) for a in s]
    clean = lambda x, i: model(x / alpha[i], s[i])[0]
    x = unified(clean, x * alpha[0], alpha, [a * k for a, k in zip(s, alpha)], min(3, len(s) - 2), bh2)
    return x / alpha[-1]


def unified(clean, x, alpha, sigma, most, bh2):
    """UniPC with predictor and corrector over levels alpha, sigma; the last corrects nothing."""
    L = [log(a / s) for a, s in zip(alpha, sigma)]
    n, D = len(alpha) - 1, []
    for i in range(n):
        new = clean(x, i)
        if i:
            x = move(last, D, alpha, sigma, L, i - 1, order, bh2, new)
        D = [new, *D]
        order = max(1, min(most, i + 1, n - i))
        last, x = x, move(x, D, alpha, sigma, L, i, order, bh2, None)
    return x


def move(x, D, alpha, sigma, L, i, order, bh2, end):
    h = L[i + 1] - L[i]
    hh = -h
    B = expm1(hh) if bh2 else hh
    r = [(L[i - k] - L[i]) / h for k in range(1, order)]
    diffs = [(D[k] - D[0]) / v for k, v in zip(range(1, order), r)]
    base = sigma[i + 1] / sigma[i] * x - alpha[i + 1] * expm1(hh) * D[0]
    if end is not None:
        r, diffs = [*r, 1.0], [*diffs, end - D[0]]
    if not r:
        return base
    phi, b = expm1(hh) / hh - 1, []
    for k in range(1, len(r) + 1):
        b.append(math.factorial(k) * phi / B)
        phi = phi / hh - 1 / math.factorial(k + 1)
    rho = np.linalg.solve([[v**k for v in r] for k in range(len(r))], b)
    if (end is None and order == 2) or (end is not None and order == 1):
        rho = [0.5]
    return base - alpha[i + 1] * B * sum(c * d for c, d in zip(rho, diffs))


def restart(model, x, s, noise, s_noise=1, **_):
    n = len(s) - 1
    runs, extra, times = [], 0, 0
    if n >= 20:
        extra, times = (n // 4, 2) if n >= 36 else (9, 1)
        s = karras(n - extra * times, s[-2], s[0])
    low = int(np.argmin(np.abs(np.array(s) - 0.1))) if extra else -1
    high = int(np.argmin(np.abs(np.array(s) - 2.0)))
    steps = []
    for i, pair in enumerate(zip(s, s[1:])):
        steps.append(pair)
        if i + 1 == low and high < low:
            again = karras(extra + 1, s[low], s[high])[:-1]
            steps += list(zip(again, again[1:])) * times
    before = None
    for a, b in steps:
        if before is not None and before < a:
            x = x + noise(before, a) * s_noise * sqrt(a * a - before * before)
        d = (x - model(x, a)[0]) / a
        if b == 0:
            x = x + d * (b - a)
        else:
            x2 = x + d * (b - a)
            x = x + (d + (x2 - model(x2, b)[0]) / b) / 2 * (b - a)
        before = b
    return x


def karras(n, low, high, rho=7):
    ramp = np.linspace(0, 1, n)
    return [*((high ** (1 / rho) + ramp * (low ** (1 / rho) - high ** (1 / rho))) ** rho), 0.0]


def tau_of(low, high):
    return lambda sigma: 1.0 if low <= sigma <= high else 0.0
