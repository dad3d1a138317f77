"""What `fqrewrite show` says about how a graph was made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fqrewrite.report.escape import printable
from fqrewrite.report.words import count, literal

if TYPE_CHECKING:
    from fqrewrite.source.provenance import Provenance


def provenance_text(provenance: Provenance, scope: str) -> str:
    """How a graph was made, one fact a line, then each quantizer and fold of the plan."""
    plan, preparation = provenance.plan, provenance.plan.preparation
    facts = [
        ("made by", f"fqrewrite {provenance.tool_version}"),
        ("mode", provenance.mode),
        ("source", f"sha256 {plan.source_sha256}"),
        ("preset", str(plan.config.get("preset"))),
        ("outputs", ", ".join(plan.outputs)),
        ("plan", f"{count(len(plan.folds), 'fold')}, {count(len(plan.quantizers), 'quantizer')}"),
    ]
    if scope:
        facts.append(("imported under", scope))
    facts += [("bound", f"{name} = {literal(value)}") for name, value in preparation.bound.items()]
    facts += [("phase", f"{name}, {literal(value)} in training") for name, value in preparation.phases.items()]
    if preparation.strip_training:
        facts.append(("stripped", count(sum(provenance.changes.removed.values()), "node")))
    if preparation.thaw:
        facts.append(("thawed", count(len(provenance.changes.thawed), "constant")))
    lines = [f"{label:<15}{text}" for label, text in facts]
    lines += [f"fold           {item.layer}  <-  {item.norm}" for item in plan.folds]
    lines += [f"fake quant     {item.scope}  on  {item.tensor}" for item in plan.quantizers]
    return "".join(f"{printable(line)}\n" for line in lines)


def provenance_json(provenance: Provenance, scope: str) -> bytes:
    """The same with the whole plan, as JSON; without the source's nodes."""
    content = msgspec.to_builtins(msgspec.structs.replace(provenance, originals=b""))
    del content["originals"]
    return msgspec.json.format(msgspec.json.encode({**content, "scope": scope}), indent=2) + b"\n"
