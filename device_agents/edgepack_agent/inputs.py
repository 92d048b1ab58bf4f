"""Evaluation samples as a model wants them: read lazily, transformed, quantized.

The `.npz` holds `x:<input>` arrays (first axis: samples) and, where there are labels, `y`.
Members stored without compression are mapped, not read, so that a board with little memory
holds only the samples under way; compressed ones are read whole.
"""

import hashlib
import mmap
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, Dict, List, Optional, Sequence

import numpy as np

from edgepack_agent.errors import AgentError
from edgepack_agent.runtimes.base import Shape, Tensor

Transforms = Dict[str, Dict[str, float]]

# Of mapped files that this process keeps in its memory; the kernel maps _AROUND at a touch.
HELD_BYTES, _AROUND = 16 << 20, 64 << 10

_FIT = "Make the evaluation data for this model: one array 'x:<input>' for every input."


def _misfit(what: str) -> AgentError:
    return AgentError("EP303", what, _FIT)


def open_npz(path: str, split: str = "test") -> Dict[str, np.ndarray]:
    """The arrays of an `.npz` by name, mapped where they are stored uncompressed.

    split: which samples of a user's own file, "test" or "train"; the others are not read.
    """
    arrays = {}
    other = "train" if split == "test" else "test"
    try:
        with zipfile.ZipFile(path) as archive, Path(path).open("rb") as file:
            for info in archive.infolist():
                name = info.filename[: -len(".npy")]
                if name.startswith(("x_" + other, "y_" + other, "classes")):
                    continue
                if info.compress_type == zipfile.ZIP_STORED:
                    arrays[name] = _map_member(path, file, info)
                else:
                    with archive.open(info) as member:
                        arrays[name] = np.lib.format.read_array(member, allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy have a dozen names for damage
        raise _misfit("the evaluation data cannot be read: %s" % error) from None
    return arrays


def _map_member(path: str, file: BinaryIO, info: zipfile.ZipInfo) -> np.ndarray:
    """Map one stored `.npy` member. ValueError when it is none."""
    file.seek(info.header_offset + 26)  # lengths of name and extra field in the local header
    lengths = file.read(4)
    skip = int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    file.seek(info.header_offset + 30 + skip)
    major = np.lib.format.read_magic(file)[0]
    read_header = {
        1: np.lib.format.read_array_header_1_0,
        2: np.lib.format.read_array_header_2_0,
    }.get(major)
    if read_header is None:
        raise ValueError("an array in .npy format %d" % major)
    shape, fortran, dtype = read_header(file)
    if dtype.hasobject or 0 in shape:
        raise ValueError("an array of Python objects or without elements")
    flat = np.memmap(path, dtype, "r", offset=file.tell(), shape=(int(np.prod(shape)),))
    return flat.reshape(shape, order="F" if fortran else "C")


class Samples:
    """The evaluation samples of one model.

    Args:
        inputs: the model's inputs.
        arrays: stored arrays by input name, all with the same number of samples.
        transforms: real = stored * scale + offset, by input name.
        labels: integer classes, one-hot rows or regression targets; None without labels.
    """

    def __init__(
        self,
        inputs: List[Tensor],
        arrays: Dict[str, np.ndarray],
        transforms: Dict[str, Dict[str, float]],
        labels: Optional[np.ndarray],
    ) -> None:
        self._inputs = inputs
        self._arrays = arrays
        self._transforms = transforms
        self._held = 0
        self.labels = labels
        self.count = min(len(array) for array in arrays.values())
        counts = {len(array) for array in arrays.values()}
        if labels is not None:
            counts.add(len(labels))
        if len(counts) > 1:
            raise _misfit("the arrays hold different numbers of samples: %s" % sorted(counts))
        for tensor in inputs:
            self._check_transform(tensor)

    def _check_transform(self, tensor: Tensor) -> None:
        """An integer input without a scale takes stored values as they are."""
        transform = self._transforms.get(tensor.name)
        whole = tensor.dtype.kind in "iub" and tensor.scale is None
        if whole and transform and (transform["scale"], transform["offset"]) != (1.0, 0.0):
            raise _misfit("input '%s' takes whole numbers and has a transform" % tensor.name)

    def check_classes(self, outputs: Sequence[Shape]) -> None:
        """AgentError EP303 for class numbers that the one output does not have."""
        labels = self.labels
        if labels is None or labels.dtype.kind not in "iub" or labels.size != len(labels):
            return
        if len(outputs) != 1 or len(outputs[0]) != 2 or outputs[0][1] < 2:
            return
        low, high, classes = int(labels.min()), int(labels.max()), outputs[0][1]
        if low < 0 or high >= classes:
            raise AgentError(
                "EP303",
                "labels go from %d to %d; the model has %d classes" % (low, high, classes),
                "Number the classes from 0 in the order of the model's output.",
            )

    def shapes(self) -> Dict[str, Shape]:
        """The shape of one sample as each input takes it: with a batch axis of 1 in front,
        unless the input has no axis to spare for it."""
        shapes = {}
        for tensor in self._inputs:
            sample = self._arrays[tensor.name].shape[1:]
            batched = len(tensor.shape) != len(sample)
            shapes[tensor.name] = ((1,) if batched else ()) + tuple(sample)
        return shapes

    def get(self, index: int) -> List[np.ndarray]:
        """Sample `index`, one array an input, of the input's dtype and shape."""
        return [self._one(tensor, index) for tensor in self._inputs]

    def _stored(self, name: str, index: int) -> np.ndarray:
        """As it is in the file; mapped pages do not pile up as memory of this process."""
        stored = np.asarray(self._arrays[name][index])
        self._held += max(stored.nbytes, _AROUND)
        if self._held > HELD_BYTES:
            self._held = 0
            for array in self._arrays.values():
                pages = getattr(array, "_mmap", None)
                if pages is not None:
                    pages.madvise(mmap.MADV_DONTNEED)
        return stored

    def _one(self, tensor: Tensor, index: int) -> np.ndarray:
        stored = self._stored(tensor.name, index)
        if len(tensor.shape) != stored.ndim:
            stored = stored[np.newaxis]
        if tensor.dtype.kind in "iub" and tensor.scale is None:
            return _as_whole(stored, tensor)
        real = stored.astype(np.float32)
        transform = self._transforms.get(tensor.name)
        if transform:
            real = real * np.float32(transform["scale"]) + np.float32(transform["offset"])
        return quantize(real, tensor) if tensor.scale is not None else real.astype(tensor.dtype)

    def digest(self, order: List[int]) -> str:
        """SHA-256 over the stored values of these samples, by input name.

        Before transform and quantization, so that equal digests mean that variants, float or
        quantized, were given the same data.
        """
        digest = hashlib.sha256()
        for name in sorted(self._arrays):
            array = self._arrays[name]
            digest.update(("%s %s %s\n" % (name, array.dtype.str, array.shape[1:])).encode())
            for index in order:
                digest.update(np.ascontiguousarray(self._stored(name, index)).tobytes())
        return digest.hexdigest()


def _as_whole(stored: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Whole numbers as they are. AgentError EP303 when they do not fit the input's type."""
    cast: np.ndarray = stored.astype(tensor.dtype)
    if not np.array_equal(cast, stored):
        raise _misfit("input '%s' takes %s and the data do not fit" % (tensor.name, tensor.dtype))
    return cast


def quantize(real: np.ndarray, tensor: Tensor) -> np.ndarray:
    """rint(real / scale) + zero_point, clipped to the type: rint rounds half to even."""
    limits = np.iinfo(tensor.dtype)
    whole = np.rint(real / np.float32(tensor.scale)) + tensor.zero_point
    return np.asarray(np.clip(whole, limits.min, limits.max), tensor.dtype)


def dequantize(value: np.ndarray, tensor: Tensor) -> np.ndarray:
    """scale * (q - zero_point) in float64; unquantized values as float64."""
    real = value.astype(np.float64)
    return real if tensor.scale is None else tensor.scale * (real - tensor.zero_point)


def evaluation(stored: Dict[str, np.ndarray], transforms: Transforms, split: str = "test") -> Any:
    """Arrays by input, labels and transforms, of an evaluation file or a user's own `.npz`:
    `x_test` or `x_test:<input>`, `y_test`, and one `scale` and `offset` for all inputs. split:
    see `open_npz`."""
    if any(name.startswith("x:") for name in stored):
        arrays = {name[2:]: array for name, array in stored.items() if name.startswith("x:")}
        return arrays, stored.get("y"), transforms
    whole = "x_" + split
    arrays = {
        name[len(whole) + 1 :]: array
        for name, array in stored.items()
        if name == whole or name.startswith(whole + ":")
    }
    if arrays and ("scale" in stored or "offset" in stored):
        scale, offset = stored.get("scale", np.ones(1)), stored.get("offset", np.zeros(1))
        if scale.size != 1 or offset.size != 1:
            raise _misfit("scale and offset of the evaluation data are not one number each")
        transform = {"scale": float(scale.item()), "offset": float(offset.item())}
        transforms = dict.fromkeys(arrays, transform)
    return arrays, stored.get("y_" + split), transforms


def from_file(
    path: str, inputs: List[Tensor], transforms: Transforms, split: str = "test"
) -> Samples:
    """The samples of a file. AgentError EP303 when it does not fit the inputs.

    A model with one input takes a file with one array whatever their names: there is only one
    way to put them together.
    """
    arrays, labels, transforms = evaluation(open_npz(path, split), transforms, split)
    if len(arrays) == len(inputs) == 1:
        (given,) = arrays
        transforms = {inputs[0].name: transforms[given]} if given in transforms else {}
        arrays = {inputs[0].name: arrays[given]}
    wanted = {tensor.name for tensor in inputs}
    if set(arrays) != wanted:
        raise _misfit(
            "the model's inputs are %s and the data hold %s"
            % (", ".join(sorted(wanted)), ", ".join(sorted(arrays)) or "none")
        )
    return Samples(inputs, arrays, transforms, labels)


def seeded(inputs: List[Tensor], seed: int, count: int = 16) -> Samples:
    """Random samples where the job has no data: uniform in [0, 1) for real inputs.

    Whole-number inputs are zeros: any other number might be outside an embedding's table.
    Free axes are taken as 1.
    """
    rng = np.random.default_rng(seed)
    arrays: Dict[str, Any] = {}
    for tensor in inputs:
        shape = (count, *(max(1, n) for n in tensor.shape[1:]))
        if tensor.dtype.kind in "iub" and tensor.scale is None:
            arrays[tensor.name] = np.zeros(shape, tensor.dtype)
        else:
            arrays[tensor.name] = rng.random(shape, dtype=np.float32)
    return Samples(inputs, arrays, {}, None)
