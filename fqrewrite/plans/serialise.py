"""Plans as JSON: readable, diffable, and applied later to the very file they were made from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec

from fqrewrite.errors import ConfigError, path_text
from fqrewrite.plans.items import SCHEMA_VERSION, Plan

_DIGEST = "digest"


def plan_to_json(plan: Plan) -> bytes:
    """The plan as indented JSON with its own digest, a newline at the end; the same plan gives the same bytes."""
    content = msgspec.to_builtins(plan)
    sealed = {**content, _DIGEST: _digest(content)}
    return msgspec.json.format(msgspec.json.encode(sealed), indent=2) + b"\n"


def plan_from_json(data: bytes, where: str) -> Plan:
    """Reads a plan.

    Args:
        data: JSON text.
        where: the file's name, for messages.

    Raises:
        ConfigError: `plan-unreadable` for what is no plan or is not as `plan_to_json` wrote it, or `plan-mismatch`
            for a plan of another format version.
    """
    try:
        plan = msgspec.json.decode(data, type=Plan)
        content = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError("plan-unreadable", f"this is no plan: {error}", where=where) from None
    if plan.schema_version != SCHEMA_VERSION:
        what = f"the plan has format version {plan.schema_version}, this fqrewrite applies version {SCHEMA_VERSION}"
        raise ConfigError("plan-mismatch", what, where=where)
    # An edited plan could fit the graph nowhere, or contradict itself, in more ways than can be looked for.
    if content.pop(_DIGEST, None) != _digest(content):
        raise ConfigError("plan-unreadable", "the plan was changed after it was made", where=where)
    return plan


def read_plan(file: Path) -> Plan:
    """Reads a plan's file.

    Raises:
        ConfigError: `plan-unreadable`, `plan-mismatch`: see `plan_from_json`.
    """
    where = path_text(file)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise ConfigError("plan-unreadable", f"the plan cannot be read: {error.strerror}", where=where) from None
    return plan_from_json(data, where)


def check_made_of(plan: Plan, sha256: str, model: Path, where: str | None) -> None:
    """Refuses a plan that was made of another model.

    Args:
        plan: any.
        sha256: of the model.
        model: its file.
        where: the plan's file, for messages; None for a plan from nowhere.

    Raises:
        ConfigError: `plan-mismatch`.
    """
    if plan.source_sha256 != sha256:
        what = f"the plan was made from another file than {path_text(model)}"
        raise ConfigError("plan-mismatch", what, where=where)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()
