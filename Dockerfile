# lcoms with CHGNet and the CPU build of PyTorch, whose package index PyTorch's installation page names:
#   docker build --build-arg TORCH_INDEX_URL=ADDRESS -t lcoms .
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/work" lcoms predict NaCl
FROM python:3.11-slim

# Without an index for it, the usual build is installed, with its libraries for NVIDIA GPUs.
ARG TORCH_INDEX_URL=
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1 HOME=/tmp

# PyTorch comes first: it is large, and changes to the sources leave this layer as it is.
RUN pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} torch==2.13.0

# Packages without a wheel are compiled, and the compiler is taken out again.
COPY pyproject.toml README.md LICENSE /src/
COPY src /src/src
RUN apt-get update && apt-get install -y --no-install-recommends gcc g++ libc6-dev \
    && pip install "/src[chgnet,sevennet,app]" && rm -rf /src \
    && apt-get purge -y --auto-remove gcc g++ libc6-dev && rm -rf /var/lib/apt/lists/*

WORKDIR /work
USER 1000:1000
ENTRYPOINT ["lcoms"]
CMD ["--help"]
