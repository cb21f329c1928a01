# The init container that verifies: docker build --file export/serving/verify.Dockerfile --tag tfmodels-verify .
FROM python:3.11-slim
# By name: whatever else lies beside them, such as a private key, must not be in an image.
COPY setup.cfg pyproject.toml README.md LICENSE /source/
COPY tfmodels /source/tfmodels
COPY training /source/training
COPY export /source/export
RUN pip install --no-cache-dir '/source[sign]' && rm -rf /source
USER 65534
ENTRYPOINT ["python", "-m", "export", "verify"]
