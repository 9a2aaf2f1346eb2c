"""The life of pods' tokens."""

from pathlib import Path

import jwt
import pytest

from kagenti_devcluster.cluster.pki import generate_signing_key, write_private
from kagenti_devcluster.node.tokens import renew_after, shorten


@pytest.mark.parametrize(("lifetime", "after"), [(600, 480), (3607, 2885.6), (10**7, 86400)])
def test_tokens_are_renewed_at_four_fifths_of_their_life_or_daily(lifetime: float, after: float) -> None:
    assert renew_after(lifetime) == pytest.approx(after)


def test_a_shortened_token_is_the_same_but_for_its_end_and_is_signed_by_the_cluster(tmp_path: Path) -> None:
    key = generate_signing_key()
    write_private(tmp_path / "key", key)
    claims = {"iss": "https://kubernetes", "sub": "system:serviceaccount:a:b", "iat": 1000, "exp": 4600}
    token = jwt.encode(claims, key, algorithm="ES256", headers={"kid": "x"})

    short = shorten(token, 60, tmp_path / "key")

    assert jwt.get_unverified_header(short) == jwt.get_unverified_header(token)
    read = jwt.decode(short, key, algorithms=["ES256"], options={"verify_exp": False})
    assert read == {**claims, "exp": 1060}
