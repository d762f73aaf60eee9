"""The client that every question to Gemini goes through."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from prism_cli.errors import GeminiFailed, GeminiUnusable, KeyRefused, PrismError
from prism_cli.gemini_client import SIDE, Gemini, jpeg
from tests import gemini as api
from tests.gemini import FakeGemini

VERDICTS: dict[str, Any] = {
    "type": "object",
    "properties": {"verdicts": {"type": "array", "items": {"type": "boolean"}}},
    "required": ["verdicts"],
}
leaves = st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=5)
keys = st.sampled_from(
    [
        *("candidates", "content", "parts", "text", "finishReason", "promptFeedback"),
        *("blockReason", "error", "details", "message", "status", "code", "retryDelay", "reason"),
    ]
)
bodies = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=10,
)


def test_several_pictures_and_a_verdict_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any schema may be asked for: pictures go first, in their order, then the question."""
    fake = FakeGemini(replies=[api.answers(verdicts=[True, False])])
    pictures = [Image.new("RGB", (4000, 100), colour) for colour in ("red", "blue")]
    with api.connected(fake, monkeypatch):
        client = Gemini("gemini-3.8-flash")
        answer = client.ask("Is it red?", pictures, VERDICTS)
        client.close()

    assert answer == {"verdicts": [True, False]}
    [asked] = fake.asked
    assert [picture.size for picture in asked.pictures] == [(SIDE, 26)] * 2
    assert asked.pictures[0].getpixel((5, 5))[0] > 200 > asked.pictures[1].getpixel((5, 5))[0]
    assert asked.body["contents"][0]["parts"][-1] == {"text": "Is it red?"}


@pytest.mark.parametrize("verdicts", [[True, "no"], True, None, {"a": True}])
def test_an_answer_of_another_form(monkeypatch: pytest.MonkeyPatch, verdicts: object) -> None:
    """What is not as the schema says is no answer."""
    fake = FakeGemini(otherwise=lambda asked: api.answers(verdicts=verdicts))
    with api.connected(fake, monkeypatch):
        client = Gemini("gemini-3.8-flash")
        with pytest.raises(GeminiFailed):
            client.ask("?", [], VERDICTS)
        client.close()


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(body=bodies, status=st.sampled_from([200, 200, 302, 400, 403, 404, 418, 429, 500, 503]))
def test_whatever_comes_back(body: object, status: int) -> None:
    """Any JSON under any status is an answer or one sentence with a hint: never a traceback."""
    fake = FakeGemini(otherwise=lambda asked: api.Reply(body, status))
    with pytest.MonkeyPatch.context() as patch, api.connected(fake, patch):
        client = Gemini("gemini-3.8-flash")
        try:
            answer = client.ask("?", [], VERDICTS)
        except (GeminiFailed, GeminiUnusable) as error:
            assert error.hint and "\n" not in error.message and api.KEY not in str(error)
        else:
            assert isinstance(answer["verdicts"], list)
        client.close()


def test_a_stopped_client_waits_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """After `stop` a question is not asked again."""
    fake = FakeGemini(otherwise=lambda asked: api.BUSY)
    with api.connected(fake, monkeypatch):
        client = Gemini("gemini-3.8-flash")
        client.stop()
        with pytest.raises(PrismError):
            client.ask("?", [], VERDICTS)
        client.close()
    assert len(fake.asked) == 1 and fake.waits == []


@pytest.mark.parametrize("address", ["ftp://x", "nonsense", "http://", "http://[", "http://x:y"])
def test_an_address_that_is_none(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    monkeypatch.setenv("GEMINI_API_KEY", api.KEY)
    with pytest.raises(GeminiUnusable, match="GOOGLE_GEMINI_BASE_URL"):
        Gemini("gemini-3.8-flash", base_url=address)


def test_the_variable_that_counts_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """GOOGLE_API_KEY wins, as in Google's tools: setting the other one would not help."""
    fake = FakeGemini(otherwise=lambda asked: api.WRONG_KEY)
    with api.connected(fake, monkeypatch):
        monkeypatch.setenv("GOOGLE_API_KEY", "another")
        client = Gemini("gemini-3.8-flash")
        with pytest.raises(KeyRefused) as caught:
            client.ask("?", [], VERDICTS)
        client.close()
    assert "export GOOGLE_API_KEY" in caught.value.hint
    assert fake.asked[0].headers["x-goog-api-key"] == "another"


def test_what_is_sent_has_no_metadata() -> None:
    picture = Image.new("RGB", (20, 20))
    picture.info = {"comment": b"secret", "exif": b"secret", "icc_profile": b"secret"}
    assert b"secret" not in jpeg(picture)
    assert picture.info["comment"] == b"secret"  # the caller's picture is left as it was
