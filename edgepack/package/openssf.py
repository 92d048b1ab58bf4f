"""Packages signed in OpenSSF's format, for pipelines and registries that ask for that one.

`model.sig` is a Sigstore bundle: an in-toto statement of the SHA-256 of every file beside it,
signed with an elliptic-curve key of this machine. Any tool of the format verifies it
(`model_signing verify key`); nothing is sent anywhere. Devices verify OpenSSH's signature alone.
Needs the extra `edgepack[openssf]`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from edgepack.errors import EdgepackError
from edgepack.model import Package
from edgepack.package import files


def sign(directory: Path, key: Path) -> Package:
    """Sign all files of the package in `directory`, in place of an earlier such signature.

    key: a PEM file with a private key on P-256, P-384 or P-521, without a passphrase.

    Errors: EP105 an unfit key; EP109 the extra is not installed; EP208 a damaged package.
    """
    package = files.read(directory)
    target = directory / files.OPENSSF
    signing, hashing = _library("signing"), _library("hashing")
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=key)
    except (OSError, ValueError, TypeError) as error:
        raise EdgepackError(
            "EP105",
            f"the key does not sign: {error}",
            where=str(key),
            hint="Give a PEM file of an EC key without a passphrase, as this makes: "
            "openssl ecparam -name prime256v1 -genkey -noout -out FILE",
        ) from error
    part = directory / f".{files.OPENSSF}.part"
    signer.set_hashing_config(hashing.Config().set_ignored_paths(paths=[target, part]))
    target.unlink(missing_ok=True)
    signer.sign(directory, part)
    part.replace(target)
    return package


def verify(directory: Path, public_key: Path) -> tuple[Package, str]:
    """The package in `directory`, verified, and "sha256:…" of the public key's file.

    Errors: EP105 no such key; EP109 the extra is not installed; EP208 a damaged package; EP209
    it has no such signature, or one that does not hold.
    """
    package = files.read(directory)
    signature = directory / files.OPENSSF
    try:
        fingerprint = hashlib.sha256(public_key.read_bytes()).hexdigest()
        verifier = _library("verifying").Config().use_elliptic_key_verifier(public_key=public_key)
    except (OSError, ValueError, TypeError) as error:
        raise EdgepackError(
            "EP105",
            f"the public key cannot be read: {error}",
            where=str(public_key),
            hint="Give the PEM file of the signer's public key: openssl ec -in KEY -pubout",
        ) from error
    if signature.is_symlink() or not signature.is_file():
        raise _refused("the package has no signature in OpenSSF's format", directory)
    try:
        verifier.verify(directory, signature)
    except Exception as error:  # of three libraries, which raise what they like
        said = str(error) or type(error).__name__
        raise _refused(f"the signature does not hold: {said}", directory) from error
    return package, f"sha256:{fingerprint}"


def _refused(what: str, where: Path) -> EdgepackError:
    return EdgepackError(
        "EP209",
        what,
        where=str(where),
        hint="Sign it: edgepack package sign DIR --format openssf --key FILE",
    )


def _library(module: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"model_signing.{module}")
    except ImportError as error:
        raise EdgepackError(
            "EP109",
            f"OpenSSF's format needs a library that is not installed: {error.name}",
            hint="pip install 'edgepack[openssf]'",
        ) from error
