"""Opening source models: looked through first, then read by the right Keras.

Keras 3 reads its own `.keras` and `.h5` and Keras 2's `.h5`; Keras 2's `.keras` and
SavedModels need tf_keras. Models are never compiled. A model file can carry code: Lambda
layers and custom objects are refused (EP203) unless the caller names the module they are in.
"""

from __future__ import annotations

import importlib
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from edgepack.compress import safety
from edgepack.compress.native import quiet, tensorflow
from edgepack.compress.network import KerasNetwork, Network, SavedModelNetwork
from edgepack.compress.refusals import needs_code, not_a_model
from edgepack.compress.safety import Allowed
from edgepack.compress.sources import Source, bad_arch, split_arch
from edgepack.compress.user_code import import_from_here
from edgepack.errors import EdgepackError

Custom = dict[str, Any] | None


def load(source: Source, allow_custom_objects: str | None = None) -> Network:
    """The network in a Keras file or SavedModel folder (not a .tflite).

    allow_custom_objects: a module whose public classes and functions the model may use; it
    is imported, and Lambda layers are then run too. EP202 damaged or a bomb, EP203 needs
    custom code, EP105 an architecture function that cannot be called.
    """
    custom = _custom_objects(allow_custom_objects)
    allowed = None
    if custom is not None:
        allowed = Allowed(module=str(allow_custom_objects), names=frozenset(custom))
    try:
        network = _read(source, custom, allowed)
    except EdgepackError:
        raise
    except Exception as error:
        raise _explain(error, str(source.path)) from error
    if not network.inputs or not network.outputs:
        raise not_a_model("it has no inputs or outputs", str(source.path))
    return network


@contextmanager
def allowed(network: Network, allow_custom_objects: str | None) -> Iterator[None]:
    """Meanwhile layers can be made again from what the user allowed when loading them.

    Passes copy layers by their configurations, which takes the module's classes, and Lambda
    layers where a module was named; without one, nothing that was refused is let in.
    """
    custom = _custom_objects(allow_custom_objects)
    if custom is None or not isinstance(network, KerasNetwork):
        yield
        return
    with ExitStack() as scopes:
        # A Keras 2 network may be cut as its Keras 3 twin.
        for framework in {"keras", network.framework}:
            keras = importlib.import_module(framework)
            lib = importlib.import_module(f"{framework}.src.saving.serialization_lib")
            scopes.enter_context(keras.utils.custom_object_scope(custom))
            scopes.enter_context(lib.SafeModeScope(safe_mode=False))  # no public name
        yield


def _read(source: Source, custom: Custom, allowed: Allowed | None) -> Network:
    """Scan, then open."""
    if source.kind == "savedmodel":
        safety.scan_saved_model(source.path, allowed)
        return _load_saved_model(source.path, custom)
    version = safety.scan_file(source.path, source.kind, allowed)
    if source.kind == "keras":
        return _open("tf_keras" if version.startswith("2.") else "keras", source.path, custom)
    if source.kind == "weights":
        return _load_weights(source)
    return _load_h5(source.path, custom)


def _custom_objects(module_name: str | None) -> Custom:
    if module_name is None:
        return None
    import_from_here()
    tensorflow()
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise EdgepackError(
            "EP203",
            f"The module of custom objects cannot be imported: {error}",
            hint="Name a module that is importable from the current folder.",
            where=module_name,
        ) from error
    public = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {name: value for name, value in public.items() if callable(value)}


def _load_h5(path: Path, custom: Custom) -> Network:
    try:
        return _open("keras", path, custom)
    except Exception as keras3_error:
        try:
            return _open("tf_keras", path, custom)
        except Exception:
            raise keras3_error from None


def _load_saved_model(path: Path, custom: Custom) -> Network:
    if (path / "keras_metadata.pb").is_file():
        return _open("tf_keras", path, custom)
    tf = tensorflow()
    with quiet():
        loaded = tf.saved_model.load(str(path))
    function = loaded.signatures.get("serving_default")
    if function is None:
        raise not_a_model("the SavedModel has no 'serving_default' signature", str(path))
    return SavedModelNetwork(folder=path, function=function, keep_alive=loaded)


def _open(framework: str, path: Path, custom: Custom) -> Network:
    tensorflow()
    with quiet():
        keras = importlib.import_module(framework)
        safe = {} if custom is None else {"safe_mode": False}
        model = keras.models.load_model(path, custom_objects=custom, compile=False, **safe)
    return _network(model, framework, str(path))


def _network(model: Any, framework: str, where: str) -> KerasNetwork:
    if not getattr(model, "inputs", None):
        raise not_a_model("its inputs are not fixed", where)
    return KerasNetwork(model=model, framework=framework)


def _load_weights(source: Source) -> Network:
    """The network that the architecture function makes, with the weights of the file."""
    model = _make(str(source.arch))
    framework = _framework(model, str(source.arch))
    with tempfile.TemporaryDirectory(prefix="edgepack-weights-") as folder:
        # Keras tells its two weight formats apart by the file's name alone.
        link = Path(folder) / ("w.h5" if _is_legacy(source.path) else "w.weights.h5")
        link.symlink_to(source.path.resolve())
        try:
            with quiet():
                model.load_weights(str(link))
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise not_a_model(
                f"its weights do not fit {source.arch} ({reason})", str(source.path)
            ) from error
    return _network(model, framework, str(source.path))


def _make(arch: str) -> Any:
    module_name, function_name = split_arch(arch)
    import_from_here()
    tensorflow()
    try:
        function = getattr(importlib.import_module(module_name), function_name)
    except (ImportError, AttributeError) as error:
        raise bad_arch(f"The function cannot be imported: {error}", arch) from error
    try:
        with quiet():
            return function()
    except Exception as error:  # the user's own code: say what it said
        raise bad_arch(f"The function failed: {type(error).__name__}: {error}", arch) from error


def _framework(model: Any, arch: str) -> str:
    """Which Keras the model is one of, by the classes it derives from."""
    roots = {base.__module__.partition(".")[0] for base in type(model).__mro__}
    for framework in ("tf_keras", "keras"):
        if framework in roots and hasattr(model, "load_weights"):
            return framework
    raise bad_arch(f"The function returned a {type(model).__name__} instead of a model", arch)


def _is_legacy(path: Path) -> bool:
    """Whether weights lie as in Keras 2's .h5, by layer names, instead of by the model's tree."""
    import h5py

    with h5py.File(path, "r") as file:
        return "layer_names" in file.attrs or "model_weights" in file


def _explain(error: Exception, where: str) -> EdgepackError:
    """A library's exception as EP203 when it misses a class, else EP202."""
    text = " ".join(str(error).split())
    if re.search(r"Could not locate|Unknown (layer|object|activation|[a-z ]*function)", text):
        missing = re.search(r"(?:class|Unknown \w+(?: \w+)?:?) '?(\w+)'?", text)
        return needs_code(f"'{missing[1]}'" if missing else "custom objects", where)
    return not_a_model(text[:300] or type(error).__name__, where)
