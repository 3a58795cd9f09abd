"""`swarmcode fix --mode agent`, from the shell, with a model behind an endpoint that calls tools natively."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conftest import Shell

Line = tuple[str, dict[str, Any]]
LINES: list[Line] = [
    ("search", {"text": "def total"}),
    ("view", {"path": "shop.py"}),
    ("strreplace", {"path": "shop.py", "old": "result - price", "new": "result * price"}),
    ("run_tests", {}),
    ("strreplace", {"path": "shop.py", "old": "result * price", "new": "result + price"}),
    ("run_tests", {}),
    ("submit", {}),
]
CODE = (
    "def total(prices):\n    result = 0\n    for price in prices:\n        result = result - price\n    return result\n"
)


@contextmanager
def endpoint(lines: list[Line], *, native: bool) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that says the lines one after the other, and the requests that it got; a plain one refuses tools."""
    asked: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._send(200, {"data": [{"id": "scripted", "max_model_len": 100_000}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            if "tools" in body and not native:
                self._send(400, {"error": {"message": "tools is not supported"}})
                return
            asked.append(body)
            name, arguments = lines[len(asked) - 1]
            call = {"name": name, "arguments": json.dumps(arguments)}
            said = {"content": None, "tool_calls": [{"id": "x", "type": "function", "function": call}]}
            words = {"content": f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>"}
            choice = {"message": said if native else words, "finish_reason": "tool_calls" if native else "stop"}
            self._send(200, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 3}})

        def _send(self, status: int, content: dict[str, Any]) -> None:
            data = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            """Nothing on standard error: that is the program's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1#scripted", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def fixed(shell: "Shell", model: str) -> None:
    (shell.repo / "shop.py").write_text(CODE)
    (shell.repo / "check.py").write_text("from shop import total\n\nassert total([3, 4]) == 7\n")
    call = ("fix", "the total is negative", "--mode", "agent", "--model", model, "--sandbox", "process")
    done = shell.apart(*call, "--test", "python3 check.py", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert [(attempt["ending"], attempt["steps"]) for attempt in report["attempts"]] == [("submitted", len(LINES))]
    assert "looking around with tools" in done.err
    assert "Fixed: 1 failing test now passes." in done.err
    assert (shell.repo / "shop.py").read_text() == CODE


def test_a_fix_by_an_agent_with_tools(shell: "Shell") -> None:
    """It searches, edits, sees its tests fail, edits again, sees them pass, and submits; the patch is proven."""
    with endpoint(LINES, native=True) as (model, asked):
        fixed(shell, model)
    assert {tool["function"]["name"] for tool in asked[0]["tools"]} >= {"view", "search", "strreplace", "submit"}
    roles = [message["role"] for message in asked[-1]["messages"]]
    assert roles == ["system", "user", *["assistant", "tool"] * (len(LINES) - 1)]
    assert "0 passed, 1 failed." in asked[4]["messages"][-1]["content"]
    assert asked[4]["messages"][-1]["tool_call_id"] == asked[4]["messages"][-2]["tool_calls"][0]["id"]


def test_an_endpoint_without_tools_is_spoken_with_in_words(shell: "Shell") -> None:
    """It refuses them once, and is told of them in the system message from then on."""
    with endpoint(LINES, native=False) as (model, asked):
        fixed(shell, model)
    assert not any("tools" in body for body in asked)
    assert "strreplace" in asked[0]["messages"][0]["content"]
    assert {message["role"] for message in asked[-1]["messages"]} == {"system", "user", "assistant"}
