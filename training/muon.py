"""Muon (Keller Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/): momentum made orthogonal, for matrices.

Convolutions count as matrices of shape [out, in * kh * kw]. Embeddings, first and last layers, norms and biases are left
to AdamW, as the authors advise.
"""

import torch
import torch.distributed as dist

# Quintic Newton-Schulz coefficients of the same post: the singular values end near one after five rounds.
A, B, C = 3.4445, -4.7750, 2.0315


def orthogonal(matrices, rounds=5):
    """The nearest semi-orthogonal matrices, roughly: [N, rows, columns] in, the same out. Runs in bfloat16."""
    x = matrices.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(rounds):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    return (x.mT if tall else x).float()


class Muon:
    """Muon with Nesterov momentum and decoupled weight decay. Several processes share the orthogonalising."""

    def __init__(self, parameters, rate, momentum=0.95, decay=0.01):
        self.parameters, self.rate, self.momentum, self.decay = list(parameters), rate, momentum, decay
        self.buffers = [torch.zeros_like(p) for p in self.parameters]
        world, rank = (dist.get_world_size(), dist.get_rank()) if dist.is_initialized() else (1, 0)
        self.world = world
        load = [0] * world
        self.mine = {}
        order = sorted(range(len(self.parameters)), key=lambda i: -self.parameters[i].numel())
        for i in order:
            shape = tuple(self.parameters[i].flatten(1).shape)
            owner = load.index(min(load))
            load[owner] += min(shape) ** 2 * max(shape)
            if owner == rank:
                self.mine.setdefault(shape, []).append(i)

    @torch.no_grad()
    def step(self, factor=1.0):
        """One update at `factor` times the learning rate."""
        rate = self.rate * factor
        updates = [torch.zeros_like(p) for p in self.parameters]
        for buffer, p in zip(self.buffers, self.parameters):
            buffer.lerp_(p.grad, 1 - self.momentum)
        for indices in self.mine.values():
            looked_ahead = [self.parameters[i].grad.lerp(self.buffers[i], self.momentum).flatten(1) for i in indices]
            for i, update in zip(indices, orthogonal(torch.stack(looked_ahead))):
                updates[i] = update.view_as(self.parameters[i])
        if self.world > 1:
            flat = torch._utils._flatten_dense_tensors(updates)
            dist.all_reduce(flat)
            updates = torch._utils._unflatten_dense_tensors(flat, updates)
        for p, update in zip(self.parameters, updates):
            rows, columns = p.flatten(1).shape
            p.mul_(1 - rate * self.decay).add_(update, alpha=-rate * max(1, rows / columns) ** 0.5)

    def state_dict(self):
        """The momentum."""
        return {"buffers": self.buffers}

    def load_state_dict(self, state):
        """Restores the momentum."""
        for buffer, saved in zip(self.buffers, state["buffers"]):
            buffer.copy_(saved)


def split(network):
    """The parameters for Muon and those for AdamW."""
    matrices, rest = [], []
    for name, p in network.named_parameters():
        inner = p.ndim >= 2 and not any(part in name for part in ("embedding", "time_emb", "conv_in", "conv_out"))
        (matrices if inner else rest).append(p)
    return matrices, rest
