"""Samplers over timesteps that begin from a picture, by A1111's rules (modules/sd_samplers_timesteps.py, `sample_img2img`) and
CompVis' (ldm/models/diffusion/ddim.py, `stochastic_encode` and `decode`), in float64, with k_samplers.py's stand-in for a
model. `python begun.py` writes begun.json."""

import math

import numpy as np
from k_samplers import BAR
from peers_timesteps import a1_ddim, a1_plms, a1_unipc, grid
from seeded import ROOT, write_json
from seeds import ldm_parameters, ldm_step

SIZE = 8
rng = np.random.default_rng(20261127)
PICTURE, NOISE = rng.standard_normal(SIZE) * 0.7, rng.standard_normal(SIZE)
A1111 = {"ddim": a1_ddim, "ddim_cfg++": lambda *args, **more: a1_ddim(*args, plus=True, **more), "pndm": a1_plms, "unipc": a1_unipc}


class Model:
    def __init__(self):
        self.told = []

    def __call__(self, x, t):
        self.told.append(float(t))
        outputs = (0.3 * math.cos(t / 1000) * x + 0.1 * math.sin(t / 100), 0.2 * math.cos(t / 900) * x + 0.05 * math.cos(t / 80))
        return outputs


def noised(a):
    return math.sqrt(a) * PICTURE + math.sqrt(1 - a) * NOISE


def a1111(sampler: str, n: int, t_enc: int):
    """The first t_enc timesteps, from the noise of the one above them."""
    model, whole = Model(), grid(n)
    x = noised(BAR[whole[t_enc]])
    return A1111[sampler](model, x, BAR, n, lambda *_: 0.0, t=whole[:t_enc]), model.told


def compvis(n: int, t_enc: int):
    """The same of CompVis' grid."""
    model, parameters = Model(), ldm_parameters(n, 0.0)
    x = noised(parameters[1][t_enc])
    for index in reversed(range(t_enc)):
        x = ldm_step(x, model(x, parameters[0][index])[0], index, parameters, lambda *_: 0.0)
    return x, model.told


def main():
    cases = []
    for n, strength in ((20, 0.75), (30, 0.5), (7, 0.6), (20, 1.0), (12, 0.3)):
        t_enc = int(min(strength, 0.999) * n)
        for sampler in A1111:
            end, told = a1111(sampler, n, t_enc)
            cases.append(dict(dialect="k", sampler=sampler, steps=n, begin=n - t_enc - 1, timesteps=told, end=list(end)))
        if strength < 1:
            t_enc = int(strength * n)
            end, told = compvis(n, t_enc)
            cases.append(dict(dialect="compvis", sampler="ddim", steps=n, begin=n - t_enc, timesteps=told, end=list(end)))
    write_json(ROOT / "begun.json", dict(picture=list(PICTURE), noise=list(NOISE), cases=cases), compact=True)


if __name__ == "__main__":
    main()
