"""The report as records: what `<output>.report.json` holds, and what every rendering is made of.

The format is versioned. A reader must refuse a `schema_version` that it does not know; within a version,
fields are only added, never renamed. Nothing in a report depends on time or machine: same run, same bytes.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from fqrewrite.plans.items import Changes, Granularity, LeftOut, Note, RangeSource, Role, Statistics


class Input(Struct, frozen=True, kw_only=True):
    """The model that was read.

    Attributes:
        path: as it was given.
        kind: "graph_def", "meta_graph", "saved_model" or "checkpoint"; "graph" for one that was rewritten in place.
        sha256: of the file's bytes, in hex.
    """

    path: str
    kind: str
    sha256: str


class PlanSummary(Struct, frozen=True, kw_only=True):
    """What the plan says about the whole graph; its items are in `Report.inserted`, `folds` and `left_out`.

    Attributes:
        schema_version: of the plan's format.
        tool_version: of the fqrewrite that made the plan, which may be older than the one that applied it.
        outputs: the tensors that are the point of the graph, ``node:port``.
        resource_variables: whether new variables are resource variables (else reference variables).
    """

    schema_version: int
    tool_version: str
    outputs: tuple[str, ...]
    resource_variables: bool


class Range(Struct, frozen=True, kw_only=True):
    """Where the range of a fake quantizer comes from.

    Attributes:
        source: "last_value" (of this step), "ema" (zero-debiased moving average) or "constant".
        initial: (min, max) that the variables start from; null with "constant".
        decay: of the moving average per step, in [0, 1); null unless "ema".
        minimum, maximum: one number for the tensor, or one for each channel; null unless "constant".
        origin: who knew a constant range of an eval graph: "config", "kernel" (an integer kernel fixes it),
            "ranges file", "checkpoint" or "weights"; null
            for any other range.
    """

    source: RangeSource
    initial: tuple[float, float] | None
    decay: float | None
    minimum: tuple[float, ...] | None
    maximum: tuple[float, ...] | None
    origin: str | None = None


class FakeQuant(Struct, frozen=True, kw_only=True):
    """One fake quantizer.

    Attributes:
        node: name of the fake-quant node.
        op: its op type.
        role: what the tensor is to the layer.
        layer: name of the layer's node; null for an elementwise op outside any layer.
        shared_with: other layers that read the same quantized weights.
        tensor: what is quantized, as the source graph names it, ``node:port``.
        quantized: what is quantized, as the rewritten graph names it: where there is a fold, its scaled
            weights or its result.
        bits: number of bits.
        narrow_range: whether the lowest of the 2^bits levels is unused.
        symmetric: whether the range is symmetric around zero.
        granularity: one range for the tensor, or one for each output channel.
        range: where the range comes from.
        variables: names of the min and max variables, the same in the train and the eval graph; empty when
            the range is constant.
        averages: names of the variables behind a moving average; only a training graph has them.
        delay: number of training steps before the tensor is quantized.
        rule: name of the rule that decided it.
        because: the config rule that shaped it, ``file:line``; null when none did.
        nodes_inserted: number of nodes inserted for it alone; null in a dry run.
        rewired: the edges ``consumer:inSLOT`` of the rewritten graph that were moved; null in a dry run.
        function: the library function that the layer, or without one the tensor's node, stood in; "" for none.
    """

    node: str
    op: str
    role: Role
    layer: str | None
    shared_with: tuple[str, ...]
    tensor: str
    quantized: str
    bits: int
    narrow_range: bool
    symmetric: bool
    granularity: Granularity
    range: Range
    variables: tuple[str, ...]
    averages: tuple[str, ...]
    delay: int
    rule: str
    because: str | None
    nodes_inserted: int | None
    rewired: tuple[str, ...] | None
    function: str = ""


class Fold(Struct, frozen=True, kw_only=True):
    """One batch norm that is folded into the layer before it.

    Attributes:
        layer: name of the layer's node.
        batch_norm: name of the node that computed the batch norm's output.
        output: the batch norm's output tensor in the source graph.
        result: the tensor of the rewritten graph that takes its place.
        weights: the tensor of the rewritten graph that holds the scaled weights.
        form: "fused" or "unfused".
        statistics: "batch" for a batch norm in training mode, "moving" for one in inference mode.
        freeze_delay: step from which moving statistics replace batch statistics; null for never.
        rule: name of the rule that decided it.
        inserted: names of the nodes inserted for it alone; null in a dry run.
        replaced: names of the nodes that became another operation under their old name; null in a dry run.
        rewired: the edges that were moved, ``consumer:inSLOT`` or ``consumer:^control``; null in a dry run.
        function: the library function that the layer stood in; "" for none.
    """

    layer: str
    batch_norm: str
    output: str
    result: str
    weights: str
    form: Literal["fused", "unfused"]
    statistics: Statistics
    freeze_delay: int | None
    rule: str
    inserted: tuple[str, ...] | None
    replaced: tuple[str, ...] | None
    rewired: tuple[str, ...] | None
    function: str = ""


class Summary(Struct, frozen=True, kw_only=True):
    """Counts.

    Attributes:
        layers: quantizable layers seen.
        layers_quantized: layers whose weights have a fake quantizer of ours.
        fake_quants: number of fake quantizers, by role; roles that do not occur are absent.
        folds: batch norms folded.
        left_out_kinds: number of things left out, by kind ("layer", "batch_norm", "tensor").
        left_out_codes: the same number, by code.
        nodes_inserted: in all, shared ones included; null in a dry run.
        variables_created: in all; null in a dry run.
    """

    layers: int
    layers_quantized: int
    fake_quants: dict[str, int]
    folds: int
    left_out_kinds: dict[str, int]
    left_out_codes: dict[str, int]
    nodes_inserted: int | None
    variables_created: int | None


class Report(Struct, frozen=True, kw_only=True):
    """Everything that was, or in a dry run would be, done to one model.

    Attributes:
        schema_version: of this format.
        tool: "fqrewrite".
        tool_version: its version.
        input: the model that was read.
        output: path of the rewritten model as it was given; null for `fqrewrite plan`.
        mode: "train" or "eval"; null for `fqrewrite plan`.
        config: every setting as resolved, and under ``origins`` where each came from.
        plan: what the plan says about the whole graph.
        inserted: the fake quantizers, in the plan's order.
        folds: the folded batch norms, in the plan's order.
        left_out: what stays as it is, each with its reason and a remedy.
        notes: what concerns no single layer.
        shared: names of nodes inserted for several items (constants, the step counter); null in a dry run.
        summary: counts.
        changes: what was done beside folding and quantizing; null in a dry run.
        outputs: the tensors of the rewritten graph that are its results; null in a dry run.
        respelled: names of operations without integer kernels that become others which compute the same; batch norms
            among them do so in the eval graph alone.
    """

    schema_version: Literal[1] = 1
    tool: Literal["fqrewrite"] = "fqrewrite"
    tool_version: str
    input: Input
    output: str | None
    mode: Literal["train", "eval"] | None
    config: dict[str, Any]
    plan: PlanSummary
    inserted: tuple[FakeQuant, ...]
    folds: tuple[Fold, ...]
    left_out: tuple[LeftOut, ...]
    notes: tuple[Note, ...]
    shared: tuple[str, ...] | None
    summary: Summary
    changes: Changes | None = None
    outputs: tuple[str, ...] | None = None
    respelled: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The report as the command line writes it beside the output."""
        return self._rendered("json", verbose=False)

    def to_markdown(self, *, verbose: bool = False) -> str:
        """The report for a pull request; with `verbose` every quantizer and fold, however many there are."""
        return self._rendered("md", verbose=verbose)

    def to_text(self, *, verbose: bool = False) -> str:
        """The report for people; with `verbose` every quantizer and fold."""
        return self._rendered("text", verbose=verbose)

    def _rendered(self, format: Literal["text", "json", "md"], *, verbose: bool) -> str:
        from fqrewrite.report.render import render

        return render(self, format, verbose=verbose)


def report_schema_json() -> str:
    """The JSON schema (draft 2020-12) of a report, with a newline at its end."""
    import msgspec

    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "fqrewrite report",
        **msgspec.json.schema(Report),
    }
    return msgspec.json.format(msgspec.json.encode(schema, order="sorted"), indent=2).decode() + "\n"
