# Both bases are Debian 13 with Python 3.13, pinned by the digest of their list of platforms; see docs/image.md.
FROM docker.io/library/python:3.13-slim-trixie@sha256:8d9d0b8bcf6506481eae4907c18f5e3e7902e629f5f6d684f9e7c32e85e3ddf0 AS build
WORKDIR /source
COPY . .
RUN tools/image.sh /out

# No shell, no package manager.
FROM gcr.io/distroless/python3-debian13:nonroot@sha256:8ee214843129f43e2ebf5e0ca9f2e4e6d8292143d1b8a6787f169b5898578884
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="kagenti-operator" \
      org.opencontainers.image.description="Keeps every AI agent's traces flowing into MLflow on Kubernetes and OpenShift AI" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/python3-debian13:nonroot"
COPY --from=build /out /opt/kagenti-operator
ENV PYTHONPATH=/opt/kagenti-operator \
    PYTHONUNBUFFERED=1
# A number, because `runAsNonRoot` cannot judge a name.
USER 65532:65532
ENTRYPOINT ["/usr/bin/python3.13", "-P", "-m", "kagenti_operator.cli.main"]
CMD ["run"]
