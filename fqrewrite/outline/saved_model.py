"""A trainable SavedModel of TensorFlow 2 out of the one that was read and its rewritten graph."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fqrewrite.errors import Refusal
from fqrewrite.ir.block import BlockVariable
from fqrewrite.ir.functions import functions_of
from fqrewrite.ir.graph import Graph
from fqrewrite.model.checkpoint import Checkpoint
from fqrewrite.outline.checkpoint import extended_checkpoint, extended_object_graph
from fqrewrite.outline.compact import drop_unused
from fqrewrite.outline.core import Sources, name_arguments, write_core
from fqrewrite.outline.equivalent import Equivalence, Same
from fqrewrite.outline.functions import (
    CALL,
    add_call,
    make_generic,
    redirect,
    root_functions,
    set_default_signature,
    set_signature_function,
    simple_inputs,
)
from fqrewrite.outline.records import (
    GENERIC_OBJECT,
    Core,
    SignatureCall,
    argument_name,
    function_name,
    set_call,
    signature_call,
)
from fqrewrite.outline.saver import extend_saver, object_graph_constants
from fqrewrite.outline.variables import NewVariable, complete_lists, free_home, new_variables, track
from fqrewrite.outline.wrapper import wrap
from fqrewrite.plans.items import Note

_DEFAULT = "serving_default"


class Outlined(NamedTuple):
    """A rewritten SavedModel.

    Attributes:
        meta_graph: MetaGraphDef, in place of the one that was rewritten.
        variables: the new variables.
        notes: what the user should know.
    """

    meta_graph: Any
    variables: tuple[NewVariable, ...]
    notes: tuple[Note, ...]

    def checkpoint(self, source: Checkpoint, prefix: str | os.PathLike[str]) -> list[tuple[Path, bytes]]:
        """The files of its variables: those of the model as it was, and the new ones.

        Args:
            source: the variables of the model as it was.
            prefix: of the files.

        Raises:
            ConfigError, InputError: see `checkpoint.extended_checkpoint`.
        """
        return extended_checkpoint(source, prefix, self.meta_graph.object_graph_def, self.variables)


def capture_names(
    meta_graph: Any, flat: Graph, signatures: Sequence[str], variables: Sequence[BlockVariable]
) -> dict[str, str]:
    """What the arguments of the functions of a trainable SavedModel will stand for: nodes of the flat graph, by name.

    For the provenance, which is written before the functions are. It makes no difference to the names.

    Args:
        meta_graph, flat, signatures, variables: as for `outline_saved_model`.

    Raises:
        Refusal: see `records.signature_call`.
    """
    calls = [signature_call(meta_graph, key) for key in signatures]
    names = name_arguments(flat, calls, [variable.node for variable in variables])
    return {argument: node for node, argument in names.items()}


def outline_saved_model(
    meta_graph: Any,
    flat: Graph,
    signatures: Sequence[str],
    variables: Sequence[BlockVariable],
    trainable: Collection[str] = (),
) -> Outlined:
    """Puts a rewritten graph in the place of a SavedModel's signatures.

    Args:
        meta_graph: MetaGraphDef with an object graph, as it was read; it stays as it is.
        flat: its main graph with these signatures inlined, rewritten for training and marked.
        signatures: their keys, at least one.
        variables: that the rewrite made.
        trainable: nodes of those among them that optimizers change.

    Raises:
        Refusal: `signature-not-a-call`.
        GraphError: `variable-without-value`; see `body.BodyWriter.write`.
    """
    return _Outlining(meta_graph, flat, signatures).run(variables, trainable)


class _Outlining:
    def __init__(self, meta_graph: Any, flat: Graph, signatures: Sequence[str]) -> None:
        self.source = meta_graph
        self.flat = flat
        self.calls = [signature_call(meta_graph, key) for key in signatures]
        self.meta_graph = type(meta_graph)()
        self.meta_graph.CopyFrom(meta_graph)
        self.objects = self.meta_graph.object_graph_def
        self.library = self.meta_graph.graph_def.library
        self.notes: list[Note] = []
        known = functions_of(meta_graph.graph_def)
        self.library.function.extend(
            function for name, function in functions_of(flat.graph_def).items() if name not in known
        )
        self.taken = set(functions_of(self.meta_graph.graph_def))

    def run(self, variables: Sequence[BlockVariable], trainable: Collection[str]) -> Outlined:
        home = free_home(self.objects)
        new = new_variables(self.flat, variables, trainable, home)
        ids = track(self.objects, home, new)
        complete_lists(self.objects, list(ids.values()))
        self.meta_graph.graph_def.node.extend(variable.node.proto for variable in new)
        cores = self._write_cores(ids)
        self._write_signatures(cores)
        equivalence = Equivalence(self.source.object_graph_def, functions_of(self.source.graph_def))
        others = self._join_signatures(cores, equivalence)
        self._redirect_functions(cores, equivalence, others)
        first = next((core for core in cores if core.call.key == _DEFAULT), cores[0])
        self._add_call(first)
        set_default_signature(self.objects, first.call.key)
        if make_generic(self.objects, GENERIC_OBJECT):
            text = "tf.saved_model.load gives the rewritten model; Keras does not load it (it would make a float one)"
            self.notes.append(Note(code="keras-not-revived", text=text))
        if new and not extend_saver(self.meta_graph, new):
            self.meta_graph.ClearField("saver_def")
            text = "its saver is not of the form that TensorFlow 2 writes; TensorFlow 2 restores the variables without"
            self.notes.append(Note(code="saver-dropped", text=text))
        drop_unused(self.meta_graph)
        for tensor in object_graph_constants(self.meta_graph):
            tensor.string_val[:] = [extended_object_graph(tensor.string_val[0], self.objects, new)]
        return Outlined(self.meta_graph, tuple(new), tuple(self.notes))

    def _write_cores(self, ids: Mapping[str, int]) -> list[Core]:
        names = name_arguments(self.flat, self.calls, ids)
        object_ids = {
            tensor.partition(":")[0]: number for call in self.calls for tensor, number in call.captures.items()
        }
        sources = Sources(names, {**object_ids, **ids})
        cores, lost = [], list[str]()
        for call in self.calls:
            core, without = write_core(self.meta_graph, self.flat, call, sources, self.taken)
            cores.append(core)
            lost += without
        if lost:
            text = f"TensorFlow's own gradient is used for {', '.join(lost)}"
            self.notes.append(Note(code="custom-gradient-lost", text=text))
        return cores

    def _write_signatures(self, cores: Sequence[Core]) -> None:
        for core in cores:
            positions = range(len(core.inputs))
            self._write_signature(core.call, core, Same(tuple(positions), tuple(range(len(core.call.output_types)))))

    def _write_signature(self, call: SignatureCall, core: Core, same: Same) -> None:
        """Lets a signature run a core."""
        name = self._wrap(core, call.function, same, "signature")
        set_signature_function(self.objects, call.key, name)
        (node,) = (node for node in self.meta_graph.graph_def.node if node.name == call.call)
        controls = [text for text in node.input if text.startswith("^")]
        del node.input[:]
        node.input.extend([*call.inputs, *(capture.tensor for capture in core.captures), *controls])
        types = [*(call.types[text] for text in call.inputs), *(capture.argument.dtype for capture in core.captures)]
        set_call(node, name, types, call.output_types)

    def _join_signatures(self, cores: Sequence[Core], equivalence: Equivalence) -> list[str]:
        """Lets other signatures that compute the same run the cores, too; returns the functions of those that stay."""
        stay = []
        for call in self._other_signatures():
            core, same = self._computed_by(call.function, cores, equivalence)
            if core is None or same is None:
                stay.append(call.function)
            else:
                self._write_signature(call, core, same)
        return stay

    def _redirect_functions(self, cores: Sequence[Core], equivalence: Equivalence, others: Sequence[str]) -> None:
        """Lets functions of the root that compute a signature run its core, and removes float variants of it.

        Args:
            cores: the rewritten signatures.
            equivalence: of functions of the model as it was.
            others: functions of the signatures that stay as they are.
        """
        renamed, removed = dict[str, str](), set[str]()
        for function in root_functions(self.source.object_graph_def):
            gone = []
            for concrete in function.concrete:
                if concrete in renamed:
                    continue
                core, same = self._computed_by(concrete, cores, equivalence)
                if core is not None and same is not None:
                    renamed[concrete] = self._wrap(core, concrete, same, argument_name(function.name).strip("_"))
                elif self._is_variant(concrete, cores) and not any(
                    equivalence.same(concrete, other) for other in others
                ):
                    gone.append(concrete)
            removed.update(gone)
            if gone:
                which = "" if len(gone) == len(function.concrete) else f", {len(gone)} of {len(function.concrete)} ways"
                self.notes.append(Note(code="float-function-removed", text=f"{function.name}{which}"))
        redirect(self.objects, renamed, removed)

    def _computed_by(
        self, concrete: str, cores: Sequence[Core], equivalence: Equivalence
    ) -> tuple[Core | None, Same | None]:
        for core in cores:
            same = equivalence.same(concrete, core.call.function)
            if same is not None:
                return core, same
        return None, None

    def _is_variant(self, concrete: str, cores: Sequence[Core]) -> bool:
        """Whether a function shares variables with a rewritten signature: another way through the same layers."""
        bound = set(self.source.object_graph_def.concrete_functions[concrete].bound_inputs)
        shared = {number for core in cores for number in core.call.captures.values()} & bound
        return any(self.source.object_graph_def.nodes[number].HasField("variable") for number in shared)

    def _other_signatures(self) -> list[SignatureCall]:
        """The signatures that were not chosen, but for those that are no calls."""
        chosen, found = {call.key for call in self.calls}, list[SignatureCall]()
        for key in sorted(self.source.signature_def):
            try:
                found += [signature_call(self.source, key)] if key not in chosen else []
            except Refusal:  # initialisation, and what else TensorFlow keeps there
                continue
        return found

    def _wrap(self, core: Core, concrete: str, same: Same, stem: str) -> str:
        """Adds a function that takes the place of a concrete function; returns its name."""
        model = functions_of(self.source.graph_def)[concrete]
        name = function_name(f"{core.name.removeprefix('__inference_')}_{stem}", self.taken)
        call = next(node for node in self.source.graph_def.node if node.name == core.call.call)
        self.library.function.append(wrap(core, name, model, same.inputs, same.outputs, call))
        saved = self.objects.concrete_functions[name]
        saved.CopyFrom(self.source.object_graph_def.concrete_functions[concrete])
        saved.bound_inputs[:] = [capture.object_id for capture in core.captures]
        aliases = self.meta_graph.meta_info_def.function_aliases
        if concrete in aliases:
            aliases[name] = aliases[concrete]
        return name

    def _add_call(self, core: Core) -> None:
        """Makes the root object callable when it is not, or not any more."""
        if any(child.local_name == CALL for child in self.objects.nodes[0].children):
            return
        inputs = simple_inputs(self.objects, core.call.function)
        if inputs is None:
            return
        model = functions_of(self.source.graph_def)[core.call.function]
        order = tuple(range(len(core.inputs)))
        name = function_name(f"{core.name.removeprefix('__inference_')}_call", self.taken)
        call = next(node for node in self.source.graph_def.node if node.name == core.call.call)
        outputs = tuple(range(len(core.call.output_types)))
        self.library.function.append(wrap(core, name, model, order, outputs, call))
        add_call(self.objects, core, name, inputs)
