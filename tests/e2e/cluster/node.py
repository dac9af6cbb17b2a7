"""A node: containerd and kubelet, in folders and a control group of their own."""

import json
import subprocess
from pathlib import Path
from typing import Final

import yaml

from e2e.cluster import packages
from e2e.cluster.control_groups import GROUPS
from e2e.cluster.daemon import Daemon
from e2e.cluster.images import PAUSE
from e2e.cluster.places import DNS_ADDRESS, IMAGES, NAME, REGISTRY, REGISTRY_ADDRESS, STATE, Place
from e2e.cluster.programs import program, search_path
from e2e.cluster.waiting import until

_PKI: Final = STATE / "pki"
_CONTAINERD: Final = """version = 3
root = "{folder}/containerd"
state = "{folder}/containerd-state"
disabled_plugins = ["io.containerd.nri.v1.nri"]
[grpc]
  address = "{socket}"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".registry]
    config_path = "{folder}/registries"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["{plugins}"]
    conf_dir = "{folder}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "{runc}"
        SystemdCgroup = false
"""
_REGISTRY: Final = f"""server = "http://{REGISTRY_ADDRESS}"
[host."http://{REGISTRY_ADDRESS}"]
  capabilities = ["pull", "resolve"]
"""
"""A test may start the registry, or not."""


class Node:
    def __init__(self, place: Place) -> None:
        self.place = place
        self.name = place.name
        folder = place.folder
        self.static_pods = folder / "static-pods"
        environment = packages.environment()
        environment["PATH"] = f"{program('containerd').parent}:{environment['PATH']}"
        configuration = ["--config", str(folder / "containerd.toml")]
        self.containerd = Daemon(f"containerd-{self.name}", [program("containerd"), *configuration], environment)
        kubelet = [
            program("kubelet"),
            f"--config={folder / 'kubelet.yaml'}",
            f"--kubeconfig={_PKI / f'{self.name}.kubeconfig'}",
            *(f"--hostname-override={self.name}", f"--node-ip={place.address}"),
            *(f"--root-dir={folder / 'kubelet'}", f"--cert-dir={folder / 'kubelet/pki'}", "--v=1"),
        ]
        self.kubelet = Daemon(f"kubelet-{self.name}", kubelet, environment)

    def prepare(self) -> None:
        folder = self.place.folder
        (folder / "cni").mkdir(parents=True)
        self.static_pods.mkdir()
        registry = folder / "registries" / REGISTRY
        registry.mkdir(parents=True)
        (registry / "hosts.toml").write_text(_REGISTRY)
        (folder / "containerd.toml").write_text(
            _CONTAINERD.format(
                folder=folder,
                socket=self.place.socket,
                pause=PAUSE,
                plugins=packages.PLUGINS,
                runc=packages.RUNC,
            )
        )
        (folder / "kubelet.yaml").write_text(yaml.safe_dump(self._kubelet()))
        (folder / "cni/10-e2e.conflist").write_text(json.dumps(self._network()))
        for group in GROUPS:
            group.create(self.name)

    def start(self) -> None:
        self.containerd.start()
        until(lambda: self.containerd.require() and self.ctr("version"), f"{self.containerd.name} answers", 30)
        for archive in sorted(IMAGES.glob("*.tar")):
            self.load(archive)
        self.kubelet.start()

    def stop(self) -> None:
        self.kubelet.stop()
        self.containerd.stop()

    def load(self, archive: Path) -> None:
        """Make an image archive's images known to this node."""
        self.ctr("images", "import", "--local", str(archive))

    def ctr(self, *arguments: str) -> str:
        command = [str(program("ctr")), "--address", str(self.place.socket), "--namespace", "k8s.io", *arguments]
        environment = packages.environment() | {"PATH": search_path()}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240, env=environment)  # noqa: S603 - our own
        if done.returncode:
            raise RuntimeError(f"ctr {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def tasks(self) -> dict[str, int]:
        """The running containers and their processes."""
        rows = [line.split() for line in self.ctr("tasks", "ls").splitlines()[1:]]
        return {row[0]: int(row[1]) for row in rows if row[2] == "RUNNING"}

    def _kubelet(self) -> dict[str, object]:
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "address": self.place.address,
            "healthzBindAddress": "127.0.0.1",
            "healthzPort": self.place.health_port,
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(_PKI / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
            "tlsCertFile": str(_PKI / f"{self.name}-server.crt"),
            "tlsPrivateKeyFile": str(_PKI / f"{self.name}-server.key"),
            "containerRuntimeEndpoint": f"unix://{self.place.socket}",
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": f"/{NAME}/{self.name}",
            "failCgroupV1": False,
            "podLogsDir": str(self.place.folder / "pod-logs"),
            "staticPodPath": str(self.static_pods),
            "clusterDNS": [DNS_ADDRESS],
            "clusterDomain": "cluster.local",
            "resolvConf": "",
        }

    def _network(self) -> dict[str, object]:
        """Both nodes' bridges are in one network namespace, so that its routes lead from one to the other."""
        addresses = {
            "type": "host-local",
            "dataDir": str(self.place.folder / "cni-state"),
            "ranges": [[{"subnet": self.place.pods}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        bridge = {
            "type": "bridge",
            "bridge": f"cni-{self.name}",
            "isGateway": True,
            "ipMasq": False,
            "hairpinMode": True,
            "ipam": addresses,
        }
        return {"cniVersion": "1.0.0", "name": "e2e", "plugins": [bridge]}
