"""A1111's samplers over timesteps (modules/sd_samplers_timesteps_impl.py), as peers.py has those over sigmas.

A sampler is `f(eps, x, alphas, n, noise, **options)`: `eps(x, t)` gives the guided noise and the unconditional one,
`alphas` the cumulative product of each training timestep. A run that begins from a picture has a grid `t` of its own, the first
timesteps of the whole one.
"""

from math import sqrt

import numpy as np

import peers


def grid(n):
    """Rising; the lowest is never evaluated."""
    return [min(t + 1, 999) for t in range(0, 1000, 1000 // n)]


def a1_ddim(eps, x, alphas, n, noise, eta=0.0, plus=False, s_noise=1, t=None):
    t = t or grid(n)
    for i in range(len(t) - 1, 0, -1):
        e, eu = eps(x, t[i])
        a, ap = alphas[t[i]], alphas[t[i - 1]]
        sd = eta * sqrt((1 - ap) / (1 - a) * (1 - a / ap))
        x0 = (x - sqrt(1 - a) * e) / sqrt(a)
        x = sqrt(ap) * x0 + sqrt(1 - ap - sd * sd) * (eu if plus else e) + sd * noise(None, None)
    return x


def a1_plms(eps, x, alphas, n, noise, t=None):
    t, past = t or grid(n), []
    def go(x, e, i):
        a, ap = alphas[t[i]], alphas[t[i - 1]]
        return sqrt(ap) * (x - sqrt(1 - a) * e) / sqrt(a) + sqrt(1 - ap) * e
    for i in range(len(t) - 1, 0, -1):
        e = eps(x, t[i])[0]
        past = [e, *past][:4]
        if len(past) == 1:
            mean = (e + eps(go(x, e, i), t[i - 1])[0]) / 2
        else:
            mean = sum(c * v for c, v in zip(peers.AB[len(past) - 1], past))
        x = go(x, mean, i)
    return x


def a1_unipc(eps, x, alphas, n, noise, bh2=False, t=None):
    N = len(t or grid(n))
    times = (np.linspace(t[-1] / 1000 + 1 / 1000 if t else 1, 1 / 1000, N + 1) - 1 / 1000) * 1000
    bar = np.exp(np.interp(times, range(1000), np.log(alphas)))
    alpha, sigma = list(np.sqrt(bar)), list(np.sqrt(1 - bar))
    clean = lambda x, i: (x - sigma[i] * eps(x, times[i])[0]) / alpha[i]
    return peers.unified(clean, x, alpha, sigma, min(3, N), bh2)
