"""`mlc_llm serve`, with a key that is not in the argv, where every user of the machine can read it.

    API_KEY=… python3 mlc_serve.py MODEL [options of mlc_llm serve]

Some versions of MLC know `--api-key`, others no key at all; so it is asked for in front of MLC's application. /health
answers, without a key, as soon as the model is loaded.
"""

from __future__ import annotations

import hmac
import json
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetson_containers.container_scripts.openai_protocol import error_object
else:
    from openai_protocol import error_object


class Guard:
    """An ASGI application in front of another: asks for the key, and answers /health itself."""

    def __init__(self, application: Any, key: str) -> None:
        self._application = application
        self._key = key.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on what has the key, and what is not a request."""
        if scope["type"] not in {"http", "websocket"}:
            await self._application(scope, receive, send)
        elif scope["type"] == "websocket":
            if self._allowed(scope):
                await self._application(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
        elif scope["path"] == "/health":
            await _answer(send, 200, {"status": "ok"})
        elif self._allowed(scope) or scope["method"] == "OPTIONS":  # browsers ask without a key whether they may ask
            await self._application(scope, receive, send)
        else:
            message = "A valid key is needed: `Authorization: Bearer KEY`."
            await _answer(send, 401, error_object(401, message, code="invalid_api_key"))

    def _allowed(self, scope: Any) -> bool:
        if not self._key:
            return True
        given = dict(scope["headers"]).get(b"authorization", b"")
        scheme, _, key = given.partition(b" ")
        return hmac.compare_digest(key.strip(), self._key) and scheme.lower() == b"bearer"


async def _answer(send: Any, status: int, value: dict[str, Any]) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """Put the guard between uvicorn and MLC, then let MLC's own command line do the rest."""
    import uvicorn
    from mlc_llm.cli import serve

    key = os.environ.pop("API_KEY", "")
    run = uvicorn.run

    def guarded(application: Any, **options: Any) -> None:
        run(Guard(application, key), **options)

    uvicorn.run = guarded  # MLC calls it by the module's name
    serve.main(sys.argv[1:])


if __name__ == "__main__":
    main()
