"""What is asked and answered over HTTP, whoever asks."""

import asyncio
import base64
import io
import json
from http import HTTPStatus
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from kagenti_operator.runtime.webhook import admission
from kagenti_operator.runtime.webhook.admission import (
    AdmissionRequest,
    AdmissionResponse,
    allow,
    build_admission_app,
    refuse,
)

PATH = "/mutate"


def build_review(**request: Any) -> dict[str, Any]:
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {"uid": "u1", "kind": {"group": "", "version": "v1", "kind": "Pod"}, **request},
    }


async def ask(body: Any, review: admission.Review) -> tuple[int, Any]:
    app = build_admission_app(PATH, review)
    async with TestClient(TestServer(app)) as client:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with client.post(PATH, data=io.BytesIO(data)) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if answer.status == 200 else text


async def admit(request: AdmissionRequest) -> AdmissionResponse:
    patch = [{"op": "replace", "path": "/spec", "value": request.object["spec"]}]
    return allow(request, patch=patch, warnings=["w" * 300])


async def test_a_review_is_answered_with_its_uid_and_a_patch() -> None:
    status, answer = await ask(build_review(object={"spec": {"a": 1}}, dryRun=True), admit)
    assert status == 200
    assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response = answer["response"]
    assert (response["uid"], response["allowed"], response["patchType"]) == ("u1", True, "JSONPatch")
    patch = json.loads(base64.b64decode(response["patch"]))
    assert patch == [{"op": "replace", "path": "/spec", "value": {"a": 1}}]
    assert response["warnings"] == ["w" * 256]


async def test_a_refusal_says_why_and_is_not_omitted() -> None:
    async def review(request: AdmissionRequest) -> AdmissionResponse:
        return refuse(request, HTTPStatus.FORBIDDEN, "key ISSUER is missing")

    _, answer = await ask(build_review(), review)
    status = {"code": 403, "message": "key ISSUER is missing"}
    assert answer["response"] == {"uid": "u1", "allowed": False, "status": status}


async def test_an_error_of_ours_refuses_the_pod_with_500() -> None:
    async def review(_: AdmissionRequest) -> AdmissionResponse:
        raise KeyError("a bug")

    status, answer = await ask(build_review(), review)
    assert status == 200
    assert (answer["response"]["allowed"], answer["response"]["status"]["code"]) == (False, 500)


async def test_what_takes_too_long_is_refused_before_the_api_server_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "DECIDE_SECONDS", 0.01)

    async def review(_: AdmissionRequest) -> AdmissionResponse:
        await asyncio.Event().wait()
        raise AssertionError

    _, answer = await ask(build_review(), review)
    assert answer["response"]["status"]["code"] == 500


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"{", {**build_review(), "apiVersion": "admission.k8s.io/v1beta1"}, {"kind": "Pod"}],
)
async def test_what_is_no_review_is_a_bad_request(body: Any) -> None:
    status, text = await ask(body, admit)
    assert (status, "AdmissionReview" in text) == (400, True)


async def test_what_is_larger_than_an_api_server_takes_is_not_read() -> None:
    status, _ = await ask(b" " * (admission.MOST_BYTES + 1), admit)
    assert status == 413


async def test_an_object_that_nests_too_deep_does_not_end_the_process() -> None:
    deep = b'{"spec":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    body = json.dumps(build_review(object="HERE")).encode().replace(b'"HERE"', deep)
    status, answer = await ask(body, admit)
    assert (status, answer["response"]["allowed"]) == (200, True)


async def test_a_compressed_review_is_refused_unread() -> None:
    async with (
        TestClient(TestServer(build_admission_app(PATH, admit))) as client,
        client.post(PATH, data=b"{}", headers={"Content-Encoding": "gzip"}) as answer,
    ):
        assert answer.status == HTTPStatus.UNSUPPORTED_MEDIA_TYPE


async def test_large_reviews_are_decided_one_after_the_other() -> None:
    """As objects they take many times as much as on their way."""
    inside, most = 0, 0

    async def review(request: AdmissionRequest) -> AdmissionResponse:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0)
        inside -= 1
        return allow(request)

    large = json.dumps(build_review(object={"filler": "a" * (admission.MOST_BYTES_AT_ONCE // 2)})).encode()
    async with TestClient(TestServer(build_admission_app(PATH, review))) as client:
        answers = await asyncio.gather(*(client.post(PATH, data=io.BytesIO(large)) for _ in range(4)))
    assert [answer.status for answer in answers] == [200] * 4
    assert most == 1
