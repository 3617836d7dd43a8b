"""Shape checks on the whole package, one torch thread per worker, and a server to download from."""

import threading

import pytest
import torch
from jaxtyping import install_import_hook

import reference.tests.shape_checks  # noqa: F401 - the hook takes it from where it is loaded

install_import_hook("seem", "reference.tests.shape_checks.checked")

from reference.tests.download_server import Server  # noqa: E402 - it imports the package: the hook must stand before

torch.set_num_threads(1)


@pytest.fixture
def server(monkeypatch):
    """A server of this machine, whose mode says how it fails."""
    monkeypatch.setenv("no_proxy", "*")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
