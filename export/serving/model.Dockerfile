# The server with a version inside, for clusters without a volume; "served" is the folder of the versions:
#   docker build --file export/serving/model.Dockerfile --build-context served=served/summaries --tag summaries:1 .
# The image's digest then names the server, its settings and the weights.
FROM tensorflow/serving:2.20.0
COPY --from=served --chown=root:root --chmod=a+rX . /models/model/
COPY export/serving/batching.txt export/serving/monitoring.txt /config/
USER 65534
CMD ["--enable_batching=true", \
     "--batching_parameters_file=/config/batching.txt", \
     "--enable_per_model_batching_parameters=true", \
     "--monitoring_config_file=/config/monitoring.txt", \
     "--xla_cpu_compilation_enabled=true", \
     "--rest_api_timeout_in_ms=300000", \
     "--file_system_poll_wait_seconds=0"]
