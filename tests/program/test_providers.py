"""Workers elsewhere: by a command, over a real sshd, in jobs of a real Slurm. What they start runs on this machine all the
same, with the world's runtime folder in its environment, so that whatever stays behind is found.
"""

import getpass
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

import client
import pytest
from client import call, request, text_of
from conftest import ROOT, TEST_TOOLS

TOOLS = pathlib.Path(__file__).parent / "python/tools.py"
PYTHON = ["--python", sys.executable]
SSHD = shutil.which("sshd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def error_of(result):
    assert result.get("isError"), result
    return text_of(result)


def value_of(result):
    assert not result.get("isError"), text_of(result)
    return result["structuredContent"]["result"]


def progress_of(front):
    messages = []
    while not front.others.empty():
        message = front.others.get()
        if message.get("method") == "notifications/progress":
            messages.append(message["params"]["message"])
    return messages


def start_waiting(front):
    """A call that runs over there for a minute, and has begun."""
    key = front.start(call("x", "wait", {"seconds": 60}, progressToken="begun"))
    client.wait_until(lambda: any(text.startswith("step") for text in progress_of(front)), 60, "the call has begun")
    return key


# ---- a command


@pytest.mark.parametrize("text, words", [
    ("nowhere", "expected local, ssh:HOST"), ("ssh:", "expected ssh:HOST"), ("ssh:-oProxyCommand=x", "expected ssh:HOST"),
    ("command:", "expected a command"), ("command:a 'b", "is not closed"),
])
def test_a_wrong_provider_is_told_at_once(world, text, words):
    done = world.run("serve", TOOLS, "--provider", text)
    assert done.returncode == 1 and words in done.stderr


def test_a_command_yields_a_worker(world):
    front = world.serve(TOOLS, *PYTHON, "--gpu", "a100", "--gpu-count", "2",
                        "--provider", "command:env 'MARK={gpu} x {gpu_count}' KEY={key} {worker}")
    assert [tool["name"] for tool in front.ask(request(1, "tools/list"))["result"]["tools"]].count("pid") == 1
    assert world.processes() == [front.pid], "listing starts nothing"
    assert value_of(front.call("environment", {"name": "MARK"})) == "a100 x 2"
    assert value_of(front.call("sphinx_style", {"a": 2, "b": 3})) == 5
    first = value_of(front.call("pid"))
    second = world.serve(TOOLS, *PYTHON, "--gpu", "a100", "--gpu-count", "2",
                         "--provider", "command:env 'MARK={gpu} x {gpu_count}' KEY={key} {worker}")
    assert value_of(second.call("pid")) == first, "fronts share it"
    got = front.call("returns", {"what": "vector"})["structuredContent"]
    assert len(front.read_resource(got["embedding"]["uri"])["blob"]) > 3584 * 8
    second.close()
    front.close()
    world.wait_gone()
    assert world.files() == []


def test_a_command_that_fails_says_what_it_said(world):
    front = world.serve(TOOLS, "--provider", "command:sh -c 'echo no GPU left >&2; exit 3'")
    said = error_of(front.call("pid"))
    assert "pid was not run: its worker could not be started by command:" in said and "no GPU left" in said and "3" in said
    front.close()
    front = world.serve(TOOLS, "--provider", "command:/nowhere/at-all")
    assert "/nowhere/at-all" in error_of(front.call("pid"))
    front.close()


def test_secrets_and_environment_go_along_unseen(world):
    world.env["TEST_SECRET"] = "tops3cret-value"
    front = world.serve(TOOLS, *PYTHON, "--secret", "TEST_SECRET", "--env", "GREETING=hello",
                        "--provider", "command:env -u TEST_SECRET {worker}")
    assert value_of(front.call("environment", {"name": "GREETING"})) == "hello"
    assert value_of(front.call("environment", {"name": "TEST_SECRET"})) == "[secret TEST_SECRET]"
    for pid in world.processes():
        assert "tops3cret-value" not in " ".join(client.command_of(pid))
    front.close()


def test_a_lost_worker_fails_its_calls_and_the_next_starts_another(world):
    front = world.serve(TOOLS, *PYTHON, "--provider", "command:sh -c 'exec {worker}'")
    before = value_of(front.call("pid"))
    key = start_waiting(front)
    carried = [pid for pid in world.processes() if "--config-stdin" in client.command_of(pid)[-1:]]
    assert carried
    os.kill(carried[-1], signal.SIGKILL)
    said = error_of(front.finish(key)["result"])
    assert "wait failed: the connection to its worker" in said and "call again" in said
    assert value_of(client.wait_until(lambda: (lambda r: None if r.get("isError") else r)(front.call("pid")))) != before
    front.close()


# ---- ssh


@pytest.fixture
def ssh(world):
    """A sshd of our own, and an ssh on PATH that knows it as `gpubox`."""
    if not SSHD or not shutil.which("ssh"):
        pytest.skip("no sshd or ssh on this machine: scripts/test installs openssh-server")
    folder = world.folder / "ssh"
    folder.mkdir(mode=0o700)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    shutil.copy(folder / "user.pub", folder / "authorized_keys")
    if os.getuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile {folder}/sshd.pid\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nLogLevel ERROR\nPrintMotd no\n"
        f"SetEnv XDG_RUNTIME_DIR={world.runtime} GPUMCP_CACHE={world.folder}/there GPUMCP_THERE=yes\n")
    (folder / "config").write_text(
        f"Host gpubox\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n  IdentityFile {folder}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {folder}/known\n  StrictHostKeyChecking no\n")
    (folder / "bin").mkdir()
    wrapper = folder / "bin/ssh"
    wrapper.write_text(f"#!/bin/sh\nexec {shutil.which('ssh')} -F {folder}/config \"$@\"\n")
    wrapper.chmod(0o755)
    world.env["PATH"] = f"{folder}/bin:{world.env['PATH']}"
    server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "sshd_config"], stderr=subprocess.DEVNULL, env=world.env)

    def answers():
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    client.wait_until(answers, 10, "sshd listens")
    yield server
    server.terminate()
    server.wait()


def test_a_worker_over_ssh_with_gpumcp_brought_along(world, ssh):
    front = world.serve(TOOLS, *PYTHON, "--provider", "ssh:gpubox")
    result = front.call("environment", {"name": "GPUMCP_THERE"}, progressToken="p")
    assert value_of(result) == "yes", "it runs in a login over there"
    assert any("copying gpumcp to gpubox" in message for message in progress_of(front))
    assert len(list((world.folder / "there/programs").glob("*/bin/gpumcp"))) == 1
    pid = value_of(front.call("pid"))
    second = world.serve(TOOLS, *PYTHON, "--provider", "ssh:gpubox")
    assert value_of(second.call("pid")) == pid, "fronts share one connection"
    # Large messages both ways.
    assert len(front.call("returns", {"what": "vector", "output": "inline"})["structuredContent"]["embedding"]) == 3584
    assert value_of(front.call("numpy_style", {"a": 2})) == 4
    second.close()
    front.close()
    world.wait_gone()
    again = world.serve(TOOLS, *PYTHON, "--provider", "ssh:gpubox")
    assert value_of(again.call("sphinx_style", {"a": 1, "b": 1}, progressToken="p")) == 2
    assert not any("copying" in message for message in progress_of(again)), "once is enough"
    again.close()


def test_a_native_interface_goes_along_over_ssh(world, ssh):
    mine = world.folder / "mine"
    mine.mkdir()
    shutil.copy2(TEST_TOOLS, mine / "my_tools.so")
    front = world.serve(mine / "my_tools.so", "--provider", "ssh:gpubox")
    assert text_of(front.call("echo", {"text": "hello over there"})).find("hello over there") >= 0
    assert client.command_of(value_of(front.call("pid")))[-1] == "--config-stdin", "it runs over there"
    front.close()


def test_a_native_interface_without_its_libraries_says_what_is_missing(world, ssh):
    lacking = world.folder / "lacking.so"
    source = world.folder / "lacking.c"
    source.write_text("int missing(void); int gpumcp_plugin_v1(void) { return missing(); }")
    absent = world.folder / "libtorch_cpu.so"
    (world.folder / "absent.c").write_text("int missing(void) { return 0; }")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", absent, world.folder / "absent.c"], check=True)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", lacking, source, absent], check=True)
    manifest = json.loads(TEST_TOOLS.with_suffix(".json").read_text())
    lacking.with_suffix(".json").write_text(json.dumps(manifest))
    absent.unlink()
    front = world.serve(lacking, "--provider", "ssh:gpubox")
    said = error_of(front.call("echo", {"text": "x"}))
    assert "libtorch_cpu.so" in said and "this machine has no libtorch" in said and "GPUMCP_TORCH" in said, said
    front.close()


def test_cancelling_and_dying_over_ssh_leaves_nothing(world, ssh):
    front = world.serve(TOOLS, *PYTHON, "--provider", "ssh:gpubox")
    front.call("pid")
    front.start(call("slow", "sleep", {"seconds": 60}))
    front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "slow"}})
    assert value_of(front.call("alone", {"seconds": 0})) == 1, "the function over there was interrupted"
    front.start(call("held", "wait", {"seconds": 60}))
    relay = world.workers()[0]
    os.kill(front.pid, signal.SIGKILL)
    os.kill(relay, signal.SIGKILL)  # the worst: nobody here can tidy up
    front.process.wait()

    def left():
        return [pid for pid in world.processes() if pid != ssh.pid and "sshd" not in client.command_of(pid)[0]]

    client.wait_until(lambda: not left(), 15, "everything over there has gone")


def test_a_connection_that_breaks_in_mid_call_is_told(world, ssh):
    front = world.serve(TOOLS, *PYTHON, "--provider", "ssh:gpubox")
    front.call("pid")
    key = start_waiting(front)
    clients = [pid for pid in world.processes() if client.command_of(pid)[:1] and client.command_of(pid)[0].endswith("/ssh")]
    for pid in clients:
        os.kill(pid, signal.SIGKILL)
    assert "the connection to its worker (ssh:gpubox) was lost" in error_of(front.finish(key)["result"])
    assert value_of(client.wait_until(lambda: (lambda r: None if r.get("isError") else r)(front.call("sphinx_style", {"a": 1, "b": 2})))) == 3
    front.close()


def test_a_host_that_cannot_be_reached_is_told_in_sshs_words(world, ssh):
    front = world.serve(TOOLS, "--provider", "ssh:nobody@127.0.0.1.invalid")
    said = error_of(front.call("pid"))
    assert "could not be started by ssh:nobody@127.0.0.1.invalid" in said and "esolve" in said, said
    front.close()


# ---- Slurm


@pytest.fixture(scope="module")
def slurm():
    if os.getuid() != 0:
        pytest.skip("only root can run a Slurm of its own")
    if not shutil.which("slurmctld", path=os.environ.get("PATH", "") + ":/usr/sbin"):
        pytest.skip("no Slurm on this machine: scripts/test installs slurmctld, slurmd, slurm-client and munge")
    folder = tempfile.mkdtemp(prefix="gpumcp-slurm", dir="/tmp")
    up = subprocess.run([ROOT / "scripts/slurm", "up", folder, "1"], capture_output=True, text=True, timeout=90)
    assert up.returncode == 0, up.stderr
    yield {"SLURM_CONF": folder + "/slurm.conf"}
    subprocess.run([ROOT / "scripts/slurm", "down", folder], check=True, timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def cluster(world, slurm):
    world.env.update(slurm)

    def jobs():
        done = subprocess.run(["squeue", "-h", "-o", "%i %T %j"], env={**os.environ, **slurm}, capture_output=True, text=True,
                              check=True, timeout=30)
        return [line.split() for line in done.stdout.splitlines() if "COMPLETING" not in line]

    world.jobs = jobs
    yield world
    client.wait_until(lambda: not jobs(), 20, "no job is left")


def test_a_worker_in_a_job(cluster):
    front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm")
    assert value_of(front.call("environment", {"name": "SLURM_JOB_ID"}))
    assert value_of(front.call("environment", {"name": "CUDA_VISIBLE_DEVICES"})) == "0", "it has the GPU that it asked for"
    assert len(cluster.jobs()) == 1 and cluster.jobs()[0][2].startswith("gpumcp-")
    second = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm")
    assert value_of(second.call("pid")) == value_of(front.call("pid"))
    second.close()
    front.close()
    client.wait_until(lambda: not cluster.jobs(), 20, "the job ends when its worker idles out")


def over(front, world):
    """How the relay of this world reaches its worker."""
    return json.loads(world.run("status", "--json").stdout)[0]["remote"]["over"]


def test_a_worker_in_a_job_connects_back(cluster):
    front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm")
    assert value_of(front.call("sphinx_style", {"a": 20, "b": 22})) == 42
    assert over(front, cluster) == "tcp"
    assert len(front.call("returns", {"what": "vector", "output": "inline"})["structuredContent"]["embedding"]) == 3584
    for pid in cluster.processes():
        assert "token" not in " ".join(client.command_of(pid)), "the token is on no command line"
    front.close()


@pytest.mark.parametrize("address", ["off", "192.0.2.1"])
def test_without_a_way_back_the_jobs_pipe_serves(cluster, address):
    cluster.env["GPUMCP_CALLBACK"] = address
    front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm")
    assert value_of(front.call("sphinx_style", {"a": 20, "b": 22})) == 42
    assert over(front, cluster) == "pipe"
    front.close()


def test_a_job_that_is_nearly_over_finishes_its_calls_and_the_next_get_another(cluster):
    front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm", "--gpu-count", "0")
    first = value_of(front.call("environment", {"name": "SLURM_JOB_ID"}))
    key = front.start(call("x", "wait", {"seconds": 4}, progressToken="begun"))
    client.wait_until(lambda: any(text.startswith("step") for text in progress_of(front)), 60, "the call has begun")
    subprocess.run(["scancel", "--signal=USR1", first], env=cluster.env, check=True)
    client.wait_until(lambda: "nearly over" in "".join(path.read_text() for path in cluster.runtime.rglob("worker.log")), 20,
                      "the job's worker has heard")
    second = value_of(front.call("environment", {"name": "SLURM_JOB_ID"}))
    assert second != first
    assert not front.finish(key)["result"].get("isError"), "what ran has ended there as if nothing were"
    front.close()


def test_a_start_that_takes_too_long_is_given_up(cluster):
    other = subprocess.Popen(["srun", "--gres=gpu:1", "sleep", "600"], env=cluster.env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client.wait_until(lambda: any(job[1] == "RUNNING" for job in cluster.jobs()), 20, "the other job runs")
        front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm", "--start-timeout", "1")
        assert "did not start within 1 s (start_timeout)" in error_of(front.call("pid"))
        front.close()
        client.wait_until(lambda: not any(job[1] == "PENDING" for job in cluster.jobs()), 40, "ours is gone")
    finally:
        subprocess.run(["scancel", "--name=sleep"], env=cluster.env, check=True)
        other.wait(30)


def test_a_job_that_waits_says_so_and_goes_on(cluster):
    other = subprocess.Popen(["srun", "--gres=gpu:1", "sleep", "600"], env=cluster.env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client.wait_until(lambda: any(job[1] == "RUNNING" for job in cluster.jobs()), 20, "the other job runs")
        front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm:--comment=waiting")
        key = front.start(call("x", "sphinx_style", {"a": 20, "b": 22}, progressToken="p"))
        said = []
        client.wait_until(lambda: said.extend(progress_of(front)) or any("queued and waiting" in text for text in said), 30,
                          "the caller hears that the job waits")
    finally:
        subprocess.run(["scancel", "--name=sleep"], env=cluster.env, check=True)
        other.wait(30)
    assert value_of(front.finish(key)["result"]) == 42
    front.close()


def test_a_job_that_waits_for_nobody_is_taken_back(cluster):
    other = subprocess.Popen(["srun", "--gres=gpu:1", "sleep", "600"], env=cluster.env, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client.wait_until(lambda: any(job[1] == "RUNNING" for job in cluster.jobs()), 20, "the other job runs")
        front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm")
        front.start(call("x", "pid", {}))
        client.wait_until(lambda: any(job[1] == "PENDING" for job in cluster.jobs()), 20, "ours waits")
        front.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "x"}})
        front.close()
        client.wait_until(lambda: not any(job[1] == "PENDING" for job in cluster.jobs()), 40, "ours is gone")
    finally:
        subprocess.run(["scancel", "--name=sleep"], env=cluster.env, check=True)
        other.wait(30)


def test_a_cancelled_job_fails_its_calls(cluster):
    front = cluster.serve(TOOLS, *PYTHON, "--provider", "slurm")
    front.call("pid")
    key = start_waiting(front)
    subprocess.run(["scancel", cluster.jobs()[0][0]], env=cluster.env, check=True)
    said = error_of(front.finish(key)["result"])
    # Slurm ends all processes of the job at once: the function's own, or the way to the worker, is missed first.
    assert "the connection to its worker (slurm) was lost" in said or "killed by signal 15" in said, said
    assert value_of(client.wait_until(lambda: (lambda r: None if r.get("isError") else r)(front.call("sphinx_style", {"a": 1, "b": 2})),
                                      40, "another job")) == 3
    front.close()
