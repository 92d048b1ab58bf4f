"""The nouns of `model` as JSON and back, with every error of a document listed at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")


class InvalidDocumentError(ValueError):
    """A document that is not what it should be; the message lists what is wrong, and where."""


_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """Pydantic's adapter of a type: making one takes milliseconds, so each is made once."""
    if kind not in _ADAPTERS:
        # Imported here: a list of runs needs no documents, and pydantic takes its time.
        from pydantic import TypeAdapter

        _ADAPTERS[kind] = TypeAdapter(kind)
    return _ADAPTERS[kind]


def to_json(value: Any) -> Any:
    """The value as JSON types (dict, list, str, int, float, bool, None)."""
    return _adapter(type(value)).dump_python(value, mode="json")


def from_json(kind: type[T], document: Any) -> T:
    """The `kind` that the document describes; InvalidDocumentError names every fault in it."""
    from pydantic import ValidationError

    try:
        result: T = _adapter(kind).validate_python(document)
    except ValidationError as error:
        faults = [
            f"{'.'.join(str(part) for part in fault['loc']) or 'document'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        ]
        raise InvalidDocumentError("; ".join(faults[:20])) from error
    return result
