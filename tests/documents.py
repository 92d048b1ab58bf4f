"""The JSON documents that edgepack prints and writes, held against the schemas beside the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema

import edgepack

CODE = Path(edgepack.__file__).parent
SCHEMAS: dict[str, dict[str, Any]] = {
    schema["properties"]["schema"]["const"]: schema
    for schema in (json.loads(file.read_text()) for file in CODE.rglob("*.schema.json"))
    if "schema" in schema["properties"]
}


def check(document: Any) -> Any:
    """The document, once it has been found to obey the schema that it names."""
    jsonschema.Draft202012Validator(SCHEMAS[document["schema"]]).validate(document)
    return document


def parsed(text: str) -> Any:
    """The one document that a command printed, checked."""
    return check(json.loads(text))
