"""Structured pruning + distillation + int8 against what a Keras user has otherwise.

    python -m benchmarks.compression [--seeds 3] [--peer-epochs 0.5] [--train DIR] [-o FILE.md]

One run builds every variant from the bundled residual net (288,546 params, full Fashion-MNIST
from Debian's dataset-fashion-mnist), measures all of them with the device agent on this
machine in one job of interleaved rounds, and prints a table with the ratio to float. The
peers start from the same network and the same data:

  plain int8        tf.lite.TFLiteConverter, full integer, 200 calibration samples
  TFMOT prune50     tensorflow_model_optimization, polynomial schedule to 50%, then int8
  TFMOT QAT         tensorflow_model_optimization, quantize_model, then int8
  quantizer static  ai-edge-quantizer, static int8 with its own calibration
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from benchmarks import peers
from edgepack import config, data, pipeline, plan, resources
from edgepack import package as packages
from edgepack.analysis import stats
from edgepack.compress import engine, recipes
from edgepack.data import Dataset
from edgepack.model import JobSettings, Measurement, PassSpec, Recipe, Run, Variant
from edgepack.registry import Registry

FASHION = "/usr/share/datasets/fashion-mnist"
# Cut in percent of the channels -> how it is distilled.
CUTS = {
    45: {"epochs": 6, "batch_size": 128, "features": ["auto"], "patience": 4},
    50: {"epochs": 6, "batch_size": 128, "features": ["auto"], "patience": 4},
}


def ours(cut: int, seed: int) -> tuple[Recipe, Recipe]:
    """`slimNN-distill` as float and as int8: they share their training."""
    slim = PassSpec(name="prune.structured", params={"ratio": cut / 100})
    distill = PassSpec(name="distill", params=CUTS[cut])
    made = []
    for ending, last in (("float", recipes.FLOAT), ("int8", "quantize.int8")):
        name = f"slim{cut}-distill-{ending}.s{seed}"
        made.append(Recipe(name=name, passes=(slim, distill, PassSpec(name=last)), seed=seed))
    return made[0], made[1]


def tfmot(epochs: float, seed: int) -> tuple[Recipe, Recipe]:
    """TFMOT's pruning and QAT."""
    prune = PassSpec(name="prune.magnitude", params={"sparsity": 0.5, "epochs": epochs})
    qat = PassSpec(name="quantize.qat", params={"epochs": epochs})
    int8 = PassSpec(name="quantize.int8")
    return (
        Recipe(name=f"tfmot-prune50-int8.s{seed}", passes=(prune, int8), seed=seed),
        Recipe(name=f"tfmot-qat.s{seed}", passes=(qat,), seed=seed),
    )


def build(
    seeds: int, peer_epochs: float, dataset: Dataset, folder: Path
) -> tuple[list[Variant], dict[str, Path]]:
    """Every variant of every seed, and the peers' files."""
    model = str(resources.demo_dir() / "fashion_mnist_resnet.keras")
    wanted: list[Recipe] = [recipes.parse("float"), recipes.parse("int8")]
    for seed in range(seeds):
        for cut in CUTS:
            wanted += ours(cut, seed)
        wanted += tfmot(peer_epochs, seed)
    built = engine.build(
        model, wanted, dataset, cache=config.cache_dir() / "builds", emit=peers.say
    )
    variants, files = list(built.variants), dict(built.files)
    for name, content in peers.converted(model, dataset).items():
        path = folder / f"{name}.tflite"
        path.write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files[digest] = path
        variants.append(
            dataclasses.replace(
                variants[1],
                name=name,
                sha256=digest,
                bytes=len(content),
                recipe=Recipe(name=name),
                signature=peers.signature(path, folder),
                agreement=None,
                lineage=(),
            )
        )
    return variants, files


def measure(
    variants: Sequence[Variant],
    files: dict[str, Path],
    dataset: Dataset,
    folder: Path,
    seconds: float,
) -> Run:
    """All variants in one job on this machine."""
    directory = folder / "package"
    fitted = data.fit(dataset, variants[0].signature)
    package = packages.write(
        directory,
        source_name="fashion_mnist_resnet.keras",
        source_sha256="",
        variants=variants,
        files=files,
        dataset=fitted,
        tools={},
    )
    local = Registry(config.devices_file()).get("local")
    target = plan.Target(device=local, profile=config.load_profile(local.profile))
    settings = JobSettings(max_s=seconds, ci=0.005, min_rounds=30, timeout_s=seconds + 900)
    wanted = plan.make(model="", data=None, recipes=(), targets=[target], settings=settings)
    return pipeline.bench(package, directory, wanted, emit=peers.say).run


def table(run: Run) -> list[str]:
    """Markdown rows: the mean over the seeds of each kind, with their spread."""
    by_kind: dict[str, list[tuple[Variant, Measurement]]] = defaultdict(list)
    for measured in run.measurements:
        variant = run.package.variant(measured.variant)
        by_kind[variant.name.partition(".s")[0]].append((variant, measured))
    base_variant, base = by_kind["float"][0]
    assert base.quality is not None
    lines = [
        "| variant | bytes | × smaller | p50 µs | × faster (worst seed) | top-1 % | points lost |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for kind, found in by_kind.items():
        p50 = [one.p50 for _, m in found if (one := stats.latency(m))]
        ratios = [stats.speedup(base, m) for _, m in found] if kind != "float" else []
        scores = [100 * m.quality.value for _, m in found if m.quality]
        size = statistics.mean(v.bytes for v, _ in found)
        worst = min(ratios, default=None)
        faster = (
            "1"
            if worst is None
            else (
                f"{statistics.mean(r for r, _ in ratios):.2f} ({worst[1][0]:.2f}–{worst[1][1]:.2f})"
            )
        )
        spread = f" ±{statistics.stdev(scores):.2f}" if len(scores) > 1 else ""
        drop = 100 * base.quality.value - statistics.mean(scores)
        lines.append(
            f"| {kind} | {size:,.0f} | {base_variant.bytes / size:.1f} | "
            f"{statistics.mean(p50):.1f} | {faster} | "
            f"{statistics.mean(scores):.2f}{spread} | {drop:.2f} |"
        )
    return lines


def main() -> int:
    """Build, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--peer-epochs", type=float, default=0.5, help="of TFMOT's fine-tuning")
    parser.add_argument("--seconds", type=float, default=120.0, help="time for measuring")
    parser.add_argument("--train", default=FASHION, metavar="DIR")
    parser.add_argument("--only-conversion", action="store_true", help="its cost, and no table")
    parser.add_argument("-o", "--output", type=Path, help="write the table here too")
    asked = parser.parse_args()
    dataset = data.load(asked.train)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    lines = peers.conversion_cost(dataset)
    if not asked.only_conversion:
        with tempfile.TemporaryDirectory(prefix="edgepack-bench-") as scratch:
            variants, files = build(asked.seeds, asked.peer_epochs, dataset, Path(scratch))
            run = measure(variants, files, dataset, Path(scratch), asked.seconds)
        lines = [*table(run), "", *lines]
    print("\n".join(lines))
    if asked.output:
        asked.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
