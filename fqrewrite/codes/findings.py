"""What `fqrewrite check` finds. By code: its meaning, and what to do.

The severity of each finding is in the report: "fails", "wrong", "float", or "warning", which alone passes.
"""

from __future__ import annotations

FINDINGS: dict[str, tuple[str, str]] = {
    "activation-bits": (
        "An activation's fake quantizer has other than 8 bits; the converter stops, or gives wrong numbers.",
        "Use 8 bits for activations.",
    ),
    "activation-per-channel": (
        "An activation has a range for each channel; the converter takes one only.",
        "Use one range for the tensor.",
    ),
    "bias-quantized": (
        "A bias has a fake quantizer, which keeps its layer in float.",
        "Leave it out: the converter makes int32 of a bias by itself.",
    ),
    "bias-uniform": (
        "All channels of a layer have the same bias, which the converter (TensorFlow 2.21) quantizes wrongly.",
        "Put a fake quantizer in front of the addition (`fqrewrite eval` does), or quantize the weights per tensor.",
    ),
    "control-flow-left": (
        "A conditional or loop of TensorFlow 1 is left; it is computed in float.",
        "Bind what decides it (--set NAME=false), or unroll the loop.",
    ),
    "conversion-failed": (
        "The converter stopped, crashed or took too long.",
        "See what else was found; the converter's message names the op.",
    ),
    "float-island": (
        "The converted model has a float operation that the static check did not name.",
        "Put fake quantizers behind it and behind what it reads, and report the graph.",
    ),
    "function-not-checked": (
        "A function is called that is not inlined: a loop, or a Keras LSTM, which the converter makes one op of.",
        "Write it without (an LSTM with `unroll=True`), or look with --convert.",
    ),
    "input-without-range": (
        "An input of the graph has no fake quantizer, so what reads it is computed in float.",
        "Put a fake quantizer on the input; the preset `tflite-int8` does.",
    ),
    "model-does-not-load": (
        "The converter made a model that the interpreter refuses.",
        "See what else was found; most often weights are not symmetric.",
    ),
    "model-does-not-run": (
        "The converter made a model that stops when it runs.",
        "See what else was found; the message names the kernel.",
    ),
    "numbers-differ": (
        "The integer model and the fake-quantized graph differ by more than 2 steps of the output.",
        "Nothing in a deep net, where roundings add up; else compare results of the task itself.",
    ),
    "operation-fails": (
        "An op that the converter refuses, or whose integer kernel does not run.",
        "Write it with other ops, or keep it outside of the model.",
    ),
    "operation-float": (
        "An op that is always computed in float.",
        "Use another op, or keep it in float knowingly.",
    ),
    "operation-unknown": (
        "An op whose conversion was not measured; float is assumed.",
        "Look with --convert.",
    ),
    "range-bypassed": (
        "A tensor is read both through its fake quantizer and beside it, so that the converter gives it no range.",
        "Let everything read the quantizer's output.",
    ),
    "range-empty": (
        "A fake quantizer's min is not below its max; the numbers become meaningless.",
        "Measure the range again, or give it in the config's `ranges`.",
    ),
    "range-missing": (
        "A tensor has no fake quantizer and gets no range from ops around it, so its op is computed in float.",
        "Put a fake quantizer behind it; the preset `tflite-int8` does.",
    ),
    "range-not-constant": (
        "A fake quantizer's range is no constant; the converter needs one.",
        "Make the graph with `fqrewrite eval CHECKPOINT`, or give --ranges.",
    ),
    "range-not-finite": (
        "A fake quantizer's range is infinite or NaN; the converter crashes, or gives wrong numbers.",
        "Measure the range again, or give it in the config's `ranges`.",
    ),
    "range-without-zero": (
        "A fake quantizer's range does not hold zero, and is shifted until it does.",
        "Widen the range to zero.",
    ),
    "ranges-conflict": (
        "Several fake quantizers with different ranges are on one tensor, so that the converter gives it none.",
        "Let all readers share one quantizer.",
    ),
    "ranges-differ": (
        "An op that computes in its first operand's scale has operands that do not fit into that.",
        "Give the operands one range, or put a fake quantizer behind the op.",
    ),
    "split-output-unused": (
        "An output of a split is not read; the converter then decides at random between integers and float.",
        "Put a fake quantizer behind one of the outputs that are read (`fqrewrite eval` does).",
    ),
    "quantizers-missing": (
        "The graph has no fake quantizer at all, so that the converter makes a float model of it.",
        "Make the graph with `fqrewrite eval`, from a trained model or with --ranges.",
    ),
    "training-graph": (
        "The graph is what `fqrewrite train` made, with variables and ranges that move; it is not to be converted.",
        "Train it, then make the graph to convert with `fqrewrite eval`.",
    ),
    "training-left": (
        "An op that belongs to training is left.",
        "Make the graph with `fqrewrite eval`.",
    ),
    "variable-left": (
        "The graph has variables; the converter takes constants only.",
        "Make the graph with `fqrewrite eval CHECKPOINT -o eval.pb`.",
    ),
    "weights-asymmetric": (
        "A layer's int8 weights have a zero point other than 0: the model does not load, or computes wrong numbers.",
        "Use symmetric ranges, min = -max, with narrow_range.",
    ),
    "weights-bits": (
        "Weights have other than 4 or 8 bits; the converter puts them on another grid, or stops.",
        "Use 8 bits, or 4.",
    ),
    "weights-per-channel": (
        "Weights have a range for each channel where the converter or the kernel takes one only.",
        "Use `granularity: per_tensor` for this layer, or quantize right in front of it.",
    ),
    "weights-without-quantizer": (
        "Weights have no fake quantizer; the converter rounds them by a range of its own.",
        "Quantize them, so that the graph computes what the model will.",
    ),
}
