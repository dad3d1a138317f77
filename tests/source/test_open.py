"""What a command is given to read, where that is a SavedModel."""

from __future__ import annotations

from pathlib import Path

import pytest
from saved_models import meta_graph, write_saved_model

from fqrewrite.errors import ConfigError, InputError
from fqrewrite.source.open import DEFAULT, Choice, choices, open_checkpoint, open_source

VARIABLE = "v = VariableV2 {shape: [2]}\ny = Neg(v)"
CONSTANT = "v = Const {value: [1.0, 2.0]}\ny = Neg(v)"


def _with_variables(directory: Path) -> Path:
    (directory / "variables").mkdir()
    for name in ("variables.index", "variables.data-00000-of-00001"):
        (directory / "variables" / name).write_bytes(b"")
    return directory


def test_variables_belong_to_a_graph_that_has_some(tmp_path: Path) -> None:
    source = open_source(_with_variables(write_saved_model(tmp_path / "v", meta_graph(VARIABLE, "serve"))))
    assert source.checkpoint is not None and source.has_own_values
    assert source.checkpoint.prefix == str(tmp_path / "v" / "variables" / "variables")
    assert source.kind == "saved_model" and source.directory == tmp_path / "v"
    source = open_source(_with_variables(write_saved_model(tmp_path / "c", meta_graph(CONSTANT, "serve"))))
    assert source.checkpoint is None and source.kind == "saved_model" and not source.has_own_values


def test_variables_that_are_missing(tmp_path: Path) -> None:
    directory = write_saved_model(tmp_path / "v", meta_graph(VARIABLE, "serve"))
    with pytest.raises(InputError) as caught:
        open_source(directory)
    assert caught.value.code == "saved-model-variables-missing"
    assert open_source(directory, needs_values=False).checkpoint is None


def test_a_checkpoint_of_a_saved_model(tmp_path: Path) -> None:
    """As a training writes it that was given no graph to save."""
    directory = write_saved_model(tmp_path / "v", meta_graph(VARIABLE, "serve"))
    for name in ("ckpt.index", "ckpt.data-00000-of-00001"):
        (tmp_path / name).write_bytes(b"")
    source = open_source(tmp_path / "ckpt", directory)
    assert source.kind == "checkpoint" and not source.has_own_values and source.directory == directory


def test_a_saved_model_as_a_checkpoint(tmp_path: Path) -> None:
    directory = _with_variables(write_saved_model(tmp_path / "v", meta_graph(VARIABLE, "serve")))
    checkpoint, model = open_checkpoint(directory)
    assert checkpoint.prefix.startswith(str(directory)) and model is not None and model.saved_model is not None
    with pytest.raises(InputError) as caught:
        open_checkpoint(write_saved_model(tmp_path / "c", meta_graph(CONSTANT, "serve")))
    assert caught.value.code == "checkpoint-not-found"


def test_a_choice_is_for_those_that_are_saved_models(tmp_path: Path) -> None:
    directory = write_saved_model(tmp_path / "v", meta_graph(VARIABLE, "serve"))
    choice, file = Choice(("serve",), ("a",)), tmp_path / "model.pb"
    assert choices([directory, file], choice) == [choice, DEFAULT]
    assert choices([file, directory], Choice(("serve",), None)) == [Choice(None, None), Choice(("serve",), None)]
    assert choices([file, file], DEFAULT) == [DEFAULT, DEFAULT]
    for given in (choice, Choice(("serve",), None), Choice(None, ("a",))):
        with pytest.raises(ConfigError) as caught:
            choices([file, file], given)
        assert caught.value.code == "saved-model-option"
