"""A set from a hub, by the client of the hub: a server of this machine has the files, or is gone."""

import hashlib
import http.server
import threading

import pytest
from pictures import ROWS, write_set

from flowlib.datasets import cifar10, fetch
from flowlib.datasets.sources import CIFAR10
from flowlib.errors import InputError


class Handler(http.server.BaseHTTPRequestHandler):
    """What the client asks of a hub: the size, the hash and the commit of a file, then its bytes."""

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        content = self.server.files.get(self.path, b"")
        self.server.asked.append((self.command, self.path))
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", CIFAR10.revision)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server with forty and twenty pictures at the paths of CIFAR-10, which the client takes for the hub."""
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("FLOWLIB_DATA", str(tmp_path / "here"))
    files = {}
    for split, file in zip(("train", "test"), CIFAR10.files, strict=True):
        monkeypatch.setitem(CIFAR10.rows, split, ROWS[split])
        write_set(tmp_path / "plain_text", CIFAR10, split, rows=ROWS[split])
        content = (tmp_path / file).read_bytes()
        monkeypatch.setitem(CIFAR10.files, file, hashlib.sha256(content).hexdigest())
        files[f"/datasets/{CIFAR10.repo}/resolve/{CIFAR10.revision}/{file}"] = content
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked = files, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", url)
    monkeypatch.setattr(
        "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    yield server
    server.shutdown()
    server.server_close()


def test_the_client_brings_the_files_once(hub, tmp_path):
    assert fetch("cifar10") == tmp_path / "here" / "cifar10"
    assert {path for command, path in hub.asked if command == "GET" and "/resolve/" in path} == hub.files.keys()
    assert len(cifar10("train").x) == ROWS["train"]
    hub.asked.clear()
    fetch("cifar10")
    assert hub.asked == []


def test_a_file_that_a_hub_does_not_have(hub, unchecked):
    hub.files.popitem()
    with pytest.raises(InputError, match=r"cifar10: expected to download uoft-cs/cifar10 at 0b27149 .* got .*NotFound"):
        fetch("cifar10")


def test_a_file_that_arrives_cut_short_is_refused(hub, unchecked):
    path = next(iter(hub.files))
    hub.files[path] = hub.files[path][:-100]
    with pytest.raises(InputError, match=r"cifar10: expected plain_text/train.* with SHA-256 .*Download it again"):
        fetch("cifar10")


def test_without_a_network_the_client_fails_as_one_clear_error(hub, monkeypatch, unchecked):
    """The client tries again five times, for half a minute; here it does not sleep between."""
    hub.shutdown()
    hub.server_close()
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(InputError, match=r"cifar10: expected to download .* got LocalEntryNotFoundError.* the network"):
        fetch("cifar10")
