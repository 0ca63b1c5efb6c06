"""Where a step runs: this machine, or a host over ssh. One protocol: ``Place``."""

from .connection import HostError
from .host import Errand, Host
from .local import Local
from .reply import Place, Reply, environment
from .ssh import Ssh

__all__ = ["Errand", "Host", "HostError", "Local", "Place", "Reply", "Ssh", "environment"]
