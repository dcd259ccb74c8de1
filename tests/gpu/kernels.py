"""Every kernel of the zoo compiled for the device's architecture, on all cores."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import chain, product

from graphc_nn.zoo import NETWORKS
from tests.backends.cuda.zoo_kernels import Examined, Listed, examined, listed
from tests.gpu.rows import Item, Row

SECTION = "kernels"
TOGETHER = 16  # in one compilation


def items() -> dict[str, Item]:
    """One that takes them all."""
    return {"kernels of the zoo": partial(compiled_kernels, tuple(NETWORKS))}


def compiled_kernels(networks: Sequence[str]) -> Iterator[Row]:
    """A row for each architecture."""
    compile_only = partial(examined, disassemble=False)
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        lists = pool.map(listed, *zip(*product(networks, (False, True)), strict=True))
        found = {(k.architecture, k.source): k for k in chain.from_iterable(lists)}.values()
        for architecture in sorted({k.architecture for k in found}):
            here = [k for k in found if k.architecture == architecture]
            units = [here[k : k + TOGETHER] for k in range(0, len(here), TOGETHER)]
            yield _row(architecture, here, list(chain(*pool.map(compile_only, units))))


def _row(architecture: str, kernels: list[Listed], made: list[Examined]) -> Row:
    pairs = list(zip(kernels, made, strict=True))
    spilled = [str(k) for k, code in pairs if code.spills(k)]
    slowest, code = max(pairs, key=lambda pair: pair[1].seconds)
    note = f"{len(pairs)} kernels; longest to compile, {code.seconds:.1f} s: {slowest}"
    note += "".join(f"; spills: {each}" for each in spilled)
    return Row(SECTION, f"kernels of the zoo for {architecture}", None, good=not spilled, note=note)
