"""Wires what the process does with its cluster; the Kubernetes client is loaded only when that is asked for."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anchore_admission.adapters.certificates import SelfSigned, read_authorities
from anchore_admission.adapters.cluster_metrics import ClusterMetrics
from anchore_admission.adapters.files import is_readable, read_text
from anchore_admission.adapters.probe import HttpProbe
from anchore_admission.adapters.telemetry import Followed, Telemetry
from anchore_admission.core.webhook.drift import Registration
from anchore_admission.ports.cluster import Cluster, ServingPair
from anchore_admission.services.cluster.ca_bundle import AuthoritiesFile
from anchore_admission.services.cluster.certificates import CertificatePlan, ManagedCertificates
from anchore_admission.services.cluster.leadership import Leadership
from anchore_admission.services.cluster.reconciler import Reconciler
from anchore_admission.services.cluster.registration import KnownAuthorities, Registrar, parse_registration
from anchore_admission.settings import Settings

Present = Callable[[ServingPair], None]


@dataclass(frozen=True, slots=True)
class ClusterWork:
    """Files are read and checked; the cluster is not spoken to before ``connected``."""

    settings: Settings
    telemetry: Telemetry
    metrics: ClusterMetrics
    present: Present
    registration: Registration | None
    authorities: AuthoritiesFile | None

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Reconciler]:
        """Raises ConfigurationError where there is no access to a Kubernetes API."""
        from anchore_admission.adapters.kubernetes import ObjectNames, connect  # noqa: PLC0415 - costs time and memory

        settings = self.settings
        names = ObjectNames(settings.namespace or "", settings.tls_secret or "", settings.lease or "")
        cluster = connect(names, self.metrics)
        try:
            reconciler = self._reconciler(cluster)
            self.metrics.watch_leadership(reconciler.leadership.leads)
            yield reconciler
        finally:
            await cluster.aclose()

    def _reconciler(self, cluster: Cluster) -> Reconciler:
        known = KnownAuthorities()
        certificates = self._certificates(cluster, known) if self.settings.is_managed else None
        leadership = Leadership(cluster, self.settings.pod_name or "")
        return Reconciler(
            leadership,
            certificates=certificates,
            registrar=self._registrar(cluster, known, leadership),
            known=known,
            bundle=(lambda: certificates.authorities) if certificates else self._mounted_authorities,
        )

    def _mounted_authorities(self) -> bytes | None:
        return self.authorities.current() if self.authorities else None

    def _certificates(self, cluster: Cluster, known: KnownAuthorities) -> ManagedCertificates:
        plan = CertificatePlan(service_names(self.settings), self.settings.certificate_lifetime)
        certificates = ManagedCertificates(cluster, SelfSigned(), plan, present=self.present, trusted=known.trusted)
        self.telemetry.watch_unusable(Followed.CERTIFICATE, certificates.is_unusable)
        return certificates

    def _registrar(self, cluster: Cluster, known: KnownAuthorities, leadership: Leadership) -> Registrar | None:
        if self.registration is None:
            return None
        question = HttpProbe(self.metrics, clients_are_checked=self.settings.client_ca_file is not None)
        return Registrar(cluster, question, self.registration, self.metrics, known, leads=leadership.leads)


def build_cluster_work(settings: Settings, telemetry: Telemetry, present: Present) -> ClusterWork:
    """``present`` puts a serving pair to use. Raises ConfigurationError when a file is not good."""
    authorities = _authorities(settings.ca_file) if settings.ca_file else None
    if authorities:
        telemetry.watch_unusable(Followed.AUTHORITIES, authorities.is_unusable)
    return ClusterWork(
        settings,
        telemetry,
        ClusterMetrics(telemetry.registry),
        present,
        registration=_registration(settings.registration) if settings.registration else None,
        authorities=authorities,
    )


def service_names(settings: Settings) -> tuple[str, ...]:
    """What callers may call the Service; API servers say the third."""
    service, namespace = settings.service, settings.namespace
    names = (f"{service}", f"{service}.{namespace}", f"{service}.{namespace}.svc")
    return (*names, f"{service}.{namespace}.svc.cluster.local")


def _registration(path: Path) -> Registration:
    return parse_registration(read_text(path), str(path))


def _authorities(path: Path) -> AuthoritiesFile:
    """Of a mounted Secret that somebody may still mend; a file that is not there was named by mistake."""
    return AuthoritiesFile(partial(read_authorities, path), str(path), wait_until_valid=is_readable(path))
