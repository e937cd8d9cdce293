"""Trajectories of diffusers' schedulers for models that were trained on sigmas of a range (EDM), as samplers.py makes those of
the others: the same model, start, noises and layout.

    python tests/goldens/edm_samplers.py        # writes edm_samplers.safetensors beside itself
"""

import itertools

import diffusers
import samplers

# As in Playground 2.5, and as in CosXL.
PLAYGROUND = dict(sigma_min=0.002, sigma_max=80.0, sigma_data=0.5, rho=7.0)
COSXL = dict(sigma_min=0.002, sigma_max=120.0, sigma_data=1.0, sigma_schedule="exponential", prediction_type="v_prediction")


def cases():
    for base, steps in itertools.product([{}, PLAYGROUND, COSXL], [1, 2, 5, 20]):
        for name in ["EDMEuler", "EDMDPMSolverMultistep"]:
            yield name, base, steps, 0.0
    for own in [dict(rho=5.0), dict(sigma_data=1.0), dict(sigma_min=0.1, sigma_max=10.0), dict(prediction_type="v_prediction")]:
        for name in ["EDMEuler", "EDMDPMSolverMultistep"]:
            yield name, own, 7, 0.0
            yield name, own | dict(final_sigmas_type="sigma_min"), 7, 0.0
    for order, solver, algorithm, steps in itertools.product(
        [1, 2, 3], ["midpoint", "heun"], ["dpmsolver++", "sde-dpmsolver++"], [3, 10, 16]
    ):
        if order == 3 and algorithm.startswith("sde"):
            continue
        own = dict(solver_order=order, solver_type=solver, algorithm_type=algorithm)
        yield "EDMDPMSolverMultistep", own, steps, 0.0
    for own in [dict(lower_order_final=False), dict(euler_at_final=True), dict(algorithm_type="deis", solver_type="logrho")]:
        yield "EDMDPMSolverMultistep", own | dict(solver_order=3, final_sigmas_type="sigma_min"), 8, 0.0


if __name__ == "__main__":
    samplers.write("edm_samplers.safetensors", cases(), ())
