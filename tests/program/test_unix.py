"""`gpumcp serve --unix PATH`: the same server for many local clients, over a socket that only its user may open."""

import json
import os
import signal
import socket
import stat

import client
import pytest
from client import LEGACY, call, initialize, request
from conftest import TEST_TOOLS


class Peer:
    """One connection; lines out, lines in."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(client.TIMEOUT_S)
        self.socket.connect(str(path))
        self.file = self.socket.makefile("rwb")

    def send(self, message):
        self.file.write(json.dumps(message).encode() + b"\n")
        self.file.flush()

    def receive(self):
        line = self.file.readline()
        assert line, "the server closed the connection"
        return json.loads(line)

    def ask(self, message):
        self.send(message)
        reply = self.receive()
        assert reply["id"] == message["id"], reply
        return reply

    def ended(self):
        return self.file.readline() == b""

    def close(self):
        self.file.close()
        self.socket.close()


@pytest.fixture
def path(world):
    return world.folder / "mcp.sock"


@pytest.fixture
def front(world, path):
    return listening(world, path)


def listening(world, path):
    front = world.serve(TEST_TOOLS, "--unix", path)
    front.listens = True
    client.wait_until(lambda: f"listening on unix:{path}" in front.stderr() or not front.alive(), 20,
                      "the front says where it listens")
    assert front.alive(), front.stderr()
    return front


@pytest.fixture
def connect(front, path):
    peers = []

    def one():
        peers.append(Peer(path))
        return peers[-1]

    yield one
    for peer in peers:
        peer.close()


def test_both_eras_list_and_call_over_one_socket(connect):
    modern, legacy = connect(), connect()
    assert legacy.ask(initialize(1, LEGACY[-1]))["result"]["protocolVersion"] == LEGACY[-1]
    legacy.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    for peer, era in ((modern, True), (legacy, False)):
        tools = peer.ask(request(2, "tools/list", modern=era))["result"]["tools"]
        assert "echo" in [tool["name"] for tool in tools]
        result = peer.ask(call(3, "echo", {"text": "Grüße"}, modern=era))["result"]
        assert not result.get("isError") and "Grüße" in client.text_of(result)


def test_equal_ids_of_two_clients_never_mix(connect):
    peers = [connect(), connect()]
    for _ in range(50):
        for number, peer in enumerate(peers):
            peer.send(call(1, "echo", {"text": f"client {number}"}))
        for number, peer in enumerate(peers):
            assert f"client {number}" in client.text_of(peer.receive()["result"])


def test_a_client_that_leaves_does_not_disturb_another(connect):
    leaving, staying = connect(), connect()
    leaving.send(call(1, "sleep_ms", {"ms": 60_000}))
    staying.ask(call(1, "echo", {"text": "one"}))
    leaving.close()
    assert not staying.ask(call(2, "echo", {"text": "two"}))["result"].get("isError")


def test_the_socket_is_its_users_alone_and_goes_with_the_server(front, path):
    info = os.stat(path)
    assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o600
    front.process.send_signal(signal.SIGTERM)
    assert front.process.wait(10) == 0
    assert not path.exists()


def test_a_signal_lets_a_running_call_finish(front, connect):
    peer = connect()
    peer.ask(call("up", "echo", {"text": "up"}))
    peer.send(call("r", "sleep_ms", {"ms": 300}))
    peer.send(request("l", "tools/list"))
    assert peer.receive()["id"] == "l"  # so the call before it runs
    front.process.send_signal(signal.SIGTERM)
    reply = peer.receive()
    assert reply["id"] == "r" and not reply["result"].get("isError")
    assert peer.ended()
    assert front.process.wait(10) == 0


def test_a_path_that_another_server_holds_is_refused_and_left_alone(world, front, connect, path):
    second = world.run("serve", TEST_TOOLS, "--unix", path)
    assert second.returncode == 1 and str(path) in second.stderr and "listens" in second.stderr
    assert not connect().ask(call(1, "echo", {"text": "still here"}))["result"].get("isError")


def test_what_a_killed_server_left_is_replaced(world, front, path):
    front.process.kill()
    front.process.wait()
    assert path.exists()
    listening(world, path)
    peer = Peer(path)
    assert not peer.ask(call(1, "echo", {"text": "again"}))["result"].get("isError")
    peer.close()


def test_a_file_in_the_way_is_never_removed(world, path):
    path.write_text("mine")
    done = world.run("serve", TEST_TOOLS, "--unix", path)
    assert done.returncode == 1 and "no socket" in done.stderr and path.read_text() == "mine"
