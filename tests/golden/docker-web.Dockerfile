# net-0123456789ab-opset17-ort1.17.3 as a page. Made by Ortolan: the model's recipe and the target's are what to change.
# Built from the folder above this one (README.md says how). Nothing runs while it is built, and nothing is fetched but the base.
FROM python:3.11-slim-bookworm@sha256:abababababababababababababababababababababababababababababababab

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# The files of onnxruntime-web that web.json names, checked against its digests.
COPY docker-web/dist/ /opt/ortolan/site/dist/
COPY docker-web/static.py docker-web/healthcheck.py docker-web/service.json /opt/ortolan/
COPY docker-web/index.html docker-web/page.mjs model.onnx web.json golden.bin golden.json /opt/ortolan/site/

USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=10s --retries=3 CMD ["python3", "/opt/ortolan/healthcheck.py"]
ENTRYPOINT ["python3", "/opt/ortolan/static.py"]

ARG REVISION=unknown
LABEL org.opencontainers.image.title="net" \
      org.opencontainers.image.version="net-0123456789ab-opset17-ort1.17.3" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="python:3.11-slim-bookworm@sha256:abababababababababababababababababababababababababababababababab" \
      ortolan.target="device" \
      ortolan.model.hash="sha256:0000000000000000000000000000000000000000000000000000000000000000" \
      ortolan.model.file="sha256:1111111111111111111111111111111111111111111111111111111111111111" \
      ortolan.precision="fp32" \
      ortolan.opset="17" \
      ortolan.runtime="onnxruntime-web 1.30.0"
