"""The probes that plug-ins of the host add; none in the agent as it is shipped.

The host writes their names here, and the modules beside this one, when it makes the agent's file.
"""

from typing import Tuple

PROBES: Tuple[str, ...] = ()
