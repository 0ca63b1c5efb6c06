# net-0123456789ab-opset17-ort1.17.3 on device. Made by Ortolan: the model's recipe and the target's are what to change.
# Built from the folder above this one (README.md says how). Nothing runs while it is built, so that an image for another
# processor needs no emulator, and nothing is fetched but the base.
FROM dustynv/onnxruntime:1.20.2-r36.4.0

ENV PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY docker/serve.py docker/wire.py docker/healthcheck.py docker/service.json /opt/ortolan/
COPY model.onnx session.json golden.bin golden.json /opt/ortolan/model/

USER 1000:1000
EXPOSE 9000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python3", "/opt/ortolan/healthcheck.py"]
ENTRYPOINT ["python3", "/opt/ortolan/serve.py"]

ARG REVISION=unknown
LABEL org.opencontainers.image.title="net" \
      org.opencontainers.image.version="net-0123456789ab-opset17-ort1.17.3" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="dustynv/onnxruntime:1.20.2-r36.4.0" \
      ortolan.target="device" \
      ortolan.model.hash="sha256:0000000000000000000000000000000000000000000000000000000000000000" \
      ortolan.model.file="sha256:1111111111111111111111111111111111111111111111111111111111111111" \
      ortolan.precision="fp32" \
      ortolan.opset="17" \
      ortolan.runtime="onnxruntime-gpu 1.17.3"
