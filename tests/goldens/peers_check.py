"""Holds peers.py and peers_timesteps.py to what the programs themselves give for a model of one number, to seven digits."""

import math

import numpy as np

import peers
import peers_timesteps as timed

SIGMAS = [10, 6, 3, 1, 0.4, 0]

# What the programs give for x = 7, D = x/(1+sigma^2) + 0.3 cos x, Du = x/(1+sigma^2) + 0.1 sin x, noises sin 1, sin 2, …
CHECKS = [
    (peers.euler, dict(s_churn=1.5, s_tmin=0.5, s_tmax=7), 1.0378025, 5, 3),
    (peers.ddpm, {}, 0.6292177, 5, 4),
    (peers.lcm, {}, 0.3576752, 5, 4),
    (peers.heunpp2, {}, 0.8370726, 12, 5),
    (peers.ipndm, {}, 1.0358138, 5, 0),
    (peers.ipndm, dict(variable=True), 0.9550585, 5, 0),
    (peers.deis, {}, 0.9679421, 5, 0),
    (peers.res, {}, 0.9119877, 5, 4),
    (peers.res, dict(ancestral=True), 0.7075633, 5, 4),
    (peers.gradient, {}, 1.0042702, 5, 0),
    (peers.er_sde, {}, 1.0287163, 5, 4),
    (peers.seeds_2, {}, 0.7772900, 9, 8),
    (peers.seeds_3, {}, 0.5455846, 13, 12),
    (peers.sa_solver, dict(tau=peers.tau_of(0.5, 8)), 0.9166798, 5, 3),
    (peers.sa_solver, dict(tau=peers.tau_of(0.5, 8), pece=True), 1.0194281, 9, 3),
    (peers.euler_plus, {}, 0.8226672, 5, 0),
    (peers.euler_plus, dict(ancestral=True), 0.6484420, 5, 4),
    (peers.two_m_plus, {}, 0.8698379, 5, 0),
    (peers.two_s_plus, {}, 0.8395563, 9, 4),
    (peers.res, dict(plus=True), 0.9463821, 5, 4),
    (peers.gradient, dict(plus=True), 0.9783095, 5, 0),
    (peers.unipc, {}, 1.0589614, 5, 0),
    (peers.unipc, dict(bh2=True), 1.0076127, 5, 0),
]
RESTARTS = [(10, 1.3371965, 19, 0), (20, 1.4564402, 39, 1), (36, 1.4899721, 71, 2)]
TIMED = [
    (timed.a1_ddim, 7, {}, 1.2929130), (timed.a1_ddim, 10, {}, 1.0760066), (timed.a1_ddim, 7, dict(eta=0.7), 4.5537281),
    (timed.a1_ddim, 10, dict(eta=0.7), 2.6538405), (timed.a1_ddim, 7, dict(plus=True), 0.2133104), (timed.a1_ddim, 10, dict(plus=True), 0.0995001),
    (timed.a1_plms, 7, {}, 1.3460791), (timed.a1_plms, 10, {}, 1.1027747), (timed.a1_unipc, 7, {}, 1.3358639), (timed.a1_unipc, 10, {}, 1.3383005),
    (timed.a1_unipc, 10, dict(bh2=True), 1.3341539),
]


def table():
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    return np.cumprod(1 - betas)


def check():
    def counting():
        state = dict(model=0, noise=0)
        def model(x, sigma):
            state["model"] += 1
            base = x / (1 + sigma**2)
            return base + 0.3 * math.cos(x), base + 0.1 * math.sin(x)
        def noise(a, b):
            state["noise"] += 1
            return math.sin(state["noise"])
        return state, model, noise
    wrong = 0
    def hold(name, found, expected, counted=None):
        nonlocal wrong
        good = abs(found - expected) < 2e-7 and (counted is None or counted[0] == counted[1])
        wrong += not good
        if not good:
            print("WRONG", name, found, expected, counted)
    for f, options, expected, evaluations, draws in CHECKS:
        state, model, noise = counting()
        found = f(model, 7.0, SIGMAS, noise, **options)
        hold((f.__name__, options), found, expected, ((state["model"], state["noise"]), (evaluations, draws)))
    for n, expected, evaluations, draws in RESTARTS:
        state, model, noise = counting()
        found = peers.restart(model, 7.0, peers.karras(n, 0.0291675, 14.614642), noise)
        hold(("restart", n), found, expected, ((state["model"], state["noise"]), (evaluations, draws)))
    for f, n, options, expected in TIMED:
        state, _, noise = counting()
        eps = lambda x, t: (0.5 * math.sin(x) + 0.3 * t / 1000, 0.4 * math.sin(x) + 0.2 * t / 1000)
        hold((f.__name__, n, options), f(eps, 0.7, table(), n, noise, **options), expected)
    print("all hold" if not wrong else f"{wrong} are wrong")
    return wrong


if __name__ == "__main__":
    raise SystemExit(check())
