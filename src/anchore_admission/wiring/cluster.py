"""Wire the reconciler to a cluster; the Kubernetes client is loaded only if it is used."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anchore_admission.adapters.cluster_metrics import ClusterMetrics
from anchore_admission.adapters.probe import HttpProbe
from anchore_admission.adapters.telemetry import Telemetry
from anchore_admission.certificates import SelfSigned, read_ca_bundle
from anchore_admission.core.webhook.drift import Registration
from anchore_admission.core.webhook.entry import IMAGES_CHANGE, WebhookKind
from anchore_admission.core.webhook.pair import CertificatePair
from anchore_admission.core.webhook.updates import sending_every_update, withholding
from anchore_admission.files import is_readable, read_text
from anchore_admission.ports.cluster import Cluster
from anchore_admission.ports.telemetry import WatchedSource
from anchore_admission.services.cluster.ca_bundle import CaBundleFile
from anchore_admission.services.cluster.certificates import CertificatePlan, ManagedCertificates
from anchore_admission.services.cluster.leadership import Leadership
from anchore_admission.services.cluster.reconciler import Reconciler
from anchore_admission.services.cluster.registration import (
    PublishedCaBundle,
    Registrar,
    parse_registrations,
    trusted_everywhere,
)
from anchore_admission.settings import Settings

logger = logging.getLogger("anchore_admission.registration")

Present = Callable[[CertificatePair], None]


@dataclass(frozen=True, slots=True)
class ClusterWork:
    """The reconciler's parts, prepared: files are read and checked, but nothing is sent before ``connected``."""

    settings: Settings
    telemetry: Telemetry
    metrics: ClusterMetrics
    present: Present
    registrations: Sequence[Registration]
    ca_bundle: CaBundleFile | None
    secret_path: Callable[[], str | None]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Reconciler]:
        """Connect to the cluster. Raises ConfigurationError without access to a Kubernetes API."""
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
        # Without registrations, what is published elsewhere counts. With several, each has to publish the CA bundle.
        published = [PublishedCaBundle() for _ in range(max(1, len(self.registrations)))]
        certificates = self._certificates(cluster, published) if self.settings.is_managed else None
        leadership = Leadership(cluster, self.settings.pod_name or "")
        registrations = zip(self.registrations, published, strict=False)
        return Reconciler(
            leadership,
            certificates=certificates,
            registrars=[self._registrar(cluster, wanted, bundle, leadership) for wanted, bundle in registrations],
            published=published[0],
            ca_bundle=(lambda: certificates.ca_bundle) if certificates else self._mounted_ca_bundle,
        )

    def _mounted_ca_bundle(self) -> bytes | None:
        return self.ca_bundle.current() if self.ca_bundle else None

    def _certificates(self, cluster: Cluster, published: Sequence[PublishedCaBundle]) -> ManagedCertificates:
        plan = CertificatePlan(service_names(self.settings), self.settings.certificate_lifetime)
        certificates = ManagedCertificates(
            cluster,
            SelfSigned(),
            plan,
            present=self.present,
            is_trusted=partial(trusted_everywhere, published),
        )
        self.telemetry.watch_unusable(WatchedSource.CERTIFICATE, certificates.is_unusable)
        return certificates

    def _registrar(
        self, cluster: Cluster, wanted: Registration, published: PublishedCaBundle, leadership: Leadership
    ) -> Registrar:
        probe = HttpProbe(self.metrics, clients_are_checked=self.settings.client_ca_file is not None)
        return Registrar(
            cluster,
            probe,
            wanted,
            self.metrics,
            published,
            leads=leadership.leads,
            secret_path=self.secret_path,
        )


def build_cluster_work(
    settings: Settings,
    telemetry: Telemetry,
    present: Present,
    secret_path: Callable[[], str | None],
    *,
    every_update: bool = False,
) -> ClusterWork:
    """Prepare the reconciler; ``present`` starts serving a pair. Raises ConfigurationError if a file is invalid.

    With ``every_update``, the webhook is registered so that API servers send updates that change no image, too.
    """
    ca_bundle = _ca_bundle(settings.ca_file) if settings.ca_file else None
    if ca_bundle:
        telemetry.watch_unusable(WatchedSource.CA_BUNDLE, ca_bundle.watched.is_unusable)
    registrations = _registrations(settings.registration) if settings.registration else []
    if every_update:
        registrations = [_sending_every_update(wanted) for wanted in registrations]
    return ClusterWork(
        settings,
        telemetry,
        ClusterMetrics(telemetry.registry, [wanted.kind for wanted in registrations]),
        present,
        registrations=registrations,
        ca_bundle=ca_bundle,
        secret_path=secret_path,
    )


def service_names(settings: Settings) -> tuple[str, ...]:
    """Return the names by which clients may call the Service; API servers use the third."""
    service, namespace = settings.service, settings.namespace
    names = (f"{service}", f"{service}.{namespace}", f"{service}.{namespace}.svc")
    return (*names, f"{service}.{namespace}.svc.cluster.local")


def _registrations(path: Path) -> list[Registration]:
    return parse_registrations(read_text(path), str(path))


def _sending_every_update(wanted: Registration) -> Registration:
    """Leave out the match condition of ours that keeps updates away; report any other one that may do so."""
    adjusted = sending_every_update(wanted)
    if adjusted != wanted:
        logger.info("%s is registered without the match condition %s, because of opa.requests", wanted, IMAGES_CHANGE)
    if adjusted.kind is WebhookKind.VALIDATING and (names := withholding(adjusted.webhooks)):
        logger.warning(
            "%s: match conditions may keep updates from OPA that opa.requests asks for: %s; remove them from the "
            "registration, or leave all out of opa.requests",
            wanted,
            ", ".join(names),
        )
    return adjusted


def _ca_bundle(path: Path) -> CaBundleFile:
    """Follow a mounted CA bundle. Invalid contents may still be corrected; a wrong path is a configuration mistake."""
    return CaBundleFile(partial(read_ca_bundle, path), str(path), wait_until_valid=is_readable(path))
