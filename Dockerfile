# syntax=docker/dockerfile:1
# Moot as a fleet runs it: one image, every role. docker build -t moot .
#
# Two stages: the first installs the packages of the image's own lock, which leaves out the engines that one machine
# starts for itself; each is checked against its hash and none compiled here, so nothing but the base image decides what
# is inside. The second has Python, those packages and the source, and runs as nobody who may do anything. The base is
# named by its exact tag; whoever needs it bit for bit pins the digest that `docker buildx imagetools inspect` shows:
# --build-arg BASE=python:3.11.13-slim-bookworm@sha256:…
ARG BASE=python:3.11.13-slim-bookworm

FROM ${BASE} AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1 PYTHONDONTWRITEBYTECODE=1
COPY requirements-image.lock /tmp/requirements-image.lock
RUN python -m venv --without-pip /opt/moot/venv \
    && python -m pip --python /opt/moot/venv/bin/python install \
        --no-deps --require-hashes --only-binary :all: --no-compile --root-user-action ignore \
        --requirement /tmp/requirements-image.lock \
    && echo /opt/moot/app > /opt/moot/venv/lib/python3.11/site-packages/moot.pth \
    && printf '#!/bin/sh\nexec /opt/moot/venv/bin/python -P -m streams.cli "$@"\n' > /opt/moot/venv/bin/moot \
    && chmod 755 /opt/moot/venv/bin/moot

FROM ${BASE}
RUN groupadd --gid 10001 moot \
    && useradd --uid 10001 --gid moot --home-dir /var/lib/moot --shell /usr/sbin/nologin moot \
    && install --directory --owner moot --group moot --mode 0700 /var/lib/moot /var/lib/moot/secrets
COPY --from=packages /opt/moot/venv /opt/moot/venv
COPY domain /opt/moot/app/domain
COPY schemas /opt/moot/app/schemas
COPY commands /opt/moot/app/commands
COPY projections /opt/moot/app/projections
COPY infra /opt/moot/app/infra
COPY streams /opt/moot/app/streams
COPY read_api /opt/moot/app/read_api
RUN /opt/moot/venv/bin/python -P -m compileall -q --invalidation-mode unchecked-hash \
        /opt/moot/app /opt/moot/venv/lib
ENV PATH=/opt/moot/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MOOT_DATA_DIR=/var/lib/moot \
    MOOT_HOST=0.0.0.0 \
    MOOT_METRICS_HOST=0.0.0.0 \
    MOOT_METRICS_PORT=9464 \
    MOOT_LOG_TO=stderr
USER 10001:10001
WORKDIR /var/lib/moot
VOLUME /var/lib/moot
EXPOSE 8000 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=30s --retries=3 CMD ["moot", "health"]
ENTRYPOINT ["moot"]
CMD ["--help"]
