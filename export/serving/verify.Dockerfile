# The init container that verifies: docker build --file export/serving/verify.Dockerfile --tag tfmodels-verify .
FROM python:3.11-slim
COPY . /source
RUN pip install --no-cache-dir '/source[sign]' && rm -rf /source
USER 65534
ENTRYPOINT ["python", "-m", "export", "verify"]
