"""Signatures of packages by OpenSSH keys, with `ssh-keygen -Y sign` and `-Y verify`.

The signature (SSHSIG, namespace `edgepack-package`) is over the manifest, which lists the
SHA-256 of every file; `ssh-keygen -Y verify -n edgepack-package -s manifest.json.sig` checks
it without edgepack. Keys of an ssh-agent and hardware keys sign by their public key's file.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import struct
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from edgepack.errors import EdgepackError
from edgepack.model import Package, Release
from edgepack.package import files

NAMESPACE = "edgepack-package"
_COUNTER_MAX = 2**53  # what every JSON reader holds exactly
_TOUCH_S = 300.0  # a passphrase is typed, a hardware key touched
_VERIFY_S = 30.0
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_COLUMNS = 70  # as ssh-keygen wraps it


@dataclass(frozen=True, kw_only=True)
class Signed:
    """A package whose signature was verified, the identity of its signer and the key's
    fingerprint ("SHA256:…")."""

    package: Package
    release: Release
    signer: str
    fingerprint: str


def sign(
    directory: Path, key: Path, *, name: str | None = None, counter: int | None = None
) -> Package:
    """Sign the package in `directory` as a release, in place of an earlier signature.

    key: a private key, or the public key of one that the ssh-agent holds.
    name: of the release, by default the source model's; counter: by default the time in
    seconds since 1970, which grows.

    Errors: EP105 an unfit name, counter or key; EP208 a damaged package.
    """
    package = files.read(directory)
    release = Release(
        name=Path(package.source_name).stem if name is None else name,
        counter=int(time.time()) if counter is None else counter,
    )
    _check_release(release)
    manifest = files.released(files.manifest_bytes(directory), release)
    signature = _signature(manifest, key)
    # In this order, so that what is cut short leaves an unsigned package and no false one.
    (directory / files.SIGNATURE).unlink(missing_ok=True)
    (directory / files.OPENSSF).unlink(missing_ok=True)  # it was over the manifest before
    _put(directory / files.MANIFEST, manifest)
    _put(directory / files.SIGNATURE, signature)
    return files.read(directory)


def _check_release(release: Release) -> None:
    if not files.PLAIN_NAME.fullmatch(release.name):
        raise EdgepackError(
            "EP105",
            f"'{release.name}' cannot be the name of a release",
            hint="Give one of letters, digits, '.', '_' and '-': --name NAME",
        )
    if not 0 <= release.counter <= _COUNTER_MAX:
        raise EdgepackError(
            "EP105",
            f"{release.counter} cannot be the counter of a release",
            hint=f"Give one from 0 to {_COUNTER_MAX}.",
        )


def _signature(manifest: bytes, key: Path) -> bytes:
    if not key.is_file():
        raise EdgepackError(
            "EP105", "there is no such key file", where=str(key), hint="Name an OpenSSH key."
        )
    done = _keygen("sign", "-n", NAMESPACE, "-f", str(key), data=manifest, limit_s=_TOUCH_S)
    if done.returncode != 0:
        raise EdgepackError(
            "EP105",
            f"the key does not sign: {_said(done)}",
            where=str(key),
            hint="Give a private OpenSSH key, or a public one whose private key the ssh-agent "
            "holds (ssh-add).",
        )
    return done.stdout


def _put(target: Path, content: bytes) -> None:
    part = target.with_name(f".{target.name}.part")
    part.write_bytes(content)
    part.replace(target)


def verify(directory: Path, allowed_signers: Path) -> Signed:
    """The package in `directory`, verified: its files, its signature and who signed.

    allowed_signers: in OpenSSH's format (ssh-keygen(1)): "identity key-type key" lines.

    Errors: EP105 no such file of signers; EP208 a damaged package; EP209 it is not signed, or
    not by one of them.
    """
    if not allowed_signers.is_file():
        raise EdgepackError(
            "EP105",
            "there is no such file of allowed signers",
            where=str(allowed_signers),
            hint="Write one: a line of an identity and the public key for each signer.",
        )
    package = files.read(directory)
    signature = directory / files.SIGNATURE
    if package.release is None or signature.is_symlink() or not signature.is_file():
        raise unsigned("the package is not signed", directory)
    key = public_key(signature.read_bytes(), signature)
    fingerprint = _fingerprint(key)
    signer = _signer(signature, allowed_signers, fingerprint)
    words = ("-n", NAMESPACE, "-f", str(allowed_signers), "-I", signer, "-s", str(signature))
    manifest = files.manifest_bytes(directory)
    done = _keygen("verify", *words, data=manifest, limit_s=_VERIFY_S)
    if done.returncode != 0 or hashlib.sha256(manifest).hexdigest() != package.digest:
        raise unsigned(f"the signature does not hold: {_said(done)}", directory)
    return Signed(package=package, release=package.release, signer=signer, fingerprint=fingerprint)


def _signer(signature: Path, allowed_signers: Path, fingerprint: str) -> str:
    done = _keygen(
        "find-principals", "-f", str(allowed_signers), "-s", str(signature), limit_s=_VERIFY_S
    )
    found = done.stdout.decode("utf-8", "replace").split("\n")[0].split(",")[0].strip()
    if done.returncode != 0 or not found:
        raise unsigned(f"the key {fingerprint} is none of {allowed_signers}", signature.parent)
    return found


def unsigned(what: str, where: Path) -> EdgepackError:
    """The error EP209."""
    return EdgepackError(
        "EP209",
        what,
        where=str(where),
        hint="Sign it with an allowed key: edgepack package sign DIR --key FILE",
    )


def _keygen(
    action: str, *words: str, data: bytes = b"", limit_s: float
) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", action, *words],
            input=data,
            capture_output=True,
            timeout=limit_s,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EdgepackError(
            "EP209",
            f"ssh-keygen cannot be used here: {error}",
            hint="Install OpenSSH's client, 8.2 or newer.",
        ) from error


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
    text = "".join(c for c in lines[-1] if c.isprintable()) if lines else ""
    return text[:200] or f"ssh-keygen ended with {done.returncode}"


# ---------------------------------------------------------------- SSHSIG


def public_key(armored: bytes, where: Path) -> bytes:
    """The signing key inside an SSHSIG that is written exactly as OpenSSH writes it. EP209.

    ssh-keygen passes over odd white space, an older version number and what follows the end;
    here they count as tampering, so that no changed byte goes unseen.
    """
    try:
        text = armored.decode("ascii")
        blob = base64.b64decode("".join(text.split("\n")[1:-2]), validate=True)
        if text != _armored(blob):
            raise ValueError("it is not armoured as OpenSSH does")
        return _key_in(blob)
    except (ValueError, binascii.Error, struct.error, UnicodeDecodeError) as error:
        raise unsigned(f"the signature is damaged: {error}", where) from error


def _armored(blob: bytes) -> str:
    encoded = base64.b64encode(blob).decode()
    lines = [encoded[i : i + _COLUMNS] for i in range(0, len(encoded), _COLUMNS)]
    return "\n".join([_BEGIN, *lines, _END, ""])


def _key_in(blob: bytes) -> bytes:
    """Read by PROTOCOL.sshsig: magic, version, key, namespace, reserved, hash, signature."""
    if blob[:10] != b"SSHSIG" + struct.pack(">I", 1):
        raise ValueError("it is no SSHSIG of version 1")
    rest, parts = blob[10:], []
    for _ in range(5):
        (size,) = struct.unpack_from(">I", rest)
        if size > len(rest) - 4:
            raise ValueError("it is cut short")
        parts.append(rest[4 : 4 + size])
        rest = rest[4 + size :]
    key, namespace, reserved, _, _ = parts
    if namespace != NAMESPACE.encode() or reserved or rest:
        raise ValueError(f"it is not made for {NAMESPACE}")
    return key


def _fingerprint(key: bytes) -> str:
    digest = base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")
    return f"SHA256:{digest}"
