#!/usr/bin/env python3
"""A client of `rareclip serve` in one file: Python 3.9 or later, nothing but the standard library.

    client = Client("http://127.0.0.1:8700")
    client.create_stream("line-1")
    answer = client.score("line-1", "part-0042.png", key="2026-11-24/part-0042")
    print(answer["score"], answer["verdict"])

From the command line it posts the images of a folder and prints one line for each:

    RARECLIP_API_KEY=... python3 rareclip_client.py photos/ --stream line-1 --run 2026-11-24
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Union

#: Statuses that mean "not now": nothing was counted, and the same request may be sent again.
NOT_NOW = (429, 503, 504)
#: Seconds between two tries where the service does not say how long.
PAUSE = 1.0
#: The service sends a comment every 15 s; a connection silent for longer than this is dead.
SILENCE = 45.0
IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")


class Problem(Exception):
    """The service said no, or could not be reached for as long as the client was patient."""

    def __init__(self, status: int, kind: str, detail: str):
        super().__init__(detail)
        #: The HTTP status; 0 where there was no answer.
        self.status = status
        #: A short word for programs, e.g. `image`, `not-found`, `busy`.
        self.kind = kind
        #: What is wrong, where, and what to do.
        self.detail = detail
        #: Seconds to wait before the same request may succeed.
        self.retry_after = PAUSE


class Event(NamedTuple):
    """Something that happened in a stream."""

    #: `result`, `stream` or `deleted`.
    kind: str
    #: The number of a result, to go on after; else None.
    id: Optional[int]
    #: A result or a stream, as the API gives them.
    data: Dict[str, Any]


class Client:
    """A service.

    `api_key` is taken from the environment (RARECLIP_API_KEY) where it is not given. `ca` is a file of certificates (PEM) to
    trust instead of the system's. For `patience` seconds a busy or absent service is tried again; that is safe, for every request
    sent from here means the same when it is sent twice.
    """

    def __init__(
        self,
        server: str = "http://127.0.0.1:8700",
        api_key: Optional[str] = None,
        ca: Optional[str] = None,
        patience: float = 300.0,
        timeout: float = 90.0,
    ):
        self.server = server.rstrip("/")
        self.api_key = (api_key or os.environ.get("RARECLIP_API_KEY", "")).strip()
        self.patience = patience
        self.timeout = timeout
        context = ssl.create_default_context(cafile=ca)
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))

    # Streams

    def create_stream(
        self, name: str, detector: Any = None, calibration: Optional[Dict[str, Any]] = None
    ) -> Dict[str, Any]:
        """Creates a stream; one that is there with the same detector is left as it is."""
        new = {"name": name, "detector": detector, "calibration": calibration}
        return self._json("POST", "/v1/streams", body={k: v for k, v in new.items() if v is not None})

    def stream(self, name: str) -> Dict[str, Any]:
        """The stream as it is: warm-up, threshold, drift, the last result."""
        return self._json("GET", self._path(name))

    def threshold(self, name: str, policy: Dict[str, Any]) -> Dict[str, Any]:
        """Sets how scores become verdicts: `{"type": "fixed", "threshold": 0.4}`, `{"type": "quantile", "quantile": 0.95}` or
        `{"type": "false-alarm-rate", "rate": 0.01}`. The stream as it is then."""
        return self._json("PUT", self._path(name, "threshold"), body=policy)

    def preview(self, name: str, threshold: float) -> Dict[str, Any]:
        """What a threshold would do to the history; changes nothing."""
        return self._json("GET", self._path(name, "threshold", "preview"), query={"threshold": threshold})

    # Images and results

    def score(
        self,
        stream: str,
        image: Union[str, os.PathLike, bytes],
        key: Optional[str] = None,
        name: Optional[str] = None,
        update: bool = True,
        timeout_ms: Optional[int] = None,
    ) -> Dict[str, Any]:
        """Scores an image, given as its file or the bytes of it.

        `key` is what makes this image this image: sent again under the same key, today or after a crash of yours, it gets its
        first answer again and is not counted twice. Without one, a key is made that lasts for the tries of this call. With
        `update=False` the image leaves no trace. Look at `recorded` and `notice` of the answer: a service whose disk is full
        scores on without remembering.
        """
        if isinstance(image, bytes):
            data = image
        else:
            data = Path(image).read_bytes()
            name = name or Path(image).name
        query: Dict[str, Any] = {"update": "true" if update else "false"}
        if name:
            query["image"] = name
        if timeout_ms:
            query["timeout_ms"] = timeout_ms
        headers = {
            "Content-Type": "application/octet-stream",
            "Idempotency-Key": key or str(uuid.uuid4()),
        }
        return self._json("POST", self._path(stream, "images"), query, data, headers)

    def results(self, stream: str, **query: Any) -> List[Dict[str, Any]]:
        """Results of the history, the newest first; with `after=ID` those that came since, the oldest first. Further filters:
        verdict, feedback, image, min_score, max_score, from, until (`**{"from": ...}`), before, pictures, limit (at most 1000)."""
        return self._json("GET", self._path(stream, "results"), query)["results"]

    def feedback(self, stream: str, result: int, label: Optional[str], note: Optional[str] = None) -> Dict[str, Any]:
        """Says what an image was: `normal`, `defect`, or None to take it back."""
        body = {"label": label} if note is None else {"label": label, "note": note}
        return self._json("PUT", self._path(stream, "results", str(result), "feedback"), body=body)

    def heatmap(self, stream: str, result: int) -> bytes:
        """The anomaly map of a result in colours, as PNG; a Problem of status 410 where it is not kept any more."""
        return self._send("GET", self._path(stream, "results", str(result), "heatmap"))

    def events(self, stream: str, after: Optional[int] = None) -> Iterator[Event]:
        """What happens in a stream, as it happens, until the stream is deleted.

        With `after`, the results since that one come first. When the connection breaks, the next one goes on after the last
        result that was received: none is left out and none comes twice.
        """
        if after is None:
            last = self.stream(stream)["last"]
            after = last["id"] if last else 0
        lost = None
        while True:
            headers = {"Accept": "text/event-stream", "Last-Event-ID": str(after)}
            wait = PAUSE
            try:
                with self._open("GET", self._path(stream, "events"), headers=headers, timeout=SILENCE) as response:
                    for event in _events(response):
                        lost = None
                        if event.id is not None:
                            if event.id <= after:
                                continue
                            after = event.id
                        yield event
                        if event.kind == "deleted":
                            return
            except Problem as problem:
                if problem.status not in NOT_NOW:
                    raise
                wait, failure = problem.retry_after, problem
            except (OSError, http.client.HTTPException) as error:
                failure = self._unreachable(error)
            else:
                failure = self._unreachable("ends the events at once")
            lost = lost or time.monotonic()
            if time.monotonic() - lost + wait > self.patience:
                raise failure
            time.sleep(wait)

    # How requests are sent

    def _unreachable(self, error: Any) -> Problem:
        if isinstance(getattr(error, "reason", error), ssl.SSLCertVerificationError):
            # Waiting makes no certificate better.
            raise Problem(0, "certificate", f"{self.server}: {error}") from error
        return Problem(0, "unreachable", f"{self.server}: {error}")

    @staticmethod
    def _path(stream: str, *parts: str) -> str:
        return "/".join(["/v1/streams", *(urllib.parse.quote(part, safe="") for part in (stream, *parts))])

    def _json(self, method: str, path: str, query=None, data=None, headers=None, body=None) -> Any:
        headers = dict(headers or {})
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        return json.loads(self._send(method, path, query, data, headers))

    def _send(self, method: str, path: str, query=None, data=None, headers=None) -> bytes:
        """Sends a request, and again while the service is busy or away."""
        begun = time.monotonic()
        while True:
            try:
                with self._open(method, path, query, data, headers) as response:
                    return response.read()
            except Problem as problem:
                if problem.status not in NOT_NOW:
                    raise
                wait, failure = problem.retry_after, problem
            except (OSError, http.client.HTTPException) as error:
                # The answer may be lost while the work is done: the key of an image makes the next try give that answer.
                wait, failure = PAUSE, self._unreachable(error)
            if time.monotonic() - begun + wait > self.patience:
                raise failure
            time.sleep(wait)

    def _open(self, method: str, path: str, query=None, data=None, headers=None, timeout=None):
        url = self.server + path
        if query:
            url += "?" + urllib.parse.urlencode(query)
        request = urllib.request.Request(url, data=data, headers=headers or {}, method=method)
        if self.api_key:
            # Not to be handed on to another host by a redirection.
            request.add_unredirected_header("Authorization", "Bearer " + self.api_key)
        try:
            return self._opener.open(request, timeout=timeout or self.timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise _problem(error) from None


def _problem(error: urllib.error.HTTPError) -> Problem:
    text = error.read().decode("utf-8", "replace")
    try:
        said = json.loads(text)
        problem = Problem(error.code, said["kind"], said["detail"])
    except (ValueError, KeyError, TypeError):
        # Something between here and the service answered.
        problem = Problem(error.code, "http", f"HTTP {error.code}: {text.strip()[:200]}")
    try:
        problem.retry_after = max(0.0, float(error.headers.get("Retry-After") or PAUSE))
    except ValueError:
        problem.retry_after = PAUSE
    return problem


def _events(lines: Any) -> Iterator[Event]:
    """Server-sent events (WHATWG HTML, section 9.2) from the lines of a response."""
    kind, number, data = "message", None, []
    for line in lines:
        field, _, value = line.decode("utf-8").rstrip("\r\n").partition(":")
        value = value[1:] if value.startswith(" ") else value
        if field == "event":
            kind = value
        elif field == "id":
            number = int(value)
        elif field == "data":
            data.append(value)
        elif field == "" and not value:
            if data:
                yield Event(kind, number, json.loads("\n".join(data)))
            kind, number, data = "message", None, []


def main() -> int:
    """Posts a folder. 0: all images were scored; 1: some could not be; 2: the run was given up."""
    parser = argparse.ArgumentParser(description="Post the images of a folder to a stream of a rareclip service.")
    parser.add_argument("folder", type=Path, help="folder of images, walked recursively, in the order of their names")
    parser.add_argument("--stream", required=True, help="the stream; created where it is not there")
    parser.add_argument("--server", default="http://127.0.0.1:8700", help="address of the service")
    parser.add_argument("--detector", help="detector of a stream that is created")
    parser.add_argument("--run", help="name of this run: images posted before under the same name are not counted again")
    parser.add_argument("--ca", help="certificates (PEM) to trust instead of the system's")
    args = parser.parse_args()

    paths = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in IMAGES)
    if not paths:
        print(f"{args.folder}: no images", file=sys.stderr)
        return 2
    client = Client(args.server, ca=args.ca)
    run = args.run or str(uuid.uuid4())
    failed = anomalous = 0
    try:
        try:
            # Where the stream is there, a key that may not create one is enough.
            client.stream(args.stream)
        except Problem as problem:
            if problem.status != 404:
                raise
            client.create_stream(args.stream, args.detector)
        for path in paths:
            name = path.relative_to(args.folder).as_posix()
            # Keys are short and ASCII; names of files need not be.
            key = hashlib.sha256(f"{run}/{name}".encode()).hexdigest()
            try:
                answer = client.score(args.stream, path, key=key, name=name)
            except Problem as problem:
                if problem.status not in (413, 422):
                    raise
                # What is wrong with this image is not wrong with the next.
                failed += 1
                print(f"{name}\terror\t{problem.detail}", flush=True)
                continue
            if answer["notice"]:
                print(f"{name}: {answer['notice']}", file=sys.stderr)
            anomalous += answer["verdict"] == "anomalous"
            print(f"{name}\t{answer['score']:.6f}\t{answer['verdict']}", flush=True)
    except Problem as problem:
        print(problem.detail, file=sys.stderr)
        return 2
    print(f"{len(paths)} images, {anomalous} anomalous, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
