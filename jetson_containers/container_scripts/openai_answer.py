"""One answer of the OpenAI protocol: generated in turn, told whole or as a stream of events."""

from __future__ import annotations

import threading
import time
import traceback
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jetson_containers.container_scripts.openai_protocol import BadRequest, CompletionRequest, error_object
    from jetson_containers.container_scripts.openai_server import Handler
    from jetson_containers.container_scripts.text_stream import Stopper
else:  # inside an image these files stand alone, in one directory
    from openai_protocol import BadRequest, error_object
    from text_stream import Stopper

WATCH = 0.2  # seconds between looks whether the client is still there


class CompletionAnswer:
    """One generation and how it is told."""

    def __init__(self, handler: Handler, request: CompletionRequest) -> None:
        self._handler = handler
        self._request = request
        self._server = handler.server
        self._id = ("chatcmpl-" if request.chat else "cmpl-") + uuid.uuid4().hex
        self._created = int(time.time())
        self._finish = "stop"
        self._text = ""
        self._started = False

    def give(self) -> None:
        """Wait for the turn, generate, and answer; stops early when the client goes or the server ends."""
        options = self._request.options
        done = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(done,), daemon=True)
        watcher.start()
        try:
            while not self._server.turn.acquire(timeout=WATCH):
                if options.cancelled.is_set():
                    self._handler.close_connection = True
                    return
            try:
                self._generate()
            finally:
                self._server.turn.release()
        except ConnectionError:
            self._handler.close_connection = True
        except BadRequest:
            if not self._started:
                raise
            self._handler.close_connection = True
        except Exception as error:  # noqa: BLE001 - a failure of one answer must not end the server
            traceback.print_exc()
            self._fail(f"{type(error).__name__}: {error}")
        finally:
            done.set()

    def _watch(self, done: threading.Event) -> None:
        while not done.wait(WATCH):
            if self._server.stopping.is_set() or self._handler.gone():
                self._request.options.cancelled.set()
                return

    def _generate(self) -> None:
        options = self._request.options
        stopper = Stopper(options.stop)
        pieces = self._server.backend.generate(self._request.prompt, options)
        try:
            for piece in pieces:
                if options.cancelled.is_set() or self._handler.gone():
                    self._handler.close_connection = True
                    return
                self._say(stopper.push(piece))
                if stopper.stopped:
                    break
            self._say(stopper.end())
        finally:
            close = getattr(pieces, "close", None)
            if close:
                close()
        if options.cancelled.is_set():
            self._handler.close_connection = True
            return
        usage = self._usage()
        self._finish = self._reason(stopper, usage["completion_tokens"])
        self._end(usage)

    def _say(self, piece: str) -> None:
        self._text += piece
        if not self._request.stream:
            return
        self._start()
        if piece:
            self._handler.event(self._chunk(piece, None))

    def _start(self) -> None:
        """Headers wait for the first piece, so that what is wrong with a request still gets its status."""
        if self._started:
            return
        self._started = True
        self._handler.start_events()
        if self._request.chat:
            self._handler.event(self._object({"delta": {"role": "assistant", "content": ""}, "finish_reason": None}))
        elif self._request.echo:
            self._handler.event(self._chunk(str(self._request.prompt), None))

    def _end(self, usage: dict[str, int]) -> None:
        if not self._request.stream:
            text = (str(self._request.prompt) if self._request.echo else "") + self._text
            said: dict[str, Any] = (
                {"message": {"role": "assistant", "content": text}} if self._request.chat else {"text": text}
            )
            self._handler.answer({**self._object({**said, "finish_reason": self._finish}), "usage": usage})
            return
        self._start()
        self._handler.event(self._chunk("", self._finish))
        if self._request.include_usage:
            self._handler.event({**self._object({}), "choices": [], "usage": usage})
        self._handler.event(None)

    def _fail(self, message: str) -> None:
        try:
            if self._started:
                self._handler.event(error_object(500, message))
                self._handler.close_connection = True
            else:
                self._handler.error(500, message)
        except ConnectionError:
            self._handler.close_connection = True

    def _chunk(self, piece: str, finish: str | None) -> dict[str, Any]:
        if self._request.chat:
            return self._object({"delta": {"content": piece} if piece else {}, "finish_reason": finish})
        return self._object({"text": piece, "finish_reason": finish})

    def _object(self, choice: dict[str, Any]) -> dict[str, Any]:
        kind = "text_completion"
        if self._request.chat:
            kind = "chat.completion.chunk" if self._request.stream else "chat.completion"
        return {
            "id": self._id,
            "object": kind,
            "created": self._created,
            "model": self._server.backend.model_id,
            "choices": [{"index": 0, "logprobs": None, **choice}],
        }

    def _usage(self) -> dict[str, int]:
        report = self._request.options.report
        count = self._server.backend.count
        prompt = report.prompt_tokens
        if prompt is None:
            given = self._request.prompt
            prompt = count(given if isinstance(given, str) else "\n".join(message["content"] for message in given))
        completion = report.completion_tokens
        if completion is None:
            completion = count(self._text)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}

    def _reason(self, stopper: Stopper, tokens: int) -> str:
        if stopper.stopped:
            return "stop"
        said = self._request.options.report.finish_reason
        limit = self._request.options.max_tokens
        return said or ("length" if 0 < limit <= tokens else "stop")
