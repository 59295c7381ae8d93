"""What OpenAPI tells of limits, compared by schemathesis with what is answered."""

from __future__ import annotations

import runpy
from collections import Counter
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from fastapi import Depends, FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import UndefinedStatusCode
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ratelimit import FixedWindow, LeakyBucket
from ratelimit.asgi import header
from ratelimit.fastapi import RESPONSES, RateLimit, document_limits
from ratelimit.testing import frozen

EXAMPLE = Path(__file__).parent.parent / "examples/fastapi_app.py"
CHECKS = [
    allow_header_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
]
TEN = FixedWindow("10/day")
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def answers_to(example: dict[str, Any]) -> Counter[tuple[str, int]]:
    """Ask for whatever the schema tells of, and check each answer by it; how often each came.

    Time moves by so much that about every other request is denied.
    """
    schema = schemathesis.openapi.from_asgi("/openapi.json", example["app"])
    limits = [each for each in example.values() if isinstance(each, RateLimit)]
    seen: Counter[tuple[str, int]] = Counter()

    for operation in [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]:
        cases = st.one_of(*[operation.as_strategy(generation_mode=mode) for mode in MODES])

        @given(case=cases, milliseconds=st.integers(0, 600))
        @settings(database=None, deadline=None, derandomize=True, max_examples=60)
        def ask(case: schemathesis.Case[Any], milliseconds: int) -> None:
            clock.advance(milliseconds / 1_000)
            answer = case.call()
            seen[case.operation.label, answer.status_code] += 1
            case.validate_response(answer, checks=CHECKS)
            if answer.status_code == 429:
                assert {name.lower() for name in RESPONSES[429]["headers"]} <= answer.headers.keys()

        with frozen(*limits) as clock:
            ask()
    return seen


def test_every_answer_is_documented() -> None:
    """Of whatever is sent to the example, nothing is answered that its schema doesn't tell of."""
    seen = answers_to(runpy.run_path(str(EXAMPLE)))
    denied = {label for label, status in seen if status == 429}
    assert denied == {"GET /search", "POST /accounts", "POST /complete"}
    assert {status for _, status in seen} == {200, 201, 422, 429}


def test_answers_that_are_no_denials() -> None:
    """That a limit can't be checked, or has nobody to charge, is documented where it can be."""
    gone = RateLimit(TEN, name="gone", store="redis://127.0.0.1:1", on_error="closed")
    nobody = RateLimit(TEN, key=header("x-nobody"), unknown="deny")
    crowded = RateLimit(LeakyBucket("1/second", capacity=5), max_waiting=0)
    chosen = RateLimit(lambda scope: cast("Any", None))
    limits = {"gone": gone, "nobody": nobody, "crowded": crowded, "chosen": chosen}
    app = FastAPI()
    for name, limit in limits.items():
        app.get(f"/{name}", dependencies=[Depends(limit)])(lambda: None)
    document_limits(app)
    seen = answers_to({"app": app})
    assert seen.keys() == {
        ("GET /gone", 503), ("GET /nobody", 403), ("GET /crowded", 200), ("GET /crowded", 503),
        ("GET /chosen", 503),
    }  # fmt: skip


def test_limits_that_are_not_documented() -> None:
    """They are found: an application that doesn't tell of them answers what nobody expects."""
    example = runpy.run_path(str(EXAMPLE))
    del vars(example["app"])["openapi"]
    with pytest.raises(FailureGroup) as found:
        answers_to(example)
    assert [type(each) for each in found.value.exceptions] == [UndefinedStatusCode]
