"""`edgepack demo`: the main job on the bundled model, on this machine, without any set-up."""

from __future__ import annotations

import click

from edgepack import resources
from edgepack.cli import options

RECIPES = ("float", "dynamic", "int8", "prune50-int8", "slim50-distill-int8")


@click.command()
@options.device_option
@click.option(
    "--report",
    "report_file",
    default="edgepack-demo.html",
    show_default=True,
    metavar="FILE",
    help="Where to write the report: *.html, .md, .xml (JUnit) or .json.",
)
@options.json_option
@click.option("-q", "--quiet", is_flag=True, help="No progress.")
@click.option("-v", "--verbose", count=True, help="More of what happens.")
def demo(
    device: tuple[str, ...], report_file: str, as_json: bool, quiet: bool, verbose: int
) -> int:
    """Compress a bundled Fashion-MNIST model, measure it here, and compare.

    Needs no device, no SSH, no root and no network. The same as 'edgepack run' with the
    bundled model and data.
    """
    from edgepack import pipeline, plan
    from edgepack.cli.showing import Showing
    from edgepack.model import JobSettings

    showing = Showing(as_json=as_json, quiet=quiet, verbose=verbose, report_file=report_file)
    showing.check()
    folder = resources.demo_dir()
    wanted = plan.make(
        model=str(folder / "fashion_mnist_resnet.keras"),
        data=str(folder / "fashion_mnist.npz"),
        recipes=options.recipes(RECIPES),
        targets=options.targets(device),
        settings=JobSettings(max_s=6.0, timeout_s=300.0),
        note="edgepack demo",
    )
    return showing.of("demo", lambda emit: pipeline.execute(wanted, emit=emit))
