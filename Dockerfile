# One image for every process of Syncline: web, worker and stream. Build it at the top of the repository.
FROM python:3.11.14-slim-bookworm AS build
WORKDIR /src
RUN python -m venv /opt/build && /opt/build/bin/pip install --no-cache-dir -q uv==0.13.8 && python -m venv --without-pip /opt/syncline
COPY requirements.lock ./
COPY platform platform
COPY plugins plugins
COPY apps apps
# Versions and hashes are those of the lock file; what only tests need stays out.
RUN /opt/build/bin/uv pip install --python /opt/syncline/bin/python -q --no-cache --verify-hashes --compile-bytecode \
      -c requirements.lock -b requirements.lock ./platform ./plugins/* ./apps/*

FROM python:3.11.14-slim-bookworm
RUN groupadd --gid 10001 syncline && useradd --uid 10001 --gid syncline --home-dir /var/lib/syncline --create-home syncline \
 && mkdir /var/lib/syncline/static && chown syncline:syncline /var/lib/syncline/static
COPY --from=build /opt/syncline /opt/syncline
ENV PATH=/opt/syncline/bin:$PATH PYTHONUNBUFFERED=1 SYNCLINE_STATE=/var/lib/syncline
USER syncline
WORKDIR /var/lib/syncline
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["syncline", "health", "web"]
CMD ["syncline", "web", "--bind", "0.0.0.0:8000"]
