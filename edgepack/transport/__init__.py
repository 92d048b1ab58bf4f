"""Ways to reach a device. `for_device` picks one; each is imported when it is first used."""

from __future__ import annotations

from edgepack.model import Device
from edgepack.transport.base import Transport

GROUP = "edgepack.transports"


def for_device(device: Device, *, connect_timeout_s: float, local_home: str) -> Transport:
    """The transport that `device.transport` names: local, ssh, or a plug-in's.

    `local_home`: the folder that an agent on this machine keeps its blobs in.

    Raises:
        EdgepackError: EP105 when there is no such transport, EP109 when it is unavailable.
    """
    if device.transport == "local":
        from edgepack.transport.local import LocalTransport

        return LocalTransport({"EDGEPACK_AGENT_HOME": local_home})
    if device.transport == "ssh":
        from edgepack.transport.ssh import SshTransport

        return SshTransport(device, connect_timeout_s)
    from edgepack import plugins

    entry = plugins.found(GROUP).get(device.transport)
    if entry is None:
        raise plugins.unknown(GROUP, device.transport)
    made: Transport = plugins.load(entry)(device, connect_timeout_s)
    return made
