"""What is built: recipes, variants, packages, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PassSpec:
    """One step of a recipe: a pass name ("quantize.int8") and its parameters."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An ordered list of passes that turns the source model into one variant."""

    name: str
    passes: tuple[PassSpec, ...] = ()
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """An input or output: shape with None for a free axis, dtype as NumPy names it.

    `scale` and `zero_point` are set for quantized tensors: real = scale * (q - zero_point).
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True, kw_only=True)
class Signature:
    """The inputs and outputs of a model, in the order of its default signature."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How near two models' outputs are on the same inputs.

    top1_agreement: share of samples with the same arg-max, None for non-classifiers.
    max_abs_diff: largest difference of any output element, in dequantized units.
    snr_db: 10*log10(sum(ref^2) / sum((ref-out)^2)); infinite when equal, held as None.
    max_steps: the largest difference in steps (LSBs) of a quantized output; None for float, and
    where two files are compared. top1_flips: samples with another arg-max.
    """

    samples: int
    top1_agreement: float | None
    max_abs_diff: float
    snr_db: float | None
    max_steps: int | None = None

    @property
    def top1_flips(self) -> int | None:
        """Samples whose arg-max is another; None for non-classifiers."""
        agreed = self.top1_agreement
        return None if agreed is None else round((1 - agreed) * self.samples)


@dataclass(frozen=True, kw_only=True)
class CalibrationSource:
    """Data on a device that activations' ranges came from; of the data only the SHA-256 is known.

    split: "train" or "test"; samples: how many were run; runtime: name and version.
    """

    device: str
    data_sha256: str
    split: str
    samples: int
    runtime: str


@dataclass(frozen=True, kw_only=True)
class PassReport:
    """What one pass did. `quality` is the metric on held-back data, in its own unit.

    facts: what it did, in words. notes: what a user should read before trusting the result.
    calibration: the devices that it was calibrated on; empty where the host's data were used.
    """

    name: str
    params: int | None = None
    macs: int | None = None
    sparsity: float | None = None
    bytes: int | None = None
    quality: float | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()
    facts: tuple[str, ...] = ()
    calibration: tuple[CalibrationSource, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One `.tflite` file and where it comes from.

    params: trainable and other weights, counted in elements; macs: multiply-accumulates of
    one inference at batch 1; sparsity: share of zero elements among the weights of two or
    more dimensions. None where it could not be counted.
    """

    name: str
    recipe: Recipe
    sha256: str
    bytes: int
    gzip_bytes: int
    signature: Signature
    params: int | None = None
    macs: int | None = None
    sparsity: float | None = None
    agreement: Agreement | None = None
    lineage: tuple[PassReport, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Transform:
    """Turns stored bytes into model inputs on the device: real = stored * scale + offset."""

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EvalData:
    """The evaluation set that travels: an `.npz` with one array an input, and labels.

    The file holds `x:<input name>` (first axis: samples) and, where there are labels, `y`.
    task: "classification" (integer labels), "regression" (float targets) or "none".
    source: "dataset", or "random" for seeded random inputs.
    classes: their names by number, where the dataset gives them.
    """

    sha256: str
    bytes: int
    samples: int
    task: str
    transforms: Mapping[str, Transform] = field(default_factory=dict)
    source: str = "dataset"
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Release:
    """What a signature vouches for: `counter` grows from release to release of one `name`."""

    name: str
    counter: int


@dataclass(frozen=True, kw_only=True)
class Package:
    """Variants, evaluation data and a manifest; `digest` is the SHA-256 of the manifest.

    data_sha256: digest of the whole dataset, training samples included; "" where unknown.
    release: None for a package that was never signed.
    """

    digest: str
    source_name: str
    source_sha256: str
    variants: tuple[Variant, ...]
    data: EvalData | None
    tools: Mapping[str, str]
    data_sha256: str = ""
    release: Release | None = None

    def variant(self, name: str) -> Variant:
        """The variant of that name; KeyError when there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)
