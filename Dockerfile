# One image for worker, dashboard and replay; the command chooses.
# On Linux the package index serves torch's CUDA build, several GB. For the CPU build name the index that has it:
#   docker compose build --build-arg PIP_ARGUMENTS='--extra-index-url URL'
FROM python:3.11-slim

ARG PIP_ARGUMENTS=""
WORKDIR /app
COPY pyproject.toml requirements.lock README.md ./
COPY reviewpulse reviewpulse
COPY producer producer
COPY stream_app stream_app
COPY training training
COPY dashboard dashboard
RUN pip install --no-cache-dir $PIP_ARGUMENTS --constraint requirements.lock '.[producer,worker,dashboard,postgres]' \
    && useradd --create-home reviewpulse \
    && mkdir /data && chown reviewpulse /data

USER reviewpulse
WORKDIR /data
ENV REVIEWPULSE_STORE=sqlite:////data/reviewpulse.db
ENTRYPOINT ["reviewpulse"]
CMD ["--help"]
