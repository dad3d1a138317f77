"""Where an integer runtime needs quantizers: behind every integer kernel, and wherever one reads what is float.

The rules of the phase "site" say which operations form one integer kernel, what it reads in integers, and where the
range of its result comes from. Kernels are then followed back from the model's results: each of them gets a
quantizer behind it, and so does every float tensor that one of them reads, such as the inputs of the graph.
"""

from __future__ import annotations

from fqrewrite.config.settings import LayerSettings
from fqrewrite.config.targets import without_kernels
from fqrewrite.ir.graph import Node, Value
from fqrewrite.match.batch_norm import batch_norm
from fqrewrite.match.labels import before_labels
from fqrewrite.match.parameters import is_float, is_scalar
from fqrewrite.match.proposal import Decline, SiteProposal
from fqrewrite.match.reach import ancestors
from fqrewrite.plans.items import RangeSpec, Role
from fqrewrite.plans.planning import Planning
from fqrewrite.plans.quantizers import Owner, join
from fqrewrite.plans.ties import Ties

_INITIAL = (-6.0, 6.0)
_HANDS_ON = frozenset({"Identity", "IdentityN", "StopGradient", "PreventGradient", "CheckNumerics", "Snapshot"})


class IntegerPlacement:
    """Finds the integer kernels, and gives every tensor that they read or write a quantizer."""

    def __init__(self, planning: Planning) -> None:
        self.planning = planning
        self.analysis = planning.analysis
        self.builder = planning.builder
        self.ledger = planning.ledger
        self.kernels: dict[Node, SiteProposal] = {}
        self.rules: dict[Node, str] = {}
        self.declines: dict[Node, Decline] = {}
        self.ties = Ties()

    def place(self) -> None:
        """Makes the items."""
        self._assume_moving_averages()
        results = before_labels(self.planning.graph, self.analysis.outputs)
        self.analysis.forward = ancestors(value.node for value in results)
        self._find_kernels()
        for kernel in self._reached(results):
            self._operands(kernel)
            self._result(kernel)
        for value in results:
            self._moved_input(value)
        self.ledger.tie(self.ties)

    def _assume_moving_averages(self) -> None:
        """Takes batch statistics for the parameters that stand in their place in the inference graph."""
        parameters = self.analysis.parameters
        norms = [batch_norm(node, parameters) for node in self.planning.unfolded]
        parameters.assume(
            value
            for norm in norms
            if norm is not None and norm.moving_mean is not None and norm.moving_variance is not None
            for value in (norm.mean, norm.variance)
            if value is not None
        )

    def _find_kernels(self) -> None:
        for rule, proposal in self.planning.proposals("site", among=self.analysis.forward):
            if isinstance(proposal, SiteProposal):
                nodes = (proposal.result.node, *proposal.inner)
                if self.analysis.parameters.is_parameter(proposal.result) or not is_float(proposal.result):
                    continue
                decline = self._decline(proposal)
                if decline is not None:
                    self.declines.setdefault(decline.node, decline)
                    continue
                if self.analysis.taken.isdisjoint(nodes) and self.analysis.forward.issuperset(nodes):
                    self.analysis.taken.update(nodes)
                    for node in nodes:
                        self.kernels[node] = proposal
                        self.rules[node] = rule
            elif isinstance(proposal, Decline):
                self.declines.setdefault(proposal.node, proposal)

    def _decline(self, kernel: SiteProposal) -> Decline | None:
        """Why the config's target has no such kernel; None when it has."""
        for node in (kernel.result.node, *kernel.inner):
            if node.op in without_kernels(self.planning.config.target):
                reason = f"{self.planning.config.target} has no integer kernel for {node.op}"
                return Decline(
                    kind="tensor", node=node, code="float-in-runtime", reason=reason, keeps_result_float=True
                )
        return None

    def _reached(self, results: tuple[Value, ...]) -> list[SiteProposal]:
        """The kernels that the results are computed by, in the order of the graph; lists what stays float."""
        queue, seen = [value.node for value in results], set[Node]()
        found: dict[Node, SiteProposal] = {}
        for node in queue:
            if node in seen or self.analysis.parameters.is_parameter(node.value()):
                continue
            seen.add(node)
            kernel = self.kernels.get(node)
            if kernel is None:
                self._leave_float(node)
                queue += [operand.node for operand in node.inputs]
            elif self._is_wanted(kernel):
                found[kernel.result.node] = kernel
                queue += [operand.node for operand in kernel.operands]
            else:
                parts = {kernel.result.node, *kernel.inner}
                for part in parts:
                    del self.kernels[part]
                seen |= parts
                queue += [operand.node for operand in kernel.operands]
        return [found[node] for node in self.analysis.order if node in found]

    def _is_wanted(self, kernel: SiteProposal) -> bool:
        """Whether the config lets a kernel be quantized; what it forbids is listed."""
        node = kernel.result.node if kernel.layer is None else kernel.layer.node
        if kernel.layer is not None and node in self.analysis.set_aside:
            return False
        if not self.builder.in_scope(node.name):
            reason = f"it is outside the scope {self.builder.scope!r}"
            if kernel.layer is not None:
                self.ledger.leave_out_layer(node, "outside-scope", reason)
            else:
                self.ledger.leave_out_tensor(kernel.result, "outside-scope", reason)
            return False
        if kernel.kind not in ("same", "given"):
            settings = self._settings(kernel)
            if not settings.quantize:
                self.planning.leave_excluded(kernel.result, settings)
                return False
        return True

    def _settings(self, kernel: SiteProposal) -> LayerSettings:
        if kernel.layer is not None:
            return self.planning.layer_settings[kernel.layer.node]
        node = kernel.result.node
        return self.planning.settings.for_layer((node.name,), node.op)

    def _leave_float(self, node: Node) -> None:
        """Lists a float operation, unless a phase before has said something about it or it computes no floats."""
        decline = self.declines.get(node)
        if decline is not None:
            self.ledger.leave_out_tensor(node.value(), decline.code, decline.reason)
        elif node.inputs and is_float(node.value()) and not self.ledger.has_left_out(node):
            reason = f"no integer kernel is known for {node.op}"
            self.ledger.leave_out_tensor(node.value(), "operation-not-known", reason)

    def _keeps_result_float(self, node: Node) -> bool:
        decline = self.declines.get(node)
        return decline is not None and decline.keeps_result_float

    def _result(self, kernel: SiteProposal) -> None:
        """Quantizes what a kernel computes, and the weights that it reads."""
        if kernel.kind in ("same", "given"):
            self._marked(kernel)
            return
        if kernel.respelled is not None:
            self.ledger.respelled.append(kernel.respelled.name)
        for node in (kernel.result.node, *kernel.inner):
            self.ledger.computed_in_place(node)
        rule, settings, layer = self.rules[kernel.result.node], self._settings(kernel), kernel.layer
        fold = None if layer is None else self.planning.folds.get(layer.node)
        if layer is not None:
            self.builder.weights(layer, fold, settings, rule)
        name = None if layer is None else layer.node.name
        owner = Owner(name, fold, settings.activations, rule, settings.activations_origin)
        limits = kernel.limits
        if kernel.kind == "tied":
            roots = [self._root(operand) for operand in kernel.operands]
            limits = self.ties.common_limits(roots)
            if limits is None:
                self.ties.tie(kernel.result, roots)
        if limits is not None:
            self.ties.fix(kernel.result, limits)
            spec = RangeSpec(source="constant", minimum=limits[:1], maximum=limits[1:])
        else:
            spec = RangeSpec(source="ema", initial=_INITIAL, decay=settings.activations.ema_decay)
        is_output = kernel.result in self.analysis.outputs
        self._quantize(kernel.result, "activation", spec, owner, takes_name=is_output)

    def _marked(self, kernel: SiteProposal) -> None:
        """Gives a result that has its range from the operand a quantizer with that range."""
        if kernel.marked is None:
            return
        root, settings = self._root(kernel.operands[0]), self._settings(kernel)
        owner = Owner(None, None, settings.activations, self.rules[kernel.result.node], settings.activations_origin)
        limits = self.ties.common_limits([root])
        if limits is not None:
            spec = RangeSpec(source="constant", minimum=limits[:1], maximum=limits[1:])
            self.ties.fix(kernel.marked, limits)
        else:
            spec = RangeSpec(source="ema", initial=_INITIAL, decay=settings.activations.ema_decay)
            self.ties.tie(kernel.marked, [root])
        self._quantize(kernel.marked, "activation", spec, owner, takes_name=kernel.marked in self.analysis.outputs)

    def _moved_input(self, result: Value) -> None:
        """Quantizes an input of the graph that nothing but moving, pooling or resizing makes a result of."""
        root, moved = result, False
        while (kernel := self.kernels.get(root.node)) is not None and kernel.kind == "same":
            moved = moved or root.node.op not in _HANDS_ON
            root = _handed_on(kernel, root)
        node = root.node
        if not moved or node.inputs or self.ties.knows(root) or self.analysis.parameters.is_parameter(root):
            return
        settings = self.planning.settings.for_layer((node.name,), node.op)
        if is_float(root) and settings.quantize:
            owner = Owner(None, None, settings.activations, "same_range", settings.activations_origin)
            spec = RangeSpec(source="ema", initial=_INITIAL, decay=settings.activations.ema_decay)
            self._quantize(root, "input", spec, owner)

    def _operands(self, kernel: SiteProposal) -> None:
        """Quantizes those operands of a kernel that no kernel computes."""
        if kernel.kind in ("same", "given"):
            return
        for operand in kernel.operands:
            root = self._root(operand)
            if root.node in self.kernels or self.ties.knows(root):
                continue
            node, rule = root.node, self.rules[kernel.result.node]
            settings = self.planning.settings.for_layer((node.name,), node.op)
            owner = Owner(None, None, settings.activations, rule, settings.activations_origin)
            if self.analysis.parameters.is_parameter(root):
                # The converter quantizes constants itself; it is a range shared with others that must hold them.
                if kernel.kind == "tied" or not is_scalar(root):
                    limits = self.builder.constant_range(root, settings.activations)
                    self._quantize(root, "constant", limits, owner)
            elif settings.quantize and not self._keeps_result_float(node):
                spec = RangeSpec(source="ema", initial=_INITIAL, decay=settings.activations.ema_decay)
                self._quantize(root, "activation" if node.inputs else "input", spec, owner)
            else:
                if not settings.quantize:
                    self.planning.leave_excluded(root, settings)
                reason = f"it reads {root}, which stays float, so it is computed in float too"
                self.ledger.leave_out_tensor(kernel.result, "operand-stays-float", reason)

    def _quantize(self, value: Value, role: Role, limits: RangeSpec, owner: Owner, *, takes_name: bool = False) -> None:
        wanted = join(value.node.name, "quant")
        edges = self._data_edges(value) if role == "constant" else None
        scope = self.builder.activation(value, wanted, role, limits, owner, takes_name=takes_name, edges=edges)
        if scope is not None:
            self.ties.enter(value, scope)

    def _data_edges(self, value: Value) -> tuple[str, ...] | None:
        """The edges by which data meets a parameter; None when these are all.

        Parameters that are made of this one read it as it is: they are constants themselves, and their ranges are
        those of the numbers before quantization.
        """
        is_parameter, uses = self.analysis.parameters.is_parameter, value.uses()
        data = [(node, slot) for node, slot in uses if not is_parameter(node.value())]
        return None if len(data) == len(uses) else tuple(f"{node.name}:in{slot}" for node, slot in data)

    def _root(self, value: Value) -> Value:
        """The value whose range a value has: that of a kernel's operand, where the kernel hands it on."""
        kernel = self.kernels.get(value.node)
        while kernel is not None and kernel.kind == "same":
            value = _handed_on(kernel, value)
            kernel = self.kernels.get(value.node)
        return value


def _handed_on(kernel: SiteProposal, value: Value) -> Value:
    """The operand whose range a result of a kernel of kind "same" has: of several, the one at its place."""
    return kernel.operands[value.port if len(kernel.operands) > 1 else 0]
