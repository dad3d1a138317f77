"""What ends a run of `calibrate` or `compare`. By code: its meaning, and what to do."""

from __future__ import annotations

RUNNING: dict[str, tuple[str, str]] = {
    "data-dtype": (
        "An array of the sample data has another kind of numbers than the placeholder takes.",
        "Convert it as the model's own input pipeline does, e.g. `(images / 255).astype('float32')`.",
    ),
    "data-empty": (
        "There is no sample in the data.",
        "Give data with at least one sample; 100 are usually enough for ranges.",
    ),
    "data-input-missing": (
        "The sample data has nothing for an input of the graph.",
        "Name the arrays of the `.npz` file, or the keys of feeds, as the placeholders are called.",
    ),
    "data-not-finite": (
        "The sample data holds NaN or infinity.",
        "Take that sample out, or correct it.",
    ),
    "data-options": (
        "An option for pictures does not fit the data or the graph, or is missing.",
        "Correct it, or leave it out.",
    ),
    "data-shape": (
        "An array of the sample data has another shape than the placeholder takes.",
        "Reshape it; the first axis counts samples.",
    ),
    "data-unreadable": (
        "The sample data does not exist, is damaged, or of a kind that is not read.",
        "Give an `.npz` or `.npy` file, a folder of pictures, or `module:function` that yields feeds.",
    ),
    "graph-not-run": (
        "TensorFlow cannot run the graph here; it says why.",
        "Most often it is data that the graph cannot take, or an operation without a kernel for the CPU (`NCHW`).",
    ),
    "method-not-measured": (
        "The ranges files hold no statistics for that method.",
        "Calibrate with that method; percentile, mse and entropy can be had from each other's files.",
    ),
    "not-an-eval-graph": (
        "The second graph of a comparison is none that `fqrewrite eval` wrote.",
        "Make the eval graph first: `fqrewrite eval`.",
    ),
    "nothing-to-calibrate": (
        "No range of the eval graph has to be measured.",
        "Run `fqrewrite eval` without --ranges.",
    ),
    "nothing-to-compare": (
        "The two graphs have no quantized tensor in common.",
        "Give the float model that the eval graph was made of.",
    ),
    "statistics-differ": (
        "Calibrations of different models, settings or methods cannot be put together.",
        "Calibrate all parts with the same model and options.",
    ),
    "statistics-missing": (
        "A ranges file without statistics cannot be put together with others.",
        "Give files that `fqrewrite calibrate` wrote.",
    ),
    "tensor-not-finite": (
        "A graph computes NaN or infinity from the sample data.",
        "Check the data's scale and the model's weights; that tensor can have no range.",
    ),
    "tensor-without-values": (
        "A tensor that is to be quantized is empty for every sample.",
        "Give data for which the model computes it.",
    ),
    "tensors-differ": (
        "A tensor has another shape in the float graph than in the quantized one.",
        "Give the float model that the eval graph was made of.",
    ),
}
