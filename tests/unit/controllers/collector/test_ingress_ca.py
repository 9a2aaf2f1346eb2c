import pytest

from kagenti_operator.controllers.collector.ingress_ca import build_bundle


@pytest.mark.parametrize(
    ("ingress", "root", "expected"),
    [
        ("INGRESS\n", "ROOT", "INGRESS\nROOT\n"),
        ("INGRESS", None, "INGRESS\n"),
        ("INGRESS", " \n", "INGRESS\n"),
        (None, "ROOT", None),
        (" ", "ROOT", None),
    ],
)
def test_the_bundle_is_the_ingress_ca_then_the_root_ca(
    ingress: str | None, root: str | None, expected: str | None
) -> None:
    assert build_bundle(ingress, root) == expected
