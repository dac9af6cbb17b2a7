"""etcd, API server, controllers, scheduler, kube-proxy and CoreDNS, each a process."""

import json
import signal
from pathlib import Path
from typing import Any, Final

import yaml

from e2e.cluster import packages
from e2e.cluster.api import Api
from e2e.cluster.daemon import Daemon
from e2e.cluster.places import AUDIT_LOG, DNS_ADDRESS, KNOCKED_AT, KUBECONFIG, MAIN, NODES, PODS, SERVICES, STATE
from e2e.cluster.programs import program
from e2e.cluster.waiting import until

PKI: Final = STATE / "pki"
ETCD: Final = "http://127.0.0.1:2379"
REPLAYED: Final = "replayed"
"""The namespace whose requests the audit log holds as a whole."""
AUDIT_POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        {"level": "None", "resources": [{"group": "coordination.k8s.io"}, {"group": "", "resources": ["events"]}]},
        # As docs/replay.md advises; everywhere, it would fill the log.
        {"level": "RequestResponse", "verbs": ["create", "update", "patch"], "namespaces": [REPLAYED]},
        {"level": "Metadata"},
    ],
}
ADMISSION: Final = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "AdmissionConfiguration",
    "plugins": [
        {
            "name": "ValidatingAdmissionWebhook",
            "configuration": {
                "apiVersion": "apiserver.config.k8s.io/v1",
                "kind": "WebhookAdmissionConfiguration",
                "kubeConfigFile": str(STATE / "webhook-clients.yaml"),
            },
        }
    ],
}
WEBHOOK_CLIENTS: Final = {
    "apiVersion": "v1",
    "kind": "Config",
    "users": [
        {
            "name": KNOCKED_AT,
            "user": {
                "client-certificate": str(PKI / "webhook-client.crt"),
                "client-key": str(PKI / "webhook-client.key"),
            },
        }
    ],
}
DNS: Final[list[dict[str, Any]]] = [
    {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {
            "clusterIP": DNS_ADDRESS,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    },
    {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-1",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "dns", "port": 53, "protocol": "UDP"}, {"name": "dns-tcp", "port": 53, "protocol": "TCP"}],
        "endpoints": [{"addresses": [MAIN], "conditions": {"ready": True}}],
    },
]


def _client(name: str) -> list[str]:
    path = PKI / f"{name}.kubeconfig"
    options = (f"--kubeconfig={path}", f"--authentication-kubeconfig={path}", f"--authorization-kubeconfig={path}")
    return [*options, "--bind-address=127.0.0.1", "--leader-elect=false", "--profiling=false"]


class ControlPlane:
    """The daemons of the control plane, started in order; a test may stop and start parts of it."""

    def __init__(self) -> None:
        self.etcd = Daemon("etcd", _etcd())
        self.api_server = Daemon("kube-apiserver", _api_server())
        self.controllers = Daemon("kube-controller-manager", _controllers())
        self.scheduler = Daemon("kube-scheduler", [program("kube-scheduler"), *_client("kube-scheduler")])
        proxy = [program("kube-proxy"), f"--config={STATE / 'kube-proxy.yaml'}", f"--hostname-override={NODES[0].name}"]
        self.proxy = Daemon("kube-proxy", proxy, packages.environment())
        self.dns = Daemon("coredns", [program("coredns"), "-conf", STATE / "Corefile"])

    @property
    def daemons(self) -> list[Daemon]:
        return [self.etcd, self.api_server, self.controllers, self.scheduler, self.proxy, self.dns]

    def start(self) -> None:
        _write_configuration()
        self.etcd.start()
        self.api_server.start()
        with Api() as api:
            until(lambda: self.api_server.require() and api.text("/readyz") == "ok", "the API server is ready")
            for daemon in self.daemons[2:]:
                daemon.start()
            for thing in DNS:
                root = "/api/v1" if thing["apiVersion"] == "v1" else f"/apis/{thing['apiVersion']}"
                plural = f"{thing['kind'].lower()}s"
                answer = api.call("POST", f"{root}/namespaces/kube-system/{plural}", thing)
                if not answer.allowed:
                    raise RuntimeError(answer.message)
            until(lambda: api.get("/api/v1/namespaces/default/serviceaccounts/default"), "controllers run")

    def stop(self) -> None:
        """SIGTERM would make the API server wait for its watches."""
        for daemon in reversed(self.daemons):
            daemon.stop(signal.SIGKILL if daemon in (self.api_server, self.etcd) else signal.SIGTERM)


def _write_configuration() -> None:
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(PKI / "kube-proxy.kubeconfig")},
        "clusterCIDR": PODS,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
    (STATE / "kube-proxy.yaml").write_text(yaml.safe_dump(proxy))
    (STATE / "audit.yaml").write_text(json.dumps(AUDIT_POLICY))
    (STATE / "admission.yaml").write_text(json.dumps(ADMISSION))
    (STATE / "webhook-clients.yaml").write_text(json.dumps(WEBHOOK_CLIENTS))
    corefile = (
        f".:53 {{\n  bind {MAIN}\n  errors\n  kubernetes cluster.local {{\n    kubeconfig {KUBECONFIG}\n  }}\n}}\n"
    )
    (STATE / "Corefile").write_text(corefile)


def _etcd() -> list[str | Path]:
    peers = "http://127.0.0.1:2380"
    return [
        program("etcd"),
        f"--data-dir={STATE / 'etcd'}",
        *(f"--listen-client-urls={ETCD}", f"--advertise-client-urls={ETCD}"),
        *(f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}"),
        f"--initial-cluster=default={peers}",
        *("--unsafe-no-fsync", "--log-level=warn"),
    ]


def _api_server() -> list[str | Path]:
    return [
        program("kube-apiserver"),
        f"--etcd-servers={ETCD}",
        *("--bind-address=0.0.0.0", "--secure-port=6443", f"--advertise-address={MAIN}"),
        *(f"--tls-cert-file={PKI / 'apiserver.crt'}", f"--tls-private-key-file={PKI / 'apiserver.key'}"),
        f"--client-ca-file={PKI / 'ca.crt'}",
        *("--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction"),
        f"--admission-control-config-file={STATE / 'admission.yaml'}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={PKI / 'accounts.key'}",
        f"--service-account-key-file={PKI / 'accounts.pub'}",
        f"--service-cluster-ip-range={SERVICES}",
        *("--allow-privileged=true", "--profiling=false", "--enable-aggregator-routing=true"),
        f"--kubelet-client-certificate={PKI / 'kubelet-client.crt'}",
        f"--kubelet-client-key={PKI / 'kubelet-client.key'}",
        f"--kubelet-certificate-authority={PKI / 'ca.crt'}",
        "--kubelet-preferred-address-types=InternalIP",
        *(f"--audit-policy-file={STATE / 'audit.yaml'}", f"--audit-log-path={AUDIT_LOG}", "--audit-log-mode=blocking"),
    ]


def _controllers() -> list[str | Path]:
    return [
        program("kube-controller-manager"),
        *_client("kube-controller-manager"),
        f"--root-ca-file={PKI / 'ca.crt'}",
        f"--service-account-private-key-file={PKI / 'accounts.key'}",
        "--use-service-account-credentials=true",
        *(f"--cluster-signing-cert-file={PKI / 'ca.crt'}", f"--cluster-signing-key-file={PKI / 'ca.key'}"),
        *("--kube-api-qps=500", "--kube-api-burst=1000"),
    ]
