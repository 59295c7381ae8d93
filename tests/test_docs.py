"""What the documentation shows runs, and what it links to is there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import runpy
from pathlib import Path

import pytest
import redis
from starlette.testclient import TestClient

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


def name_of(page):
    """Return a page's path in the repository."""
    return str(page.relative_to(ROOT))


def blocks_of(page):
    """Return the code of each block of a page, padded to its own line numbers."""
    text = page.read_text(encoding="utf-8")
    return ["\n" * text.count("\n", 0, match.start(1)) + match[1] for match in BLOCK.finditer(text)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_block_runs(page, ports):
    """The blocks of a page run one after the other, against a Redis that is there."""
    port = ports("redis-6.2")
    with redis.Redis(port=port) as client:
        client.flushall()
    names = {"__name__": "page"}
    with asyncio.Runner() as runner:
        for block in blocks_of(page):
            source = block.replace("localhost:6379", f"127.0.0.1:{port}")
            code = compile(source, name_of(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            if code.co_flags & inspect.CO_COROUTINE:
                runner.run(eval(code, names))
            else:
                exec(code, names)


def test_the_tutorial_prints_what_it_says(ports, capsys):
    """The first block of the tutorial prints the four lines that it is said to print."""
    page = ROOT / "docs/tutorial/first-limit.md"
    exec(blocks_of(page)[0], {})
    assert capsys.readouterr().out.splitlines() == ["True 2", "True 1", "True 0", "False 0"]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page):
    """What a page links to in the repository is there."""
    targets = LINK.findall(page.read_text(encoding="utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_example_of_fastapi_limits():
    """It allows five searches a second, charges what an answer took, and closes a loud chat."""
    app = runpy.run_path(str(ROOT / "examples/fastapi_app.py"))["app"]
    with TestClient(app) as client:
        headers = {"x-api-key": "secret"}
        answers = [client.get("/search?q=cats", headers=headers) for _ in range(12)]
        assert answers[0].json() == {"query": "cats", "left": 4}
        assert '"all";r=19;t=' in answers[0].headers["ratelimit"]
        assert 429 in [answer.status_code for answer in answers]
        assert client.post("/accounts").status_code == 201
        assert client.post("/complete?prompt=abc").json() == {"answer": "cba", "left": 9996}
        paths = client.get("/openapi.json").json()["paths"]
        assert all("429" in each["responses"] for path in paths.values() for each in path.values())
        with client.websocket_connect("/chat") as socket:
            for _ in range(9):
                socket.send_text("x")
            said = [socket.receive()["type"] for _ in range(6)]
        assert said == ["websocket.send"] * 5 + ["websocket.close"]


def test_the_example_limits():
    """The example allows five searches a second, and tells what is left."""
    app = runpy.run_path(str(ROOT / "examples/starlette_app.py"))["app"]
    with TestClient(app) as client:
        headers = {"x-api-key": "secret"}
        answers = [client.get("/search?q=cats", headers=headers) for _ in range(12)]
        assert answers[0].json() == {"query": "cats", "left": {"all": 19, "search": 4}}
        assert 429 in [answer.status_code for answer in answers]
        assert client.post("/accounts").status_code == 201
