"""What goes on beside the work: telling the host that the agent lives, renewing the lease."""

import threading
import time
from typing import Callable, Optional

from edgepack_agent import protocol
from edgepack_agent.lease import TTL_S, Lease, Lost

_TICK_S = 0.5


class Pulse:
    """A thread of its own, so that neither a hash nor a slow card makes the agent look dead.

    on_lost: called when another session took the board, which ends this one; on_gone: when
    nobody reads any more.
    """

    def __init__(
        self, writer: protocol.Writer, on_lost: Callable[[], None], on_gone: Callable[[], None]
    ) -> None:
        self._writer = writer
        self._on_lost = on_lost
        self._on_gone = on_gone
        self._lease: Optional[Lease] = None
        self._ends = float("inf")
        self._changing = threading.Lock()
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def end_after(self, seconds: float) -> None:
        """End the agent then, whatever it is doing and whether or not the host still listens."""
        self._ends = time.monotonic() + seconds

    def keep(self, lease: Optional[Lease]) -> None:
        """Renew this lease from now on; None: no more, which is sure on return."""
        with self._changing:
            self._lease = lease

    def _beat(self) -> None:
        renewed = time.monotonic()
        while True:
            time.sleep(_TICK_S)
            if time.monotonic() > self._ends:
                self._on_gone()
            try:
                self._writer.pulse()
                if time.monotonic() - renewed >= TTL_S / 3:
                    renewed = time.monotonic()
                    self._renew()
            except Lost:
                self._on_lost()
            except (OSError, ValueError):
                self._on_gone()
                return

    def _renew(self) -> None:
        with self._changing:
            if self._lease is not None:
                self._lease.renew()
