# syntax=docker/dockerfile:1
# Two images, of a provider's service and of a client; compose.yaml runs both:
#   docker build --target=provider --tag=helix_jax-provider .
#   docker build --target=client --tag=helix_jax-client .
# The base goes by its tag here. A build that is to be repeated names its digest, too:
#   docker buildx imagetools inspect python:3.12-slim-bookworm
#   docker build --build-arg=PYTHON=python:3.12-slim-bookworm@sha256:DIGEST ...
# No key, token or state is ever copied in: .dockerignore lets nothing but code through.
ARG PYTHON=python:3.12-slim-bookworm

FROM ${PYTHON} AS source
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /src
COPY . .
RUN python -m venv /opt/helix_jax

# A provider has no way to decrypt, and needs neither Pyfhel nor a compiler.
FROM source AS provider-build
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/helix_jax/bin/pip install '.[net]'

FROM source AS client-build
# The archive keeps one version of each; the base's digest says which it is of the day.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*
RUN --mount=type=cache,target=/root/.cache/pip \
    CMAKE_TOOLCHAIN_FILE=/src/build_tools/seal_offline.cmake \
    /opt/helix_jax/bin/pip install '.[crypto,net]'

FROM ${PYTHON} AS base
ENV PATH=/opt/helix_jax/bin:$PATH \
    HOME=/tmp \
    XDG_CACHE_HOME=/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
RUN groupadd --gid=10001 helix \
    && useradd --uid=10001 --gid=10001 --no-create-home --home-dir=/tmp \
       --shell=/usr/sbin/nologin helix \
    && install --directory --owner=helix --group=helix --mode=0700 /cache /state

FROM base AS client
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=client-build /opt/helix_jax /opt/helix_jax
USER 10001:10001
WORKDIR /state
ENTRYPOINT ["python", "-m", "experiments.query"]
CMD ["--help"]

FROM base AS provider
COPY --from=provider-build /opt/helix_jax /opt/helix_jax
USER 10001:10001
WORKDIR /state
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-m", "helix_jax.health_check", "https://127.0.0.1:8443"]
ENTRYPOINT ["python", "-m", "experiments.serve"]
CMD ["--config=/etc/helix_jax/provider.toml"]
