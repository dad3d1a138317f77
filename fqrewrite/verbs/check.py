"""The check of a file: opened, checked statically, converted if asked for, and reported.

Of a SavedModel, what is checked is what the converter would see: functions inlined, variables frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fqrewrite import __version__
from fqrewrite.check.records import CheckReport, Finding, Static, worst_first
from fqrewrite.check.static import check_subject
from fqrewrite.check.subject import Subject
from fqrewrite.check.targets import Target
from fqrewrite.errors import path_text
from fqrewrite.ir.editor import Editor
from fqrewrite.ir.graph import Graph, Value
from fqrewrite.match.reach import ancestors
from fqrewrite.model.checkpoint import find_checkpoint
from fqrewrite.model.container import Model
from fqrewrite.model.saved_model import SERVING_DEFAULT, output_names
from fqrewrite.plans.items import fake_quant_op
from fqrewrite.plans.outputs import find_outputs, named_outputs
from fqrewrite.source.flatten import flatten_model
from fqrewrite.source.open import DEFAULT, Choice, directory_of, open_model
from fqrewrite.source.provenance import find_provenance
from fqrewrite.source.restore import Restorer, VariableKeys, variable_keys
from fqrewrite.transform.freeze import freeze, needed_variables


class Checked(NamedTuple):
    """A graph to check.

    Attributes:
        file: what was read.
        directory: of the SavedModel that it is in; None for none.
        message: GraphDef or MetaGraphDef.
        graph: its nodes.
        outputs: the tensors that the model shall give.
        training: whether it is a training graph that fqrewrite made; then it stays as it was read.
    """

    file: Path
    directory: Path | None
    message: Any
    graph: Graph
    outputs: tuple[Value, ...]
    training: bool = False


class Conditions(NamedTuple):
    """How to convert and compare.

    Attributes:
        data: .npz file of inputs; None for random ones.
        samples: how many at most.
        seed: of random inputs.
        timeout: seconds.
    """

    data: Path | None = None
    samples: int = 8
    seed: int = 0
    timeout: float = 600.0


def open_checked(path: Path, choice: Choice = DEFAULT, outputs: list[str] | None = None) -> Checked:
    """Opens a graph, and finds its outputs: those named, a signature's, those of its provenance, or the only result.

    Args:
        path: a GraphDef or MetaGraphDef file, or a SavedModel directory.
        choice: of a SavedModel.
        outputs: names; None to find them.

    Raises:
        InputError: it cannot be read: as `model.container.load`; values of variables of a SavedModel, as
            `source.restore.Restorer`.
        ConfigError: as `model.container.load` and `plans.outputs.find_outputs`.
        Refusal: as `source.provenance.find_provenance` and `transform.freeze.freeze`.
    """
    model, where = open_model(path, choice), path_text(path)
    provenance = find_provenance(model.graph_def, where)
    training = provenance is not None and provenance[0].mode == "train"
    names = outputs or _of_signatures(model)
    if training and model.saved_model and model.saved_model.has_objects:
        graph = Graph(model.graph_def)
        return Checked(model.path, directory_of(model), model.message, graph, named_outputs(graph, names), training)
    keys = VariableKeys() if training else variable_keys(model)
    flatten_model(model, names)
    graph = Graph(model.graph_def)
    found = (named_outputs(graph, names) if names else _of_provenance(graph, where)) or find_outputs(graph, ())
    if not training:
        _freeze(model, graph, keys, found)
    return Checked(model.path, directory_of(model), model.message, graph, found, training)


def _freeze(model: Model, graph: Graph, keys: VariableKeys, outputs: Sequence[Value]) -> None:
    """Makes constants of a SavedModel's variables, as the converter does, and leaves what the outputs need.

    Without values they stay, and are found as such.
    """
    variables = needed_variables(graph, outputs) if model.saved_model else []
    checkpoint = find_checkpoint(model.saved_model.variables) if model.saved_model and variables else None
    if checkpoint is None:
        return
    editor = Editor(graph)
    freeze(graph, editor, Restorer(checkpoint, keys, "").read_all(variables), outputs)
    needed = ancestors(value.node for value in outputs)
    editor.remove([node for node in graph if node not in needed])


def check_model(
    checked: Checked, target: Target, path: Path, conditions: Conditions | None
) -> tuple[CheckReport, bytes | None]:
    """Checks a graph.

    Args:
        checked: the graph.
        target: what it shall become.
        path: as the user gave it, for the report.
        conditions: of a conversion; None for none.

    Returns:
        The report, and the converted model, if any.
    """
    subject = Subject(checked.graph, checked.outputs)
    static = _of_training(subject, path) if checked.training else check_subject(subject, target)
    findings, conversion, model = static.findings, None, None
    if conditions is not None and not checked.training:
        from fqrewrite.check.conversion import conversion_findings, convert

        converted = convert(checked.message, subject, static, target, **conditions._asdict())
        conversion, model = converted.conversion, converted.model
        findings += tuple(conversion_findings(conversion))
    report = CheckReport(
        tool_version=__version__,
        path=path_text(path),
        target=target.name,
        outputs=tuple(map(str, checked.outputs)),
        static=static,
        conversion=conversion,
        findings=worst_first(findings),
        passed=all(finding.severity == "warning" for finding in findings),
    )
    return report, model


def _of_training(subject: Subject, path: Path) -> Static:
    """What there is to say about a training graph: that it is none to convert."""
    finding = Finding(
        code="training-graph",
        severity="fails",
        name=path_text(path),
        op="",
        reason="this is what `fqrewrite train` made, to be trained and not to be converted",
        remedy="train it, and make the graph to convert with `fqrewrite eval`",
    )
    return Static(
        prediction="fails",
        findings=(finding,),
        operations=len(subject.nodes),
        float_operations=(),
        quantizers=len(subject.fake_quants),
    )


def _of_signatures(model: Model) -> list[str]:
    """The outputs of the chosen signatures of a SavedModel, or of the serving signature of another graph."""
    definitions = getattr(model.message, "signature_def", {})
    chosen = model.saved_model.signatures if model.saved_model else (SERVING_DEFAULT,)
    return [name for key in chosen if key in definitions for name in output_names(definitions[key])]


def _of_provenance(graph: Graph, where: str) -> tuple[Value, ...]:
    """The outputs of a graph that `fqrewrite eval` made, in their quantized form where they have one."""
    found = find_provenance(graph.graph_def, where)
    if found is None:
        return ()
    plan, scope = found[0].plan, found[1]
    behind = {item.tensor: f"{item.scope}/{fake_quant_op(item.scheme)}" for item in plan.quantizers}
    candidates = ((f"{scope}{behind.get(tensor, tensor)}", f"{scope}{tensor}") for tensor in plan.outputs)
    present = (next((name for name in pair if name.partition(":")[0] in graph), None) for pair in candidates)
    return named_outputs(graph, (name for name in present if name is not None))
