"""What the collector's image tells of its version, and what a version knows and does.

Only the tags of the collector's own distributions are its versions: a company's or a vendor's build has a
numbering of its own.
"""

import re

FIRST_MODERN_VERSION = (0, 144)
# In between `bearertokenauth` does not notice a token that the kubelet renews: contrib pull request 44104
# broke it, 46470 mended it. 0.150 and 0.151 could not be looked at, and count as broken.
FIRST_TOKEN_KEEPING_VERSION, FIRST_TOKEN_RENEWING_VERSION = (0, 139), (0, 152)

# The collector's own repositories, which the platform's charts use as well; Docker Hub has many names.
_DISTRIBUTION = re.compile(
    r"(?:(?:(?:index\.|registry-1\.)?docker\.io/)?otel|ghcr\.io/open-telemetry(?:/[a-z0-9._-]+)*)"
    r"/opentelemetry-collector[a-z0-9._-]*",
    re.ASCII,
)
# A major version of one digit: a date or a build number as tag tells nothing of the collector.
_VERSION_TAG = re.compile(r"v?([0-9])\.([0-9]{1,5})(?:[.\-_+].*)?", re.ASCII)


def read_version(image: str) -> tuple[int, int] | None:
    """Major and minor version of a collector; None where the image does not tell it.

    It tells none with `latest`, with a digest alone, and with the tag of a repository that is not one of the
    collector's own distributions.
    """
    repository, tag = _split(image)
    version = _VERSION_TAG.fullmatch(tag) if _DISTRIBUTION.fullmatch(repository) else None
    return (int(version[1]), int(version[2])) if version else None


def has_modern_exporter_names(image: str) -> bool:
    """Whether the collector is told to be 0.144 or later; newer ones know the old names too."""
    version = read_version(image)
    return version is not None and version >= FIRST_MODERN_VERSION


def keeps_first_token(image: str) -> bool:
    """Whether the collector sends the ServiceAccount token that it started with until it is restarted.

    True where the version cannot be told: restarting one that need not be costs little.
    """
    version = read_version(image)
    return version is None or FIRST_TOKEN_KEEPING_VERSION <= version < FIRST_TOKEN_RENEWING_VERSION


def _split(image: str) -> tuple[str, str]:
    """Repository and tag."""
    reference, _, _digest = image.strip().partition("@")
    # Only behind the last slash: before it a colon is a registry's port.
    path, slash, last = reference.rpartition("/")
    name, _, tag = last.partition(":")
    return f"{path}{slash}{name}", tag
