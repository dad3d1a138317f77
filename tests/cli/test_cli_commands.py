"""Every command and option is there, and says what it says it does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
from command_line import Run

from fqrewrite import __version__
from fqrewrite.codes import CODES
from fqrewrite.config.records import DEFAULT_PRESET
from fqrewrite.match.refusals import MARKER_NAME
from fqrewrite.proto import MetaGraphDef
from fqrewrite.source.provenance import find_provenance

SETTINGS = {
    "--config",
    "--preset",
    "--outputs",
    "--scope",
    "--quant-delay",
    "--freeze-bn-delay",
    "--weight-bits",
    "--activation-bits",
    "--symmetric",
    "--asymmetric",
    "--set",
}
PREPARING = {"--strip-training", "--thaw"}
REWRITING = SETTINGS | {
    "--output",
    "--plan",
    "--report",
    "--report-format",
    "--allow-empty",
    "--quiet",
    "--verbose",
}
DATA = {"--data", "--batch-size", "--image-size", "--mean", "--std", "--layout", "--model"}
OPTIONS = {
    (): {"--version"},
    ("calibrate",): SETTINGS | DATA | {"--output", "--merge", "--method", "--percentile", "--ema-decay", "--quiet"},
    ("check",): {
        "--target",
        "--outputs",
        "--convert",
        "--data",
        "--samples",
        "--seed",
        "--timeout",
        "--tflite",
        "--format",
    },
    ("compare",): DATA | {"--json"},
    ("train",): REWRITING | PREPARING,
    ("eval",): REWRITING | {"--model", "--ranges", "--freeze", "--no-freeze"},
    ("plan",): SETTINGS | PREPARING | {"--json", "--output", "--report-format", "--allow-empty"},
    ("warm-start",): {"--output", "--ranges", "--quiet"},
    ("show",): {"--json"},
    ("rules",): {"--markdown"},
    ("explain",): {"--markdown"},
    ("config",): set(),
    ("config", "init"): {"--preset"},
    ("config", "check"): set(),
    ("config", "schema"): set(),
}


@pytest.mark.parametrize("command", OPTIONS)
def test_help_lists_the_options(run: Run, command: tuple[str, ...]) -> None:
    done = run(*command, "--help")
    assert (done.status, done.err) == (0, "")
    assert set(re.findall(r"--[a-z-]+", done.out.partition("Options:")[2])) >= OPTIONS[command] | {"--help"}


def test_help_lists_the_commands_in_whole_sentences(run: Run) -> None:
    listed = run("-h").out.partition("Commands:\n")[2].splitlines()
    commands = sorted({command[0] for command in OPTIONS if command})
    assert [line.split()[0] for line in listed] == commands
    assert all(line.endswith(".") and not line.endswith("...") for line in listed)


def test_version(run: Run) -> None:
    assert run("--version").out == f"fqrewrite {__version__}\n"


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["trian"], "Did you mean 'train'?"),
        (["train"], "Missing argument 'MODEL'"),
        (["train", "m.meta"], "Missing option '-o'"),
        (["train", "m.meta", "-o", "o.meta", "--output-format", "x"], "No such option"),
        (["train", "m.meta", "-o", "o.meta", "--weight-bits", "four"], "'four' is not a valid integer"),
        (["train", "m.meta", "-o", "o.meta", "--report-format", "html"], "'html' is not one of"),
    ],
)
def test_wrong_command_lines(run: Run, args: list[str], said: str) -> None:
    done = run(*args)
    assert done.status == 2
    assert said in done.err


def test_rules(run: Run) -> None:
    text, table = run("rules").out, run("rules", "--markdown").out
    for name in ("conv2d", "fused_batch_norm", "elementwise"):
        assert f"\n{name} (" in f"\n{text}"
        assert f"| `{name}` |" in table
    assert table.startswith("| rule |")


def test_explain(run: Run) -> None:
    one = run("explain", "dangling-input")
    assert (one.status, one.out.splitlines()[0]) == (0, "dangling-input (error)")
    assert CODES["dangling-input"].remedy in one.out
    everything, table = run("explain").out, run("explain", "--markdown").out
    for code in CODES:
        assert f"  {code} " in everything
        assert f"| `{code}` |" in table


def test_an_unknown_code_names_the_nearest(run: Run) -> None:
    done = run("explain", "dangling-imput")
    assert done.status == 2
    assert "dangling-input" in done.err and "[unknown-code]" in done.err


def test_config_init_is_good_and_changes_nothing(run: Run, folder: Path, model_eval: Path) -> None:
    (folder / "c.yaml").write_text(run("config", "init").out, encoding="utf-8")
    assert run("config", "init", "--preset", "tflite-int8").out == (folder / "c.yaml").read_text(encoding="utf-8")
    assert run("config", "check", "c.yaml").out == "c.yaml: good; preset tflite-int8, 1 rule\n"
    run("eval", model_eval, "-o", "plain.meta", "-q")
    run("eval", model_eval, "-o", "config.meta", "-q", "-c", "c.yaml")
    plain, config = (MetaGraphDef.FromString((folder / f"{name}.meta").read_bytes()) for name in ("plain", "config"))
    made = [find_provenance(meta_graph.graph_def, "") for meta_graph in (plain, config)]
    for meta_graph in (plain, config):
        (marker,) = (node for node in meta_graph.graph_def.node if node.name == MARKER_NAME)
        meta_graph.graph_def.node.remove(marker)
    assert plain == config
    # What the graphs tell of their making differs in who gave the settings, but not in the settings.
    plans = [found[0].plan for found in made if found]
    assert len(plans) == 2
    assert ["c.yaml:" in str(plan.config.pop("origins")) for plan in plans] == [False, True]
    assert plans[0] == plans[1]


def test_config_check_counts_rules(run: Run, folder: Path) -> None:
    (folder / "c.yaml").write_text("rules:\n  - {match: a, quantize: false}\n", encoding="utf-8")
    assert run("config", "check", "c.yaml").out == "c.yaml: good; preset tflite-int8, 2 rules\n"


def test_config_schema_takes_what_init_prints(run: Run) -> None:
    import yaml

    schema = json.loads(run("config", "schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load(run("config", "init").out), schema)


@pytest.mark.parametrize("preset", ["", "contrub"])
def test_config_init_of_an_unknown_preset(run: Run, preset: str) -> None:
    done = run("config", "init", "--preset", preset)
    assert done.status == 2
    assert f'there is no preset "{preset}"; the presets are: contrib' in done.err
    assert "[config-preset]" in done.err


@pytest.mark.parametrize("command", [("train",), ("eval",), ("plan",), ("calibrate",), ("config", "init")])
def test_the_help_names_the_default_preset(run: Run, command: tuple[str, ...]) -> None:
    said = " ".join(run(*command, "--help").out.split())
    assert f"[default: {DEFAULT_PRESET}]" in said
