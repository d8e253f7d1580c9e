"""`jmpose review`: the server from its start to Ctrl-C, and what is saved then."""

import ipaddress
import os
import secrets
import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from jmpose_cli.clips.find import find_clips
from jmpose_cli.console import Reporter
from jmpose_cli.errors import JmposeError
from jmpose_cli.review.app import make_app
from jmpose_cli.review.clip import ReviewClip
from jmpose_cli.review.estimate import Estimator
from jmpose_cli.review.guard import Guard
from jmpose_cli.signals import StopRequest
from jmpose_cli.text import one_line
from jmpose_cli.video.source import ChildPool

LOOPBACK = "127.0.0.1"
_LONGEST_END_S = 10.0


def review(
    places: Sequence[Path], *, host: str, port: int, video: Path | None, open_browser: bool, reporter: Reporter
) -> int:
    """Serve the page of some clips until Ctrl-C, then bring their files up to date.

    Args:
        places: Folders of clips, or folders with clips below them.
        host: Address to listen at.
        port: Port to listen at; 0 takes a free one.
        video: Where the video of the only clip lies now.
        open_browser: Open the page.
        reporter: Tells the address, and what is saved.

    Returns:
        0, or 1 when files of a clip could not be brought up to date.

    Raises:
        JmposeError: A folder holds no clip, `video` is given for several clips or is not there, or nobody can listen
            at that address.
    """
    folders = find_clips(places)
    if video is not None and len(folders) > 1:
        raise JmposeError(f"--video {video}: of {len(folders)} clips", hint="name the folder of one clip")
    if video is not None and not video.exists():
        raise JmposeError(f"--video {video}: no such file", hint="name the video that the poses are of")
    children, estimator = ChildPool(), Estimator()
    clips = [
        ReviewClip(folder, name, video=video, children=children)
        for folder, name in zip(folders, names_of(folders), strict=True)
    ]
    with listening(host, port) as listener:
        token, port = secrets.token_urlsafe(24), listener.getsockname()[1]
        shown = host if _is_loopback(host) else socket.gethostname()
        address = f"http://{f'[{shown}]' if ':' in shown else shown}:{port}/?token={token}"
        if not _is_loopback(host):
            reporter.note(
                f"--host {host}: whoever learns the address can see and change the clips; it is not encrypted"
            )
        app = Guard(
            make_app(clips, estimator), token=token, port=port, hosts=_names(host), is_open=not _is_loopback(host)
        )
        reporter.header({"clips": f"{len(clips)}", "open": address, "end": "Ctrl-C, which saves and renders"})
        try:
            _serve_until_asked(app, listener, address if open_browser else None)
            return _save(clips, reporter)
        finally:
            for clip in clips:
                clip.close()
            estimator.close()
            children.close()


def names_of(folders: Sequence[Path]) -> list[str]:
    """Return what clips are called: their folders as seen from the one that holds all of them."""
    whole = [folder.resolve() for folder in folders]
    common = Path(os.path.commonpath([folder.parent for folder in whole]))
    return [one_line(folder.relative_to(common).as_posix()) for folder in whole]


def listening(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        JmposeError: The port is in use, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        hint = "choose another --port, or leave it out for a free one; --host is an address of this machine"
        raise JmposeError(f"cannot listen at {host}, port {port}: {reason}", hint=hint) from error
    return listener


def server_of(app: Guard) -> uvicorn.Server:
    """Return a server that tells nothing of itself."""
    config = uvicorn.Config(
        app, log_level="critical", access_log=False, server_header=False, lifespan="off", timeout_graceful_shutdown=2
    )
    return uvicorn.Server(config)


def _serve_until_asked(app: Guard, listener: socket.socket, address: str | None) -> None:
    """Serve in a thread, where the server does not listen to signals, until one comes."""
    server = server_of(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="server", daemon=True)
    stop = StopRequest()
    with stop.listening():
        thread.start()
        if address is not None:
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        while thread.is_alive() and not stop.asked:
            thread.join(0.1)
    server.should_exit = True
    thread.join(_LONGEST_END_S)


def _save(clips: Sequence[ReviewClip], reporter: Reporter) -> int:
    """Bring the files of all clips that were looked at up to date; one that fails does not stop the others."""
    failed = False
    for clip in clips:
        if not clip.is_open:
            continue
        try:
            with reporter.progress(clip.name, None) as progress:
                notes = clip.render(lambda: progress.advance(0))
        except JmposeError as error:
            reporter.failure(str(clip.folder), error)
            failed = True
            continue
        for note in notes:
            reporter.note(f"{clip.name}: {note}")
        reporter.header({"saved": str(clip.folder)})
    return int(failed)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _names(host: str) -> frozenset[str]:
    """Return the names under which the server may be asked for."""
    names = {"localhost", host.lower()}
    return frozenset(names if _is_loopback(host) else names | {socket.gethostname().lower(), socket.getfqdn().lower()})
