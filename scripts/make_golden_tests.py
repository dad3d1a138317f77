"""Writes tests/golden/data from recorded runs of tf.contrib.quantize (TensorFlow 1.15.5), one .npz a case.

    python scripts/make_golden_tests.py ../shared/golden

Of each case it keeps the graph, the config, the quantizers that the outputs depend on, and the numbers that
the tests compare with: outputs, range variables, and loss gradients. "parity" cases must agree with contrib;
in "better" cases contrib is wrong or fails, and the float function is what is compared with.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fqrewrite.ir.graph import Graph
from fqrewrite.model.container import load

TARGET = Path(__file__).resolve().parent.parent / "tests" / "golden" / "data"
FAKE_QUANTS = ("FakeQuantWithMinMaxVars", "FakeQuantWithMinMaxVarsPerChannel")

PARITY = (
    "micro/bn_forced_updates_unfused/train",
    "micro/grid_atrous_fused_plain_identity_ref/eval",
    "micro/grid_atrous_unfused_plain_relu_res/train",
    "micro/grid_conv_fused_bypass_relu6_res/eval",
    "micro/grid_conv_fused_bypass_relu6_res/train",
    "micro/grid_dw_unfused_plain_relu_ref/train",
    "micro/grid_fc_fused_plain_identity_ref/train",
    "micro/grid_fc_nobn_bypass_relu_res/train",
    "micro/opt_delay2_ref/train",
    "micro/opt_freeze0_fused_ref/train",
    "micro/opt_freeze2_unfused_ref/train",
    "micro/opt_scope_net_b/train",
    "micro/opt_symmetric_w4a8_res/train",
    "micro/post_activation_bypass_then_relu/train",
    "micro/residual_linear_chain/eval",
    "micro/sepconv_resource_raw_dw/train",
    "micro/squeeze_excite/train",
)
BETTER = (
    "micro/bn_conv_with_bias/train",
    "micro/bn_direct_conv_chain_residual/eval",
    "micro/bn_nchw/train",
    "micro/bn_nchw_bias_free_dw/eval",
    "micro/bn_unfused_resource_vars_ref_scope/train",
    "micro/dynamic_rnn/train",
    "micro/l2_regularised_fp_loss/train",
    "micro/partitioned_2/train",
    "micro/weight_norm/eval",
)


def quantizers(meta: Path, fetches: list[str]) -> dict[str, tuple[int, bool]]:
    """(num_bits, narrow_range) by name, of the fake quants that the fetched tensors depend on."""
    nodes = Graph(load(meta).graph_def).nodes
    stack, seen = [name.split(":")[0] for name in fetches], set()
    while stack:
        name = stack.pop()
        if name not in seen:
            seen.add(name)
            stack.extend(entry.lstrip("^").split(":")[0] for entry in nodes[name].proto.input)
    found = {}
    for name in sorted(seen):
        attr = nodes[name].proto.attr
        if nodes[name].op in FAKE_QUANTS:
            bits = attr["num_bits"].i if "num_bits" in attr else 8
            found[name] = (bits, "narrow_range" in attr and attr["narrow_range"].b)
    return found


def collect(case: Path, better: bool) -> dict[str, Any]:
    """What is kept of a case, by member name."""
    facts = json.loads((case / "facts.json").read_text(encoding="utf-8"))
    loss, training = facts["loss"], case.name == "train"
    about = {
        "case": f"{case.parent.name}/{case.name}",
        "mode": facts.get("rewrite_mode") or case.name,
        "config": (case / "config.yaml").read_text(encoding="utf-8"),
        "inputs": facts["inputs"],
        "outputs": facts["outputs"],
        "loss": loss,
        "updates": facts["update_ops"] if training else [],
        "variables": [variable["name"] for variable in facts["variables_before"]],
        "better": better,
        "races": bool(facts.get("nondeterministic")),
    }
    kept: dict[str, Any] = {}
    recorded = dict(np.load(case / "expected.npz")) if (case / "expected.npz").exists() else {}
    if not better:
        # Where contrib's updates race with reads, its numbers differ between runs: only names are compared.
        racing = about["races"]
        found = quantizers(case / "after.meta", [*facts["outputs"], *([loss] if loss else [])])
        about["quantizers"] = found
        scopes = {name.rpartition("/")[0] for name in found}
        for key, value in recorded.items():
            side, _, rest = key.partition("|")
            kind, _, name = rest.partition("|")[2].partition("|")
            is_range = name.endswith(("/min:0", "/max:0")) and name.rpartition("/")[0] in scopes
            wanted = kind == "out" or (kind == "grad" and training) or (kind == "var" and is_range)
            if side == "after" and wanted and not racing:
                kept[f"expected|{rest}"] = value
    for prefix, file in (("variable", "vars.npz"), ("feed", "feed.npz")):
        if (case / file).exists():
            kept |= {f"{prefix}|{key}": value for key, value in np.load(case / file).items()}
    meta = np.frombuffer((case / "before.meta").read_bytes(), np.uint8)
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    return {"about": text, "before.meta": meta, **kept}


def write(path: Path, members: dict[str, Any]) -> None:
    """An .npz that is the same bytes every time."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in members.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden", type=Path, help="the folder of recorded cases")
    golden = parser.parse_args().golden
    TARGET.mkdir(parents=True, exist_ok=True)
    for old in TARGET.glob("*.npz"):
        old.unlink()
    total = 0
    for cases, better in ((PARITY, False), (BETTER, True)):
        for case in cases:
            path = TARGET / f"{case.removeprefix('micro/').replace('/', '-')}.npz"
            write(path, collect(golden / case, better))
            total += path.stat().st_size
    print(f"{len(PARITY) + len(BETTER)} cases, {total} bytes in {TARGET}")


if __name__ == "__main__":
    main()
