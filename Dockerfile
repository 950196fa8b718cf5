# syntax=docker/dockerfile:1
# Two images of one content, of a provider's service and of a client; compose.yaml runs
# both:
#   docker build --target=provider --tag=helix_jax-provider .
#   docker build --target=client --tag=helix_jax-client .
# The base goes by its tag here. A build that is to be repeated names its digest, too:
#   docker buildx imagetools inspect python:3.12-slim-bookworm
#   docker build --build-arg=PYTHON=python:3.12-slim-bookworm@sha256:DIGEST ...
# No key, token or state is ever copied in: .dockerignore lets nothing but code through.
ARG PYTHON=python:3.12-slim-bookworm

# The compiler stays here: what is installed goes on.
FROM ${PYTHON} AS build
# The archive keeps one version of each; the base's digest says which it is of the day.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ make \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN python -m venv /opt/helix_jax
ENV PIP_CONSTRAINT=/src/constraints.txt \
    PIP_BUILD_CONSTRAINT=/src/constraints.txt \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    CMAKE_TOOLCHAIN_FILE=/src/build_tools/seal_offline.cmake
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/helix_jax/bin/pip install '.[crypto,net]'

FROM ${PYTHON} AS installed
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid=10001 helix \
    && useradd --uid=10001 --gid=10001 --no-create-home --home-dir=/tmp \
       --shell=/usr/sbin/nologin helix \
    && install --directory --owner=helix --group=helix --mode=0700 /cache /state
COPY --from=build /opt/helix_jax /opt/helix_jax
ENV PATH=/opt/helix_jax/bin:$PATH \
    HOME=/tmp \
    XDG_CACHE_HOME=/cache \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /state

FROM installed AS client
ENTRYPOINT ["python", "-m", "experiments.query"]
CMD ["--help"]

FROM installed AS provider
EXPOSE 8443
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=10s --start-period=120s --retries=3 \
    CMD ["python", "-m", "helix_jax.health_check", "https://127.0.0.1:8443"]
ENTRYPOINT ["python", "-m", "experiments.serve"]
CMD ["--config=/etc/helix_jax/provider.toml"]
