"""Serves the page: a socket, the files of the answers, and nothing from elsewhere."""

import contextlib
import os
import socket
import tempfile
import threading
import urllib.parse
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping, Sequence
from pathlib import Path
from typing import Any

from ..ending import before_end
from ..errors import InputError, check_package
from . import page
from .answers import Answer, Answerer, Kept
from .examples import draw_examples
from .results import Results

__all__ = ["Served", "bind", "check_packages", "serving"]

# The browser itself refuses what is not from here: Gradio's page asks others for fonts and scripts.
# Gradio's templates are compiled in the browser, hence 'unsafe-eval'.
_POLICY = "default-src 'self' data: blob: 'unsafe-inline' 'unsafe-eval'"

_ENVIRONMENT = {
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_MCP_SERVER": "False",
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SHARE": "False",
    "GRADIO_SSR_MODE": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
}

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Scope]]
_Send = Callable[[_Scope], Awaitable[None]]


def check_packages() -> None:
    """Checks that Gradio is installed, without loading it.

    Raises:
        InputError: it is not; the message names the extra.
    """
    check_package("gradio", "the page", 'pip install -e ".[demo]"')


def bind(host: str, port: int) -> socket.socket:
    """Takes an address of this machine, so that what prevents it is told before any work.

    Args:
        host: name or address of one of this machine's interfaces.
        port: port; 0 for any that is free.

    Returns:
        A socket that listens.

    Raises:
        InputError: the address is not of this machine, or the port is taken or reserved.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise InputError(
            f"--host {host} is unknown ({error}); take 127.0.0.1, or 0.0.0.0 for all interfaces"
        ) from error
    try:
        if os.name == "posix":  # elsewhere it would share the port with another program
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen()
    except OSError as error:
        listener.close()
        raise InputError(
            f"--host {host} --port {port} cannot be used ({error.strerror}); choose another --port,"
            " or 0 for one that is free"
        ) from error
    return listener


class Served:
    """A page that is being served.

    Attributes:
        url: its address.
    """

    def __init__(self, url: str, thread: threading.Thread):
        self.url = url
        self._thread = thread

    def wait(self) -> None:
        """Waits until the server ends."""
        while self._thread.is_alive():  # in steps: a wait without end is not interrupted everywhere
            self._thread.join(1)


@contextlib.contextmanager
def serving(
    answerer: Answerer,
    listener: socket.socket,
    *,
    title: str,
    examples: Sequence[Path] = (),
    max_bytes: int | None = None,
) -> Iterator[Served]:
    """Serves the page while a `with` block runs.

    Pictures that are sent lie in a temporary folder, which is removed at the end.

    Args:
        answerer: answers the pictures.
        listener: socket of `bind`.
        title: name of the network, shown at the top of the page.
        examples: pictures to try it with; without any some of the sample dataset are drawn.
        max_bytes: largest file that is taken; None for any.
    """
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_temporary_folder())
        sent = folder / "sent"
        stack.enter_context(_environment({"GRADIO_TEMP_DIR": str(sent)}))
        import gradio
        import uvicorn

        kept = Kept()
        results = Results(answerer.segmenter.classes, answerer.segmenter.palette)
        examples = examples or draw_examples(folder)
        blocks = page.build(answerer, kept, results, title=title, examples=examples, folder=sent)
        app = gradio.mount_gradio_app(
            _with_files(kept, results),
            blocks,
            path="/",
            footer_links=[],
            show_error=True,
            max_file_size=max_bytes,
            enable_monitoring=False,
            ssr_mode=False,
            mcp_server=False,
            pwa=False,
            theme=page.theme(),
            css=page.style(),
        )
        # Only then Gradio checks that a file was sent, and is not another one that somebody names.
        blocks.has_launched = True
        config = uvicorn.Config(
            _Guarded(app), log_config=None, log_level="error", access_log=False, ws="none"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
        thread.start()
        try:
            yield Served(_url(listener), thread)
        finally:
            server.should_exit = True
            thread.join()
            listener.close()


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # every interface: this one is surely reached from here
        host = "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    folder = tempfile.TemporaryDirectory(prefix="fcn8s-ms-", ignore_cleanup_errors=True)
    before_end(folder.cleanup)
    with folder as name:
        yield Path(name)


@contextlib.contextmanager
def _environment(more: Mapping[str, str]) -> Iterator[None]:
    """Sets the variables that Gradio reads, for a `with` block."""
    wanted = {**_ENVIRONMENT, **more}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


class _Guarded:
    """An application whose answers carry the policy above."""

    def __init__(self, app: Callable[[_Scope, _Receive, _Send], Awaitable[None]]):
        self._app = app

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        async def with_headers(message: _Scope) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [
                    *message.get("headers", ()),
                    (b"content-security-policy", _POLICY.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        await self._app(scope, receive, with_headers)


def _with_files(kept: Kept, results: Results) -> Any:
    """An application that hands out the files of answers by their keys."""
    from fastapi import FastAPI, Response

    app = FastAPI(openapi_url=None)

    def answered(key: str, make: Callable[[Answer], Any]) -> Any:
        answer = kept.get(key)
        if answer is None:
            return Response(
                "This answer is not kept any more; give the picture again.",
                410,
                media_type="text/plain",
            )
        return make(answer)

    def file(answer: Answer, kind: str, content: bytes | None) -> Any:
        name = urllib.parse.quote(results.file_name(answer, kind))
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        if content is None:
            return Response(f"The network does not tell the {kind}.", 404, media_type="text/plain")
        media_type = "application/json" if name.endswith(".json") else "image/png"
        return Response(content, media_type=media_type, headers=headers)

    @app.get("/answers/{key}/picture.jpg")
    def picture(key: str) -> Any:
        return answered(key, lambda answer: Response(answer.picture(), media_type="image/jpeg"))

    @app.get("/answers/{key}/planes")
    def planes(key: str) -> Any:
        headers = {"Content-Encoding": "deflate"}
        kind = "application/octet-stream"
        return answered(key, lambda answer: Response(answer.planes(), 200, headers, kind))

    @app.get("/answers/{key}/mask.png")
    def mask(key: str) -> Any:
        return answered(key, lambda answer: file(answer, "mask", results.mask(answer)))

    @app.get("/answers/{key}/certainty.png")
    def certainty(key: str) -> Any:
        return answered(key, lambda answer: file(answer, "certainty", results.certainty(answer)))

    @app.get("/answers/{key}/overlay.png")
    def overlay(key: str, opacity: float = 0.5, hidden: str = "") -> Any:
        shown = opacity if 0 <= opacity <= 1 else 0.5
        labels = {label for label in range(256) if str(label) in hidden.split(",")}
        return answered(
            key, lambda answer: file(answer, "overlay", results.overlay(answer, shown, labels))
        )

    @app.get("/answers/{key}/polygons.json")
    def polygons(key: str) -> Any:
        return answered(key, lambda answer: file(answer, "polygons", results.polygons(answer)))

    return app
