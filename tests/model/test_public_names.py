"""Every name in a MetaGraphDef that points into its graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf import text_format

from fqrewrite.model import container
from fqrewrite.model.public_names import public_references
from fqrewrite.proto import MetaGraphDef, SaverDef, VariableDef

TEXT = """
graph_def { node { name: "x" op: "Placeholder" } }
signature_def {
  key: "serving_default"
  value {
    inputs { key: "image" value { name: "x:0" } }
    inputs {
      key: "sparse"
      value {
        coo_sparse { values_tensor_name: "v:0" indices_tensor_name: "i:0" dense_shape_tensor_name: "s:0" }
      }
    }
    outputs {
      key: "ragged"
      value { composite_tensor { components { name: "r:0" } components { name: "r:1" } } }
    }
    outputs { key: "nothing" value { } }
  }
}
saver_def {
  filename_tensor_name: "save/Const:0" save_tensor_name: "save/id:0" restore_op_name: "save/restore_all"
}
collection_def { key: "update_ops" value { node_list { value: "bn/update" value: "x:0" } } }
collection_def { key: "while_context" value { bytes_list { value: "opaque" } } }
collection_def { key: "flag" value { int64_list { value: 1 } } }
asset_file_def { filename: "vocabulary" tensor_info { name: "asset:0" } }
"""


def _references(tmp_path: Path, message: Any) -> dict[str, list[str]]:
    path = tmp_path / "model"
    path.write_bytes(message.SerializeToString())
    return public_references(container.load(path))


def test_each_name_with_its_places(tmp_path: Path) -> None:
    meta_graph = text_format.Parse(TEXT, MetaGraphDef())
    variable = VariableDef(
        variable_name="w:0",
        initializer_name="w/Assign",
        snapshot_name="w/read:0",
        initial_value_name="w/zeros:0",
    ).SerializeToString()
    for key in ("variables", "trainable_variables"):
        # The second value is no VariableDef: such files exist, and it names nothing.
        meta_graph.collection_def[key].bytes_list.value.extend([variable, b"\xff\xff"])
    saver = SaverDef(restore_op_name="save_1/restore_all").SerializeToString()
    meta_graph.collection_def["savers"].bytes_list.value.append(saver)

    def both(field: str) -> list[str]:
        return [f"collection_def[{key}].{field}" for key in ("trainable_variables", "variables")]

    assert _references(tmp_path, meta_graph) == {
        "x:0": ["signature_def[serving_default].inputs[image]", "collection_def[update_ops]"],
        "v:0": ["signature_def[serving_default].inputs[sparse]"],
        "i:0": ["signature_def[serving_default].inputs[sparse]"],
        "s:0": ["signature_def[serving_default].inputs[sparse]"],
        "r:0": ["signature_def[serving_default].outputs[ragged]"],
        "r:1": ["signature_def[serving_default].outputs[ragged]"],
        "save/Const:0": ["saver_def.filename_tensor_name"],
        "save/id:0": ["saver_def.save_tensor_name"],
        "save/restore_all": ["saver_def.restore_op_name"],
        "save_1/restore_all": ["collection_def[savers].restore_op_name"],
        "bn/update": ["collection_def[update_ops]"],
        "asset:0": ["asset_file_def[vocabulary]"],
        "w:0": both("variable_name"),
        "w/Assign": both("initializer_name"),
        "w/read:0": both("snapshot_name"),
        "w/zeros:0": both("initial_value_name"),
    }


def test_reading_names_edits_nothing_and_a_graph_def_has_none(tmp_path: Path, small_graph: Any) -> None:
    assert _references(tmp_path, small_graph) == {}
    path = tmp_path / "model"
    path.write_bytes(MetaGraphDef(graph_def=small_graph).SerializeToString())
    model = container.load(path)
    assert public_references(model) == {}
    assert model.message == MetaGraphDef(graph_def=small_graph)
    assert not model.message.HasField("saver_def")
