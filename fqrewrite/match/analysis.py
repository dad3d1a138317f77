"""What is known about one graph while its plan is made: the read-only ground on which rules stand."""

from __future__ import annotations

from fqrewrite.ir.graph import Graph, Node, Value
from fqrewrite.ir.topology import inside_control_flow, topological_order
from fqrewrite.match.layers import Layer
from fqrewrite.match.parameters import FAKE_QUANT_OPS, Parameters

_SHAPE_ONLY = frozenset({"BatchToSpaceND", "Squeeze", "Reshape"})
_FOLLOWED_THROUGH = frozenset({"Reshape", "Identity"})


class Analysis:
    """A graph, its layers, and the state that the phases of planning leave for each other.

    Attributes:
        graph: the source graph.
        order: its nodes in topological order.
        control_flow: nodes inside v1 conditionals and loops.
        parameters: which values depend on variables and constants alone.
        layers: the layers by their node.
        set_aside: layers that must be left alone, with why (filled by configuration and by fold rules).
        raw: values that are a layer's own output, or that output with only its shape changed.
        folded: values that will be the result of a batch-norm fold, and the layer they belong to.
        results: the same by layer, the last one behind any Reshape.
        fold_outputs: the batch norms' own outputs among them.
        waiting: Identity nodes behind a fold with batch statistics; they are what forced moving-average updates leave.
        quantized: values that the plan quantizes already.
        settled: nodes whose output a layer's placement has decided about.
        elementwise: answers of the elementwise rule that are final.
        outputs: the values that are the point of the graph.
        forward: in integer placement, the nodes that the model's results need, loss and metrics aside.
        taken: in integer placement, the nodes that are part of an integer kernel.
    """

    def __init__(self, graph: Graph, outputs: tuple[Value, ...] = ()) -> None:
        self.graph = graph
        self.outputs = outputs
        self.order = list(graph) if graph.in_order else topological_order(graph)
        self.control_flow = inside_control_flow(graph, self.order)
        self.parameters = Parameters()
        self.layers: dict[Node, Layer] = {}
        self.set_aside: set[Node] = set()
        self.raw: dict[Value, Layer] = {}
        self.folded: dict[Value, Layer] = {}
        self.results: dict[Layer, list[Value]] = {}
        self.fold_outputs: set[Value] = set()
        self.waiting: dict[Value, Value] = {}
        self.quantized: set[Value] = set()
        self.settled: set[Node] = set()
        self.elementwise: dict[Node, bool] = {}
        self.forward: set[Node] = set()
        self.taken: set[Node] = set()

    def add_fold(self, layer: Layer, output: Value, *, batch_statistics: bool) -> None:
        """Records that a batch norm will be folded into the layer, and `output` with it."""
        self.fold_outputs.add(output)
        results = self.results[layer] = [output]
        # A fused batch norm behind a MatMul works on [N, 1, 1, C]; the layer ends behind the Reshape that undoes that.
        if layer.kind == "matmul":
            uses = output.uses()
            if len(uses) == 1 and uses[0][0].op in ("Reshape", "Squeeze") and uses[0][1] == 0:
                results.append(uses[0][0].value())
        for value in results:
            self.folded[value] = layer
            if batch_statistics:
                for consumer in value.consumers():
                    if consumer.op == "Identity":
                        self.waiting[consumer.value()] = value

    def find_raw_outputs(self) -> None:
        """Fills `raw` for the layers that no fold and no decline has claimed."""
        for node, layer in self.layers.items():
            if layer in self.results or node in self.set_aside:
                continue
            value = node.value()
            self.raw[value] = layer
            uses = value.uses()
            while len(uses) == 1 and uses[0][0].op in _SHAPE_ONLY and uses[0][1] == 0:
                value = uses[0][0].value()
                self.raw[value] = layer
                uses = value.uses()

    def runs_into_fake_quant(self, value: Value) -> bool:
        """Whether the value is, or will be, quantized behind nothing but Reshape and Identity."""
        queue = [value]
        for current in queue:
            if current in self.quantized:
                return True
            for consumer in current.consumers():
                if consumer.op in FAKE_QUANT_OPS:
                    return True
                if consumer.op in _FOLLOWED_THROUGH:
                    queue.append(consumer.value())
        return False
