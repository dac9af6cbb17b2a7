"""``anchore-admission serve``: the controller itself."""

import uvloop

from anchore_admission.adapters.logs import configure_logging
from anchore_admission.adapters.memory import return_large_blocks
from anchore_admission.cli import serve_options as options
from anchore_admission.process import prepared, run
from anchore_admission.settings import Settings


def command(
    *,
    config: options.Config = None,
    host: options.Host = None,
    port: options.Port = None,
    operations_port: options.OperationsPort = None,
    docs: options.Docs = None,
    shutdown_delay: options.ShutdownDelay = None,
    log_level: options.Level = None,
    log_format: options.Format = None,
    certificates: options.Certificates = None,
    tls_cert_file: options.TlsCertFile = None,
    tls_key_file: options.TlsKeyFile = None,
    insecure_http: options.InsecureHttp = None,
    tls_secret: options.TlsSecret = None,
    certificate_lifetime: options.Lifetime = None,
    service: options.Service = None,
    registration: options.Registration = None,
    ca_file: options.CaFile = None,
    lease: options.Lease = None,
    namespace: options.Namespace = None,
    pod_name: options.PodName = None,
    secret_path_file: options.SecretPathFile = None,
    client_ca_file: options.ClientCaFile = None,
    client_name: options.ClientName = None,
) -> None:
    """Answer the API server's AdmissionReviews.

    The webhook port speaks TLS with the given certificate; health and metrics are on the operations port. A flag beats
    its environment variable. Stops gracefully on SIGTERM.
    """
    settings = Settings.load(
        config=config,
        host=host,
        port=port,
        operations_port=operations_port,
        docs=docs,
        shutdown_delay=shutdown_delay,
        log_level=log_level,
        log_format=log_format,
        certificates=certificates,
        tls_cert_file=tls_cert_file,
        tls_key_file=tls_key_file,
        insecure_http=insecure_http,
        tls_secret=tls_secret,
        certificate_lifetime=certificate_lifetime,
        service=service,
        registration=registration,
        ca_file=ca_file,
        lease=lease,
        namespace=namespace,
        pod_name=pod_name,
        secret_path_file=secret_path_file,
        client_ca_file=client_ca_file,
        client_names=tuple(client_name) if client_name else None,
    )
    settings.require_serving()
    configure_logging(settings.log_level, settings.log_format)
    return_large_blocks()
    uvloop.run(run(prepared(settings)))
