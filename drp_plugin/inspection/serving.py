"""`drp inspect --serve`: the page on this machine alone, its decisions saved as they are made.

It listens on the loopback address. A random token in the page's address keeps other pages of the
browser out. So do the checks of Host (another name that points here) and Origin (another page that
sends). Only decisions on rows of the run can be written."""

import json
import secrets
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from drp_plugin import jsonl
from drp_plugin.errors import UserError
from drp_plugin.inspection.edits import Decisions, Edit, check_edit, read_edits, written
from drp_plugin.inspection.rows import find_row, readable
from drp_plugin.llm.ledger_disk import locked
from drp_plugin.records import Reject
from drp_plugin.run_dir import EDITS
from drp_plugin.thinking import Unfit

_MOST = 4 << 20  # Bytes of a decision


def decide(decisions: Decisions, given: dict[str, Any]) -> dict[str, Any]:
    """Save a decision (`action` None takes one back) and keep what other processes save; returns
    the checks of an edited text. Raises UserError for a decision that fits no row of the run."""
    run_dir, id_ = decisions.run_dir, str(given.get("id"))
    edit = None if given.get("action") is None else Edit.model_validate(given)
    answer: dict[str, Any] = {}
    if edit is not None:
        row = find_row(run_dir, edit.id)
        if row.id != edit.id:  # an end of it
            raise UserError(f"no row has the id {edit.id!r}", file=run_dir)
        if edit.response is not None:
            answer["checks"] = readable(check_edit(
                decisions.unpruned(row) if isinstance(row, Reject) else row, edit.response,
                decisions.options, decisions.count))
    with locked(run_dir / f".{EDITS}.lock", f"it saves a decision in {run_dir}"):
        others = [other for other in read_edits(run_dir).values() if other.id != id_]
        jsonl.write(run_dir / EDITS, [*others, edit] if edit else others)
    return answer


def server(run_dir: Path, page: bytes, port: int = 0) -> tuple[ThreadingHTTPServer, str]:
    """A server of the page that is not running yet, and the page's address. Raises UserError."""
    decisions = Decisions(run_dir)  # fails at once if edits.jsonl cannot be used
    turn, token = threading.Lock(), secrets.token_urlsafe(24)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.path.removeprefix(f"/{token}/") if self._welcome() else None
            if wanted == "":
                self._send(200, page)
            elif wanted == "edits":
                self._send(200, {"edits": written(run_dir)})
            else:
                self._send(404, {"error": "not found"})

        def do_POST(self) -> None:
            size = self.headers.get("Content-Length", "")
            host, origin = self.headers.get("Host", ""), self.headers.get("Origin")
            if not self._welcome() or origin != f"http://{host}" \
                    or self.path != f"/{token}/decide":
                self._send(403, {"error": "not allowed"})
            elif not size.isdecimal() or int(size) > _MOST:
                self._send(413, {"error": "too long"})
            else:
                try:
                    given = jsonl.loads(self.rfile.read(int(size)))
                    with turn:
                        answer = decide(decisions, given)
                    self._send(200, answer)
                except (Unfit, UserError, ValueError, AttributeError) as error:
                    self._send(400, {"error": str(error).splitlines()[0]})
                except OSError as error:
                    self._send(500, {"error": f"it cannot be written: {error.strerror}"})

        def _welcome(self) -> bool:
            host = self.headers.get("Host", "")
            known = {f"{name}:{made.server_port}" for name in ("127.0.0.1", "localhost")}
            sender = self.path.split("/")[1] if "/" in self.path else ""
            return host in known and secrets.compare_digest(sender.encode(), token.encode())

        def _send(self, code: int, body: bytes | dict[str, Any]) -> None:
            text = body if isinstance(body, bytes) else json.dumps(body).encode()
            self.send_response(code)
            for name, value in (("Content-Type", "text/html; charset=utf-8" if text is body
                                 else "application/json"), ("Content-Length", str(len(text))),
                                ("Cache-Control", "no-store"), ("Connection", "close"),
                                ("X-Frame-Options", "DENY"), ("Referrer-Policy", "no-referrer"),
                                ("X-Content-Type-Options", "nosniff")):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, format: str, *args: Any) -> None:
            pass  # the address holds the token

    try:
        made = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except OSError as error:
        raise UserError(f"--port {port}: {error.strerror}", fix="Give another one") from None
    return made, f"http://127.0.0.1:{made.server_port}/{token}/"
