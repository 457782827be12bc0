# The service: worker, feeder, paper execution and every other command of stream-allocator.
# Any Python image of 3.11 or later will do as the base.
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PATH=/opt/stream-allocator/bin:$PATH
WORKDIR /build
RUN python3 -m venv /opt/stream-allocator
# dependencies first and by hash: this layer stays until the lock file changes
COPY requirements/runtime.txt ./
RUN pip install --require-hashes --only-binary :all: -r runtime.txt
COPY pyproject.toml README.md ./
COPY schemas ./schemas
COPY topologies ./topologies
COPY stream_allocator ./stream_allocator
RUN pip install --no-deps --no-build-isolation . && python3 -m compileall -q /opt/stream-allocator/lib

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/stream-allocator /opt/stream-allocator
COPY topologies /srv/topologies
# The root file system may be read-only: all that is written goes to /tmp. One BLAS thread, because a
# decision's bits must not depend on the number of cores.
ENV PATH=/opt/stream-allocator/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib NUMBA_CACHE_DIR=/tmp/numba \
    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 \
    STREAM_ALLOCATOR_HEARTBEAT=/tmp/heartbeat
# A short run of the whole service over its embedded broker compiles the kernels, so that no worker stands
# still for that at its first bar. Numba uses only a cache that it can write to, hence a copy at each start; on
# a processor of another kind it compiles anew.
RUN NUMBA_CACHE_DIR=/opt/stream-allocator/numba stream-allocator demo --bars 300 --report /tmp/report.html \
    && rm -rf /tmp/*
WORKDIR /srv
USER 10001:10001
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["stream-allocator", "health", "--max-age", "30"]
ENTRYPOINT ["sh", "-c", "cp -Rn /opt/stream-allocator/numba /tmp/; exec stream-allocator \"$@\"", "stream-allocator"]
CMD ["--help"]
