# The server: `mergeline serve`, what it needs to serve, and nothing to train with. `.ci/image` builds it.
#
# It is made to run with a read-only root and no capability at all. What it writes goes to /tmp and to what is mounted
# at /model (the bytes that it fetches) and /log (the prediction log).

# Named here and nowhere else, as Dependabot reads no ARG; it also sets the digest.
FROM docker.io/library/python:3.11-slim-bookworm AS base

# ---- The pins of serve.lock, whose first use is to build this package
FROM base AS installed
WORKDIR /build
COPY requirements/serve.lock requirements/
RUN python -m venv --without-pip /opt/mergeline \
    && python -m pip --python /opt/mergeline install --no-cache-dir --no-compile --no-deps --only-binary :all: \
        --require-hashes --requirement requirements/serve.lock

# ---- This package alone, in a folder of its own: a change of code is a layer of three megabytes
FROM installed AS package
COPY LICENSE pyproject.toml ./
COPY src src
RUN python -m pip --python /opt/mergeline install --no-cache-dir --no-compile --no-deps --no-index \
        --no-build-isolation --prefix /opt/package . \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/package/lib \
    && mkdir /opt/empty

# ---- What it needs. The files of an image do not change, so that Python need not compare them with their bytecode.
FROM installed AS dependencies
COPY .ci/prune_image.py .ci/
RUN python .ci/prune_image.py /opt/mergeline \
    && python -m compileall -q --invalidation-mode unchecked-hash /opt/mergeline/lib

# ---- Not the server's: what a training Job runs in (docs/training-job.md), by `--target trainer`. The pins of
# runtime.lock, Git, and none of this repository's code, which comes with the commit that is trained.
FROM base AS trainer
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git \
    && rm -rf /var/lib/apt/lists/*
COPY requirements/runtime.lock /opt/mergeline/runtime.lock
# setuptools comes first: it builds the pins that have no wheel.
RUN python -m venv --without-pip /opt/mergeline \
    && sed -n '/^setuptools==/,/^    # via/p' /opt/mergeline/runtime.lock > /tmp/build.lock \
    && for lock in /tmp/build.lock /opt/mergeline/runtime.lock; do \
        python -m pip --python /opt/mergeline install --no-cache-dir --no-deps --no-build-isolation --use-pep517 \
            --require-hashes --requirement "$lock" || exit 1; \
    done \
    && rm /tmp/build.lock \
    && printf '#!/bin/sh\nexec python -m mergeline "$@"\n' > /opt/mergeline/bin/mergeline \
    && chmod 755 /opt/mergeline/bin/mergeline
ENV PATH=/opt/mergeline/bin:$PATH \
    MERGELINE_TRAINER_LOCK=/opt/mergeline/runtime.lock \
    LOGNAME=mergeline \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /work
USER 10001:10001

# ---- The image
FROM base AS server
LABEL org.opencontainers.image.title="mergeline" \
      org.opencontainers.image.description="Serves the model that a release names." \
      org.opencontainers.image.licenses="Apache-2.0" \
      dev.mergeline.serving-contract="1"

# One thread a worker: several on a small model wait for one another. The address is no option of CMD, which SageMaker
# replaces by `serve` alone.
ENV PATH=/opt/mergeline/bin:$PATH \
    MERGELINE_HOST=0.0.0.0 \
    MERGELINE_FOLDER=/model \
    MERGELINE_CHALLENGER_FOLDER=/model/challenger \
    MERGELINE_LOG=/log \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    ORT_DISABLE_TELEMETRY=1

COPY --from=dependencies /opt/mergeline /opt/mergeline
COPY --from=package /opt/package /opt/mergeline
# Volumes that are mounted here take on their owner. Copied, as nothing is run in this stage: a run leaves traces.
COPY --from=package --chown=10001:10001 /opt/empty /log
COPY --from=package --chown=10001:10001 /opt/empty /model
WORKDIR /srv
USER 10001:10001
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; \
        web.urlopen('http://127.0.0.1:' + os.environ.get('MERGELINE_PORT', '8080') + '/readyz', timeout=2)"]
ENTRYPOINT ["mergeline"]
CMD ["serve"]
