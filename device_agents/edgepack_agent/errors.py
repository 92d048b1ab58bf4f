"""The one exception that becomes an `error` event or the error of a `result`."""

import errno
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


def unwritable(what: str, error: OSError) -> AgentError:
    """An error of the file system as one with a code: EP406 on a full disk, else EP502."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return AgentError(
        "EP406" if full else "EP502",
        "%s cannot be written: %s" % (what, error),
        "Free some space, or point EDGEPACK_AGENT_HOME at a folder that can be written.",
    )
