"""Samplers of the programs that came first, CompVis' scripts and KerasCV, for crates/sampling/tests/k.rs and
tests/trajectories.rs.

    python tests/goldens/seeds.py       # writes seeds.safetensors beside itself, and seeds_trajectories.* beside each model's others

The programs' own loops written once more: CompVis' (ldm/models/diffusion/{ddim,plms}.py, dpm_solver/dpm_solver.py) and
KerasCV's (stable_diffusion.py of releases 0.3.4 and 0.9.0), in float64. First with k_samplers.py's elementwise "model" and its
start and noise, then ten steps with the tiny UNets and guidance. The files are laid out as k_samplers.py's and
k_trajectories.py's.
"""

import json
import math

import numpy as np
import torch
from k_samplers import BAR, NOISE, START, Run as Elementwise
from k_trajectories import SHAPE, STEPS, Run as Unet
from models import MODELS, load
from prompts import NEGATIVE, PROMPT
from safetensors.numpy import save_file
from seeded import ROOT, Tensors, normal, write_json
from stages import ids


def ldm_parameters(S, eta):
    """util.py: make_ddim_timesteps, make_ddim_sampling_parameters."""
    steps = np.asarray(list(range(0, 1000, 1000 // S))) + 1
    alphas = BAR[steps]  # an IndexError where they run past the table
    alphas_prev = np.asarray([BAR[0]] + BAR[steps[:-1]].tolist())
    sigmas = eta * np.sqrt((1 - alphas_prev) / (1 - alphas) * (1 - alphas / alphas_prev))
    return steps, alphas, alphas_prev, sigmas


def ldm_step(x, e_t, index, parameters, noise):
    """p_sample_ddim, and get_x_prev_and_pred_x0 of PLMS."""
    _, alphas, alphas_prev, sigmas = parameters
    a_t, a_prev, sigma_t = alphas[index], alphas_prev[index], sigmas[index]
    pred_x0 = (x - math.sqrt(1 - a_t) * e_t) / math.sqrt(a_t)
    dir_xt = math.sqrt(1 - a_prev - sigma_t**2) * e_t
    return math.sqrt(a_prev) * pred_x0 + dir_xt + sigma_t * noise(None, None)


def ldm_ddim(eps, x, S, noise, eta=0.0):
    parameters = ldm_parameters(S, eta)
    time_range = np.flip(parameters[0])
    for i, step in enumerate(time_range):
        x = ldm_step(x, eps(x, step)[0], len(time_range) - i - 1, parameters, noise)
    return x


def ldm_plms(eps, x, S, noise):
    parameters = ldm_parameters(S, 0.0)
    time_range = np.flip(parameters[0])
    old_eps = []
    for i, step in enumerate(time_range):
        index = len(time_range) - i - 1
        following = time_range[min(i + 1, len(time_range) - 1)]
        e_t = eps(x, step)[0]
        if len(old_eps) == 0:
            x_prev = ldm_step(x, e_t, index, parameters, noise)
            prime = (e_t + eps(x_prev, following)[0]) / 2
        elif len(old_eps) == 1:
            prime = (3 * e_t - old_eps[-1]) / 2
        elif len(old_eps) == 2:
            prime = (23 * e_t - 16 * old_eps[-1] + 5 * old_eps[-2]) / 12
        else:
            prime = (55 * e_t - 59 * old_eps[-1] + 37 * old_eps[-2] - 9 * old_eps[-3]) / 24
        x = ldm_step(x, prime, index, parameters, noise)
        old_eps = (old_eps + [e_t])[-3:]
    return x


def ldm_dpm(eps, x, S, noise):
    """DPM_Solver(predict_x0=True).sample(steps=S, skip_type="time_uniform", method="multistep", order=2)."""
    assert S >= 2
    t_array, log_alphas = np.linspace(0, 1, 1001)[1:], 0.5 * np.log(BAR)
    log_alpha = lambda t: float(np.interp(t, t_array, log_alphas))
    alpha = lambda t: math.exp(log_alpha(t))
    sigma = lambda t: math.sqrt(1 - math.exp(2 * log_alpha(t)))
    lamb = lambda t: log_alpha(t) - 0.5 * math.log(1 - math.exp(2 * log_alpha(t)))
    clean = lambda x, t: (x - sigma(t) * eps(x, (t - 1 / 1000) * 1000)[0]) / alpha(t)
    times = np.linspace(1.0, 1 / 1000, S + 1)
    models = []
    for step in range(1, S + 1):
        s, t = times[step - 1], times[step]
        models.append(clean(x, s))
        order = min(2, step)
        if S < 15:
            order = min(order, S + 1 - step)
        h = lamb(t) - lamb(s)
        d = 0.0
        if order == 2:
            r0 = (lamb(s) - lamb(times[step - 2])) / h
            d = (models[-1] - models[-2]) / r0
        phi = math.expm1(-h)
        x = sigma(t) / sigma(s) * x - alpha(t) * phi * models[-1] - 0.5 * alpha(t) * phi * d
    return x


def keras(eps, x, n, timesteps):
    alphas = [BAR[t] for t in timesteps]
    alphas_prev = [1.0] + alphas[:-1]
    for index, t in list(enumerate(timesteps))[::-1]:
        e = eps(x, t)[0]
        a_t, a_prev = alphas[index], alphas_prev[index]
        pred_x0 = (x - math.sqrt(1 - a_t) * e) / math.sqrt(a_t)
        x = e * math.sqrt(1 - a_prev) + math.sqrt(a_prev) * pred_x0
    return x


def keras_new(eps, x, n, noise):
    spread = np.arange(n) * (999 / (n - 1)) if n > 1 else np.zeros(1)
    return keras(eps, x, n, np.rint(spread).astype(int))


def keras_old(eps, x, n, noise):
    return keras(eps, x, n, np.arange(1, 1000, 1000 // n))


LOOPS = {("ddim", "compvis"): ldm_ddim, ("plms", "compvis"): ldm_plms, ("dpm++_2m", "compvis"): ldm_dpm,
         ("ddim", "keras"): keras_new, ("ddim", "keras-0.3"): keras_old}


def cases():
    """(sampler, dialect, steps, prediction, knobs)"""
    for sampler, dialect in LOOPS:
        for n in (1, 2, 3, 4, 5, 7, 8, 10, 14, 15, 20, 25, 30, 50, 60):
            yield sampler, dialect, n, "epsilon", {}
        yield sampler, dialect, 10, "v_prediction", {}
    for n in (10, 30):
        yield "ddim", "compvis", n, "epsilon", dict(eta=0.6)
        yield "ddim", "compvis", n, "epsilon", dict(eta=1.0)
    yield "ddim", "keras-0.3", 501, "epsilon", {}


def elementwise():
    times, inputs, ends, listed, refused = [], [], [], [], []
    for sampler, dialect, n, prediction, knobs in cases():
        run = Elementwise(prediction, False)
        case = dict(sampler=sampler, dialect=dialect, schedule=None, steps=n, prediction=prediction, knobs=knobs)
        try:
            end = LOOPS[sampler, dialect](run.eps, START.astype(np.float64), n, run.noise, **knobs)
        except (AssertionError, IndexError):
            refused.append(case)
            continue
        listed.append(case | dict(at=len(times), count=len(run.seen), draws=run.drawn))
        times += [t for t, _ in run.seen]
        inputs += [x for _, x in run.seen]
        ends.append(end)
    counts = {(c["sampler"], c["dialect"], c["steps"]): c["count"] for c in listed}
    assert (counts["ddim", "compvis", 30], counts["ddim", "compvis", 60], counts["ddim", "keras-0.3", 60]) == (31, 63, 63)
    f32 = lambda values: np.array(values, dtype=np.float32)
    save_file(dict(start=START, noise=NOISE, timesteps=f32(times), inputs=f32(inputs), ends=f32(ends)),
              ROOT / "seeds.safetensors", metadata={"cases": json.dumps(listed), "refused": json.dumps(refused)})
    print(len(listed), "cases,", len(refused), "refused,", len(times), "evaluations")


TRAJECTORIES = [("ddim", "compvis", {}), ("ddim", "compvis", dict(eta=0.6)), ("plms", "compvis", {}),
                ("dpm++_2m", "compvis", {}), ("ddim", "keras", {}), ("ddim", "keras-0.3", {})]


def trajectories(model):
    pipeline, file, manifest = load(model), Tensors(), []
    with torch.no_grad():
        states = [pipeline.text_encoder(ids(pipeline.tokenizer, text))[0] for text in (PROMPT, NEGATIVE)]
        embeds, negative = file.keep("prompt_embeds", states[0]), file.keep("negative_prompt_embeds", states[1])
        latents = normal("seeds.latents", SHAPE)
        file.keep("latents", latents)
        for sampler, dialect, knobs in TRAJECTORIES:
            name = "_".join([dialect, sampler, *knobs])
            run = Unet(pipeline, torch.cat([states[1], states[0]]), dialect, 7.5, name)
            x = latents.double().numpy().ravel()
            final = LOOPS[sampler, dialect](run.eps, x, STEPS, run.noise, **knobs)
            final = torch.from_numpy(np.asarray(final).reshape(SHAPE)).float()
            kept = run.drawn if knobs else []
            manifest.append(dict(
                name=name, sampler=sampler, schedule=None, dialect=dialect, steps=STEPS, guidance=7.5, knobs=knobs,
                latents="latents", prompt_embeds=embeds, negative_prompt_embeds=negative, timesteps=run.times,
                noise=[file.keep(f"{name}.noise.{i}", tensor) for i, tensor in enumerate(kept)],
                final=file.keep(f"{name}.final", final)))
            print(f"  {name}: std {final.std():.3g}, {len(run.times)} calls, {len(run.drawn)} draws", flush=True)
    write_json(ROOT / model / "seeds_trajectories.json", manifest, compact=True)
    file.write(ROOT / model / "seeds_trajectories.safetensors")


def main():
    elementwise()
    torch.set_num_threads(1)
    for model in MODELS:
        print(f" {model}")
        trajectories(model)


if __name__ == "__main__":
    main()
