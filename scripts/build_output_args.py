"""Writes fqrewrite/proto/output_args.json from the installed TensorFlow's op registry.

The file tells the names of every operation's output arguments, which inputs in function bodies are written with
(`node:name:index`), and for a list the attribute that holds its length: {"Split": "output*num_split"}.

    python scripts/build_output_args.py            write the file
    python scripts/build_output_args.py --check    exit status 1 if the file is not what would be written
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "fqrewrite" / "proto" / "output_args.json"


def build() -> dict[str, str]:
    """Returns op -> its output arguments, separated by blanks; a list is written ``name*attribute``.

    Left out are operations without outputs, those of the runtime's own (their names begin with an underscore), and
    those whose lists have a default length other than 0, which only operations of TensorFlow's own tests have.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import tensorflow  # noqa: F401  (loads every library of operations)
    from tensorflow.core.framework import op_def_pb2
    from tensorflow.python.client import pywrap_tf_session

    registry = op_def_pb2.OpList.FromString(pywrap_tf_session.TF_GetBuffer(pywrap_tf_session.TF_GetAllOpList()))
    table = {}
    for op in registry.op:
        defaults = {attribute.name: attribute.default_value for attribute in op.attr}
        lists = [argument.number_attr or argument.type_list_attr for argument in op.output_arg]
        default_lengths = [defaults[key].i or len(defaults[key].list.type) for key in lists if key]
        if op.output_arg and not op.name.startswith("_") and not any(default_lengths):
            table[op.name] = " ".join(map(_written, op.output_arg, lists))
    return table


def _written(argument: Any, length: str) -> str:
    return f"{argument.name}*{length}" if length else str(argument.name)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the file and write nothing")
    parser.add_argument("--file", type=Path, default=TARGET, help="the file to write or check")
    options = parser.parse_args(arguments)

    table = build()
    if not options.check:
        options.file.write_text(json.dumps(table, separators=(",\n", ":"), sort_keys=True) + "\n", encoding="utf-8")
        print(f"{options.file}: {len(table)} operations, {options.file.stat().st_size} bytes")
        return 0
    if not options.file.is_file():
        print(f"{options.file}: missing", file=sys.stderr)
        return 1
    found = json.loads(options.file.read_text(encoding="utf-8"))
    differing = sorted(op for op in table.keys() | found.keys() if table.get(op) != found.get(op))
    for op in differing:
        print(f"{options.file}: {op} differs from the installed TensorFlow's", file=sys.stderr)
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
