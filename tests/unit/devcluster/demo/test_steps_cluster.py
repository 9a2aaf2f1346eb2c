"""Which model the demo's agent is given."""

import base64
from typing import Any

import pytest

from kagenti_devcluster.demo.failures import StepFailed
from kagenti_devcluster.demo.steps_cluster import build_secret, choose_model


def test_without_a_model_in_the_environment_there_is_none():
    assert choose_model({"PATH": "/bin", "VLLM_API_TOKEN": "unused"}) is None


def test_a_model_in_the_environment_is_taken_with_defaults_for_the_rest():
    assert choose_model({"INFERENCE_MODEL": "llama", "VLLM_URL": "https://example.com/v1"}) == {
        "INFERENCE_MODEL": "llama",
        "VLLM_URL": "https://example.com/v1",
        "VLLM_TLS_VERIFY": "true",
        "VLLM_API_TOKEN": "",
    }


@pytest.mark.parametrize(
    ("given", "missing"), [("VLLM_URL", "INFERENCE_MODEL"), ("INFERENCE_MODEL", "VLLM_URL")]
)
def test_half_a_model_is_refused(given: str, missing: str):
    with pytest.raises(StepFailed, match=f"{missing} is not set"):
        choose_model({given: "x"})


def test_the_secret_carries_the_values():
    secret: Any = build_secret({"VLLM_API_TOKEN": "s3cret"})
    assert base64.b64decode(secret["data"]["VLLM_API_TOKEN"]) == b"s3cret"
