"""`make read`: the book opens on this machine only, behind a token, and serves the chapter."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOK = "api/contents/04_rectified_flow/04_rectified_flow.ipynb"


@pytest.fixture
def server(tmp_path):
    if not (ROOT / ".venv" / ".done").exists():
        pytest.skip("not set up by make")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folders = {name: str(tmp_path) for name in ("JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "IPYTHONDIR")}
    process = subprocess.Popen(
        ["make", "read", f"LAB=--no-browser --allow-root --ServerApp.port={port}"],
        cwd=ROOT,
        env=os.environ | folders | {"JUPYTER_TOKEN": "secret"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    yield port
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(timeout=30)


def test_the_chapter_is_served_behind_a_token(server):
    url = f"http://127.0.0.1:{server}"
    for _ in range(300):
        try:
            urllib.request.urlopen(f"{url}/api", timeout=5)
            break
        except OSError:
            time.sleep(0.2)
    with urllib.request.urlopen(f"{url}/{NOTEBOOK}?token=secret&content=0", timeout=30) as response:
        assert response.status == 200
        assert b"04_rectified_flow.ipynb" in response.read()
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"{url}/{NOTEBOOK}?content=0", timeout=30)
    assert refused.value.code == 403
    addresses = {line.split()[3] for line in _listening() if line.split()[3].endswith(f":{server}")}
    assert addresses <= {f"127.0.0.1:{server}"}


def _listening() -> list[str]:
    try:
        return subprocess.run(["ss", "-ltn"], capture_output=True, text=True, check=True).stdout.splitlines()[1:]
    except (OSError, subprocess.CalledProcessError):
        return []
