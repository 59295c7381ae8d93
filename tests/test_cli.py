"""The command line and the demo, in process and as a user runs them."""

from __future__ import annotations

import http.client
import runpy
import signal
import subprocess
import sys
import threading

import pytest
import redis

from ratelimit import bench, demo
from ratelimit.algorithms import FixedWindow, LeakyBucket, TokenBucket
from ratelimit.cli import main
from tests import servers

DEMO = (sys.executable, "-m", "ratelimit", "demo", "--port", "0")


@pytest.fixture
def endpoints(monkeypatch):
    """Return a function that sets the endpoints of the demo."""

    def set_endpoints(**algorithms):
        named = {f"/{name}": (name, algorithm) for name, algorithm in algorithms.items()}
        monkeypatch.setattr(demo, "ENDPOINTS", named)

    return set_endpoints


def rows(output):
    """Return the number and the status in each row of the table."""
    cells = [line.split() for line in output.splitlines() if line.startswith("/")]
    return [(int(number), int(status)) for _, number, status, *_ in cells]


def test_once_shows_each_algorithm_deny_and_allow():
    """As a user runs it: each endpoint answers 429, and 200 after its Retry-After."""
    done = subprocess.run(
        [*DEMO, "--once"], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.returncode == 0
    for path in demo.ENDPOINTS:
        lines = [line.split() for line in done.stdout.splitlines() if line.startswith(f"{path} ")]
        assert "429" in [line[2] for line in lines]
        assert lines[-1][2] == "200"


def test_a_bucket_denies_the_one_too_many(endpoints, capsys):
    """A bucket of 3 allows 3, denies the fourth, and allows it after the wait."""
    endpoints(bucket=TokenBucket("3/second"))
    assert main(["demo", "--once"]) == 0
    output = capsys.readouterr().out
    assert rows(output) == [(1, 200), (2, 200), (3, 200), (4, 429), (5, 200)]
    assert '"bucket";r=0;t=1' in output
    assert "waiting 1 s" in output


def test_a_queue_denies_before_those_who_wait_are_answered(endpoints, capsys):
    """The answer of whoever finds the queue full overtakes the answers that are held back."""
    endpoints(queue=LeakyBucket("2/second", capacity=2))
    assert main(["demo", "--once"]) == 0
    numbers = [number for number, _ in rows(capsys.readouterr().out)]
    assert sorted(numbers) != numbers
    assert numbers[-1] == len(numbers)


def test_a_limit_that_is_never_reached_is_a_failure(endpoints, capsys):
    """The demo fails, and names the endpoint, if it isn't seen to limit."""
    endpoints(wide=FixedWindow("1000/hour"))
    assert main(["demo", "--once", "--port", "0"]) == 1
    assert "Not seen to limit as it should: /wide" in capsys.readouterr().out


def test_redis_keeps_the_limits(endpoints, ports, capsys):
    """The demo runs on a Redis too, and doesn't print the password of its URL."""
    port = ports("redis-6.2")
    with redis.Redis(port=port) as client:
        client.flushall()
    endpoints(bucket=TokenBucket("3/second"))
    assert main(["demo", "--once", "--store", f"redis://:secret@127.0.0.1:{port}/0"]) == 0
    captured = capsys.readouterr()
    assert (4, 429) in rows(captured.out)
    assert "secret" not in captured.out + captured.err


def test_no_redis_there_is_one_line():
    """A Redis that isn't there is told in one line, and no traceback."""
    url = f"redis://127.0.0.1:{servers.free_port()}/0"
    done = subprocess.run(
        [*DEMO, "--store", url], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("ratelimit: Redis can't be reached")
    assert done.stderr.count("\n") == 1


def test_no_such_store_is_one_line(capsys):
    """A URL that no store has is told in one line."""
    assert main(["demo", "--store", "mysql://localhost"]) == 1
    assert capsys.readouterr().err.startswith("ratelimit: no store has the URL 'mysql://localhost'")


def test_a_taken_port_is_one_line(capsys):
    """A port that was asked for and is taken is told in one line."""
    with demo._listen(0) as taken:
        port = taken.getsockname()[1]
        assert main(["demo", "--port", str(port)]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"ratelimit: can't listen on port {port}: Address already in use")
    assert message.count("\n") == 1


def test_another_port_if_the_usual_one_is_taken(monkeypatch):
    """Without --port, a taken 8000 is no trouble."""
    with demo._listen(0) as taken:
        usual = taken.getsockname()[1]
        monkeypatch.setattr(demo, "PORT", usual)
        with demo._listen(None) as listener:
            assert listener.getsockname()[1] != usual


def test_the_usual_port_if_it_is_free(monkeypatch):
    """Without --port, the demo listens on the usual one."""
    usual = servers.free_port()
    monkeypatch.setattr(demo, "PORT", usual)
    with demo._listen(None) as listener:
        assert listener.getsockname()[1] == usual


@pytest.mark.parametrize("port", ["-1", "65536", "http", "²"])
def test_no_port(port, capsys):
    """What is no port is refused with the usage."""
    with pytest.raises(SystemExit, match="2"):
        main(["demo", "--port", port])
    assert "a port is a number from 0 to 65535" in capsys.readouterr().err


def test_a_missing_library_is_told_with_its_mend(monkeypatch, capsys):
    """Without the demo extra the message says how to install it."""
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    monkeypatch.delitem(sys.modules, "ratelimit.demo")
    monkeypatch.delattr("ratelimit.demo")
    assert main(["demo", "--once"]) == 1
    assert 'pip install "exact-ratelimit[demo]"' in capsys.readouterr().err


@pytest.fixture
def interruptible():
    """Let Ctrl-C interrupt, as in a terminal, also where tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_serves_until_interrupted(endpoints, capsys):
    """After the table it goes on serving, and Ctrl-C ends it with 0."""
    endpoints(bucket=TokenBucket("3/second"))
    interrupt = threading.Timer(
        2.5, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]
    )
    interrupt.start()
    assert main(["demo", "--port", "0"]) == 0
    interrupt.join()
    assert "Ctrl-C ends it" in capsys.readouterr().out


def test_serves_other_clients_after_the_table():
    """As a user runs it: it listens where it says, limits, and ends on Ctrl-C."""
    with subprocess.Popen(DEMO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout
        assert run.stderr
        port = int(next(run.stdout).split("127.0.0.1:")[1].split(",")[0])
        while "Ctrl-C" not in next(run.stdout):
            pass
        statuses = [status_of(port, "/token-bucket") for _ in range(7)]
        assert statuses[-1] == 429
        assert status_of(port, "/nothing") == 404
        run.send_signal(signal.SIGINT)
        assert run.wait(20) == 0
        assert run.stderr.read() == ""


def status_of(port, path):
    """Return the status of a request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_a_command_is_needed(capsys):
    """Without a command the usage is shown."""
    with pytest.raises(SystemExit, match="2"):
        main([])
    assert "usage: ratelimit" in capsys.readouterr().err


def test_the_package_runs_as_a_module(monkeypatch, capsys):
    """`python -m ratelimit` is the command line."""
    monkeypatch.setattr(sys, "argv", ["ratelimit", "--help"])
    with pytest.raises(SystemExit, match="0"):
        runpy.run_module("ratelimit", run_name="__main__")
    assert "usage: ratelimit" in capsys.readouterr().out


@pytest.fixture
def one_round(monkeypatch):
    """Measure once only."""
    monkeypatch.setattr(bench, "_ROUNDS", 1)


@pytest.mark.usefixtures("one_round")
def test_bench_times_each_algorithm(capsys):
    """Each algorithm has a row of two positive numbers, beside a floor that never denies."""
    assert main(["bench", "--quick"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "kept in memory://" in lines[0]
    cells = {line[:24].strip(): line[24:].split() for line in lines[3:]}
    assert [len(each) for each in cells.values()] == [1, 2, 2, 2, 2, 2]
    assert all(float(number) > 0 for numbers in cells.values() for number in numbers)


@pytest.mark.usefixtures("one_round")
def test_bench_on_a_server_leaves_nothing_behind(ports, capsys):
    """There is no floor on a server; the keys that were used are gone afterwards."""
    port = ports("redis-6.2")
    with redis.Redis(port=port) as client:
        client.flushall()
        assert main(["bench", "--quick", "--store", f"redis://:secret@127.0.0.1:{port}/0"]) == 0
        assert client.keys() == []
    captured = capsys.readouterr()
    assert bench.FLOOR not in captured.out
    assert "TokenBucket" in captured.out
    assert "secret" not in captured.out + captured.err


def test_bench_without_a_library(monkeypatch, capsys):
    """What is missing is told with the extra that brings it."""
    monkeypatch.setitem(sys.modules, "ratelimit.stores.redis", None)
    assert main(["bench", "--store", "redis://localhost"]) == 1
    assert (
        'the bench lacks a library: pip install "exact-ratelimit[redis]"' in capsys.readouterr().err
    )
