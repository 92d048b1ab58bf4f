"""The package as a CycloneDX 1.6 bill of materials: models, data and the tools that made them.

Deterministic like the manifest: no time, and a serial number that follows from the content.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import Any

from edgepack.model import EvalData, Package, Variant

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "urn:edgepack:package")


def document(package: Package) -> bytes:
    """The bill of materials (JSON) of a package whose manifest is still to be written."""
    source = {
        "type": "machine-learning-model",
        "bom-ref": "source",
        "name": package.source_name,
        "hashes": _hashes(package.source_sha256),
    }
    content: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "tools": {"components": [_tool(name, package.tools[name]) for name in _used(package)]}
        },
        "components": [
            source,
            *([] if package.data is None else [_data(package.data)]),
            *(_variant(variant, package) for variant in package.variants),
        ],
        "dependencies": [
            {"ref": f"variant:{variant.name}", "dependsOn": ["source"]}
            for variant in package.variants
        ],
    }
    raw = json.dumps(content, sort_keys=True, allow_nan=False)
    serial = uuid.uuid5(_NAMESPACE, hashlib.sha256(raw.encode()).hexdigest())
    content["serialNumber"] = f"urn:uuid:{serial}"
    return (json.dumps(content, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


def _used(package: Package) -> list[str]:
    return sorted(name for name, version in package.tools.items() if version)


def _tool(name: str, version: str) -> dict[str, Any]:
    tool = {"type": "application", "name": name, "version": version}
    if name not in ("edgepack", "python"):
        tool["purl"] = f"pkg:pypi/{name}@{version}"
    return tool


def _hashes(sha256: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha256}]


def _data(data: EvalData) -> dict[str, Any]:
    return {
        "type": "data",
        "bom-ref": "evaluation-data",
        "name": "eval.npz",
        "hashes": _hashes(data.sha256),
        "properties": _properties(samples=data.samples, task=data.task, source=data.source),
    }


def _variant(variant: Variant, package: Package) -> dict[str, Any]:
    recipe = variant.recipe
    steps = [{"name": step.name, "params": dict(step.params)} for step in recipe.passes]
    card: dict[str, Any] = {
        "modelParameters": {
            "inputs": [{"format": spec.dtype} for spec in variant.signature.inputs],
            "outputs": [{"format": spec.dtype} for spec in variant.signature.outputs],
        }
    }
    if package.data is not None:
        card["modelParameters"]["datasets"] = [{"ref": "evaluation-data"}]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"variant:{variant.name}",
        "name": f"{variant.name}.tflite",
        "hashes": _hashes(variant.sha256),
        "modelCard": card,
        "properties": _properties(
            recipe=recipe.name,
            seed=recipe.seed,
            passes=json.dumps(steps, sort_keys=True),
            data_sha256=package.data_sha256,
            bytes=variant.bytes,
        ),
    }


def _properties(**values: object) -> list[dict[str, str]]:
    return [{"name": f"edgepack:{name}", "value": str(value)} for name, value in values.items()]
