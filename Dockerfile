# docker build -t asmil --build-arg VERSION=0.1.0 .
# docker run --rm --gpus all -v "$PWD:/data" asmil run --slides slides/ --labels labels.csv --out runs/first
# The torch of the package index runs on CPUs and on NVIDIA GPUs.
FROM python:3.11-slim-bookworm

ARG EXTRAS=all
# the tree has no history here: what `asmil --version` says; a version such as 0.1.0
ARG VERSION=0.1.0.dev0

WORKDIR /opt/asmil
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY src src
RUN SETUPTOOLS_SCM_PRETEND_VERSION_FOR_ASMIL="${VERSION}" \
    pip install --no-cache-dir --constraint constraints.txt ".[${EXTRAS}]" \
    && useradd --create-home --uid 1000 asmil

# not root: what it writes into /data belongs to this user, or to `docker run --user "$(id -u):$(id -g)"`
USER 1000
ENV HF_HOME=/data/.weights MPLCONFIGDIR=/tmp/matplotlib
WORKDIR /data
ENTRYPOINT ["asmil"]
CMD ["--help"]
