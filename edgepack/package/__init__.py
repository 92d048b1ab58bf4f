"""Packages: writing and reading them, signing them, and what is remembered of signed ones."""

from edgepack.package.bundles import bundle, opened, unbundle
from edgepack.package.files import (
    BOM_FILE,
    EVAL_FILE,
    MANIFEST,
    SCHEMA,
    SIGNATURE,
    blobs,
    calibrated_on,
    check_output,
    check_same,
    evaluation,
    read,
    sha256_of,
    variant_file,
    write,
)

__all__ = [
    "BOM_FILE",
    "EVAL_FILE",
    "MANIFEST",
    "SCHEMA",
    "SIGNATURE",
    "blobs",
    "bundle",
    "calibrated_on",
    "check_output",
    "check_same",
    "evaluation",
    "opened",
    "read",
    "sha256_of",
    "unbundle",
    "variant_file",
    "write",
]
