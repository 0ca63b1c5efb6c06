# net-0123456789ab-opset17-ort1.17.3 on device. Made by Ortolan: the model's recipe and the target's are what to change.
# Built from the folder above this one (README.md says how). Nothing runs while it is built, so that an image for another
# processor needs no emulator, and nothing is fetched but the base.
FROM python:3.11-slim-bookworm@sha256:abababababababababababababababababababababababababababababababab

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# The wheels of requirements.txt, checked against its hashes and unpacked for x86_64-manylinux_2_28.
ENV PYTHONPATH=/opt/ortolan/site-packages
COPY docker/site-packages/ /opt/ortolan/site-packages/
COPY docker/serve.py docker/wire.py docker/healthcheck.py docker/service.json /opt/ortolan/
COPY model.onnx session.json golden.bin golden.json /opt/ortolan/model/

USER 10001:10001
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python3", "/opt/ortolan/healthcheck.py"]
ENTRYPOINT ["python3", "/opt/ortolan/serve.py"]

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
      ortolan.runtime="onnxruntime 1.17.3"
