"""What a model's objects call: signatures and functions that are to run a rewritten graph."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, NamedTuple

from fqrewrite.outline.records import Core, StructuredValue

CALL = "__call__"
_KERAS = "_tf_keras_"
_DEFAULT_SIGNATURE = "_default_save_signature"


class RootFunction(NamedTuple):
    """A function that the root object has.

    Attributes:
        name: the root's attribute.
        node: object id.
        concrete: names of its concrete functions, one for each way to call it.
    """

    name: str
    node: int
    concrete: tuple[str, ...]


def root_functions(objects: Any) -> list[RootFunction]:
    """The functions of the root object, each once, in the order of its attributes; signatures are none of them."""
    found: dict[int, RootFunction] = {}
    for child in objects.nodes[0].children:
        node = objects.nodes[child.node_id]
        if node.HasField("function"):
            concrete = tuple(node.function.concrete_functions)
        elif node.HasField("bare_concrete_function"):
            concrete = (str(node.bare_concrete_function.concrete_function_name),)
        else:
            continue
        found.setdefault(child.node_id, RootFunction(child.local_name, child.node_id, concrete))
    return list(found.values())


def set_default_signature(objects: Any, key: str) -> None:
    """Lets a signature be the one that saving a loaded model gives again, as Keras does.

    TensorFlow would take the root's only function, if there is but one.
    """
    names = {child.local_name for child in objects.nodes[0].children}
    node = next((entry.node_id for entry in _signatures(objects) if entry.local_name == key), None)
    if node is not None and _DEFAULT_SIGNATURE not in names:
        objects.nodes[0].children.add(node_id=node, local_name=_DEFAULT_SIGNATURE)


def set_signature_function(objects: Any, key: str, function: str) -> None:
    """Lets a signature call another function."""
    for entry in _signatures(objects):
        if entry.local_name == key:
            objects.nodes[entry.node_id].bare_concrete_function.concrete_function_name = function


def redirect(objects: Any, renamed: Mapping[str, str], removed: Collection[str]) -> None:
    """Lets objects call other functions, and takes functions out.

    Args:
        objects: SavedObjectGraph.
        renamed: new names of concrete functions.
        removed: concrete functions that nothing shall call any more. A function that has no other goes.
    """
    gone = set[int]()
    for number, node in enumerate(objects.nodes):
        if node.HasField("function"):
            before = list(node.function.concrete_functions)
            after = [renamed.get(name, name) for name in before if name not in removed]
            node.function.concrete_functions[:] = after
            if before and not after:
                gone.add(number)
        elif node.HasField("bare_concrete_function"):
            name = node.bare_concrete_function.concrete_function_name
            node.bare_concrete_function.concrete_function_name = renamed.get(name, name)
            if name in removed:
                gone.add(number)
    for node in objects.nodes:
        for references in (node.children, node.dependencies):
            kept = [reference for reference in references if reference.node_id not in gone]
            if len(kept) < len(references):
                copies = [(reference.node_id, reference.local_name) for reference in kept]
                del references[:]
                for number, name in copies:
                    references.add(node_id=number, local_name=name)


def make_generic(objects: Any, generic: str) -> int:
    """Takes from Keras's objects what Keras would make layers of again; returns how many there were."""
    found = 0
    for node in objects.nodes:
        if node.HasField("user_object") and node.user_object.identifier.startswith(_KERAS):
            node.user_object.identifier = generic
            node.user_object.metadata = ""
            found += 1
    return found


def simple_inputs(objects: Any, signature: str) -> list[Any] | None:
    """TensorSpecProtos of a signature's inputs, in the order of its arguments; None if some are no plain tensors."""
    structure = objects.concrete_functions[signature].canonicalized_input_signature.tuple_value.values
    if len(structure) != 2 or structure[0].tuple_value.values:
        return None
    fields = structure[1].dict_value.fields
    values = [fields[key] for key in sorted(fields)]
    if not values or not all(value.HasField("tensor_spec_value") for value in values):
        return None
    return [value.tensor_spec_value for value in values]


def add_call(objects: Any, core: Core, function: str, inputs: Iterable[Any]) -> None:
    """Lets the root object be called with the inputs of a signature, one after the other.

    It returns what the signature returns: the tensor when it is one, else a dictionary.

    Args:
        objects: SavedObjectGraph.
        core: the rewritten signature.
        function: name of the FunctionDef.
        inputs: TensorSpecProtos.
    """
    listed = StructuredValue()
    listed.tuple_value.SetInParent()
    for spec in inputs:
        listed.tuple_value.values.add().tensor_spec_value.CopyFrom(spec)
    old = objects.concrete_functions[core.call.function]
    saved = objects.concrete_functions[function]
    saved.bound_inputs.extend(capture.object_id for capture in core.captures)
    arguments = saved.canonicalized_input_signature.tuple_value
    arguments.values.add().CopyFrom(listed)
    arguments.values.add().dict_value.SetInParent()
    fields = old.output_signature.dict_value.fields
    if len(fields) == 1:
        (only,) = fields.values()
        saved.output_signature.CopyFrom(only)
    else:
        saved.output_signature.CopyFrom(old.output_signature)

    bare = len(objects.nodes)
    traced = objects.nodes.add().bare_concrete_function
    node = objects.nodes.add()
    for references in (node.children, node.dependencies):
        references.add(node_id=bare, local_name="trace_0")
    node.function.concrete_functions.append(function)
    names = [str(spec.name) for spec in _specs(listed)]
    _fill_spec(node.function.function_spec, names, listed)
    traced.concrete_function_name = function
    traced.argument_keywords.extend(names)
    traced.allowed_positional_arguments = len(names)
    _fill_spec(traced.function_spec, names, listed)
    objects.nodes[0].children.add(node_id=bare + 1, local_name=CALL)


def _signatures(objects: Any) -> list[Any]:
    """References to the functions of the signatures, by their keys."""
    maps = [child.node_id for child in objects.nodes[0].children if child.local_name == "signatures"]
    return [entry for number in maps for entry in objects.nodes[number].children]


def _specs(listed: Any) -> list[Any]:
    """The TensorSpecProtos in a tuple."""
    return [value.tensor_spec_value for value in listed.tuple_value.values]


def _fill_spec(spec: Any, names: list[str], inputs: Any) -> None:
    """Describes a Python function of these arguments, as `inspect.FullArgSpec` does."""
    full = spec.fullargspec.named_tuple_value
    full.name = "FullArgSpec"
    for key in ("args", "varargs", "varkw", "defaults", "kwonlyargs", "kwonlydefaults", "annotations"):
        value = full.values.add(key=key).value
        if key == "args":
            value.list_value.SetInParent()
            for name in names:
                value.list_value.values.add().string_value = name
        elif key == "kwonlyargs":
            value.list_value.SetInParent()
        elif key == "annotations":
            value.dict_value.SetInParent()
        else:
            value.none_value.SetInParent()
    spec.input_signature.CopyFrom(inputs)
