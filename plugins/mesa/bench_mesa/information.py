"""Mutual information neural estimation (Belghazi et al., ICML 2018)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor


class DonskerVaradhan:
    """The bound I ≥ E[T(x, z)] - log E[exp T(x, z′)], one for each network of a stack.

    The gradient of the second term on a batch is biased; replacing its denominator by a moving
    average over batches corrects it (Belghazi et al., section 3.2, equation 12).
    """

    def __init__(self, stack: int, rate: float, device: torch.device) -> None:
        self._rate = rate
        self._log_mean = torch.zeros(stack, device=device)
        self._started = False

    def __call__(
        self,
        joint: Float[Tensor, "stack batch"],
        marginal: Float[Tensor, "stack batch"],
    ) -> tuple[Float[Tensor, " stack"], Float[Tensor, " stack"]]:
        """Return a surrogate to maximise and the detached estimate, in nats."""
        log_mean = _log_mean(marginal)
        self._update(log_mean.detach())
        # exp(log_mean - average) has the value and gradient of E[exp T′] over the average.
        surrogate = joint.mean(dim=1) - torch.exp(log_mean - self._log_mean)
        return surrogate, (joint.mean(dim=1) - log_mean).detach()

    @staticmethod
    def estimate(
        joint: Float[Tensor, "stack batch"], marginal: Float[Tensor, "stack batch"]
    ) -> Float[Tensor, " stack"]:
        """Return the bound alone, in nats, for statistics that are trained already."""
        return joint.mean(dim=1) - _log_mean(marginal)

    def _update(self, log_mean: Float[Tensor, " stack"]) -> None:
        """Move the average in the log domain, where exp T cannot overflow."""
        if not self._started:
            self._log_mean, self._started = log_mean, True
            return
        keep, take = math.log1p(-self._rate) if self._rate < 1 else -math.inf, math.log(self._rate)
        self._log_mean = torch.logaddexp(self._log_mean + keep, log_mean + take)


def _log_mean(statistics: Float[Tensor, "stack batch"]) -> Float[Tensor, " stack"]:
    """Return log E[exp T], where exp T may overflow."""
    return torch.logsumexp(statistics, dim=1) - math.log(statistics.shape[1])
