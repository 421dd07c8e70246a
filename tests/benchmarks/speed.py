"""How fast the search, its siblings and training are, beside what a textbook would write.

usage: python tests/benchmarks/speed.py [--short] [--threads N] [--precision bfloat16] [--json FILE]

Both ways run by turns in one process, on random images and an untrained network of the same shape;
the ratio is that of their medians. "saturated": the share of samples above their level, which a
search reaches as it goes on (the level is set so that this share is, about; the share that was
found is printed). "peak" is that of the
densest convolution that this process manages. Seconds depend on what else the machine does; ratios
less so.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1] / "plain"))

from bench_mesa.defense import attack_rate
from bench_mesa.detect import class_rates
from bench_mesa.options import DetectOptions, MesaOptions
from bench_mesa.staircase import Staircase
from bench_pixel_baseline.defense import target_losses
from plain_search import Alone, plain_rate

from benchmark.api import FineTune, ImageSet
from benchmark.builtin.networks import Classifier, ResNet
from benchmark.environment import hardware
from benchmark.primitives import Frozen, RunContext, fine_tune, frozen, predict, random_places

frozen_module = sys.modules["benchmark.primitives.frozen"]

BATCH, COUNT, SIZE = 128, 256, (3, 3)
NETWORKS = {"quarter width": 16, "ResNet-18": 64}
FORWARD_GFLOP = {"ResNet-18": 1.11, "quarter width": 0.0708}
"""Of one 32×32 image; an input gradient costs as much again, weights' gradients once more."""

CACHES = {"quarter width": (0, 512, 4000), "ResNet-18": (0, 1024)}
"""MiB for clean activations."""
SATURATED = (0, 0.8)
"""Shares of samples."""

Work = Callable[[int], object]
"""A way to do something; given the number of the round."""


@dataclass(frozen=True)
class Row:
    """One comparison; images a second, an image of every sub-model or pattern counted."""

    network: str
    work: str
    plain: float
    ours: float
    ratio: float
    of_peak: float
    """Ours, counted in the arithmetic of the plain way, as a part of the peak."""


def network(name: str) -> nn.Module:
    """Return a network with the shape of the shipped one, in eval mode."""
    width = NETWORKS[name]
    torch.manual_seed(0)
    stages = [(width, 2, 1), (2 * width, 2, 2), (4 * width, 2, 2), (8 * width, 2, 2)]
    return Classifier(ResNet(width, stages, 10), (0.5,) * 3, (0.25,) * 3).eval()


def alternately(ways: Sequence[Work], rounds: int) -> list[float]:
    """Return the median seconds of each way, after one round that is not counted."""
    seconds: list[list[float]] = [[] for _ in ways]
    for number in range(rounds + 1):
        for times, work in zip(seconds, ways, strict=True):
            started = time.perf_counter()
            work(number)
            times.append(time.perf_counter() - started)
    return [statistics.median(times[1:]) for times in seconds]


class Bench:
    """Runs comparisons on one network."""

    def __init__(self, name: str, rounds: int, precision: str, peak: float) -> None:
        self.name, self.rounds, self.precision, self.peak = name, rounds, precision, peak
        self.model = network(name)
        generator = torch.Generator().manual_seed(0)
        shape = (COUNT, 3, 32, 32)
        self.pixels = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
        self.labels = torch.randint(0, 10, (COUNT,), generator=generator)
        # The same places for both: those at a border have less to compute.
        self.places = [random_places(1, (32, 32), SIZE, generator) for _ in range(rounds + 1)]
        self.rows = torch.randperm(COUNT, generator=generator)[:BATCH]
        self.saturated: list[float] = []
        """What share of our samples was above its level, step by step."""

    @property
    def images(self) -> Tensor:
        """A batch as a textbook holds it."""
        return self.pixels[self.rows] / 255

    def classifier(self, cache_mib: float) -> Frozen:
        """Return the frozen network; `cache_mib` as for the paper's 8,000 images."""
        found = frozen(self.model, precision=self.precision)
        found.remember(self.pixels, SIZE, cache_mib * COUNT / 8000)
        return found

    def row(self, work: str, images: int, seconds: Sequence[float], passes: float) -> Row:
        """Return a row; `passes`: forward passes to which an image's work amounts."""
        plain, ours = (images / one for one in seconds)
        of_peak = ours * passes * FORWARD_GFLOP[self.name] / self.peak
        return Row(self.name, work, plain, ours, plain and ours / plain, of_peak)

    def search_steps(self, saturated: float, *caches_mib: float) -> list[Work]:
        """Return a step of the textbook's search, and of ours with each cache, of one start."""
        options = MesaOptions()

        testing = self.testing(self.classifier(0), 0)
        with torch.no_grad():
            values = testing(torch.rand(3 * BATCH, 27))
        level = float(values.quantile(1 - saturated)) if saturated else 1.0

        def start() -> Staircase:
            torch.manual_seed(1)
            stack = Staircase(27, options.levels, options, torch.Generator().manual_seed(0))
            stack.levels = torch.full((3,), level)
            return stack

        def ours(cache_mib: float) -> Work:
            classifier, together = self.classifier(cache_mib), start()

            def step(number: int) -> None:
                report = together.step(self.testing(classifier, number), BATCH)
                self.saturated.append(float(report.saturated.mean()))

            return step

        apart = [Alone(start(), number, options) for number in range(3)]
        noise = torch.rand(3, BATCH, options.noise)

        def plain(number: int) -> None:
            row, column = self.places[number][0].tolist()
            rate = plain_rate(self.model, self.images, (row, column), 0, SIZE)
            for one, own in zip(apart, noise, strict=True):
                one.step(rate, own, own.flip(0))

        return [plain, *map(ours, caches_mib)]

    def searches(self, saturated: float, caches_mib: Sequence[float]) -> Iterator[Row]:
        """MESA's three sub-models, generators and statistic networks included."""
        self.saturated.clear()
        textbook, *seconds = alternately(self.search_steps(saturated, *caches_mib), self.rounds)
        found = statistics.fmean(self.saturated)
        for cache_mib, one in zip(caches_mib, seconds, strict=True):
            work = f"search, {found:.0%} saturated, cache {cache_mib:g} MiB"
            yield self.row(work, 3 * BATCH, (textbook, one), 2)

    def ladder(self) -> Iterator[Row]:
        """The tricks of the search one after another, each with those before it; 80 % saturated."""
        frozen_only = copy.deepcopy(self.model).requires_grad_(False)
        whole, local, kept = self.classifier(0), self.classifier(0), self.classifier(512)
        testing = self.testing(local, 0)
        with torch.no_grad():
            level = float(testing(torch.rand(3 * BATCH, 27)).quantile(0.2))
        torch.manual_seed(1)
        noise = torch.rand(3, BATCH, 27)

        def step(values: Tensor) -> None:
            (level - values).clamp_min(0).sum().backward()

        def one_by_one(model: nn.Module, channels_last: bool) -> Work:
            def work(number: int) -> None:
                row, column = self.places[number][0].tolist()
                images = self.images
                if channels_last:
                    images = images.contiguous(memory_format=torch.channels_last)
                for own in noise:
                    points = own.clone().requires_grad_()
                    step(plain_rate(model, images, (row, column), 0, SIZE)(points))

            return work

        def at_once(classifier: Frozen, skip: float) -> Work:
            def work(number: int) -> None:
                frozen_module._SKIP_BELOW = skip
                points = noise.flatten(0, 1).requires_grad_()
                step(self.testing(classifier, number)(points))

            return work

        def dense(number: int) -> None:
            points = noise.flatten(0, 1).requires_grad_()
            row, column = self.places[number][0].tolist()
            images = self.images.repeat(3, 1, 1, 1).contiguous(memory_format=torch.channels_last)
            step(plain_rate(whole, images, (row, column), 0, SIZE)(points))

        usual = frozen_module._SKIP_BELOW
        ways = {
            "weights frozen": one_by_one(frozen_only, channels_last=False),
            "+ channels-last, batch norm folded": one_by_one(whole, channels_last=True),
            "+ three sub-models in one pass": dense,
            "+ changed part only": at_once(local, -1.0),
            "+ no saturated sample backward": at_once(local, usual),
            "+ 512 MiB remembered": at_once(kept, usual),
        }
        textbook = one_by_one(self.model, channels_last=False)
        plain, *seconds = alternately([textbook, *ways.values()], self.rounds)
        for work, one in zip(ways, seconds, strict=True):
            yield self.row(work, 3 * BATCH, (plain, one), 2)
        frozen_module._SKIP_BELOW = usual

    def testing(self, classifier: Frozen, number: int) -> Callable[[Tensor], Tensor]:
        images = self.images.contiguous(memory_format=torch.channels_last)
        return attack_rate(classifier, images, self.places[number], 0, SIZE, self.rows)

    def pixel(self, cache_mib: float) -> Row:
        """The baseline's ten patterns."""
        classifier, patterns = self.classifier(cache_mib), torch.rand(10, 3, *SIZE)
        images = self.images.contiguous(memory_format=torch.channels_last)
        patterns.requires_grad_()

        def plain(number: int) -> None:
            row, column = self.places[number][0].tolist()
            for pattern in patterns:
                stamped = self.images
                stamped[:, :, row : row + 3, column : column + 3] = pattern
                target = torch.zeros(BATCH, dtype=torch.int64)
                nn.functional.cross_entropy(self.model(stamped), target).backward()

        def ours(number: int) -> None:
            place = self.places[number]
            target_losses(classifier, images, patterns, place, 0, self.rows).sum().backward()

        seconds = alternately([plain, ours], self.rounds)
        return self.row(f"ten patterns, cache {cache_mib:g} MiB", 10 * BATCH, seconds, 2)

    def detection(self) -> Row:
        """Ten classes at once ("ours") beside one class's three levels ("plain"), both fast.

        Both as the search for the target class runs: its networks and batches, nothing remembered.
        """
        options, classifier = DetectOptions(), self.classifier(0)
        generators = [torch.Generator().manual_seed(0) for _ in range(2)]
        torch.manual_seed(1)
        one, ten = (
            Staircase(27, levels, options, generator)
            for levels, generator in zip(((0.9, 0.8, 0.5), [0.9] * 10), generators, strict=True)
        )
        images = self.images[: options.batch_size].contiguous(memory_format=torch.channels_last)

        def search(number: int) -> None:
            one.step(attack_rate(classifier, images, self.places[number], 0, SIZE), len(images))

        def classes(number: int) -> None:
            ten.step(class_rates(classifier, images, self.places[number], SIZE), len(images))

        alone, together = alternately([search, classes], self.rounds)
        return Row(
            self.name,
            "one class's search : ten classes'",
            1,
            alone / together,
            together / alone,
            0.0,
        )

    def training(self) -> Row:
        """One epoch of the poisoned fine-tuning that attacks and defenses share."""
        model = network(self.name)
        twin = network(self.name).train()
        optimiser = torch.optim.SGD(twin.parameters(), 1e-3, 0.9)
        data = ImageSet(self.pixels, self.labels)
        options = FineTune(epochs=1, batch_size=BATCH, precision=self.precision)

        def plain(number: int) -> None:
            row, column = self.places[number][0].tolist()
            for start in range(0, COUNT, BATCH):
                images = self.pixels[start : start + BATCH] / 255
                images[0, :, row : row + 3, column : column + 3] = 1
                labels = self.labels[start : start + BATCH]
                loss = nn.functional.cross_entropy(twin(images), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()

        def ours(number: int) -> None:
            run = RunContext(torch.device("cpu"), number)
            fine_tune(
                model, data, options, run, trigger_of_epoch=lambda _epoch: torch.ones(3, 3, 3)
            )

        return self.row("training", COUNT, alternately([plain, ours], self.rounds), 3)

    def scoring(self) -> Row:
        """Clean and stamped answers of 256 images, beside two bare forward passes."""
        model = self.model.to(memory_format=torch.channels_last)
        places = random_places(COUNT, (32, 32), SIZE, torch.Generator().manual_seed(3))
        ready = (self.pixels / 255).contiguous(memory_format=torch.channels_last)

        @torch.inference_mode()
        def plain(number: int) -> None:
            for _ in range(2):
                for start in range(0, COUNT, 250):
                    model(ready[start : start + 250])

        def ours(number: int) -> None:
            predict(model, self.pixels)
            predict(model, self.pixels, torch.ones(3, 3, 3), places)

        seconds = alternately([plain, ours], self.rounds)
        self.model.to(memory_format=torch.contiguous_format)
        return self.row("scoring, beside bare forward", 2 * COUNT, seconds, 1)


@torch.inference_mode()
def peak_gflops(precision: str, seconds: float = 3.0) -> float:
    """Return the GFLOP/s of the densest convolution, the best in some seconds.

    A matrix product is slower on processors that its library does not favour.
    """
    dtype, layout = getattr(torch, precision), torch.channels_last
    images = torch.rand(128, 256, 8, 8, dtype=dtype).to(memory_format=layout)
    weight = torch.rand(256, 256, 3, 3, dtype=dtype).to(memory_format=layout)
    work = 2 * 128 * 8 * 8 * 256 * 256 * 9 / 1e9
    best, until = 0.0, time.perf_counter() + seconds
    while time.perf_counter() < until:
        started = time.perf_counter()
        nn.functional.conv2d(images, weight, None, 1, 1)
        best = max(best, work / (time.perf_counter() - started))
    return best


def rows(short: bool, rounds: int, precision: str, peak: float) -> Iterator[Row]:
    """Run everything, or with `short` the quarter width alone."""
    for name in list(NETWORKS)[: 1 if short else None]:
        bench = Bench(name, rounds, precision, peak)
        for saturated in SATURATED:
            yield from bench.searches(saturated, CACHES[name])
        if name == "quarter width":
            yield from bench.ladder()
        yield bench.pixel(512)
        yield bench.detection()
        yield bench.training()
        yield bench.scoring()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--short", action="store_true", help="the quarter width alone")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--json", type=Path, help="write the rows here as well")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    peak = peak_gflops(asked.precision)
    about = {
        "threads": asked.threads,
        "precision": asked.precision,
        "torch": torch.__version__,
        "processor": hardware("cpu", asked.threads)["processor"],
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "peak_gflops": round(peak),
    }
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    print(f"{'network':14s} {'work':42s} {'plain':>8s} {'ours':>8s} {'ratio':>6s} {'peak':>6s}")
    found = []
    for row in rows(asked.short, asked.rounds, asked.precision, peak):
        found.append(row)
        numbers = f"{row.plain:8.1f} {row.ours:8.1f} {row.ratio:6.2f} {row.of_peak:6.0%}"
        print(f"{row.network:14s} {row.work:42s} {numbers}", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of this process {memory:.0f} MiB")
    if asked.json:
        text = {**about, "peak_memory_mib": memory, "rows": [asdict(row) for row in found]}
        asked.json.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
