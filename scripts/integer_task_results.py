"""What integer models are worth: the result of the task, of the float model and of the .tflite next to each other.

    python scripts/integer_task_results.py [--only fashion,musicnn,basic-pitch,people] [--work DIR] [--readme]

Each model goes the way of a user, with the commands printed: `fqrewrite calibrate`, `eval`, `check --convert --tflite`,
with the preset tflite-int8. Then the .tflite runs on data that it was not calibrated on:

    fashion      the shipped Fashion-MNIST net, quantized after training and with an epoch of quantization-aware
                 training; needs `apt-get install dataset-fashion-mnist`
    musicnn      the four taggers of PyPI's musicnn 0.1.0, on made-up music
    basic-pitch  the transcriber of PyPI's basic-pitch 0.4.0, on made-up tones and chords
    people       posenet, selfie, emotion and blazeface-front of ../shared/models, on the pictures of scikit-image and
                 scikit-learn

Models and pictures are downloaded from PyPI, not installed. Prints a Markdown table at the end; with --readme, writes
it into README.md. Its last column says how many float operations `check` named before the conversion, how many the
model has, and how many of these were not named. Takes about eight minutes on two cores.
"""

from __future__ import annotations

import os

# oneDNN's rewrites change numbers and can crash TF 2.21's CPU build; both must be set before the import.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import fashion_mnist
import tensorflow as tf
from integer_tasks import fashion, people, tagging, transcription
from integer_tasks.route import ROOT, Result, StepFailed
from update_readme import write_part


def tasks(options: argparse.Namespace) -> dict[str, Callable[[Path], Iterator[Result]]]:
    """What --only chooses from; each takes a folder to work in."""
    return {
        "fashion": lambda folder: fashion.results(folder, options.data),
        "musicnn": lambda folder: tagging.results(folder, options.musicnn),
        "basic-pitch": lambda folder: transcription.results(folder, options.basic_pitch),
        "people": lambda folder: people.results(folder, options.models),
    }


def table(rows: list[Result]) -> str:
    """As Markdown."""
    lines = ["| model | figures | float | integer | float ops: named, found, not named |", "|---|---|---|---|---|"]
    for row in rows:
        counts = f"{row.named}, {row.left}, {row.unnamed}" if row.named or row.left else "none"
        lines.append(f"| {row.model} | {row.task} | {row.floating} | {row.integer} | {counts} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="tasks, comma-separated; default: all")
    parser.add_argument("--data", type=Path, default=fashion_mnist.DEBIAN_FOLDER, help="Fashion-MNIST's idx files")
    parser.add_argument("--models", type=Path, default=ROOT.parent / "shared" / "models", help="posenet.pb etc.")
    parser.add_argument("--musicnn", type=Path, help="the package's folder with MTT_musicnn etc.; default: download it")
    parser.add_argument("--basic-pitch", type=Path, help="the unzipped wheel; default: download it")
    parser.add_argument("--work", type=Path, help="folder to keep all files in; without it they are removed")
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args()
    known = tasks(options)
    chosen = options.only.split(",") if options.only else list(known)
    if unknown := sorted(set(chosen) - set(known)):
        parser.error(f"--only: there is no task {', '.join(unknown)}, only {', '.join(known)}")
    if options.readme and set(chosen) != set(known):
        parser.error("--readme takes all tasks")
    for name in ("models", "musicnn", "basic_pitch"):
        given = getattr(options, name)
        setattr(options, name, given and given.resolve())
    tf.compat.v1.disable_eager_execution()
    tf.compat.v1.logging.set_verbosity(tf.compat.v1.logging.ERROR)
    # LiteRT's interpreter is another package; this one is what TensorFlow ships.
    warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated")
    rows: list[Result] = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in chosen:
            folder = (options.work or Path(temporary)).resolve() / name
            folder.mkdir(parents=True, exist_ok=True)
            try:
                rows.extend(known[name](folder))
            except StepFailed as error:
                print(f"error: {name}: {error}", file=sys.stderr)
                return 1
    print(f"\n{table(rows)}")
    if options.readme:
        write_part("integer tasks", table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
