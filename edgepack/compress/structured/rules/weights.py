"""Layers with weights: they make channels, read them, or rescale each one."""

from __future__ import annotations

import numpy as np

from edgepack.compress.structured.ledger import Channels, Ledger, Role, Site
from edgepack.compress.structured.rules.registry import channel_axis, pass_activation, rule


@rule("Dense")
def dense(site: Site, ledger: Ledger) -> Channels:
    """Kernel (in, units): reads the last axis, makes a new one."""
    layer, rank = site.op, len(site.output)
    read = ledger.along(site, site.inputs[0], -1)
    made = ledger.make(site, layer.units)
    if read is not None:
        ledger.bind(site, layer.kernel, 0, read, Role.IN)
    ledger.bind(site, layer.kernel, 1, made, Role.OUT)
    ledger.bind(site, layer.bias, 0, made, Role.OTHER)
    ledger.size(site, "units", made)
    return pass_activation(site, ledger, Channels(site.output, rank - 1, made))


@rule("Conv1D", "Conv2D", "Conv3D")
def convolution(site: Site, ledger: Ledger) -> Channels:
    """Kernel (..., in / groups, filters)."""
    if site.op.groups > 1:
        return _grouped(site, ledger)
    return _plain_convolution(site, ledger, kernel_in=-2, kernel_out=-1)


@rule("Conv1DTranspose", "Conv2DTranspose", "Conv3DTranspose")
def transposed(site: Site, ledger: Ledger) -> Channels:
    """Kernel (..., filters, in)."""
    if getattr(site.op, "groups", 1) > 1:
        return _grouped(site, ledger)
    return _plain_convolution(site, ledger, kernel_in=-1, kernel_out=-2)


def _plain_convolution(site: Site, ledger: Ledger, *, kernel_in: int, kernel_out: int) -> Channels:
    layer, axis = site.op, channel_axis(site)
    read = ledger.along(site, site.inputs[0], axis)
    made = ledger.make(site, layer.filters)
    if read is not None:
        ledger.bind(site, layer.kernel, kernel_in, read, Role.IN)
    ledger.bind(site, layer.kernel, kernel_out, made, Role.OUT)
    ledger.bind(site, layer.bias, 0, made, Role.OTHER)
    ledger.size(site, "filters", made)
    return pass_activation(site, ledger, Channels(site.output, axis, made))


def _grouped(site: Site, ledger: Ledger) -> Channels:
    """One group a channel is a depthwise convolution; other groups stay whole.

    Groups of several channels must stay equally large, so a cut would have to take the same
    number from each of them, in the layers around as well.
    """
    layer, axis = site.op, channel_axis(site)
    read = ledger.along(site, site.inputs[0], axis)
    if read is None or layer.groups != read.size:
        text = f"a convolution in {layer.groups} groups needs equally many channels in each"
        ledger.pin(site, site.inputs[0].atoms, text)
        return ledger.whole(site, site.output, text, axis=axis)
    made = np.repeat(read, layer.filters // layer.groups)
    ledger.bind(site, layer.kernel, -1, made, Role.OUT)
    ledger.bind(site, layer.bias, 0, made, Role.OTHER)
    ledger.size(site, "filters", made)
    ledger.size(site, "groups", read)
    return pass_activation(site, ledger, Channels(site.output, axis, made))


@rule("DepthwiseConv1D", "DepthwiseConv2D")
def depthwise(site: Site, ledger: Ledger) -> Channels:
    """Kernel (..., in, multiplier): output channel c * multiplier + m comes from input c."""
    layer, axis = site.op, channel_axis(site)
    read = ledger.along(site, site.inputs[0], axis)
    if read is None:
        return ledger.whole(site, site.output, "its input has no fixed channels", axis=axis)
    made = np.repeat(read, layer.depth_multiplier)
    ledger.bind(site, layer.kernel, -2, read, Role.OUT)
    ledger.bind(site, layer.bias, 0, made, Role.OTHER)
    return pass_activation(site, ledger, Channels(site.output, axis, made))


@rule("SeparableConv1D", "SeparableConv2D")
def separable(site: Site, ledger: Ledger) -> Channels:
    """Depthwise kernel (..., in, multiplier), then pointwise (..., in * multiplier, filters)."""
    layer, axis = site.op, channel_axis(site)
    read = ledger.along(site, site.inputs[0], axis)
    made = ledger.make(site, layer.filters)
    if read is not None:
        inner = np.repeat(read, layer.depth_multiplier)
        ledger.bind(site, layer.depthwise_kernel, -2, read, Role.OTHER)
        ledger.bind(site, layer.pointwise_kernel, -2, inner, Role.IN)
    ledger.bind(site, layer.pointwise_kernel, -1, made, Role.OUT)
    ledger.bind(site, layer.bias, 0, made, Role.OTHER)
    ledger.size(site, "filters", made)
    return pass_activation(site, ledger, Channels(site.output, axis, made))


@rule("Embedding")
def embedding(site: Site, ledger: Ledger) -> Channels:
    """Table (tokens, dimensions): makes a last axis; the tokens that come in stay."""
    made = ledger.make(site, site.op.output_dim)
    ledger.pin(site, site.inputs[0].atoms, "they are token numbers")
    ledger.bind(site, site.op.embeddings, 1, made, Role.OUT)
    ledger.size(site, "output_dim", made)
    return Channels(site.output, len(site.output) - 1, made)


@rule("BatchNormalization")
def batch_norm(site: Site, ledger: Ledger) -> Channels:
    """Each channel by its own four numbers."""
    layer, tensor = site.op, site.inputs[0]
    axis = layer.axis if isinstance(layer.axis, int) else layer.axis[0]
    atoms = ledger.along(site, tensor, axis)
    if atoms is None:
        return ledger.whole(site, site.output, "its input has no fixed channels", axis=axis)
    ledger.bind(site, layer.gamma, 0, atoms, Role.SCALE)
    for weight in (layer.beta, layer.moving_mean, layer.moving_variance):
        ledger.bind(site, weight, 0, atoms, Role.OTHER)
    return Channels(site.output, axis % len(site.output), atoms)


@rule("GroupNormalization")
def group_norm(site: Site, ledger: Ledger) -> Channels:
    """One group a channel (instance normalization) leaves the others alone; more do not."""
    layer, tensor = site.op, site.inputs[0]
    atoms = ledger.along(site, tensor, layer.axis)
    if atoms is None or layer.groups != atoms.size:
        text = "a group's mean and variance change with the number of its channels"
        ledger.pin(site, tensor.atoms, text)
        return ledger.whole(site, site.output, text, axis=layer.axis)
    ledger.bind(site, layer.gamma, 0, atoms, Role.SCALE)
    ledger.bind(site, layer.beta, 0, atoms, Role.OTHER)
    ledger.size(site, "groups", atoms)
    return Channels(site.output, layer.axis % len(site.output), atoms)


@rule("LayerNormalization", "RMSNormalization", "UnitNormalization")
def norm_over_channels(site: Site, ledger: Ledger) -> Channels:
    """Every channel is divided by a number that all of them, even zero ones, enter into."""
    text = "it normalizes over the channels, so each of them changes all others"
    ledger.pin(site, site.inputs[0].atoms, text)
    return ledger.whole(site, site.output, text)


@rule("PReLU")
def prelu(site: Site, ledger: Ledger) -> Channels:
    """A slope for each position of the input but those on shared axes."""
    tensor, alpha = site.inputs[0], site.op.alpha
    if tensor.axis is not None and alpha.shape[tensor.axis - 1] == tensor.atoms.size:
        ledger.bind(site, alpha, tensor.axis - 1, tensor.atoms, Role.OTHER)
    return tensor
