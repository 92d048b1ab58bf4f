"""How QAT quantizes: TFMOT's 8-bit scheme, with earlier work kept and ranges that settle soon.

TFMOT has schemes that keep zeros and clusters, but they refuse normalization layers that
stand alone and transposed convolutions, stop keeping zeros after the first layer without any
(one quantizer serves all layers), and let a convolution's clusters drift apart by channel.
Its activation ranges start at ±6 and move by a thousandth a batch, which a short fine-tune
never gets away from. So here its scheme is wrapped: the same layers and patterns, with
quantizers of our own. Nothing here is imported but in the worker (it imports TFMOT).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_model_optimization.quantization.keras import (
    QuantizeConfig,
    QuantizeLayoutTransform,
    QuantizeRegistry,
    QuantizeScheme,
    default_8bit,
    quantizers,
)

# A moving average over about the last 100 batches, once there are as many.
_DECAY = 0.99
# A kernel, or channel, of zeros alone still needs a scale.
_LEAST_RANGE = 1e-6


class SettledRange(quantizers.MovingAverageQuantizer):  # type: ignore[misc]
    """An activation's range: the plain mean of the first batches, then a moving average."""

    def __init__(self) -> None:
        super().__init__(num_bits=8, per_axis=False, symmetric=False, narrow_range=False)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """The range's ends, and how many batches they have seen."""
        count = layer.add_weight(f"{name}_batches", initializer="zeros", trainable=False)
        return {**super().build(tensor_shape, name, layer), "count": count}

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        """The inputs as they are after quantization to 8 bits."""
        low, high = weights["min_var"], weights["max_var"]
        if training:
            count = weights["count"].assign_add(1.0)
            share = tf.maximum(1.0 / count, 1 - _DECAY)
            # Zero is always in the range: padding and ReLU need it exact.
            low.assign(low + share * (tf.minimum(tf.reduce_min(inputs), 0.0) - low))
            high.assign(high + share * (tf.maximum(tf.reduce_max(inputs), 0.0) - high))
        return tf.quantization.fake_quant_with_min_max_vars(inputs, low, high, num_bits=8)


class KeptKernel(quantizers.LastValueQuantizer):  # type: ignore[misc]
    """A kernel's weights, symmetric int8, with its zeros or its few values kept exactly.

    With clusters, weights stay with the value they have, and the values are trained. A kernel
    clustered as a whole gets one range for all channels, or each channel would have other
    integers for the same values.
    """

    def __init__(self, kernel: Any, *, zeros: bool, clusters: int, channel_wise: bool) -> None:
        super().__init__(num_bits=8, per_axis=channel_wise, symmetric=True, narrow_range=True)
        self._start = kernel.numpy()
        self._zeros = zeros
        self._whole = 0 < len(np.unique(self._start)) <= clusters
        self._by_channel = not self._whole and 0 < _most_values(self._start) <= clusters

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """The range's ends, and the values where there are clusters."""
        weights = dict(super().build(tensor_shape, name, layer))
        if self._whole or self._by_channel:
            values, self._places = _values(self._start, by_channel=self._by_channel)
            weights["values"] = layer.add_weight(
                f"{name}_values",
                shape=values.shape,
                initializer=lambda shape, dtype=None: tf.constant(values, dtype),
                trainable=True,
            )
            self._nonzero = (values != 0).astype(values.dtype)
        return weights

    def __call__(self, inputs: Any, training: bool, weights: Any, **kwargs: Any) -> Any:
        """The kernel as it is after quantization to 8 bits."""
        kernel = inputs
        if training and "values" in weights:
            kernel = tf.gather(tf.reshape(weights["values"] * self._nonzero, [-1]), self._places)
            inputs.assign(kernel)
        elif training and self._zeros:
            kernel = inputs * (self._start != 0).astype(self._start.dtype)
            inputs.assign(kernel)
        if training:
            top = self._top(kernel)
            weights["min_var"].assign(-top)
            weights["max_var"].assign(top)
        fake = tf.quantization.fake_quant_with_min_max_vars
        if self.per_axis:
            fake = tf.quantization.fake_quant_with_min_max_vars_per_channel
        return fake(kernel, weights["min_var"], weights["max_var"], num_bits=8, narrow_range=True)

    def _top(self, kernel: Any) -> Any:
        """The largest magnitude: of each channel, of the whole for all, or a single one."""
        magnitude = tf.stop_gradient(tf.abs(kernel))
        if not self.per_axis:
            return tf.maximum(tf.reduce_max(magnitude), _LEAST_RANGE)
        top = tf.reduce_max(magnitude, axis=list(range(len(kernel.shape) - 1)))
        if self._whole:
            top = tf.fill(tf.shape(top), tf.reduce_max(top))
        return tf.maximum(top, _LEAST_RANGE)


def _most_values(kernel: Any) -> int:
    """The largest number of different values in any channel (the last axis)."""
    channels = kernel.reshape(-1, kernel.shape[-1]).T
    return max(len(np.unique(channel)) for channel in channels)


def _values(kernel: Any, *, by_channel: bool) -> tuple[Any, Any]:
    """The kernel's different values, one after the other, and each weight's place in them."""
    if not by_channel:
        values, places = np.unique(kernel, return_inverse=True)
        return values, places.reshape(kernel.shape)
    found, places, first = [], np.empty(kernel.shape, np.int64), 0
    for channel in range(kernel.shape[-1]):
        values, where = np.unique(kernel[..., channel], return_inverse=True)
        places[..., channel] = where.reshape(kernel.shape[:-1]) + first
        found.append(values)
        first += len(values)
    return np.concatenate(found), places


class _Config(QuantizeConfig):  # type: ignore[misc]
    """Another configuration with these quantizers in place of its own."""

    def __init__(self, inner: Any, *, zeros: bool, clusters: int) -> None:
        self._inner = inner
        self._zeros = zeros
        self._clusters = clusters

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        pairs = self._inner.get_weights_and_quantizers(layer)
        return [(weight, self._kept(weight, quantizer)) for weight, quantizer in pairs]

    def _kept(self, weight: Any, quantizer: Any) -> Any:
        if not self._zeros and not self._clusters:
            return quantizer
        return KeptKernel(
            weight, zeros=self._zeros, clusters=self._clusters, channel_wise=quantizer.per_axis
        )

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        pairs = self._inner.get_activations_and_quantizers(layer)
        return [(activation, _settled(quantizer)) for activation, quantizer in pairs]

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        return [_settled(quantizer) for quantizer in self._inner.get_output_quantizers(layer)]

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        self._inner.set_quantize_weights(layer, quantize_weights)

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        self._inner.set_quantize_activations(layer, quantize_activations)

    def get_config(self) -> Any:
        return self._inner.get_config()


def _settled(quantizer: Any) -> Any:
    return SettledRange() if isinstance(quantizer, quantizers.MovingAverageQuantizer) else quantizer


class _OutputConfig(QuantizeConfig):  # type: ignore[misc]
    """A float layer whose output is quantized for the layer after it."""

    def get_weights_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        return []

    def get_activations_and_quantizers(self, layer: Any) -> list[tuple[Any, Any]]:
        return []

    def get_output_quantizers(self, layer: Any) -> list[Any]:
        return [SettledRange()]

    def set_quantize_weights(self, layer: Any, quantize_weights: Any) -> None:
        """Nothing: there are none."""

    def set_quantize_activations(self, layer: Any, quantize_activations: Any) -> None:
        """Nothing: there are none."""

    def get_config(self) -> dict[str, Any]:
        return {}


class _Registry(QuantizeRegistry):  # type: ignore[misc]
    """TFMOT asks it for the annotated layers, and for float ones in front of them."""

    def __init__(self, inner: Any, keeping: dict[str, Any], left_out: Container[str]) -> None:
        self._inner = inner
        self._keeping = keeping
        self._left_out = left_out

    def supports(self, layer: Any) -> bool:
        return layer.name in self._left_out or bool(self._inner.supports(layer))

    def get_quantize_config(self, layer: Any) -> Any:
        if layer.name in self._left_out:
            return _OutputConfig()
        return _Config(self._inner.get_quantize_config(layer), **self._keeping)


class _Layout(QuantizeLayoutTransform):  # type: ignore[misc]
    """TFMOT's patterns (convolution, normalization, activation) with our quantizers."""

    def __init__(self, inner: Any, keeping: dict[str, Any]) -> None:
        self._inner = inner
        self._keeping = keeping

    def apply(self, model: Any, layer_quantize_map: Any) -> tuple[Any, Any]:
        changed, layers = self._inner.apply(model, layer_quantize_map)
        for entry in layers.values():
            if entry.get("quantize_config") is not None:
                entry["quantize_config"] = _Config(entry["quantize_config"], **self._keeping)
        return changed, layers


class Scheme(QuantizeScheme):  # type: ignore[misc]
    """TFMOT's 8-bit scheme, keeping zeros where `zeros`, and up to `clusters` values a kernel
    or channel (0: none). left_out: names of the layers that stay float."""

    def __init__(self, *, zeros: bool, clusters: int, left_out: Container[str] = ()) -> None:
        self._left_out = left_out
        self._default = default_8bit.Default8BitQuantizeScheme()
        self._keeping: dict[str, Any] = {"zeros": zeros, "clusters": clusters}

    def get_layout_transformer(self) -> Any:
        """See TFMOT's `QuantizeScheme`."""
        return _Layout(self._default.get_layout_transformer(), self._keeping)

    def get_quantize_registry(self) -> Any:
        """See TFMOT's `QuantizeScheme`."""
        return _Registry(self._default.get_quantize_registry(), self._keeping, self._left_out)
