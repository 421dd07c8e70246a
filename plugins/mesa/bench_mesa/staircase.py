"""The max-entropy staircase approximator: it knows nothing of images (supplement, A).

Sub-model i maximises entropy where a testing function F exceeds its level βᵢ. All sub-models are
fitted together, in one pass over F. `approximator` makes an ensemble of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bench_mesa.entropy import neighbour_entropy
from bench_mesa.information import DonskerVaradhan
from bench_mesa.networks import Generators, Statistics
from bench_mesa.options import SearchOptions

Testing = Callable[[Float[Tensor, "points dimension"]], Float[Tensor, " points"]]
"""A differentiable testing function: points of the unit cube to values in [0, 1].

In a step it is called once, with the points of the first sub-model first, then the second's.
"""


@dataclass(frozen=True)
class StepReport:
    """Means over a step's batch, one for each sub-model; still on the device."""

    hinge: Float[Tensor, " stack"]
    information: Float[Tensor, " stack"]
    """Or the entropy, where that is what the search raises; in nats."""
    value: Float[Tensor, " stack"]
    saturated: Float[Tensor, " stack"]

    def stacked(self) -> Float[Tensor, "4 stack"]:
        """Return hinge, information, testing value and saturated fraction as one tensor."""
        return torch.stack([self.hinge, self.information, self.value, self.saturated])


class Staircase:
    """A stack of generators, one a level, with the networks that estimate their information.

    Layers are initialised from torch's global generator (seed it); noise is drawn from
    `generator`.
    """

    def __init__(
        self,
        dimension: int,
        levels: Sequence[float],
        options: SearchOptions,
        generator: torch.Generator,
    ) -> None:
        device, stack = generator.device, len(levels)
        self.levels = torch.tensor(levels, device=device)
        self._options, self._generator = options, generator
        self.dimension = dimension
        self.generators = Generators(stack, dimension, options, generator).to(device)
        parameters = list(self.generators.parameters())
        if options.entropy == "information":
            self.statistics = Statistics(stack, dimension, options).to(device)
            self._bound = DonskerVaradhan(stack, options.mean_rate, device)
            parameters += self.statistics.parameters()
        betas = (options.adam_beta1, options.adam_beta2)
        self._optimiser = torch.optim.Adam(parameters, options.lr, betas, fused=True)

    def step(self, testing: Testing, batch: int) -> StepReport:
        """Take one step on max(0, β - F(G(z))) - α·Î(G(z); z) for every sub-model.

        Both networks raise Î, so one backward pass serves both; sub-models share no weights, so
        their losses may be added.
        """
        self.generators.train()
        noise = self._noise(batch)
        points = self.generators(noise)
        values = testing(points.flatten(0, 1)).reshape(points.shape[:2])
        gap = self.levels[:, None] - values
        hinge = gap.clamp_min(0).mean(dim=1)
        alpha = self._options.alpha
        # At α = 0 the statistic network still learns, so that what is recorded is an estimate.
        surrogate, information = self._raised(points if alpha else points.detach(), noise)
        loss = (hinge - (alpha or 1.0) * surrogate).sum()
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        return StepReport(
            hinge.detach(),
            information,
            values.detach().mean(dim=1),
            (gap.detach() <= 0).float().mean(dim=1),
        )

    def _raised(
        self,
        points: Float[Tensor, "stack batch dimension"],
        noise: Float[Tensor, "stack batch noise"],
    ) -> tuple[Float[Tensor, " stack"], Float[Tensor, " stack"]]:
        """Return what spreads the points, to be maximised, and its detached estimate."""
        if self._options.entropy == "neighbours":
            entropy = neighbour_entropy(points, self._options.neighbour)
            return entropy, entropy.detach()
        other = self._noise(points.shape[1])
        return self._bound(self.statistics(points, noise), self.statistics(points, other))

    @torch.no_grad()
    def sample(self, count: int) -> Float[Tensor, "stack count dimension"]:
        """Draw `count` points in (0, 1) from every sub-model, with running batch-norm means."""
        self.generators.eval()
        return self.generators(self._noise(count))

    @torch.no_grad()
    def information(self, count: int) -> Float[Tensor, " stack"]:
        """Return Î(G(z); z) in nats over `count` fresh draws; needs entropy=information."""
        self.generators.eval()
        noise, other = self._noise(count), self._noise(count)
        points = self.generators(noise)
        return self._bound.estimate(self.statistics(points, noise), self.statistics(points, other))

    def _noise(self, batch: int) -> Float[Tensor, "stack batch noise"]:
        """Draw uniform noise in [0, 1)."""
        shape = (len(self.levels), batch, self._options.noise)
        return torch.rand(shape, generator=self._generator, device=self._generator.device)
