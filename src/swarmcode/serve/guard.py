"""Who may ask: whoever has the key, or, on loopback, whoever is on this machine.

What is guarded where no key is asked for: web pages. A page that a person here looks at may send requests to this
server, and after DNS rebinding read its answers. So the name that is asked for must be one of this machine, and a
request that says that it comes from a page must say so of a page of this machine. Not covered: other users and programs
of this machine; give a key to keep them out.
"""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from swarmcode.serve.asgi import Scope, header
from swarmcode.serve.faults import refused

OPEN = frozenset({"/health"})
"""Paths that need no key: they tell nothing but that the server is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard:
    """Lets requests in, or not."""

    digest: bytes = b""
    """Of the key; empty: there is none."""

    @classmethod
    def of(cls, key: str) -> "Guard":
        """For this key; empty: none."""
        return cls(digest=_digest(key.encode()) if key else b"")

    def check(self, scope: Scope) -> None:
        """Raises `Refused`."""
        if self.digest:
            if scope["path"] not in OPEN and not self._has_key(header(scope, b"authorization")):
                raise refused(401, "give the key of this server as: Authorization: Bearer KEY", code="invalid_api_key")
            return
        if not is_local(_name(f"//{header(scope, b'host')}")):
            raise refused(403, "this server answers to localhost alone, and was asked for by another name")
        origin = header(scope, b"origin")
        if origin and not is_local(_name(origin)):
            raise refused(403, "this server does not answer web pages of other places")

    def _has_key(self, authorization: str) -> bool:
        """In constant time: digests have one length, and tell nothing of what they are made of."""
        scheme, _, given = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(_digest(given.strip().encode()), self.digest)


def is_local(name: str) -> bool:
    """Whether a host name or address means this machine and cannot be made to mean another."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(url: str) -> str:
    """The host of a URL, in lower case; empty where it has none."""
    try:
        return (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return ""


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
