# A base image with CPython 3.11 or newer, pip and CA certificates on Debian 12 or newer. Releases name it by digest.
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ONLY_BINARY=:all: PIP_REQUIRE_HASHES=1 PIP_QUIET=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# Dependencies first: they change less often than the source. Every file is checked against the hashes of the lock.
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv --without-pip /app \
    && python3 -m pip --python /app/bin/python install --no-compile --no-deps -r requirements.txt \
    && python3 -m venv --without-pip /build \
    && python3 -m pip --python /build/bin/python install --no-compile --no-deps -r requirements-build.txt

COPY . .
RUN /build/bin/python -m hatchling build -t wheel -d /wheel \
    && PIP_REQUIRE_HASHES=0 python3 -m pip --python /app/bin/python install --no-compile --no-deps --no-index /wheel/*.whl \
    && python3 -m pip --python /app/bin/python check \
    && python3 tools/image/root.py /app /root-of-image

# Nothing of the base but what the interpreter loads: no shell, no package manager, no pip.
FROM scratch
ARG VERSION=0.0.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="anchore-admission" \
      org.opencontainers.image.description="A Kubernetes admission controller that asks Anchore about every container image before it runs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /root-of-image /
ENV PATH=/app/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt \
    ANCHORE_ADMISSION_HOST=0.0.0.0
USER 65532:65532
EXPOSE 8443 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["anchore-admission", "health"]
ENTRYPOINT ["anchore-admission"]
CMD ["serve"]
