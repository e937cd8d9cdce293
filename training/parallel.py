"""Several processes on one machine, gradients averaged: on a CPU, one process a core is quicker than one with threads.

Start a stage with `torchrun --nproc-per-node 2 STAGE.py ...`; without torchrun it runs as one process.
"""

import os

import torch
import torch.distributed as dist


def start():
    """Joins the other processes where there are any; gives this one's rank and their number."""
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        torch.set_num_threads(1)
        dist.init_process_group("gloo")
    return rank, world


def average_gradients(parameters, world):
    """Replaces every gradient by its mean over the processes; it travels as bfloat16."""
    if world > 1:
        grads = [p.grad for p in parameters]
        flat = torch._utils._flatten_dense_tensors(grads).bfloat16()
        dist.all_reduce(flat)
        for p, g in zip(parameters, torch._utils._unflatten_dense_tensors(flat.float() / world, grads)):
            p.grad = g


def agree(values, world):
    """The first process's numbers, for all: clocks differ, and all must stop at the same step."""
    shared = torch.tensor(values, dtype=torch.float64)
    if world > 1:
        dist.broadcast(shared, 0)
    return shared.tolist()


def finish(world):
    """Waits for the first process to have written its files."""
    if world > 1:
        dist.barrier()
        dist.destroy_process_group()
