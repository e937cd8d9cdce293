"""Trajectories of diffusers' schedulers, for crates/sampling/tests/samplers.rs.

    pip install torch numpy scipy safetensors diffusers==0.42.1
    python tests/goldens/samplers.py        # writes samplers.safetensors beside itself

The "model" is an elementwise function of the scaled sample and the timestep that both sides can evaluate:
m(x, t) = 0.3 x cos(t/1000) + 0.1 sin(t/100). One starting sample and one sequence of noises serve every case.
Tensors: start [8], noise [60, 8], and, over all cases one after the other, timesteps [evaluations] and samples
[evaluations, 8], the sample after each evaluation. The metadata entry "cases" says which rows are whose.
"""

import itertools
import json
import math
import pathlib
import warnings

import diffusers
import numpy as np
import torch
from safetensors.numpy import save_file

SIZE = 8
BASE = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
rng = np.random.default_rng(2024)
START = rng.standard_normal(SIZE).astype(np.float32)
NOISE = rng.standard_normal((60, SIZE)).astype(np.float32)


def model(x, t):
    t = float(t)
    return np.float32(0.3 * math.cos(t / 1000)) * x + np.float32(0.1 * math.sin(t / 100))


def product(**choices):
    for values in itertools.product(*choices.values()):
        yield dict(zip(choices, values))


SPACINGS = ["linspace", "leading", "trailing"]
FORMULAS = ["use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"]


def cases():
    """(class, configuration, steps, eta) for every field that changes a trajectory."""
    for c in product(timestep_spacing=SPACINGS, prediction_type=["epsilon", "v_prediction", "sample"]):
        for name in ["DDIM", "PNDM", "DPMSolverMultistep", "EulerDiscrete", "EulerAncestralDiscrete",
                     "HeunDiscrete", "LMSDiscrete", "UniPCMultistep", "LCM", "TCD"]:
            if name in ("PNDM", "EulerAncestralDiscrete") and c["prediction_type"] == "sample":
                continue
            own = dict(skip_prk_steps=True) if name == "PNDM" else {}
            own |= dict(clip_sample=False) if name == "DDIM" else {}
            for steps in ([1, 2, 4, 10, 20, 50] if c["prediction_type"] == "epsilon" else [7]):
                yield name, BASE | c | own | dict(steps_offset=1), steps, 0.0
    for c in product(timestep_spacing=SPACINGS, prediction_type=["v_prediction", "sample"]):
        for name in ["DDIM", "DPMSolverMultistep", "EulerDiscrete", "EulerAncestralDiscrete", "UniPCMultistep", "LCM"]:
            if name == "EulerAncestralDiscrete" and c["prediction_type"] == "sample":
                continue
            yield name, BASE | c | dict(rescale_betas_zero_snr=True), 10, 0.0
    for schedule in ["linear", "squaredcos_cap_v2"]:
        for name in ["DDIM", "PNDM", "DPMSolverMultistep", "EulerDiscrete", "HeunDiscrete", "UniPCMultistep", "LCM"]:
            yield name, BASE | dict(beta_schedule=schedule), 9, 0.0
    yield "HeunDiscrete", BASE | dict(beta_schedule="exp"), 9, 0.0
    trained = [round(0.001 + 0.0001 * i, 6) for i in range(100)]
    yield "DDIM", dict(trained_betas=trained, num_train_timesteps=100), 10, 0.0
    for name in ["DDIM", "PNDM", "DPMSolverMultistep", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete",
                 "LMSDiscrete", "UniPCMultistep", "LCM", "TCD"]:
        yield name, {}, 6, 0.0  # every default

    for c in product(eta=[0.3, 1.0], set_alpha_to_one=[True, False], clip_sample=[True, False]):
        eta = c.pop("eta")
        yield "DDIM", BASE | c | dict(clip_sample_range=1.5), 10, eta
        yield "DDIM", BASE | c | dict(prediction_type="v_prediction", timestep_spacing="trailing"), 10, eta
    for c in product(timestep_spacing=SPACINGS, prediction_type=["epsilon", "v_prediction"], set_alpha_to_one=[False, True]):
        for steps in [4, 5, 10, 20]:
            yield "PNDM", BASE | c | dict(skip_prk_steps=False), steps, 0.0
        yield "PNDM", BASE | c | dict(skip_prk_steps=True), 3, 0.0

    for algorithm, solver in itertools.product(
        ["dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++"], ["midpoint", "heun"]
    ):
        for order, steps, final in itertools.product([1, 2, 3], [3, 10, 16], ["zero", "sigma_min"]):
            in_noise = not algorithm.endswith("++")
            if (in_noise and final == "zero") or (algorithm == "sde-dpmsolver" and order == 3):
                continue
            own = dict(algorithm_type=algorithm, solver_type=solver, solver_order=order, final_sigmas_type=final)
            yield "DPMSolverMultistep", BASE | own, steps, 0.0
    for c in product(lower_order_final=[True, False], euler_at_final=[True, False], prediction_type=["epsilon", "sample"]):
        for algorithm in ["dpmsolver++", "dpmsolver"]:
            own = dict(final_sigmas_type="sigma_min", solver_order=3, algorithm_type=algorithm)
            yield "DPMSolverMultistep", BASE | c | own, 8, 0.0
    yield "DPMSolverMultistep", BASE | dict(lambda_min_clipped=-2.5), 10, 0.0
    yield "DPMSolverMultistep", BASE | dict(lambda_min_clipped=-2.5, timestep_spacing="trailing"), 10, 0.0
    for formula in FORMULAS + ["use_lu_lambdas"]:
        for steps, beta in itertools.product([2, 5, 10, 20, 25], ["scaled_linear", "squaredcos_cap_v2"]):
            yield "DPMSolverMultistep", BASE | {formula: True, "beta_schedule": beta}, steps, 0.0
        own = dict(algorithm_type="sde-dpmsolver++", sigma_min=0.1, sigma_max=10.0)
        yield "DPMSolverMultistep", BASE | {formula: True} | own, 10, 0.0

    for formula in FORMULAS:
        for name in ["EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "UniPCMultistep"]:
            for steps, beta in itertools.product([2, 5, 10, 20, 25], ["scaled_linear", "squaredcos_cap_v2"]):
                yield name, BASE | {formula: True, "beta_schedule": beta}, steps, 0.0
            yield name, BASE | {formula: True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}, 10, 0.0
        for name in ["EulerDiscrete", "UniPCMultistep"]:
            yield name, BASE | {formula: True, "sigma_min": 0.1, "sigma_max": 10.0}, 10, 0.0
            yield name, BASE | {formula: True, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}, 10, 0.0
    yield "EulerDiscrete", BASE | dict(final_sigmas_type="sigma_min"), 10, 0.0
    yield "EulerDiscrete", BASE | dict(interpolation_type="log_linear"), 10, 0.0
    yield "EulerDiscrete", BASE | dict(interpolation_type="log_linear", use_karras_sigmas=True), 10, 0.0
    yield "EulerDiscrete", BASE | dict(timestep_type="continuous", prediction_type="v_prediction"), 10, 0.0
    yield "EulerDiscrete", BASE | dict(timestep_type="continuous"), 10, 0.0
    for c in product(clip_sample=[True], clip_sample_range=[0.5, 1.5], prediction_type=["epsilon", "v_prediction"]):
        yield "HeunDiscrete", BASE | c, 6, 0.0

    for c in product(solver_order=[1, 2, 3, 4], solver_type=["bh1", "bh2"], predict_x0=[True, False],
                     lower_order_final=[True, False], final_sigmas_type=["zero", "sigma_min"]):
        yield "UniPCMultistep", BASE | c, 10, 0.0
    for off in [[0], [0, 1, 2], [5]]:
        yield "UniPCMultistep", BASE | dict(disable_corrector=off, solver_order=3), 10, 0.0

    for c in product(original_inference_steps=[50, 100], timestep_scaling=[10.0, 1.0], set_alpha_to_one=[True, False]):
        yield "LCM", BASE | c, 4, 0.0
        yield "LCM", BASE | c | dict(clip_sample=True, prediction_type="v_prediction"), 8, 0.0
    for eta, steps in itertools.product([0.3, 0.5, 1.0], [1, 4, 7, 11]):
        yield "TCD", BASE, steps, eta
        yield "TCD", BASE | dict(prediction_type="v_prediction", original_inference_steps=100), steps, eta


FOLDERS = {  # scheduler_config.json of published models, and one older than the fields that pipelines correct
    "sd15": BASE | dict(_class_name="PNDMScheduler", _diffusers_version="0.6.0", num_train_timesteps=1000,
                        set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1, trained_betas=None,
                        clip_sample=False),
    "sd21": BASE | dict(_class_name="DDIMScheduler", _diffusers_version="0.8.0", num_train_timesteps=1000,
                        prediction_type="v_prediction", set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1,
                        trained_betas=None, clip_sample=False),
    "sdxl": BASE | dict(_class_name="EulerDiscreteScheduler", _diffusers_version="0.19.0", clip_sample=False,
                        interpolation_type="linear", num_train_timesteps=1000, prediction_type="epsilon",
                        sample_max_value=1.0, set_alpha_to_one=False, skip_prk_steps=True, steps_offset=1,
                        timestep_spacing="leading", trained_betas=None, use_karras_sigmas=False),
    "old": BASE | dict(_class_name="DDIMScheduler", clip_sample=True, steps_offset=0),
    "older": BASE | dict(_class_name="DDIMScheduler"),
}
FLAGS = {"karras": "use_karras_sigmas", "exponential": "use_exponential_sigmas", "beta": "use_beta_sigmas"}


def switches():
    """(folder, class, schedule): `Class.from_config(pipeline.scheduler.config, use_karras_sigmas=True)`."""
    for folder in FOLDERS:
        for name in ["DDIM", "PNDM", "DPMSolverMultistep", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete",
                     "LMSDiscrete", "UniPCMultistep", "LCM", "TCD"]:
            yield folder, name, None
        for name in ["DPMSolverMultistep", "EulerDiscrete", "HeunDiscrete", "LMSDiscrete", "UniPCMultistep"]:
            for schedule in FLAGS:
                yield folder, name, schedule
        yield folder, None, None


def scheduler_of(folder, name, schedule):
    config = FOLDERS[folder]
    scheduler = getattr(diffusers, config["_class_name"]).from_config(config)
    parts = dict.fromkeys(["vae", "text_encoder", "tokenizer", "unet", "safety_checker", "feature_extractor"])
    pipeline = diffusers.StableDiffusionPipeline(**parts, scheduler=scheduler, requires_safety_checker=False)
    if name is None:
        return pipeline.scheduler
    flags = {FLAGS[schedule]: True} if schedule else {}
    return getattr(diffusers, name + "Scheduler").from_config(pipeline.scheduler.config, **flags)


def run(scheduler, steps, eta):
    drawn = itertools.count()
    draw = lambda shape, **_: torch.from_numpy(NOISE[next(drawn)]).reshape(shape)
    module = __import__(type(scheduler).__module__, fromlist=["x"])
    if hasattr(module, "randn_tensor"):
        module.randn_tensor = draw
    scheduler.set_timesteps(steps)
    sample = torch.from_numpy(START).reshape(1, SIZE, 1, 1) * scheduler.init_noise_sigma
    samples = []
    extra = dict(eta=eta) if isinstance(scheduler, (diffusers.DDIMScheduler, diffusers.TCDScheduler)) else {}
    for t in scheduler.timesteps:
        seen = scheduler.scale_model_input(sample, t)
        output = torch.from_numpy(model(seen.numpy(), t).astype(np.float32))
        sample = scheduler.step(output, t, sample, **extra).prev_sample
        samples.append(sample.numpy().reshape(SIZE).astype(np.float32))
    sigma = float(torch.as_tensor(scheduler.init_noise_sigma))
    return np.array([float(t) for t in scheduler.timesteps], np.float32), np.array(samples), sigma


def write(file, cases, switches):
    warnings.simplefilter("ignore")
    diffusers.logging.set_verbosity_error()
    index, all_times, all_samples, refused = [], [], [], []
    work = {}
    for name, config, steps, eta in cases:
        case = dict(config={"_class_name": name + "Scheduler"} | config, steps=steps, eta=eta)
        work[json.dumps(case, sort_keys=True)] = (case, lambda n=name, c=config: getattr(diffusers, n + "Scheduler").from_config(c))
    for folder, name, schedule in switches:
        case = dict(config=FOLDERS[folder], pipeline=True, steps=6, eta=0.0, schedule=schedule)
        case["class"] = name and name + "Scheduler"
        work[json.dumps(case, sort_keys=True)] = (case, lambda a=(folder, name, schedule): scheduler_of(*a))
    for case, make in work.values():
        try:
            times, samples, sigma = run(make(), case["steps"], case["eta"])
        except (AssertionError, IndexError, ValueError, RuntimeError) as error:
            refused.append((case, f"{type(error).__name__}: {error}"[:60]))
            continue
        if not np.isfinite(samples).all():
            refused.append((case, "not finite"))
            continue
        index.append(case | dict(init_noise_sigma=sigma, at=sum(map(len, all_times)), count=len(times)))
        all_times.append(times)
        all_samples.append(samples)
    tensors = dict(start=START, noise=NOISE, timesteps=np.concatenate(all_times), samples=np.concatenate(all_samples))
    path = pathlib.Path(__file__).with_name(file)
    save_file(tensors, path, metadata=dict(cases=json.dumps(index), diffusers=diffusers.__version__))
    print(f"{len(index)} cases, {path.stat().st_size} bytes; {len(refused)} refused or not finite:")
    for r in refused:
        print("  ", *r)


if __name__ == "__main__":
    write("samplers.safetensors", cases(), switches())
