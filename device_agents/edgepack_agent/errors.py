"""The one exception that becomes an `error` event or the error of a `result`."""

from typing import Dict, Optional


class AgentError(Exception):
    """An error with a code of edgepack's catalogue, one sentence, and what to try next.

    `status` is the status of the variant's result where the error concerns one variant.
    """

    def __init__(self, code: str, what: str, hint: str, status: str = "failed") -> None:
        super().__init__(what)
        self.code = code
        self.what = what
        self.hint = hint
        self.status = status

    def fields(self) -> Dict[str, Optional[str]]:
        """The fields of an event: code, what, hint."""
        return {"code": self.code, "what": self.what, "hint": self.hint}
