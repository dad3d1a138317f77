"""Plans as JSON: readable, diffable, and applied later to the very file they were made from."""

from __future__ import annotations

import msgspec

from fqrewrite.errors import ConfigError
from fqrewrite.plan.items import SCHEMA_VERSION, Plan


def plan_to_json(plan: Plan) -> bytes:
    """The plan as indented JSON, one newline at the end; the same plan gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(plan, order="deterministic"), indent=2) + b"\n"


def plan_from_json(data: bytes, where: str) -> Plan:
    """Reads a plan.

    Args:
        data: JSON text.
        where: the file's name, for messages.

    Raises:
        ConfigError: `plan-unreadable`, or `plan-mismatch` for a plan of another format version.
    """
    try:
        plan = msgspec.json.decode(data, type=Plan)
    except msgspec.DecodeError as error:
        raise ConfigError("plan-unreadable", f"this is no plan: {error}", where=where) from None
    if plan.schema_version != SCHEMA_VERSION:
        what = f"the plan has format version {plan.schema_version}, this fqrewrite applies version {SCHEMA_VERSION}"
        raise ConfigError("plan-mismatch", what, where=where)
    return plan
