"""Whether a plan's package may go to its devices: who signed it, and is it not an old one.

The host verifies before it connects, and gives each device what it needs to verify by itself.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from edgepack import config
from edgepack import package as packages
from edgepack.errors import EdgepackError
from edgepack.model import Blob, Device, Trust
from edgepack.package import acceptance, signing
from edgepack.plan import Plan, refuse_unsignable, wants_signature


def accepted_file() -> Path:
    """Where this host remembers the newest release that it accepted of each name."""
    return config.data_dir() / "accepted.json"


def refuse_unsigned(plan: Plan) -> None:
    """EP209 when a device of the plan wants a signed package, and the plan builds a new one."""
    wanting = [t.device.name for t in plan.targets if wants_signature(plan, t.device)]
    if wanting:
        raise EdgepackError(
            "EP209",
            f"a package that is built only now is not signed, as {wanting[0]} requires",
            hint="edgepack build MODEL -o DIR; edgepack package sign DIR --key FILE; "
            "edgepack bench DIR",
        )


def refuse_candidates(devices: Iterable[Device]) -> None:
    """EP209 when one of the devices wants signed packages: a search measures what it just built."""
    for device in devices:
        if device.allowed_signers is not None:
            raise EdgepackError(
                "EP209",
                f"a search measures candidates that nobody has signed, and '{device.name}' takes "
                "signed packages only",
                hint="Search on another device of its kind; sign what is found, and bench it.",
            )


def check(directory: Path, plan: Plan) -> None:
    """Verify the package for every device that wants it signed, and remember the release.

    Errors: EP105 no allowed signers, or more would be opened than the package signs for; EP208
    damaged; EP209 not signed as it must be; EP210 older than the newest accepted.
    """
    refuse_unsignable(plan)
    wanting = [t.device for t in plan.targets if wants_signature(plan, t.device)]
    for signers in sorted({_signers(plan, device) for device in wanting}):
        signed = signing.verify(directory, signers)
        acceptance.accept(accepted_file(), signed.release, allow_rollback=plan.allow_rollback)


def _signers(plan: Plan, device: Device) -> Path:
    named = plan.allowed_signers or device.allowed_signers
    if named is None:
        raise EdgepackError(
            "EP105",
            f"nobody is named who may sign for '{device.name}'",
            hint="Give --allowed-signers FILE, or set allowed_signers of the device.",
        )
    return Path(named).expanduser()


def for_device(directory: Path, plan: Plan, device: Device) -> tuple[Trust | None, list[Blob]]:
    """What the device needs to verify the package itself, and the files that hold it."""
    if not wants_signature(plan, device):
        return None, []
    paths = (
        directory / packages.MANIFEST,
        directory / packages.SIGNATURE,
        _signers(plan, device),
    )
    blobs = [_blob(path) for path in paths]
    trust = Trust(
        manifest=blobs[0].sha256,
        signature=blobs[1].sha256,
        signers=blobs[2].sha256,
        allow_rollback=plan.allow_rollback,
    )
    return trust, blobs


def _blob(path: Path) -> Blob:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise signing.unsigned(f"it cannot be verified: {error}", path) from error
    return Blob(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), path=str(path))
