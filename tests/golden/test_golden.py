"""Recorded runs of tf.contrib.quantize (1.15.5), and graphs that it gets wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numeric import (
    FAKE_QUANTS,
    RTOL_EVAL,
    RTOL_TRAIN,
    Arrays,
    Step,
    channels_last,
    deviation,
    parse,
    quantizers_out,
    run,
    worst_gradient,
)

from fqrewrite.cli import cli

DATA = sorted(Path(__file__).with_name("data").glob("*.npz"))
# In standard deviations of an output: a weight on a rounding tie may fall to the other side elsewhere.
MEAN, MOST = 5e-3, 0.2
RANGE, GRADIENT = 1e-3, 2e-2


class Case:
    """A recorded case."""

    def __init__(self, path: Path) -> None:
        members = dict(np.load(path))
        about = json.loads(members.pop("about").tobytes())
        self.before = members.pop("before.meta").tobytes()
        self.mode: str = about["mode"]
        self.config: str = about["config"]
        self.training = about["case"].endswith("/train")
        self.outputs: list[str] = about["outputs"]
        self.loss: str | None = about["loss"]
        self.updates: list[str] = about["updates"]
        self.variables = frozenset(about["variables"])
        self.quantizers = {name: tuple(scheme) for name, scheme in about.get("quantizers", {}).items()}
        self.better: bool = about["better"]
        self.races: bool = about["races"]
        self.values = self._under(members, "variable")
        self.expected = self._under(members, "expected")
        fed = self._under(members, "feed")
        self.feeds = [self._feed(fed, about["inputs"], step) for step in range(1, 4 if self.training else 2)]

    @staticmethod
    def _under(members: Arrays, prefix: str) -> Arrays:
        return {key.partition("|")[2]: value for key, value in members.items() if key.startswith(prefix + "|")}

    @staticmethod
    def _feed(fed: Arrays, inputs: list[dict[str, Any]], step: int) -> Arrays:
        random = np.random.RandomState(step)
        feed = {key.partition("|")[2]: value for key, value in fed.items() if key.startswith(f"step{step}|")}
        for given in inputs:
            feed.setdefault(given["name"], random.uniform(-1, 1, given["shape"]))
        return feed

    def rewrite(self, folder: Path) -> Any:
        """The rewritten MetaGraphDef, made by the command line."""
        source, config, output = folder / "before.meta", folder / "config.yaml", folder / "after.meta"
        source.write_bytes(self.before)
        config.write_text(self.config, encoding="utf-8")
        arguments = [self.mode, str(source), "-c", str(config), "-o", str(output), "-q"]
        cli.main(arguments, standalone_mode=False)
        return parse(output.read_bytes())

    def run(self, meta: Any, *, updates: bool = False, gradients: bool = True) -> list[Step]:
        """Runs all steps; for gradients without updates only the first, as they take a run of their own."""
        return run(
            meta,
            self.feeds[:1] if gradients and not updates else self.feeds,
            [*self.outputs, *([self.loss] if self.loss else [])],
            updates=self.updates if updates else (),
            values=self.values,
            only=self.variables,
            loss=self.loss if gradients and self.training else None,
        )


CASES = {path.stem: Case(path) for path in DATA}
# Freezing changes the function; tests/transform/test_fold_numbers.py has it.
FLOAT_FUNCTION = [name for name, case in CASES.items() if "freeze_bn_delay" not in case.config]
PARITY = [name for name, case in CASES.items() if not case.better]


def fake_quants(meta: Any, fetches: list[str]) -> dict[str, tuple[int, bool]]:
    """(num_bits, narrow_range) of the quantizers that the fetched tensors depend on."""
    nodes = {node.name: node for node in meta.graph_def.node}
    stack, seen = [name.split(":")[0] for name in fetches], set()
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(entry.lstrip("^").split(":")[0] for entry in nodes[name].input)
    live = [nodes[name] for name in seen if nodes[name].op in FAKE_QUANTS]
    return {node.name: (node.attr["num_bits"].i, node.attr["narrow_range"].b) for node in live}


@pytest.mark.parametrize("name", FLOAT_FUNCTION)
def test_the_float_function_is_kept(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    before, after = parse(case.before), case.rewrite(tmp_path)
    assert fake_quants(after, case.outputs), "nothing is quantized"
    after = quantizers_out(after)
    if b"NCHW" in case.before:
        before, after = channels_last(before), channels_last(after)
    bound = RTOL_TRAIN if case.training else RTOL_EVAL
    want, got = case.run(before, updates=True), case.run(after, updates=True)
    for a, b in zip(want, got, strict=True):
        assert max(deviation(b.values[key], a.values[key]) for key in a.values) <= bound
        assert max(deviation(b.variables[key], a.variables[key], 1e-3) for key in a.variables) <= bound
    assert worst_gradient(got[0].gradients, want[0].gradients) <= bound


@pytest.mark.parametrize("name", PARITY)
def test_it_agrees_with_contrib(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    meta = case.rewrite(tmp_path)
    fetches = [*case.outputs, *([case.loss] if case.loss else [])]
    assert fake_quants(meta, fetches) == case.quantizers
    if case.races:
        return  # contrib's updates race with its reads: no two of its runs gave the same numbers
    for count, step in enumerate(case.run(meta, gradients=False), 1):
        for output in case.outputs:
            want = case.expected[f"step{count}|out|{output}"]
            difference = np.abs(step.values[output] - want) / np.std(want)
            assert difference.mean() <= MEAN, output
            assert difference.max() <= MOST, output
        for scope in {name.rpartition("/")[0] for name in case.quantizers}:
            got = np.array([step.variables[f"{scope}/{end}:0"] for end in ("min", "max")])
            if case.training:
                want = np.array([case.expected[f"step{count}|var|{scope}/{end}:0"] for end in ("min", "max")])
                assert np.abs(got - want).max() <= RANGE * np.ptp(want), scope
    if case.training:
        gradients = case.run(meta)[0].gradients
        recorded = {key.split("|")[2]: value for key, value in case.expected.items() if "|grad|" in key}
        assert recorded and set(recorded) <= set(gradients)
        for variable, want in recorded.items():
            bound = GRADIENT * (np.abs(want).max() + 1e-7)
            assert np.abs(gradients[variable] - want).max() <= bound, variable
