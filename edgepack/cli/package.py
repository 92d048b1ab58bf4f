"""`edgepack package`: look at a package, sign it, verify it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import click

from edgepack.cli import options
from edgepack.cli.rebuild import rebuild_package


@click.group()
def package() -> None:
    """Show, sign, verify and rebuild a package."""


package.add_command(rebuild_package)


@package.command("show")
@click.argument("path")
@options.json_option
def show_package(path: str, as_json: bool) -> None:
    """Verify every digest of a package and show what is in it, and where it comes from."""
    from edgepack import package as packages

    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        found, _ = packages.opened(Path(path), Path(scratch))
    if as_json:
        from edgepack import codec

        document = {"schema": "edgepack.package-view/1", "package": codec.to_json(found)}
        click.echo(json.dumps(document, indent=1))
        return
    from rich.console import Console

    from edgepack.report import terminal

    console = Console()
    terminal.render_package(found, console)
    terminal.render_provenance(found, console)


@package.command("sign")
@click.argument("path", metavar="DIR")
@click.option(
    "--key",
    required=True,
    metavar="FILE",
    help="OpenSSH key: a private one, or the public one of a key that the ssh-agent holds. For "
    "openssf, a private EC key as PEM.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["ssh", "openssf"]),
    default="ssh",
    show_default=True,
    help="ssh: what devices verify. openssf: model.sig, for others (edgepack[openssf]); last.",
)
@click.option("--name", help="Name of the release. Default: the source model's.")
@click.option(
    "--counter",
    type=int,
    help="Number of the release; an older one is refused later. Default: the time in seconds.",
)
def sign_package(path: str, key: str, kind: str, name: str | None, counter: int | None) -> None:
    """Sign the package in DIR, so that devices and pipelines know who released it.

    The manifest gets the release's name and counter, and manifest.json.sig is written beside
    it. Use a key for releases alone, not the one that logs in to devices.
    """
    from edgepack.package import openssf, signing

    file = Path(key).expanduser()
    if kind == "openssf":
        if name is not None or counter is not None:
            raise click.UsageError("--name and --counter belong to --format ssh; sign so first.")
        done = openssf.sign(Path(path), file)
        click.echo(f"signed {done.digest[:12]} in OpenSSF's format: {Path(path) / 'model.sig'}")
        return
    signed = signing.sign(Path(path), file, name=name, counter=counter)
    assert signed.release is not None
    click.echo(
        f"signed {signed.digest[:12]} as release {signed.release.counter} "
        f"of '{signed.release.name}'"
    )


@package.command("verify")
@click.argument("path")
@click.option(
    "--allowed-signers",
    metavar="FILE",
    help="Who may sign: lines of an identity and a public key (OpenSSH's format).",
)
@click.option(
    "--public-key",
    metavar="FILE",
    help="Instead: the EC key as PEM with which OpenSSF's signature, model.sig, must hold.",
)
@click.option("--allow-rollback", is_flag=True, help="Take one older than the newest accepted.")
@options.json_option
def verify_package(
    path: str,
    allowed_signers: str | None,
    public_key: str | None,
    allow_rollback: bool,
    as_json: bool,
) -> None:
    """Verify the digests and the signature of a package, and that it is not an old one.

    The release is remembered as accepted on this machine.
    """
    if (allowed_signers is None) == (public_key is None):
        raise click.UsageError("Give either --allowed-signers or --public-key.")
    from edgepack import admission
    from edgepack import package as packages
    from edgepack.package import acceptance, openssf, signing

    signer = None
    with tempfile.TemporaryDirectory(prefix="edgepack-") as scratch:
        _, directory = packages.opened(Path(path), Path(scratch))
        if public_key is not None:
            found, fingerprint = openssf.verify(directory, Path(public_key).expanduser())
        else:
            signed = signing.verify(directory, Path(str(allowed_signers)).expanduser())
            found, signer, fingerprint = signed.package, signed.signer, signed.fingerprint
    release = found.release
    if release is not None:
        acceptance.accept(admission.accepted_file(), release, allow_rollback=allow_rollback)
    if as_json:
        document = {
            "schema": "edgepack.package-verified/1",
            "digest": found.digest,
            "signer": signer,
            "fingerprint": fingerprint,
            "name": release and release.name,
            "counter": release and release.counter,
        }
        click.echo(json.dumps(document, indent=1))
        return
    from edgepack.report.text import plain

    known = f"release {release.counter} of '{release.name}'" if release else "no release"
    said = f"{found.digest[:12]} is {known}, signed by {signer or 'the key'} ({fingerprint})"
    click.echo(plain(said))
