"""`edgepack inspect`: what is in a model, without building or measuring anything."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgepack.cli import options

if TYPE_CHECKING:
    from edgepack.compress.inspect.document import Inspection
    from edgepack.model import Event


@click.command()
@options.source_options
@options.host_data_option
@options.custom_option
@click.option(
    "--profile-ops", is_flag=True, help="Add each operation's time on DEVICE (.tflite only)."
)
@options.device_option
@options.json_option
def inspect(
    model: str | None,
    weights: str | None,
    arch: str | None,
    data: str | None,
    allow_custom_objects: str | None,
    profile_ops: bool,
    device: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show what is in MODEL: layers or operators, sizes, MACs, quantization and zeros.

    MODEL is a .keras, .h5 or .tflite file or a SavedModel folder. For a .tflite it also says
    which operators XNNPACK, the fast CPU kernels, would leave to the slow built-in ones. With
    --data, the model's quality on the first 512 test samples is added; with --profile-ops, the
    time of each operation on this machine or a registered board.

    \b
    edgepack inspect model.tflite
    edgepack inspect model.tflite --profile-ops -d pi4
    edgepack inspect model.keras --data d.npz --json
    """
    from edgepack import data as datasets
    from edgepack import fetching
    from edgepack.cli import inspection
    from edgepack.compress.inspect import api

    if device and not profile_ops:
        raise click.UsageError("--device has no effect without --profile-ops.")
    path, arch = options.source(model, weights, arch)
    _refuse_device_data(data)
    path, named = fetching.model(path, _note), fetching.data(data, _note)
    found = api.inspect(
        path,
        arch=arch,
        allow_custom_objects=allow_custom_objects,
        dataset=None if named is None else datasets.load(named),
    )
    accelerators: dict[str, str] = {}
    if profile_ops:
        found, accelerators = _timed(found, path, device)
    if as_json:
        click.echo(json.dumps(api.to_document(found), indent=1, allow_nan=False))
        return
    click.echo(inspection.render(found, accelerators))


def _refuse_device_data(data: str | None) -> None:
    """EP105 for data that are not on this machine, which is where a model is inspected."""
    from edgepack import plan
    from edgepack.errors import EdgepackError

    if plan.device_data(data) is not None:
        raise EdgepackError(
            "EP105",
            "inspect judges quality on this machine, and these data are on the devices",
            where="--data",
            hint=f"Judge there: edgepack run MODEL --data {data} -d DEVICE",
        )


def _timed(
    found: Inspection, path: str, devices: tuple[str, ...]
) -> tuple[Inspection, dict[str, str]]:
    """With the operations' times on each device, and the accelerator that each used. EP105 for
    what is no .tflite; the device's own error where one of them does not time it."""
    from edgepack import inloop
    from edgepack.compress.inspect.document import Timed
    from edgepack.errors import EdgepackError

    if found.kind != "tflite":
        raise EdgepackError(
            "EP105",
            f"--profile-ops times the operations of a .tflite, and {found.model} is none",
            hint="Build it first: edgepack build MODEL -r float -o DIR",
        )
    settings = dataclasses.replace(inloop.QUICK, max_s=0.5, profile_ops=True)
    content = {"inspected": Path(path).read_bytes()}
    reports = inloop.measure(
        content, options.targets(devices), settings=settings, emit=lambda event: None
    )
    timed, accelerators = [], {}
    for measured in (one for report in reports for one in report.measurements):
        if not measured.ops:
            failure = measured.failure
            raise EdgepackError(
                failure.code if failure else "EP502",
                failure.what if failure else "the runtime told no operation's time",
                where=measured.device,
                hint=failure.hint if failure else "Profile with ai-edge-litert, without a GPU.",
            )
        runtime = measured.runtime
        accelerators[measured.device] = measured.accelerator.actual
        timed.append(
            Timed(
                device=measured.device,
                runtime=f"{runtime.name} {runtime.version}" if runtime else "unknown",
                estimated="ops-estimated" in measured.flags,
                ops=measured.ops,
            )
        )
    return dataclasses.replace(found, timed=tuple(timed)), accelerators


def _note(event: Event) -> None:
    click.echo(event.message, err=True)
