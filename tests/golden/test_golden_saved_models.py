"""The recorded graphs as SavedModels: the plans are those that their `.meta` files give."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest

from fqrewrite.config.records import Config
from fqrewrite.config.resolve import resolve
from fqrewrite.errors import FqrewriteError
from fqrewrite.model.container import load
from fqrewrite.plans.items import Plan
from fqrewrite.proto import MetaGraphDef, SavedModel
from fqrewrite.verbs.rewrite import plan_model, prepare_model

DATA = sorted(Path(__file__).with_name("data").glob("*.npz"))


def _plan(path: Path, config: Config) -> Plan | str:
    """The plan, without what tells the file; or the code of the refusal."""
    model = load(path)
    try:
        return msgspec.structs.replace(plan_model(model, config, prepare_model(model, config)), source_sha256="")
    except FqrewriteError as error:
        return error.code


@pytest.mark.heavy
@pytest.mark.parametrize("path", DATA, ids=lambda path: path.stem)
def test_the_plan_is_the_same(path: Path, tmp_path: Path) -> None:
    with np.load(path) as members:
        before = members["before.meta"].tobytes()
        about = json.loads(members["about"].tobytes())
    (tmp_path / "before.meta").write_bytes(before)
    (tmp_path / "config.yaml").write_text(about["config"], encoding="utf-8")
    saved = SavedModel(saved_model_schema_version=1, meta_graphs=[MetaGraphDef.FromString(before)])
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(saved.SerializeToString())
    config = resolve(tmp_path / "config.yaml")
    wanted = _plan(tmp_path / "before.meta", config)
    assert _plan(tmp_path / "saved", config) == wanted
    assert isinstance(wanted, Plan) and wanted.quantizers

    # With a signature, its outputs are those of the plan; what is rewritten stays the same.
    for number, name in enumerate(wanted.outputs):
        saved.meta_graphs[0].signature_def["serving_default"].outputs[f"output_{number}"].name = name
    (tmp_path / "saved" / "saved_model.pb").write_bytes(saved.SerializeToString())
    assert _plan(tmp_path / "saved", config) == wanted
