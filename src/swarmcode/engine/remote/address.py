"""What a person writes to name endpoints -> `Endpoint`s.

    URL[#MODEL] [key=VARIABLE] [seats=N] [context=N] [price=IN/OUT | price=IN/CACHED/OUT], and more after a comma

Guarded here: a key comes from the environment alone, and is never part of a message, a repr or an address; what a
person may have typed in its place by mistake (in the URL, after `key=`) is not repeated either. `SWARMCODE_API_KEY`
goes to one origin at most: with several, each says which variable holds its key, so that none is sent another's.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import SplitResult, unquote, urlsplit

from swarmcode.errors import UsageError

API_KEY = "SWARMCODE_API_KEY"
"""The variable that holds the key where no other one is named."""
SEATS = 32
"""Requests that one endpoint is given at once, where nothing else is said."""
MOST_SEATS = 1024
LARGEST_CONTEXT = 1 << 24

_FORM = "write http://host:port/v1#model-name, then options: key=VARIABLE seats=N context=N price=IN/OUT"
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a million tokens cost, in whatever money the person counts."""

    prompt: float
    cached: float
    """A prompt token that the endpoint had computed before."""
    completion: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One address that answers `/chat/completions`."""

    url: str
    """Base, without a final slash: `http://localhost:8080/v1`."""
    model: str = ""
    """As the endpoint calls it; empty: the only one that it has."""
    seats: int = SEATS
    """Requests at once, at most."""
    context: int = 0
    """Tokens of prompt and answer; 0: what the endpoint says."""
    owner: str = ""
    """Of the model, by the endpoint's word: servers put their own name here, vendors theirs; empty: it does not say."""
    price: Price | None = None
    key: str = field(default="", repr=False)
    """Empty: it needs none."""

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def origin(self) -> str:
        """Scheme, host and port."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    @property
    def loopback(self) -> bool:
        """Whether what is sent there stays on this machine."""
        return _is_loopback(self.host)

    def warning(self) -> str:
        """One line on where code is sent; empty where it stays on this machine."""
        if self.loopback:
            return ""
        clear = "" if self.url.startswith("https:") or _is_private(self.host) else ", unencrypted"
        return f"the issue and code of this repository are sent to {self.host}{clear}: its operator can read them"


def is_remote(name: str) -> bool:
    """Whether the name of a model is the address of endpoints, and not a file that somebody hopes will be fetched."""
    return "://" in name and not name.split("#")[0].strip().endswith(".gguf")


def endpoints(text: str, environ: Mapping[str, str]) -> tuple[Endpoint, ...]:
    """The endpoints that a text names, in its order. Raises `UsageError`."""
    named = [part.split() for part in text.split(",")]
    if not all(named):
        raise UsageError("there is nothing between two commas of the model's address", _FORM)
    origins = {_base(words[0]).netloc for words in named}
    default = environ.get(API_KEY, "") if len(origins) == 1 else ""
    return tuple(_endpoint(words, environ, default) for words in named)


def _endpoint(words: list[str], environ: Mapping[str, str], default: str) -> Endpoint:
    parts = _base(words[0])
    options = dict(_options(words[1:], parts.hostname or ""))
    path = parts.path.rstrip("/").removesuffix("/chat/completions")
    key = _key(options.get("key"), environ, parts.hostname or "") if "key" in options else default
    return Endpoint(
        url=f"{parts.scheme}://{parts.netloc}{path}",
        model=unquote(parts.fragment),
        seats=_whole(options, "seats", SEATS, MOST_SEATS),
        context=_whole(options, "context", 0, LARGEST_CONTEXT),
        price=_price(options["price"]) if "price" in options else None,
        key=_sendable(key),
    )


def _base(url: str) -> SplitResult:
    """Takes a URL apart. Messages say nothing of it but its host: the rest may hold what is secret."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise UsageError("the address of the endpoint is no URL", _FORM) from error
    if parts.scheme not in ("http", "https") or not host or not re.fullmatch(r"[\w.:%-]+", host, re.ASCII):
        raise UsageError("the address of the endpoint is no http:// or https:// URL with a host", _FORM)
    if "@" in parts.netloc:
        raise UsageError(
            f"the address of {host} has a user or a password in it",
            f"put the key into the environment variable {API_KEY}, or name another one: key=VARIABLE",
        )
    if parts.query:
        raise UsageError(
            f"the address of {host} has a query (`?...`)",
            f"leave it out; if it is a key, put it into the environment variable {API_KEY}",
        )
    if not re.fullmatch(r"[!-~]*", parts.path + parts.fragment):
        raise UsageError(f"the address of {host} has characters that no URL has", "write them as %XX")
    return parts


def _options(words: list[str], host: str) -> Iterator[tuple[str, str]]:
    for word in words:
        name, found, value = word.partition("=")
        if name not in ("key", "seats", "context", "price") or not found:
            shown = f"{name!r}" if found and re.fullmatch(r"[a-z_]{1,20}", name) else "something"
            raise UsageError(f"after the address of {host} stands {shown}, which is no option", _FORM)
        yield name, value


def _key(variable: str | None, environ: Mapping[str, str], host: str) -> str:
    if not variable or not environ.get(variable):
        raise UsageError(
            f"the environment variable that key= names for {host} is not set",
            "key= takes the name of a variable that holds the key, never the key itself",
        )
    return environ[variable]


def _sendable(key: str) -> str:
    key = key.strip()
    if not re.fullmatch(r"[!-~]*", key):
        raise UsageError("the API key has characters that no header can hold", "copy it again, without line breaks")
    return key


def _whole(options: Mapping[str, str], name: str, default: int, most: int) -> int:
    value = options.get(name, "")
    if name not in options:
        return default
    if not re.fullmatch(r"\d{1,9}", value, re.ASCII) or not 1 <= int(value) <= most:
        raise UsageError(f"{name}={value[:20]} after the address of an endpoint", f"expected a number from 1 to {most}")
    return int(value)


def _price(value: str) -> Price:
    parts = value.split("/")
    if len(parts) not in (2, 3) or not all(_NUMBER.fullmatch(part) for part in parts):
        raise UsageError(
            f"price={value[:40]} after the address of an endpoint",
            "expected the price of a million tokens: price=IN/OUT, or price=IN/CACHED/OUT",
        )
    numbers = [float(part) for part in parts]
    return Price(prompt=numbers[0], cached=numbers[-2], completion=numbers[-1])


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _is_private(host: str) -> bool:
    try:
        return ip_address(host).is_private
    except ValueError:
        return False
