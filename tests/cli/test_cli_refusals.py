"""What is refused: with which exit status, in which words, and with nothing written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command_line import NET, Run, Write, refused

LOOP = """
start = Const {value: 0}
enter = Enter(start) {T: int32, frame_name: loop}
merge = Merge(enter, next) {T: int32}
less = Less(merge, merge) {T: int32}
cond = LoopCond(less)
switch = Switch(merge, cond) {T: int32}
next = NextIteration(switch:1) {T: int32}
exit = Exit(switch) {T: int32}
"""


@pytest.mark.parametrize(
    ("more", "code", "said"),
    [
        ("g = Conv2DBackpropFilter(x, axes, conv/Conv2D)\n", "graph-has-gradients", "g (Conv2DBackpropFilter)"),
        ("g = ApplyGradientDescent(conv/w, axes, axes)\n", "graph-has-gradients", "minimize"),
        ("a = Neg(b)\nb = Neg(a)\n", "graph-cycle", "nodes depend on each other"),
        ("a = Neg(nowhere)\n", "dangling-input", "'nowhere'"),
        ("a = Neg(^nowhere)\n", "dangling-input", "'^nowhere'"),
        ("x = Placeholder\n", "duplicate-node-name", "'x'"),
        ("a = Neg(x:y)\n", "bad-input-syntax", "'x:y'"),
        ("a = Add(x)\n", "wrong-number-of-inputs", "a: Add takes 2 inputs, this one has 1"),
    ],
)
def test_graphs(run: Run, write: Write, folder: Path, more: str, code: str, said: str) -> None:
    write("in.pb", NET + more)
    status = 1 if code == "graph-has-gradients" else 3
    for command in (("train", "in.pb", "-o", "out.pb"), ("plan", "in.pb")):
        refused(run(*command, "--outputs", "head/BiasAdd"), status, code, said)
    assert [path.name for path in folder.iterdir()] == ["in.pb"]


def test_while_loops_are_no_cycles(run: Run, write: Write) -> None:
    write("in.pb", NET + LOOP)
    assert run("eval", "in.pb", "-o", "out.pb", "--outputs", "head/BiasAdd", "-q") == (0, "", "")


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_rewritten_graph(run: Run, write: Write, folder: Path, mode: str) -> None:
    write("in.pb", NET)
    run(mode, "in.pb", "-o", "out.meta", "-q")
    for again in (("train", "-o", "o.pb"), ("plan",)):
        refused(run(*again, "out.meta"), 1, "already-rewritten")
    done = run("eval", "-o", "o.meta", "out.meta")
    if mode == "eval":
        refused(done, 1, "already-rewritten", "this is an eval graph that fqrewrite made")
    else:  # it carries its plan: see test_cli_eval.py
        assert (done.status, done.err) == (0, "")
    written = sorted(path.name for path in folder.iterdir() if path.name.startswith("o."))
    assert written == ([] if mode == "eval" else ["o.meta", "o.meta.report.json"])


def test_a_batch_norm_without_moving_averages_for_eval(run: Run, write: Write, folder: Path) -> None:
    """It normalises with the batch's statistics, and nothing says what it shall normalise with in inference."""
    norm = """
gamma = Const {value: [1.0, 1.0, 1.0, 1.0]}
none = Const {value: []}
bn = FusedBatchNormV3(conv/Relu6, gamma, gamma, none, none) {is_training: true, T: float, U: float}
more = Relu(bn)
"""
    write("in.pb", NET + norm)
    done = run("eval", "in.pb", "-o", "o.pb", "--outputs", "more")
    refused(done, 1, "training-graph-in-eval", "'bn'", "1 of the batch norms")
    assert [path.name for path in folder.iterdir()] == ["in.pb"]


def test_outputs(run: Run, write: Write) -> None:
    write("in.pb", NET + "aux = Neg(pool)\n")
    refused(run("plan", "in.pb"), 2, "outputs-ambiguous", "head/BiasAdd:0, aux:0", "--outputs head/BiasAdd:0,aux:0")
    refused(run("plan", "in.pb", "--outputs", "head/BaisAdd"), 2, "output-not-found", "did you mean head/BiasAdd")
    refused(run("plan", "in.pb", "--outputs", "head/BiasAdd,"), 2, "config-value", "--outputs", 'got ""')
    assert run("plan", "in.pb", "--outputs", " aux:0 , head/BiasAdd").status == 0


def test_a_scope_that_matches_nothing(run: Run, write: Write) -> None:
    write("in.pb", NET)
    refused(run("plan", "in.pb", "--scope", "heads"), 2, "scope-matches-nothing", "'heads'")
    done = run("plan", "in.pb", "--scope", "head")
    assert done.status == 0 and "outside-scope" in done.out


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("version: 1\nquant_dealy: 3\n", "config-unknown-key", "c.yaml:2: quant_dealy: unknown key quant_dealy; "
         "did you mean quant_delay?"),
        ("\nbits: 3\n", "config-unknown-key", "did you mean weights.bits or activations.bits?"),
        ("weights:\n  bits: 16\n", "config-value", "c.yaml:2: weights.bits: expected an integer from 2 to 8, got 16"),
        ("rules:\n  - match: a\n    weights: {bit: 4}\n", "config-unknown-key", "c.yaml:3: rules[0].weights.bit: "),
        ("rules:\n  - match: 'regex:('\n    quantize: false\n", "config-selector", "c.yaml:2: rules[0].match: "),
        ("a: [\n", "config-syntax", "c.yaml:2: "),
        ("scope: a\nscope: b\n", "config-duplicate-key", "c.yaml:2: scope: "),
        ("version: 9\n", "config-version", "version 1, got 9"),
        ("preset: tflite\n", "config-preset", "c.yaml:1: "),
        ("- a\n", "config-value", "c.yaml:1: "),
    ],
)  # fmt: skip
def test_config_files(run: Run, write: Write, folder: Path, text: str, code: str, said: str) -> None:
    write("in.pb", NET)
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    for command in (("config", "check", "c.yaml"), ("plan", "in.pb", "-c", "c.yaml")):
        refused(run(*command), 2, code, said)


def test_config_files_that_are_none(run: Run, folder: Path) -> None:
    refused(run("config", "check", "missing.yaml"), 2, "config-not-found", "missing.yaml")
    refused(run("config", "check", "."), 2, "config-unreadable", "folder")
    (folder / "c.yaml").write_bytes(b"\xff\xfe\x00")
    refused(run("config", "check", "c.yaml"), 2, "config-unreadable", "c.yaml", "UTF-8")


def test_a_rule_that_matches_nothing_is_a_note(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    text = "rules:\n  - {match: head, weights: {bits: 4}}\n  - {match: nose, weights: {bits: 4}}\n"
    (folder / "c.yaml").write_text(text, encoding="utf-8")
    done = run("eval", "in.pb", "-o", "o.pb", "-c", "c.yaml")
    assert done.status == 0
    (line,) = (line for line in done.out.splitlines() if "selector-matches-nothing" in line)
    assert "c.yaml:3: " in line


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--weight-bits", "9"), "--weight-bits: expected an integer from 2 to 8, got 9"),
        (("--activation-bits", "1"), "--activation-bits: "),
        (("--quant-delay", "-1"), "--quant-delay: expected a number of steps, 0 or more, got -1"),
        (("--freeze-bn-delay", "-1"), "--freeze-bn-delay: "),
        (("--scope", "a b"), "--scope: expected a name scope"),
        (("--outputs", "^a"), "--outputs: expected the name of a tensor"),
    ],
)
def test_flags(run: Run, write: Write, flags: tuple[str, ...], said: str) -> None:
    write("in.pb", NET)
    refused(run("plan", "in.pb", *flags), 2, "config-value", said)


def _plan(folder: Path) -> dict[str, Any]:
    plan: dict[str, Any] = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    return plan


def test_plans_that_do_not_fit(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    write("other.pb", NET + "y = Neg(x)\n")
    run("plan", "in.pb", "-o", "plan.json")
    command = ("train", "-o", "out.pb", "--plan")
    refused(run(*command, "plan.json", "other.pb"), 2, "plan-mismatch", "plan.json", "other.pb")
    refused(run(*command, "plan.json", "in.pb", "--symmetric"), 2, "plan-conflict", "--symmetric")
    refused(run(*command, "missing.json", "in.pb"), 2, "plan-unreadable", "missing.json")
    refused(run(*command, ".", "in.pb"), 2, "plan-unreadable", "directory")
    assert not (folder / "out.pb").exists()


def test_plans_that_are_none(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    run("train", "in.pb", "-o", "done.pb", "-q")
    run("plan", "in.pb", "-o", "plan.json")
    good = (folder / "plan.json").read_bytes()
    report = (folder / "done.pb.report.json").read_bytes()
    bad = [b"", good[:500], good.replace(b'"bits": 8', b'"bits": "8"'), report, b"{}", b"[" * 10**5, b'"\xff"']
    for data in bad:
        (folder / "bad.json").write_bytes(data)
        refused(run("train", "in.pb", "-o", "o.pb", "--plan", "bad.json"), 2, "plan-unreadable", "bad.json")


def test_edited_plans(run: Run, write: Write, folder: Path) -> None:
    """An edited plan could contradict the graph or itself; bits of 99 would otherwise be written."""
    write("in.pb", NET)
    run("plan", "in.pb", "-o", "plan.json")
    plan = _plan(folder)
    plan["quantizers"][0]["scheme"]["bits"] = 99
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    done = run("train", "in.pb", "-o", "o.pb", "--plan", "plan.json")
    refused(done, 2, "plan-unreadable", "the plan was changed after it was made", "config")


def test_a_plan_in_another_layout_is_the_same_plan(run: Run, write: Write, folder: Path) -> None:
    write("in.pb", NET)
    run("plan", "in.pb", "-o", "plan.json")
    (folder / "plan.json").write_text(json.dumps(_plan(folder), sort_keys=True), encoding="utf-8")
    assert run("train", "in.pb", "-o", "o.pb", "--plan", "plan.json", "-q").status == 0
