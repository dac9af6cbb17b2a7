"""The cluster's CA, its certificates and kubeconfigs; valid for two days."""

import datetime as dt
import ipaddress
import json
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from e2e.cluster.places import API_SERVER, KNOCKS_AS, MAIN, NODES

_LIFE = dt.timedelta(days=2)
_API_SERVER_NAMES = (
    *(
        "localhost",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ),
    *("127.0.0.1", "10.96.0.1", MAIN),
)


class CertificateAuthority:
    """Signs certificates into its folder as ``NAME.crt`` and ``NAME.key``."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e")])
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        builder = (
            self._builder(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(usage, critical=True)
        )
        self._write("ca", builder.sign(self._key, SHA256()), self._key)

    def server(self, name: str, common_name: str, names: Sequence[str]) -> None:
        self._leaf(name, common_name, ExtendedKeyUsageOID.SERVER_AUTH, names=names)

    def client(self, name: str, common_name: str, group: str = "") -> None:
        """Issue a client certificate, with a kubeconfig beside it."""
        self._leaf(name, common_name, ExtendedKeyUsageOID.CLIENT_AUTH, group=group)
        path = self._folder / name
        cluster = {"server": API_SERVER, "certificate-authority": str(self._folder / "ca.crt")}
        user = {"client-certificate": f"{path}.crt", "client-key": f"{path}.key"}
        configuration = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "e2e", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "e2e", "context": {"cluster": "e2e", "user": name}}],
            "current-context": "e2e",
        }
        path.with_suffix(".kubeconfig").write_text(json.dumps(configuration))

    def _leaf(
        self, name: str, common_name: str, usage: x509.ObjectIdentifier, *, group: str = "", names: Sequence[str] = ()
    ) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        if group:
            subject.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
        builder = self._builder(x509.Name(subject), key).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), False)
        self._write(name, builder.sign(self._key, SHA256()), key)

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        """Begin a certificate without key identifiers, as older k3s and EKS clusters have; clients must accept it."""
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + _LIFE)
        )

    def _write(self, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        (self._folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self._folder / f"{name}.key").write_bytes(_pem(key))


def write(folder: Path) -> None:
    """Issue all certificates that the cluster's programs present and trust."""
    ca = CertificateAuthority(folder)
    ca.server("apiserver", "kube-apiserver", _API_SERVER_NAMES)
    ca.client("admin", "admin", "system:masters")
    ca.client("kubelet-client", "kube-apiserver-kubelet-client", "system:masters")
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        ca.client(name, f"system:{name}")
    ca.client("webhook-client", KNOCKS_AS)
    for node in NODES:
        ca.client(node.name, f"system:node:{node.name}", "system:nodes")
        ca.server(f"{node.name}-server", node.name, (node.name, node.address))
    accounts = rsa.generate_private_key(65537, 2048)
    (folder / "accounts.key").write_bytes(_pem(accounts))
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (folder / "accounts.pub").write_bytes(accounts.public_key().public_bytes(serialization.Encoding.PEM, public))


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
