"""A page that shows a run while it goes on, for one person on this machine."""

from edgepack.live.board import Board
from edgepack.live.server import LiveServer

__all__ = ["Board", "LiveServer"]
