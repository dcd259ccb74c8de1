"""The same work by PyTorch, eager and compiled: channels innermost, cuDNN free to choose its
algorithms, products in the same precision. Needs torch; knows nothing of graphc's compiler.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from tests.gpu.rows import Item, Row
from tests.gpu.timing import DENSE, ELEMENTS, FUSED, SECTION, SIDE, WORKS, Work

WARMING, EACH = 5, 10  # calls to warm up, and calls between two events
INPUTS = {"lenet5": (1, 32, 32), "vgg16": (3, 224, 224), "resnet50": (3, 224, 224)}


def items(rounds: int) -> dict[str, Item]:
    """What is timed, by name."""
    found: dict[str, Item] = {
        f"{FUSED}: PyTorch": partial(_fused, rounds),
        f"{DENSE}: PyTorch": partial(_dense, rounds),
    }
    for work in WORKS:
        for system in ("PyTorch", "compiled"):
            found[f"{work}: {system}"] = partial(_network, work, system, rounds)
    return found


def _torch() -> Any:
    import torch

    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    return torch


def _seconds(torch: Any, call: Callable[[], object], rounds: int) -> float:
    """The median over rounds of the time between events around `EACH` calls, of one call."""
    for _ in range(WARMING):
        call()
    times = []
    for _ in range(rounds):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        for _ in range(EACH):
            call()
        end.record()
        torch.cuda.synchronize()
        times.append(1e-3 * begin.elapsed_time(end) / EACH)
    return statistics.median(times)


def _network(work: Work, system: str, rounds: int) -> Iterator[Row]:
    torch = _torch()
    from tests.fixtures.torch_networks import LARGE, SMALL

    build = SMALL.get(work.network) or partial(LARGE[work.network], 224)
    net = build().cuda().to(memory_format=torch.channels_last)
    x = torch.randn(work.batch, *INPUTS[work.network], device="cuda")
    x = x.to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (work.batch,), device="cuda")
    rate = torch.optim.SGD(net.parameters(), 0.001, momentum=0.9, fused=True)
    mixed = torch.autocast("cuda", torch.bfloat16, enabled=work.precision == "bf16")
    forward = torch.compile(net) if system == "compiled" else net

    def step() -> None:
        rate.zero_grad(set_to_none=True)
        with mixed:
            loss = torch.nn.functional.cross_entropy(forward(x), y)
        loss.backward()
        rate.step()

    def predict() -> None:
        with mixed, torch.inference_mode():
            forward(x)

    net.train(work.training)
    seconds = _seconds(torch, step if work.training else predict, rounds)
    yield Row(SECTION, str(work), seconds, system=system)


def _dense(rounds: int) -> Iterator[Row]:
    torch = _torch()
    a, b = (torch.randn(SIDE, SIDE, device="cuda").bfloat16() for _ in range(2))
    seconds = _seconds(torch, lambda: a @ b, rounds)
    note = f"{2 * SIDE**3 / seconds / 1e12:.0f} TFLOP/s"
    yield Row(SECTION, DENSE, seconds, system="PyTorch", note=note)


def _fused(rounds: int) -> Iterator[Row]:
    torch = _torch()
    x, y, z = (torch.randn(ELEMENTS, device="cuda") for _ in range(3))

    def fused(x: Any, y: Any, z: Any) -> Any:
        return torch.relu(x * y) + z

    compiled = torch.compile(fused)
    yield Row(SECTION, FUSED, _seconds(torch, lambda: fused(x, y, z), rounds), system="PyTorch")
    yield Row(SECTION, FUSED, _seconds(torch, lambda: compiled(x, y, z), rounds), system="compiled")
