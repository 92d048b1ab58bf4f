"""The two ways in which opening a model is refused: not a model (EP202), or code in it (EP203)."""

from __future__ import annotations

from edgepack.errors import EdgepackError

_SAVE_AGAIN = "Copy the file again, or save it again with model.save('model.keras')."


def not_a_model(why: str, where: str, hint: str = _SAVE_AGAIN) -> EdgepackError:
    """EP202 with one reason."""
    return EdgepackError(
        "EP202", f"This is not a model that can be opened: {why}", hint=hint, where=where
    )


def bomb(why: str, where: str) -> EdgepackError:
    """EP202 for a file that asks for far more memory or disk than it is worth."""
    return EdgepackError(
        "EP202",
        f"The file was refused unopened: {why}",
        hint="No Keras writes such a file: get the model from a source that you trust.",
        where=where,
    )


def needs_code(what: str, where: str) -> EdgepackError:
    """EP203 for code that a module of the user's can stand for."""
    return EdgepackError(
        "EP203",
        f"The model needs {what}, which would run code from the file or from elsewhere",
        hint="If you trust the model, name the module: --allow-custom-objects your.module.",
        where=where,
    )


def forbidden(what: str, why: str, where: str) -> EdgepackError:
    """EP203 for what no module can stand for."""
    return EdgepackError(
        "EP203",
        f"The model holds {what}, which {why}",
        hint="Save the model again without it; edgepack opens no model that has it.",
        where=where,
    )
