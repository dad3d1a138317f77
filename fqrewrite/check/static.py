"""The static check: what the converter will make of a graph, and what stands in the way of integers.

It computes with facts that were measured (`operations`) and in the converter's own way (`propagate`), and converts
nothing. It needs no TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterable

from fqrewrite.check import operations
from fqrewrite.check.biases import bias_findings
from fqrewrite.check.fused import fused_operation
from fqrewrite.check.propagate import Ranges
from fqrewrite.check.quantizers import Quantizer, range_defect, read_quantizer
from fqrewrite.check.records import Finding, FloatOperation, Severity, Static, prediction, worst_first
from fqrewrite.check.subject import Subject
from fqrewrite.check.targets import Target
from fqrewrite.check.units import PLACEHOLDERS, Unit, find_units
from fqrewrite.check.weights import weight_findings
from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.match.parameters import FAKE_QUANT_OPS
from fqrewrite.match.refusals import is_backward
from fqrewrite.proto.attrs import get_bool, get_int

_INSERT = "put a fake quantizer behind it, in front of everything that reads it (`fqrewrite eval` does)"
_FEWEST_BITS = 5
_OF_RANGES = frozenset({"input-without-range", "range-missing", "weights-without-quantizer"})


def check_graph(graph: Graph, outputs: Iterable[Value], target: Target) -> Static:
    """Predicts what the converter makes of a fake-quantized graph, and names what stands in the way.

    Args:
        graph: frozen, with fake quantizers.
        outputs: the tensors that the model shall give.
        target: the route through the converter.
    """
    return check_subject(Subject(graph, outputs), target)


def check_subject(subject: Subject, target: Target) -> Static:
    """As `check_graph`."""
    return _Check(subject, target).run()


class _Check:
    def __init__(self, subject: Subject, target: Target) -> None:
        self.subject = subject
        self.target = target
        self.findings: dict[tuple[str, str], Finding] = {}
        self.quantizers: dict[Node, Quantizer] = {}

    def run(self) -> Static:
        for node in self.subject.fake_quants:
            self._look_at_quantizer(node)
        units = find_units(self.subject)
        for unit in units:
            for node in unit.members:
                self._look_at_node(node, unit)
            for finding in weight_findings(unit.node, self.subject, self.target):
                self._add(finding)
            for finding in bias_findings(unit, self.subject):
                self._add(finding)
        inputs = (node.value() for node in self.subject.nodes if node.op in PLACEHOLDERS)
        ranges = Ranges(self.subject, units, self.quantizers, inputs if self.target.ranged_inputs else ())
        producers = {result: unit for unit in units for result in unit.results}
        causes = {unit.node: cause for unit in units if (cause := self._why_float(unit, ranges, producers)) is not None}
        for unit in units:
            if unit.node not in causes:
                self._look_at_kernel(unit.node)
            self._compare_operands(unit, ranges)
        if not self.subject.fake_quants:
            self._replace_ranges()
        findings = worst_first(tuple(self.findings.values()))
        library = functions_of(self.subject.graph.graph_def)
        floats = tuple(
            FloatOperation(
                name=unit.node.name,
                op=unit.node.op,
                because=cause,
                nodes=(
                    *(node.name for node in unit.members + self.subject.aliases(unit.results)),
                    *filter(None, (fused_operation(node, library) for node in unit.members)),
                ),
            )
            for unit in units
            if (cause := causes.get(unit.node)) is not None
        )
        return Static(
            prediction=prediction(findings),
            findings=findings,
            operations=len(units),
            float_operations=floats,
            quantizers=len([node for node in self.subject.needed if node.op in FAKE_QUANT_OPS]),
        )

    def _replace_ranges(self) -> None:
        """Says of a float graph that it is one, and not so of each of its tensors."""
        self.findings = {key: finding for key, finding in self.findings.items() if finding.code not in _OF_RANGES}
        what = "the graph has no fake quantizer, and the converter makes a float model of it"
        remedy = "make the graph with `fqrewrite eval`, from a trained model or with --ranges"
        self._find("quantizers-missing", "float", self.subject.outputs[0].node, what, remedy)

    def _look_at_kernel(self, node: Node) -> None:
        """Finds an integer kernel that does not run."""
        if node.op in self.target.lacking:
            what = f"{node.op} has no {self.target.integer} kernel, and the model does not load"
            self._find("operation-fails", "fails", node, what, "use the target tflite-int8")
        elif node.op in ("RealDiv", "DivNoNan") and not self.subject.is_constant(node.inputs[1]):
            what = (
                f"the integer kernel of {node.op} stops at the first integer 0 in the divisor, whatever that stands for"
            )
            remedy = "multiply by the reciprocal, or leave the result without a quantizer, which keeps it in float"
            self._find("operation-fails", "fails", node, what, remedy)

    def _compare_operands(self, unit: Unit, ranges: Ranges) -> None:
        """Finds the first operand's scale imposed on others that do not fit into it."""
        if unit.kind != "pass" or unit.node.op in operations.CONCATS or any(map(ranges.said_of, unit.results)):
            return
        nodes = [self.subject.source(operand).node for operand in unit.operands]
        known = [self.quantizers[node] for node in nodes if node in self.quantizers]
        if any(not known[0].covers(other) for other in known[1:]):
            what = f"the operands of {unit.node.op} have different ranges, which computes in the first one's"
            remedy = "give the operands one range, or put a fake quantizer behind it"
            self._find("ranges-differ", "wrong", unit.node, what, remedy)

    def _look_at_quantizer(self, node: Node) -> None:
        quantizer = read_quantizer(node)
        if quantizer is None:
            what = "the range is no constant, and the converter needs one"
            remedy = "freeze the graph: `fqrewrite eval CHECKPOINT -o eval.pb`, or give --ranges"
            self._find("range-not-constant", "fails", node, what, remedy)
            return
        self.quantizers[node] = quantizer
        defect = range_defect(quantizer, weights=False)
        if defect is not None:
            self._find(defect.code, defect.severity, node, defect.reason, defect.remedy)
        if quantizer.per_channel:
            what = "an activation has one range for each channel, and the converter takes one only"
            self._find("activation-per-channel", "fails", node, what, "use FakeQuantWithMinMaxVars")
        if quantizer.bits != 8:
            severity: Severity = "fails" if quantizer.bits < _FEWEST_BITS else "wrong"
            then = "stops at" if severity == "fails" else "gives wrong numbers with"
            what = f"activations need 8 bits; the converter {then} {quantizer.bits}"
            self._find("activation-bits", severity, node, what, "use `activations: {bits: 8}`")

    def _look_at_node(self, node: Node, unit: Unit) -> None:
        op = node.op
        known = operations.OPERATIONS.get(op)
        if op in operations.VARIABLES:
            what = "the graph has variables, and the converter takes constants only"
            self._find("variable-left", "fails", node, what, "freeze it: `fqrewrite eval CHECKPOINT -o eval.pb`")
        elif op in operations.CONTROL_FLOW:
            what = "a conditional or loop of TensorFlow 1 is left"
            remedy = "bind what decides it (--set NAME=false), or unroll the loop"
            self._find("control-flow-left", "float", node, what, remedy)
        elif op in operations.CALLS:
            self._look_at_call(node)
        elif is_backward(op) or (op in operations.BATCH_NORMS and get_bool(node.proto, "is_training", True)):
            what = f"{op} belongs to training"
            self._find("training-left", "fails", node, what, "make the graph with `fqrewrite eval`")
        elif unit.kind in ("float", "fails") and node is unit.node:
            self._find_float(node, unit, known)

    def _look_at_call(self, node: Node) -> None:
        implements = fused_operation(node, functions_of(self.subject.graph.graph_def))
        if implements is not None:
            what = f"the converter makes one operation of it, by the name {implements}, and computes that in float"
            remedy = "build a Keras LSTM with unroll=True, which gives layers that are quantized"
        else:
            what, remedy = f"{node.op} calls a function, which is not looked into", "write it without, or use --convert"
        self._find("function-not-checked", "float", node, what, remedy)

    def _find_float(self, node: Node, unit: Unit, known: operations.Operation | None) -> None:
        op = node.op
        severity: Severity = "fails" if unit.kind == "fails" else "float"
        if op in operations.BATCH_NORMS:
            what = f"{op} follows no convolution directly, so the converter cannot fold it and computes it in float"
            remedy = "`fqrewrite eval` folds it, or writes it as a depthwise convolution of 1x1 with bias"
        elif known is None:
            what = f"{op} is not among the ops whose conversion was measured"
            remedy = "look with --convert; keep it outside of the model if it stays float"
            self._find("operation-unknown", severity, node, what, remedy)
            return
        else:
            what, remedy = f"{op} {known.why or operations.NO_KERNEL}", known.remedy or "keep it outside of the model"
        self._find("operation-fails" if severity == "fails" else "operation-float", severity, node, what, remedy)

    def _why_float(self, unit: Unit, ranges: Ranges, producers: dict[Value, Unit]) -> str | None:
        """The node or tensor because of which an op is float, with a finding for it; None for an integer op."""
        if unit.kind in ("float", "fails"):
            return unit.node.name
        if unit.quantized_bias is not None:
            bias = unit.quantized_bias
            what = f"the bias of {unit.node.name} has a fake quantizer, which keeps the layer in float"
            self._find("bias-quantized", "float", bias, what, "leave it out: the bias becomes int32 by itself")
            return bias.name
        if unit.node.op in operations.SHAPE_ONLY:
            return None
        for operand in unit.operands:
            if not ranges.has(operand):
                return self._missing(self.subject.source(operand), ranges, producers)
        if unit.kind == "index":
            return None
        number = operations.SPLITS.get(unit.node.op)
        if (
            number is not None
            and len(unit.results) < get_int(unit.node.proto, number, 1)
            and not any(map(ranges.said_of, unit.results))
        ):
            what = "an output of it is unused, and the converter then computes it in float or in integers, at random"
            remedy = "put a fake quantizer behind one of the others (`fqrewrite eval` does)"
            self._find("split-output-unused", "float", unit.node, what, remedy)
            return unit.node.name
        for result in unit.results:
            if not ranges.has(result) and not ranges.said_of(result):
                return self._missing(result, ranges, producers)
        return None

    def _missing(self, value: Value, ranges: Ranges, producers: dict[Value, Unit]) -> str:
        """Reports a tensor without a range, or the one that it would have it from."""
        unit = producers.get(value)
        readers = [node for node, _ in self.subject.readers(value)]
        quantizers = [node for node in readers if node.op in FAKE_QUANT_OPS]
        if unit is not None and unit.kind == "pass" and not quantizers:
            for operand in unit.operands:
                if not ranges.has(operand):
                    return self._missing(self.subject.source(operand), ranges, producers)
        name = str(value)
        others = [node for node in readers if node.op not in FAKE_QUANT_OPS]
        if quantizers and others:
            what = f"{others[0].name} reads the tensor beside its quantizer {quantizers[0].name}, so it has no range"
            self._find("range-bypassed", "float", value.node, what, "let everything read the quantizer", name)
        elif quantizers:
            what = f"{len(quantizers)} fake quantizers with different ranges are on the tensor"
            self._find("ranges-conflict", "float", value.node, what, "let all readers share one quantizer", name)
        elif unit is None:
            what = "the input has no range, so what reads it is computed in float"
            self._find("input-without-range", "float", value.node, what, _INSERT, name)
        else:
            self._find("range-missing", "float", value.node, "the tensor has no range and inherits none", _INSERT, name)
        return name

    def _find(
        self, code: str, severity: Severity, node: Node, reason: str, remedy: str, name: str | None = None
    ) -> None:
        self._add(
            Finding(code=code, severity=severity, name=name or node.name, op=node.op, reason=reason, remedy=remedy)
        )

    def _add(self, finding: Finding) -> None:
        self.findings.setdefault((finding.code, finding.name), finding)
