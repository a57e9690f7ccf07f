# The serving install with the default bundle: no torch, no compiler, no pip, not root. It asks for a key: mount a keys
# file (firstreply keys new keys.toml NAME) at /run/secrets/firstreply_keys.
FROM python:3.11-slim-bookworm AS builder
WORKDIR /src
RUN python -m venv --without-pip /opt/firstreply
COPY . .
RUN pip --python /opt/firstreply install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim-bookworm
COPY --from=builder /opt/firstreply /opt/firstreply
ENV PATH=/opt/firstreply/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8080/readyz', timeout=3)"]
ENTRYPOINT ["firstreply"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8080", "--keys", "/run/secrets/firstreply_keys", "--log", "json"]
