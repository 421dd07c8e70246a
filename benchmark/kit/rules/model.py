"""The rules of a model architecture."""

from __future__ import annotations

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from benchmark.building import load_weights
from benchmark.context import RunContext
from benchmark.kit.findings import Book, Rule
from benchmark.kit.places import line_of_error, lines_where, names_a_device
from benchmark.kit.watch import changed, global_state
from benchmark.types import DatasetInfo

_SHAPES = (DatasetInfo(10, (32, 32)), DatasetInfo(7, (32, 64)))
"""The second is no square, and no smaller: a network that halves its images five times is sound."""
_BATCH = 3


def judge_model(builder: Any, root: Path, book: Book) -> None:
    """Build networks for two kinds of images, train one a step, write and reload it."""
    for info in _SHAPES:
        if _network(builder, info, root, book) is None:
            return
    book.reached(Rule.ARTIFACT, Rule.DETERMINISM, Rule.GLOBALS, Rule.DEVICE)
    info = _SHAPES[0]
    before = global_state()
    first, second = (_seeded(builder, info) for _ in range(2))
    for name in changed(before, global_state()):
        mend = "initialise from torch's generator, which the harness seeds around build()"
        book.fail(Rule.GLOBALS, f"{name} is not as it was before", mend=mend)
    differing = [
        name
        for name, tensor in first.state_dict().items()
        if not torch.equal(tensor, second.state_dict()[name])
    ]
    if differing:
        book.fail(
            Rule.DETERMINISM,
            f"one seed gave two initialisations; the first that differs is {differing[0]!r}",
            mend="initialise from torch's generator and from nothing else",
        )
    # Whoever reloads weights has built the network from any seed.
    _judge_reloading(first, _seeded(builder, info, seed=1), book)
    _judge_device(first, root, book)


def _seeded(builder: Any, info: DatasetInfo, seed: int = 0) -> nn.Module:
    """Build as the harness does: torch's generator is seeded, the other ones are anywhere."""
    state = torch.get_rng_state()
    with RunContext(torch.device("cpu"), seed).seeded("init"):
        network: nn.Module = builder.build(info)
    torch.set_rng_state(state)
    return network


def _network(builder: Any, info: DatasetInfo, root: Path, book: Book) -> nn.Module | None:
    """Return a network after checking its answers; None after noting a fault."""
    mend = "map (batch, 3, height, width) to logits (batch, classes), as info says"
    try:
        network = _seeded(builder, info)
        if not isinstance(network, nn.Module):
            raise TypeError(f"build() returned a {type(network).__name__}, not a torch module")
        logits = network.train()(_images(info))
        logits.sum().backward()
    except Exception as error:
        shape = f"{info.num_classes} classes and images of {info.image_size}"
        said = f"for {shape}: {type(error).__name__}: {error}"
        book.fail(Rule.CONTRACT, said, where=line_of_error(error, root), mend=mend)
        return None
    if logits.shape != (_BATCH, info.num_classes):
        said = f"logits have shape {tuple(logits.shape)}, not {(_BATCH, info.num_classes)}"
        book.fail(Rule.CONTRACT, said, mend=mend)
        return None
    return network


def _images(info: DatasetInfo) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(_BATCH, 3, *info.image_size, generator=generator)


def _judge_reloading(first: nn.Module, second: nn.Module, book: Book) -> None:
    """Write one network's weights, read them into the other, compare their answers."""
    images = _images(_SHAPES[0])
    first.train()(images)  # batch statistics that a new network does not have
    state = {name: tensor.detach().clone() for name, tensor in first.state_dict().items()}
    with tempfile.TemporaryDirectory(prefix="bench-kit-") as folder, torch.inference_mode():
        path = Path(folder) / "model.safetensors"
        save_file(state, path)
        load_weights(second, path)
        same = torch.equal(first.eval()(images), second.eval()(images))
    if not same:
        book.fail(
            Rule.ARTIFACT,
            "a network reloaded from its own weights gives other answers",
            mend="register every tensor as a parameter or buffer, and draw nothing in eval mode",
        )


def _judge_device(network: nn.Module, root: Path, book: Book) -> None:
    """Move the network to torch's `meta` device: a tensor that stays behind is seen."""
    mend = "register tensors as buffers, and make new ones on the input's device"
    for where in lines_where(root, names_a_device):
        book.fail(Rule.DEVICE, "this line chooses a device by itself", where=where, mend=mend)
    try:
        copy.deepcopy(network).to("meta")(_images(_SHAPES[0]).to("meta"))
    except Exception as error:  # what a network does there may fail for reasons of its own
        if "device" in str(error) and "meta" in str(error):
            where = line_of_error(error, root)
            said = f"moved to another device, it fails: {str(error).splitlines()[0]}"
            book.fail(Rule.DEVICE, said, where=where, mend=mend)
