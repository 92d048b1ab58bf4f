"""An inspection as plain text, 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from edgepack.report import operations
from edgepack.report.text import plain

if TYPE_CHECKING:
    from edgepack.compress.inspect.document import Inspection, Quantization, Timed
    from edgepack.model import TensorSpec

WIDTH = 80
# Long tables are cut here; the JSON document has every row.
_ROWS = 40


def render(found: Inspection, accelerators: Mapping[str, str] | None = None) -> str:
    """The whole text, without a newline at its end. accelerators: the one used, by device; the
    CPU where it is not told."""
    parts = [_head(found)]
    if found.layers:
        parts.append(_layers(found))
    if found.ops:
        parts.append(_ops(found))
    if found.delegate is not None:
        parts.append(_delegate(found))
    used = accelerators or {}
    parts += [_timed(each, used.get(each.device, "cpu")) for each in found.timed]
    if found.weights and not found.layers:
        parts.append(_weights(found))
    parts += [_wrap(f"note: {note}") for note in found.notes]
    return "\n\n".join(parts)


def _head(found: Inspection) -> str:
    sizes = found.sizes
    lines = [
        ("model", f"{found.model} ({found.kind}, {found.framework})"),
        ("sha256", found.sha256),
        ("size", f"{sizes.bytes:,} bytes, {sizes.gzip_bytes:,} with gzip"),
    ]
    if sizes.arena is not None:
        text = f"{sizes.arena.bytes:,} bytes planned for activations, without delegates"
        lines.append(("arena", text))
        if sizes.arena.unplanned:
            lines.append(("", f"and {sizes.arena.unplanned} tensors sized only while running"))
    lines.append(("params", _number(found.params)))
    lines.append(("MACs", _number(found.macs)))
    lines.append(("zeros", _share(found.sparsity) + " of the weights of 2 or more dimensions"))
    if found.quantization is not None:
        lines.append(("quantized", found.quantization))
    lines += [("input", _tensor(spec)) for spec in found.signature.inputs]
    lines += [("output", _tensor(spec)) for spec in found.signature.outputs]
    if found.data is not None:
        value = "no labels" if found.data.value is None else f"{found.data.value:.4f}"
        text = f"{found.data.metric or found.data.task} {value} on {found.data.samples} samples"
        lines.append(("data", text))
    return "\n".join(f"{name:<10}{_cut(text, WIDTH - 10)}".rstrip() for name, text in lines)


def _tensor(spec: TensorSpec) -> str:
    text = f"{spec.name} {spec.dtype}[{_shape(spec.shape)}]"
    if spec.scale is not None:
        text += f" = {spec.scale:.6g} * (q - {spec.zero_point})"
    return text


def _layers(found: Inspection) -> str:
    rows = [
        (
            layer.name,
            layer.type,
            _shape(layer.output_shape or ()),
            f"{layer.params:,}",
            _number(layer.macs),
            _share(layer.sparsity),
        )
        for layer in found.layers
    ]
    head = ("layer", "type", "output", "params", "MACs", "zeros")
    return _table(head, rows, widths=(19, 15, 14, 10, 9, 6))


def _ops(found: Inspection) -> str:
    delegated = any(op.delegated is not None for op in found.ops)
    rows = [
        (
            op.type,
            f"{op.count:,}",
            _number(op.macs),
            "" if op.delegated is None else f"{op.delegated} of {op.count}",
        )
        for op in found.ops
    ]
    head = ("operator", "count", "MACs", "in XNNPACK" if delegated else "")
    return _table(head, rows, widths=(40, 8, 15, 14))


def _timed(found: Timed, accelerator: str) -> str:
    """The slowest operations of one device."""
    slowest = sorted(found.ops, key=lambda op: op.ns, reverse=True)
    rows = [
        (
            op.name,
            operations.where(op, accelerator),
            f"{op.ns / 1e3:,.1f}",
            _share(op.share),
        )
        for op in slowest
    ]
    text = f"time by operation on {plain(found.device)}, {plain(found.runtime)}, {_how(found)}:"
    head = ("operation", "where", "µs", "share")
    return _wrap(text) + "\n" + _table(head, rows, widths=(46, 13, 11, 7))


def _how(found: Timed) -> str:
    if found.estimated:
        return "estimated from the graph cut off after each"
    if any(op.partition is not None for op in found.ops):
        # Only on the CPU is there a profiler, so that the delegate is XNNPACK.
        return "by its profiler (XNNPACK's operations in whole microseconds, rounded down)"
    return "by its profiler"


def _delegate(found: Inspection) -> str:
    delegate = found.delegate
    if delegate is None:
        return ""
    text = (
        f"{delegate.name} takes {delegate.ops_delegated} of {delegate.ops_total} operators in "
        f"{delegate.partitions} group(s) ({delegate.runtime} on {delegate.machine})"
    )
    left = [_cut(f"  {name}", WIDTH) for name in delegate.left[:_ROWS]]
    head = [_wrap(text + (". It leaves out:" if left else "."))]
    return "\n".join([*head, *left, *_more(len(delegate.left))])


def _weights(found: Inspection) -> str:
    rows = [
        (
            weight.name,
            f"{weight.dtype}[{_shape(weight.shape)}]",
            _scheme(weight.quantization),
            f"{weight.bytes:,}",
            _share(weight.sparsity),
        )
        for weight in sorted(found.weights, key=lambda weight: -weight.bytes)
    ]
    return _table(("weight", "type", "scales", "bytes", "zeros"), rows, widths=(33, 20, 6, 11, 6))


def _scheme(quantization: Quantization | None) -> str:
    if quantization is None:
        return ""
    return f"{quantization.scales}" if quantization.scheme == "channel" else "1"


# ---------------------------------------------------------------- plain tables


def _table(head: Sequence[str], rows: Sequence[tuple[str, ...]], widths: Sequence[int]) -> str:
    """Columns of fixed widths, one space apart: names to the left, numbers to the right."""
    numeric = {"params", "MACs", "zeros", "count", "bytes", "in XNNPACK", "scales", "µs", "share"}

    def line(cells: Iterable[str]) -> str:
        made = [
            _cut(cell, width).rjust(width) if name in numeric else _cut(cell, width).ljust(width)
            for cell, name, width in zip(cells, head, widths, strict=True)
        ]
        return " ".join(made).rstrip()

    return "\n".join([line(head), *(line(row) for row in rows[:_ROWS]), *_more(len(rows))])


def _more(count: int) -> list[str]:
    return [f"  ... and {count - _ROWS} more (--json lists all)"] if count > _ROWS else []


def _cut(text: str, width: int) -> str:
    """The text in one line of at most that width; the middle of a longer one is left out."""
    text = plain(text, longest=10 * WIDTH)
    if len(text) <= width:
        return text
    keep = width - 2
    return f"{text[: keep - keep // 2]}..{text[len(text) - keep // 2 :]}"


def _wrap(text: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, WIDTH, break_on_hyphens=False))


def _shape(shape: Sequence[int | None]) -> str:
    return ",".join("?" if size is None else str(size) for size in shape)


def _number(value: int | None) -> str:
    """A count in full up to six digits, else with a unit."""
    if value is None:
        return "unknown"
    if value < 10**6:
        return f"{value:,}"
    unit, name = (10**6, "M") if value < 10**9 else (10**9, "G")
    return f"{value / unit:,.2f} {name}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
