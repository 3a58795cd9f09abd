"""llama.cpp's own functions, by way of llama-cpp-python, which is imported here alone; and what they log."""

import os
from collections import deque
from pathlib import Path

# How often a thread looks before it sleeps at a barrier; read once, when the libraries are loaded. By default it looks
# for some 15 ms, and what it waits for may be a thread that the tests running beside it have displaced: on two cores,
# two busy processes made a step ten times slower that way. 50 us cost nothing on a quiet machine.
if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
    os.environ["GOMP_SPINCOUNT"] = "1000"

import llama_cpp.llama_cpp as lib

__all__ = ["FOLDER", "LOG", "lib"]

FOLDER = Path(lib.__file__).parent / "lib"
"""Where the libraries of llama.cpp and ggml are."""


class Log:
    """Takes what llama.cpp would print, and remembers its last complaints."""

    _ERROR, _CONTINUED = 4, 5  # ggml_log_level
    _NOISE = (
        "llama_model_load: ",
        "error loading model: ",
        "llama_model_load_from_file_impl: ",
        "gguf_init_from_file_impl: ",
    )

    def __init__(self) -> None:
        self.complaints: deque[str] = deque(maxlen=16)
        self._level = 0
        self._callback = lib.llama_log_callback(self._take)  # collected while in use, it would crash the process

    def listen(self) -> None:
        lib.llama_log_set(self._callback, None)
        self.complaints.clear()

    def complaint(self) -> str:
        """The first of the last errors, which are then forgotten: what follows it are consequences."""
        first = self.complaints[0] if self.complaints else "llama.cpp gives no reason"
        self.complaints.clear()
        return first

    def _take(self, level: int, text: bytes, data: object) -> None:
        self._level = self._level if level == self._CONTINUED else level
        line = " ".join(text.decode("utf-8", errors="replace").split())
        for noise in self._NOISE:
            line = line.removeprefix(noise)
        if self._level == self._ERROR and line:
            self.complaints.append(line)


LOG = Log()
"""Of the process, as llama.cpp has one."""
