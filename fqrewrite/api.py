"""The verbs of the command line for Python programs: load, plan, train, evaluate, save.

Nothing is changed in place: what is loaded stays as it was, and each verb returns something new. Settings are those of
the command line: `config` is the path of a config file, or its content as a mapping, and any of the flags can be given
beside it as keywords: `preset`, `outputs` (one or a list), `scope`, `quant_delay`, `freeze_bn_delay`, `weight_bits`,
`activation_bits`, `symmetric`, and `bindings`, a list of ``NAME=VALUE``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from fqrewrite.config.records import Config
from fqrewrite.config.resolve import resolve
from fqrewrite.errors import ConfigError, path_text
from fqrewrite.model.atomic import check_distinct
from fqrewrite.model.container import to_bytes
from fqrewrite.plans.empty import refuse_empty
from fqrewrite.plans.items import Plan
from fqrewrite.plans.serialise import check_made_of, plan_to_json, read_plan
from fqrewrite.report.build import build_report
from fqrewrite.report.records import Report
from fqrewrite.report.render import to_json
from fqrewrite.source.open import Choice, Source, open_source, saved_variables
from fqrewrite.verbs import serve, write_train
from fqrewrite.verbs.evaluate import Evaluated
from fqrewrite.verbs.rewrite import plan_model, prepare_model

FilePath: TypeAlias = "str | os.PathLike[str]"
Settings: TypeAlias = "FilePath | Mapping[str, object]"


class Planned(msgspec.Struct, frozen=True):
    """What would be done to a model.

    Attributes:
        plan: every decision, to be looked at or applied.
        report: the same for people; a dry run's.
    """

    plan: Plan
    report: Report

    def to_json(self) -> bytes:
        """The plan as `fqrewrite plan -o` writes it."""
        return plan_to_json(self.plan)


class Result(msgspec.Struct, frozen=True):
    """A rewritten model, in memory.

    Attributes:
        plan: what was applied.
        report: what was done; its `output` is None.
        source: what was rewritten, with the rewritten graph in place of the one that was loaded.
        made: what `save` needs beside.
        freezes: whether variables of an eval graph became constants.
    """

    plan: Plan
    report: Report
    source: Source
    made: write_train.Trained | Evaluated
    freezes: bool = False

    def to_bytes(self, kind: Literal["graph_def", "meta_graph"] = "meta_graph") -> bytes:
        """The rewritten graph as a serialised GraphDef or MetaGraphDef; the same as in the file that `save` writes."""
        return to_bytes(self.source.model, kind, False)


def load(
    path: FilePath,
    *,
    graph: FilePath | None = None,
    tag_set: str | Sequence[str] | None = None,
    signatures: str | Sequence[str] = (),
) -> Source:
    """Opens a model: a GraphDef or MetaGraphDef file, a SavedModel, or a checkpoint with the graph beside it.

    Args:
        path: a file, a SavedModel's directory, or a checkpoint's prefix, directory or file.
        graph: the graph of a checkpoint; None for the one beside it.
        tag_set: which graph of a SavedModel: all its tags; None for the only one, or the one tagged "serve".
        signatures: of a SavedModel that are meant, one or several; none for "serving_default", or the only one.

    Raises:
        InputError, ConfigError: see `source.open.open_source`.
    """
    choice = Choice(None if tag_set is None else _texts(tag_set), _texts(signatures))
    return open_source(Path(path), None if graph is None else Path(graph), choice, needs_values=False)


def plan(
    source: Source, config: Settings | None = None, *, strip_training: bool = False, thaw: bool = False, **settings: Any
) -> Planned:
    """Decides what `train` and `evaluate` would do; TensorFlow is not imported.

    Args:
        source: what `load` returned.
        config, settings: see the head of this module.
        strip_training: whether gradients and optimizer are removed first.
        thaw: whether constant weights become variables first.

    Raises:
        Refusal, ConfigError, GraphError: as `verbs.rewrite.prepare_model` and `verbs.rewrite.plan_model`.
    """
    model, resolved = source.model.copy(), _config(config, settings)
    prepared = prepare_model(model, resolved, strip_training=strip_training, thaw_constants=thaw)
    made = plan_model(model, resolved, prepared)
    report = build_report(
        model_path=path_text(source.path),
        model_kind=model.source_kind,
        plan=made,
        mode=None,
        rewritten=None,
        output=None,
    )
    return Planned(made, report)


def train(
    source: Source,
    config: Settings | None = None,
    *,
    plan: Planned | Plan | FilePath | None = None,
    strip_training: bool = False,
    thaw: bool = False,
    allow_empty: bool = False,
    **settings: Any,
) -> Result:
    """Makes the training graph: batch norms folded, fake quantizers that learn their ranges.

    Args:
        source, config, settings, strip_training, thaw: as for `plan`.
        plan: one that was made of this model before, or the file of one; no settings can be given with it.
        allow_empty: whether to go on when nothing would be quantized.

    Raises:
        Refusal: `nothing-quantized`, `graph-has-gradients`, `already-rewritten`, `nothing-trainable`.
        ConfigError: `plan-conflict`, `plan-mismatch`, `plan-unreadable`; and InputError, GraphError as
            `verbs.write_train.train_source`.
    """
    own = source._replace(model=source.model.copy())
    model = own.model
    form = write_train.Form(source.path, "meta_graph", False, model.saved_model is not None, None)
    trained = write_train.train_source(
        model,
        _config(config, settings),
        form,
        plan=_given_plan(plan, config, settings, own),
        strip_training=strip_training,
        thaw=thaw,
        allow_empty=allow_empty,
    )
    return _result(own, trained, "train", source.model.source_kind)


def evaluate(
    source: Source,
    config: Settings | None = None,
    *,
    plan: Planned | Plan | FilePath | None = None,
    ranges: FilePath | None = None,
    freeze: bool = True,
    allow_empty: bool = False,
    **settings: Any,
) -> Result:
    """Makes the eval graph: inference only, batch norms folded, fake quantizers with the ranges that are known.

    Args:
        source, config, settings: as for `plan`. A checkpoint trained from what `train` made needs no settings.
        plan, allow_empty: as for `train`.
        ranges: JSON file of known ranges, as `fqrewrite calibrate` writes it.
        freeze: whether variables become constants, if there is a checkpoint.

    Raises:
        Refusal, ConfigError, InputError, GraphError: as `verbs.serve.evaluate_source`; `nothing-quantized`.
    """
    own = source._replace(model=source.model.copy(), checkpoint=source.checkpoint or saved_variables(source.model))
    form = serve.Form(source.path, "meta_graph", False, own.model.saved_model is not None, freeze, ())
    evaluated = serve.evaluate_source(
        own,
        _config(config, settings),
        form,
        plan=_given_plan(plan, config, settings, own),
        ranges_file=None if ranges is None else Path(ranges),
        allow_empty=allow_empty,
    )
    return _result(own, evaluated, "eval", own.kind, freezes=freeze)


def save(result: Result, path: FilePath, *, report: FilePath | None = None) -> Report:
    """Writes a rewritten model and its report, whole or not at all.

    Args:
        result: what `train` or `evaluate` returned; stays as it is.
        path: its suffix says what is written: `.pb` and `.pbtxt` a GraphDef, `.meta` and `.meta.pbtxt` a MetaGraphDef,
            none a SavedModel directory. An eval graph that kept its variables gets a checkpoint beside it.
        report: where the JSON report goes; None for ``<path>.report.json``.

    Returns:
        The report as it was written: with the name of the output in it.

    Raises:
        InputError: `output-unwritable`.
        ConfigError: `output-suffix`, `output-exists`, `output-is-input`, `output-without-variables`.
    """
    target, beside = Path(path), Path(report if report is not None else f"{os.fspath(path)}.report.json")
    source = result.source._replace(model=result.source.model.copy())
    written = msgspec.structs.replace(result.report, output=path_text(target))
    files = (beside, to_json(written))
    if isinstance(result.made, Evaluated):
        form = serve.eval_form(target, source, freezes=result.freezes)
        check_distinct(source.files, [*form.files, beside], directories=[source.directory])
        serve.write_eval(form, source, result.made, files)
    else:
        check_distinct([source.model.path], [target, beside], directories=[source.directory])
        write_train.write_train(write_train.train_form(target, source.model), source.model, result.made, files)
    return written


def _texts(given: str | Sequence[str]) -> tuple[str, ...]:
    """One text, or several."""
    return (given,) if isinstance(given, str) else tuple(given)


def _config(config: Settings | None, settings: dict[str, Any]) -> Config:
    if isinstance(settings.get("outputs"), str):
        settings = {**settings, "outputs": [settings["outputs"]]}
    return resolve(config if config is None or isinstance(config, Mapping) else Path(config), **settings)


def _given_plan(
    plan: Planned | Plan | FilePath | None, config: Settings | None, settings: dict[str, Any], source: Source
) -> Plan | None:
    if plan is None:
        return None
    said = [*(["config"] if config is not None else []), *sorted(settings)]
    if said:
        raise ConfigError("plan-conflict", f"{', '.join(said)} cannot be given with a plan")
    if isinstance(plan, Planned):
        plan = plan.plan
    if isinstance(plan, Plan):
        made, where = plan, None
    else:
        made, where = read_plan(Path(plan)), path_text(plan)
    check_made_of(made, source.model.sha256, source.model.path, where)
    return made


def _result(
    source: Source,
    made: write_train.Trained | Evaluated,
    mode: Literal["train", "eval"],
    kind: str,
    *,
    freezes: bool = False,
) -> Result:
    if made.rewritten is None:
        refuse_empty(made.plan, path_text(source.path))
    report = build_report(
        model_path=path_text(source.path),
        model_kind=kind,
        plan=made.plan,
        mode=mode,
        rewritten=made.rewritten,
        output=None,
    )
    return Result(made.plan, report, source, made, freezes)
