"""`edgepack push`: a package's files on devices, ahead of measuring."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.pushing import Pushed


@click.command()
@click.argument("package")
@options.device_option
@click.option(
    "--wait",
    type=click.FloatRange(0, 86400),
    default=15.0,
    show_default=True,
    help="Seconds to wait for a device that someone else measures on.",
)
@options.signature_options
@options.json_option
def push(
    package: str,
    device: tuple[str, ...],
    wait: float,
    require_signed: bool,
    allowed_signers: str | None,
    allow_rollback: bool,
    as_json: bool,
) -> int:
    """Bring the files of PACKAGE to devices without measuring; a later bench sends none of them.

    Exit code 4 when a device did not get them all. A device with allowed signers gets signed
    packages only, as with bench.

    \b
    edgepack push package/ -d tag:lab
    """
    from edgepack import admission, plan, pushing
    from edgepack import package as packages
    from edgepack.cli.main import say_error
    from edgepack.errors import ExitCode
    from edgepack.model import JobSettings

    wanted = plan.make(
        model=package,
        data=None,
        recipes=(),
        targets=options.targets(device),
        settings=JobSettings(),
        require_signed=require_signed,
        allowed_signers=allowed_signers,
        allow_rollback=allow_rollback,
    )
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        opened, directory = packages.opened(Path(package), Path(scratch))
        admission.check(directory, wanted)
        blobs = packages.blobs(opened, directory, opened.variants)
        files = {
            each.device: [*blobs, *admission.for_device(directory, wanted, each.device)[1]]
            for each in wanted.targets
        }
        done = list(pushing.push(list(files.items()), wait_s=wait))
    if as_json:
        rows = [_row(each) for each in done]
        document = {"schema": "edgepack.pushed/1", "package": opened.digest, "devices": rows}
        click.echo(json.dumps(document, indent=1))
    for each in done:
        if each.error is not None:
            click.echo(f"{each.device.name} did not get the package:", err=True)
            say_error(each.error)
        elif not as_json:
            there = f"{each.sent_bytes:,} bytes sent" if each.sent_bytes else "it was there already"
            click.echo(f"{each.device.name}: {len(files[each.device])} files ({there})")
    failed = any(each.error is not None for each in done)
    return int(ExitCode.DEVICE_FAILED if failed else ExitCode.OK)


def _row(done: Pushed) -> dict[str, Any]:
    error = done.error and {"code": done.error.code, "what": done.error.what}
    return {
        "device": done.device.name,
        "status": "failed" if error else "ok",
        "sent_bytes": done.sent_bytes,
        "error": error,
    }
