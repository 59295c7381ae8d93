"""Rules from a file, and what is said of its mistakes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ratelimit.algorithms import FixedWindow, LeakyBucket, SlidingWindowCounter, TokenBucket
from ratelimit.asgi import RateLimitMiddleware, RuleFile
from ratelimit.stores.memory import MemoryStore
from tests.applications import ask, ok, scope_of, statuses
from tests.conftest import Clock

if TYPE_CHECKING:
    from pathlib import Path

WHOLE = """
# what a whole file looks like
[rules.api]
algorithm = "TokenBucket"
quota = "100/minute"
burst = 20
max_debt = 5
key = "client_ip"
exempt = ["192.0.2.0/24"]

[rules.search]
algorithm = "SlidingWindowCounter"
quota = "5/second"
key = [{header = "x-tenant"}, {client_ip = {hops = 1, ipv6_prefix = 56}}]
path = "/search/{term}"
methods = ["GET"]
cost = 2
unknown = "deny"
shadow = true
jitter = 3
on_error = "closed"

[rules."sign-up"]
algorithm = "LeakyBucket"
quota = "10/day"
capacity = 3
key = {shared = "everyone"}
wait = 2.5

[rules.plan]
algorithm = {function = "plan"}
key = {function = "who"}
cost = {function = "cost"}
when = {function = "when"}
count_if = {function = "failures"}
on_denied = {function = "sorry"}

[rules.tenant]
algorithm = "FixedWindow"
quota = "1/hour"
key = {path_param = "tenant"}
path = "/{tenant}/*"
"""


def named(scope: Any) -> Any:
    """Do what a function of an application does."""
    return "k"


FUNCTIONS = dict.fromkeys(("plan", "who", "cost", "when", "failures"), named) | {"sorry": ok}


def write(folder: Path, text: str, **functions: Any) -> RuleFile:
    """Return the rules of a file with this text."""
    path = folder / "limits.toml"
    path.write_text(text, encoding="utf-8")
    return RuleFile(path, functions=functions)


def test_a_whole_file(tmp_path: Path) -> None:
    """Every option of a rule may stand in a file, and means what it means in Python."""
    api, search, sign_up, plan, tenant = write(tmp_path, WHOLE, **FUNCTIONS).rules
    assert [api.name, search.name, sign_up.name] == ["api", "search", "sign-up"]
    assert api.algorithm == TokenBucket("100/minute", burst=20, max_debt=5)
    assert callable(api.key)
    assert api.key(scope_of()) == "ip:192.0.2.1"
    assert search.algorithm == SlidingWindowCounter("5/second")
    assert (search.cost, search.unknown, search.shadow, search.jitter) == (2, "deny", True, 3)
    assert (search.path, search.methods, search.on_error) == ("/search/{term}", {"GET"}, "closed")
    assert sign_up.algorithm == LeakyBucket("10/day", capacity=3)
    assert (sign_up.key, sign_up.wait) == ("everyone", 2.5)
    assert {plan.algorithm, plan.key, plan.cost, plan.when, plan.count_if} == {named}
    assert plan.on_denied is ok
    assert tenant.algorithm == FixedWindow("1/hour")


START = '[rules.api]\nalgorithm = "TokenBucket"\nquota = "9/minute"\n'


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("", None, r"there is no table \[rules.NAME\]"),
        ("rules = 5", None, r"there is no table \[rules.NAME\]"),
        ("[rules]", None, r"there is no table \[rules.NAME\]"),
        ("[rules.api", 1, "Expected"),
        ("[rules.api]\nquota = \n", 2, "Invalid value"),
        ("[a]\n", 1, "unknown: 'a'; there is rules"),
        ("\n[rule.api]\n", 2, "unknown: 'rule'; do you mean rules"),
        ("[rules]\n# x\napi = 5\n", 3, "a rule is a table"),
        ('[rules.api]\nkey = "user"\n', 1, "'api' needs an algorithm, one of FixedWindow"),
        ('[rules.api]\nalgorithm = "Bucket"\n', 2, "an algorithm is one of FixedWindow"),
        ('[rules.api]\nalgorithm = "TokenBucket"\nkey = "user"\n', 1, "needs a quota"),
        (START, 1, "the rule 'api' needs a key"),
        ('[rules."a b"]\n' + START[12:] + 'key = "user"\n', 1, "a rule's name"),
        (START.replace("9/minute", "9/month") + 'key = "user"\n', 3, "unknown unit"),
        (START + 'key = "user"\n\n\nbrust = 5\n', 7, "unknown: 'brust'; do you mean burst"),
        (START + 'key = "user"\ncapacity = 5\n', 5, "unknown: 'capacity'"),
        (START + 'burst = 0\nkey = "user"\n', 4, "a burst is at least 1"),
        (START + 'key = "user"\ncost = 10\n', 5, "a cost of 10 never fits a limit of 9"),
        (START + 'key = "user"\ncost = true\n', 5, "whole number"),
        (START + 'path = "x"\nkey = "user"\n', 4, "a path starts with a /"),
        (START + 'key = "user"\nmethods = [\n  "GET",\n  5,\n]\ncost = 1\n', 5, "a method is"),
        (START + 'key = "user"\nmethods = "GET"\n', 5, "methods are a list"),
        (START + 'key = "user"\nunknown = "allow"\n', 5, "unknown is one of"),
        (START + 'key = "user"\nwait = "2"\n', 5, "wait is seconds"),
        (START + 'key = "user"\nwait = -1\n', 5, "wait is 0 s or more, not -1"),
        (START + 'key = "user"\nexempt = ["10.0.0.0/8"]\n', 5, "from_networks"),
        (START + 'key = "client_ip"\nexempt = ["10.0.0.0/99"]\n', 5, "networks"),
        (START + 'key = "ip"\n', 4, "a key is one of"),
        (START + 'key = {ip = "x"}\n', 4, "a key is one of"),
        (START + 'key = {header = "a", cookie = "b"}\n', 4, "a key is one of"),
        (START + 'key = ["user"]\n', 4, "combined takes two keys or more"),
        (START + 'key = {header = "a b"}\n', 4, "not a header's name"),
        (START + "key = {client_ip = {hop = 1}}\n", 4, "hop"),
        (START + 'key = {client_ip = {trusted_proxies = ["*"]}}\n', 4, "trusted_proxies"),
        (START + 'key = {path_param = "id"}\npath = "/x"\n', 4, "no parameter 'id'"),
        (START + 'key = {function = "no"}\n', 4, "a function is"),
        (START + 'key = "user"\nwhen = {function = "no"}\n', 5, "of known; not"),
        (START + 'key = "user"\nwhen = {call = "known"}\n', 5, "a function is"),
        (START + "key = {shared = 5}\n", 4, "a key is a str"),
        ('[rules.a]\nalgorithm = {function = "no"}\nkey = "user"\n', 2, "a function is"),
        (
            '[rules.a]\nalgorithm = {function = "known"}\nquota = "1/s"\nkey = "user"\n',
            3,
            "unknown: 'quota'",
        ),
    ],
)
def test_mistakes_are_told_with_their_line(
    tmp_path: Path, text: str, line: int | None, said: str
) -> None:
    """The message begins with the file and the line, as compilers' do."""
    with pytest.raises(ValueError, match=said) as error:
        write(tmp_path, text, known=named)
    place = f"{tmp_path / 'limits.toml'}:" + (f"{line}:" if line else "")
    assert str(error.value).startswith(place)


def test_a_file_is_read_again_without_losing_counts(tmp_path: Path) -> None:
    """What was used stays used; a file with a mistake changes nothing."""
    text = '[rules.api]\nalgorithm = "FixedWindow"\nquota = "3/hour"\nkey = {shared = "k"}\n'
    rules = write(tmp_path, text)
    app = RateLimitMiddleware(ok, rules=rules, store=MemoryStore(clock=Clock()))
    assert statuses(app, "/", "/") == [200, 200]
    rules.path.write_text(text.replace("3/hour", "2/hour"), encoding="utf-8")
    rules.reload()
    assert statuses(app, "/") == [429]
    rules.path.write_text(text.replace("3/hour", "4/month"), encoding="utf-8")
    with pytest.raises(ValueError, match="unknown unit"):
        rules.reload()
    assert ask(app).headers["ratelimit-policy"] == '"api";q=2;w=3600'
    rules.path.write_text(text.replace("3/hour", "4/hour"), encoding="utf-8")
    rules.reload()
    assert statuses(app, "/", "/", "/") == [200, 200, 429]


def test_files_of_other_editors(tmp_path: Path) -> None:
    """A byte order mark and other line ends are fine, and other encodings are told."""
    path = tmp_path / "limits.toml"
    text = START.replace("\n", "\r\n") + 'key = "user"\r\n'
    path.write_bytes(text.encode("utf-8-sig"))
    assert [rule.name for rule in RuleFile(path).rules] == ["api"]
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(ValueError, match=r"limits\.toml: a TOML file is UTF-8"):
        RuleFile(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """It is an error of the system's."""
    with pytest.raises(FileNotFoundError):
        RuleFile(tmp_path / "none.toml")
