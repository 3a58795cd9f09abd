"""How one call of an endpoint can fail: what the room of remote engines says to itself, never to a person."""


class Fault(Exception):
    """The call brought nothing; another one, or another endpoint, may."""

    def __init__(self, message: str, *, pause: float | None = None, throttled: bool = False, hint: str = "") -> None:
        """`message` is one line, fit for a person and free of secrets. `pause`: seconds that the endpoint asks to be
        left alone. `throttled`: it is well, and busy. `hint`: it will not be well in this run; what to do about it."""
        super().__init__(message)
        self.message = message
        self.pause = pause
        self.throttled = throttled
        self.hint = hint


class Unsupported(Exception):
    """The endpoint does not know an optional field of the request."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name
