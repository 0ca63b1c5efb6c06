"""Where a step runs: this machine, or a host over ssh or under emulation. One protocol: ``Place``."""

from .connection import HostError
from .emulated import emulated
from .host import Errand, Host
from .local import Local
from .reply import Place, Reply, environment
from .ssh import Ssh

__all__ = ["Errand", "Host", "HostError", "Local", "Place", "Reply", "Ssh", "emulated", "environment"]
