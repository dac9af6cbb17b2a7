"""``anchore-admission review --replay`` and ``--cluster`` against the sandbox: what changes, exit codes, no effects."""

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from anchore_admission.cli import recorded_lines
from support.builders import Json, pod, review, template
from support.command_line import CommandLine, Ended
from support.live_api import LiveApi, kubeconfig
from support.ports import free_port
from support.sandbox_server import sandbox_served, served_in_thread

GOOD, BAD, PENDING, UNKNOWN = "alpine:3.20", "nginx:1.25", "postgres:16", "team/unknown:1"
BY_REPLICA_SET = [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-5d4", "controller": True}]
BY_DEPLOYMENT = [{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "controller": True}]


@pytest.fixture(scope="module", name="calls")
def _calls() -> Counter[str]:
    return Counter()


@pytest.fixture(scope="module", name="anchore")
def _anchore(calls: Counter[str]) -> Iterator[str]:
    with sandbox_served(calls=calls) as url:
        yield url


@pytest.fixture(name="program")
def _program(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


class Configurations:
    """Writes configurations for the sandbox."""

    def __init__(self, folder: Path, anchore: str) -> None:
        self._folder, self._anchore = folder, anchore

    def __call__(self, name: str, mode: str, **more: Any) -> Path:
        file = self._folder / f"{name}.yaml"
        document = {"anchore": {"endpoint": self._anchore}, "defaults": {"mode": mode}, **more}
        file.write_text(json.dumps(document))
        return file


@pytest.fixture(name="configuration")
def _configuration(tmp_path: Path, anchore: str) -> Configurations:
    return Configurations(tmp_path, anchore)


def lines(*documents: Any) -> str:
    return "".join(f"{text if isinstance(text, str) else json.dumps(text)}\n" for text in documents)


def created(*images: str, name: str = "web", namespace: str = "shop", **metadata: Any) -> Json:
    body = pod(*images, metadata={"name": name, "namespace": namespace, **metadata})
    return review(body, name=name, namespace=namespace)


def changes(ended: Ended) -> list[tuple[str, str, str, str]]:
    return [
        (
            c["change"],
            f"{c['object']['kind']} {c['object']['namespace']}/{c['object']['name']}",
            c["image"],
            c["new"]["outcome"],
        )
        for c in ended.document["changes"]
    ]


@pytest.mark.parametrize(
    ("documents", "code"),
    [
        pytest.param([created(GOOD)], 0, id="nothing changes"),
        pytest.param([created(GOOD), created(BAD)], 1, id="newly denied"),
        pytest.param([created(UNKNOWN)], 1, id="unknown to Anchore"),
        pytest.param([created(GOOD), "{"], 2, id="an unreadable line"),
        pytest.param([created(BAD), "{"], 1, id="denied beats unread"),
        pytest.param([], 2, id="nothing"),
        pytest.param(["", ""], 2, id="empty lines"),
        pytest.param([review({"apiVersion": "argoproj.io/v1", "kind": "Rollout"})], 3, id="an unknown kind"),
        pytest.param([review(pod(BAD), operation="DELETE", object=None)], 0, id="out of scope"),
        pytest.param(
            [review(pod(BAD), operation="UPDATE", oldObject=pod(BAD))], 0, id="an update that keeps its image"
        ),
        pytest.param([review(pod(BAD), operation="UPDATE", oldObject=pod(GOOD))], 1, id="an update to a bad image"),
        pytest.param([review(pod(BAD), dryRun=True)], 1, id="a dry run"),
    ],
)
def test_the_exit_code_tells_whether_something_breaks(
    program: CommandLine, configuration: Configurations, documents: list[Any], code: int
) -> None:
    today, new = configuration("today", "passive"), configuration("new", "strict")

    ended = program("review", "--replay", "-", "-c", today, "--against", new, stdin=lines(*documents))

    assert ended.code == code, ended.out


def test_a_mode_compares_the_configuration_with_itself(program: CommandLine, configuration: Configurations) -> None:
    today = configuration(
        "today", "passive", rules=[{"name": "spared", "match": {"namespaces": ["kube-*"]}, "mode": "skip"}]
    )
    recorded = lines(
        *(created(BAD, GOOD, name=f"web-{n}", ownerReferences=BY_REPLICA_SET) for n in range(3)),
        created(PENDING, namespace="pay"),
        created(BAD, namespace="kube-system"),
    )

    ended = program("review", "--replay", "-", "-c", today, "--mode", "strict", "-o", "json", stdin=recorded)

    assert ended.code == 1
    assert (ended.document["today"], ended.document["new"]) == (str(today), f"{today} with --mode strict")
    assert changes(ended) == [
        ("newlyDenied", "ReplicaSet shop/web-5d4", BAD, "denied"),
        ("newlyDenied", "Pod pay/web", PENDING, "denied"),
    ]
    first = ended.document["changes"][0]
    assert (first["requests"], first["source"]) == (3, "standard input, line 1")
    assert (first["today"]["outcome"], first["today"]["mode"], first["new"]["mode"]) == (
        "admitted",
        "passive",
        "strict",
    )
    assert "CVE-2021-3711" in first["findings"][0]
    assert [(row["name"], row["objects"], row["images"]) for row in ended.document["deniedBy"]] == [
        ("pending", 1, 1),
        ("CVE-2021-23017", 1, 1),
        ("CVE-2021-3711", 1, 1),
    ]
    assert [
        (row["namespace"], row["judged"], row["newlyDenied"]["requests"]) for row in ended.document["namespaces"]
    ] == [
        ("pay", 1, 1),
        ("shop", 3, 3),
    ]
    assert ended.document["judged"] == {"Pod": 5}


def test_the_table_tells_what_changes_where_and_why(program: CommandLine, configuration: Configurations) -> None:
    today, new = configuration("today", "strict"), configuration("new", "passive")
    recorded = lines(created(BAD), created(BAD, GOOD, namespace="pay"), '{"kind": "Pod"}')

    ended = program("review", "--replay", "-", "-c", today, "--against", new, stdin=recorded)

    assert ended.code == 2
    shown = ended.out.splitlines()
    assert shown[0].split() == ["OBJECT", "IMAGE", "TODAY", "NEW", "WHY"]
    assert shown[1].startswith("Pod pay/web   nginx:1.25  denied  admitted  Image analysis for image nginx:1.25")
    assert ["NAMESPACE", "JUDGED", "NO", "LONGER", "DENIED"] in [line.split() for line in shown]
    assert shown[-2] == f"From {today} to {new}: 2 objects (1 image) no longer denied. Judged: 2 Pods."
    assert shown[-1].startswith(
        "Could not be read: standard input, line 3: expected one AdmissionReview or audit event"
    )
    assert "--mode strict would judge their images" in ended.err


def test_one_configuration_shows_what_it_denies(program: CommandLine, configuration: Configurations) -> None:
    strict = configuration("strict", "strict")

    ended = program("review", "--replay", "-", "-c", strict, stdin=lines(created(BAD), created(GOOD)))

    assert ended.code == 1
    assert ended.out.splitlines()[0].split() == ["OBJECT", "IMAGE", "VERDICT", "WHY"]
    assert ended.out.splitlines()[-1] == f"Under {strict}: 1 object (1 image) denied. Judged: 2 Pods."


def test_the_same_configuration_twice_changes_nothing(program: CommandLine, configuration: Configurations) -> None:
    strict = configuration("strict", "strict")

    ended = program("review", "--replay", "-", "-c", strict, "--against", strict, stdin=lines(created(BAD)))

    assert (ended.code, ended.out) == (0, f"From {strict} to {strict}: nothing changes. Judged: 1 Pod.\n")


def test_an_address_alone_judges_strictly(program: CommandLine, anchore: str) -> None:
    ended = program("review", "--replay", "-", "--anchore", anchore, stdin=lines(created(BAD)))

    assert (ended.code, ended.out.splitlines()[-1]) == (
        1,
        f"Under {anchore}: 1 object (1 image) denied. Judged: 1 Pod.",
    )


def test_the_document_is_the_same_in_yaml(program: CommandLine, configuration: Configurations) -> None:
    arguments = ("review", "--replay", "-", "-c", configuration("strict", "strict"))

    text = program(*arguments, "-o", "yaml", stdin=lines(created(BAD)))
    document = program(*arguments, "-o", "json", stdin=lines(created(BAD)))

    assert yaml.safe_load(text.out) == document.document


def test_both_configurations_ask_anchore_once(
    program: CommandLine, configuration: Configurations, calls: Counter[str]
) -> None:
    accounts = [{"name": "default"}]
    today, new = (
        configuration("today", "strict", accounts=accounts),
        configuration("new", "strict", messages={"maxFindings": 1}),
    )
    calls.clear()

    ended = program("review", "--replay", "-", "-c", today, "--against", new, stdin=lines(*[created(BAD, GOOD)] * 50))

    assert ended.code == 0
    assert {call: count for call, count in calls.items() if count > 1} == {}
    assert not [call for call in calls if call.startswith("POST")]


def test_accounts_of_different_users_share_nothing(
    program: CommandLine, configuration: Configurations, tmp_path: Path
) -> None:
    files = {}
    for name, text in {"username": "nobody", "password": "wrong"}.items():
        (tmp_path / name).write_text(text)
        files[f"{name}File"] = str(tmp_path / name)
    today = configuration("today", "strict")
    other = {"name": "other", **files}
    new = configuration(
        "new", "strict", accounts=[other], rules=[{"name": "all", "match": {"images": ["*"]}, "account": "other"}]
    )

    ended = program("review", "--replay", "-", "-c", today, "--against", new, "-o", "json", stdin=lines(created(GOOD)))

    assert ended.code == 2
    assert changes(ended) == [("newlyUndecided", "Pod shop/web", GOOD, "undecided (denied)")]


def test_an_anchore_that_does_not_respond_is_no_denial(program: CommandLine, tmp_path: Path) -> None:
    config = tmp_path / "configuration.yaml"
    config.write_text(
        json.dumps({"anchore": {"endpoint": f"http://127.0.0.1:{free_port()}"}, "defaults": {"mode": "passive"}})
    )

    ended = program("review", "--replay", "-", "-c", config, "--mode", "strict", stdin=lines(created(GOOD)))

    assert ended.code == 2
    assert "1 object (1 image) newly denied without a verdict" in ended.out
    assert "1 judged without a verdict from Anchore; run again once it responds." in ended.out


def test_files_are_read_in_order_also_compressed(
    program: CommandLine, configuration: Configurations, tmp_path: Path
) -> None:
    plain, compressed, broken, damaged = (tmp_path / name for name in ("a.jsonl", "b.jsonl.gz", "c.gz", "d.gz"))
    plain.write_text(lines(created(BAD, name="a")))
    compressed.write_bytes(gzip.compress(lines(created(BAD, name="b")).encode()))
    broken.write_bytes(gzip.compress(lines(created(BAD, name="c")).encode())[:-20])
    damaged.write_bytes(gzip.compress(b"")[:10] + b"\xff" * 20)
    arguments = [
        item
        for file in (plain, compressed, broken, damaged, tmp_path / "none", tmp_path)
        for item in ("--replay", file)
    ]

    ended = program("review", *arguments, "-c", configuration("strict", "strict"), "-o", "json")

    assert [(c["object"]["name"], c["source"]) for c in ended.document["changes"]] == [
        ("a", f"{plain}, line 1"),
        ("b", f"{compressed}, line 1"),
    ]
    assert [entry["message"].partition(": ")[2] for entry in ended.document["unread"]["first"]] == [
        "Compressed file ended before the end-of-stream marker was reached",
        "Error -3 while decompressing data: invalid block type",
        "No such file or directory",
        "Is a directory",
    ]


def test_a_line_that_is_too_long_is_passed_over(
    program: CommandLine, configuration: Configurations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorded_lines, "LINE_LIMIT", 4 * 1024 * 1024)
    long = json.dumps({"kind": "AdmissionReview", "x": "x" * 9 * 1024 * 1024})

    ended = program(
        "review", "--replay", "-", "-c", configuration("strict", "strict"), "-o", "json",
        stdin=lines(long, created(BAD)),
    )  # fmt: skip

    assert (ended.code, len(ended.document["changes"])) == (1, 1)
    assert ended.document["unread"]["first"] == [
        {"source": "standard input, line 1", "message": "the line is longer than 4 MiB"}
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "give one of -f FILE, --replay FILE and --cluster"),
        (["-f", "-", "--cluster"], "give one of -f FILE, --replay FILE and --cluster"),
        (["-f", "-", "--against", "new.yaml"], "--against compares recorded requests"),
        (["--cluster", "--anchore", "http://a", "--against", "new.yaml"], "--against needs --config FILE"),
        (["--replay", "-", "--context", "here"], "--context needs --cluster"),
        (["--replay", "-", "-n", "shop"], "recorded requests have their own namespace, user and groups"),
        (["--replay", "-", "--user", "alice"], "recorded requests have their own namespace, user and groups"),
    ],
)
def test_options_without_effect_are_rejected(program: CommandLine, arguments: list[str], problem: str) -> None:
    ended = program("review", *arguments)

    assert ended.code == 2
    assert problem in " ".join(ended.err.replace("│", " ").split())


@pytest.fixture(name="cluster")
def _cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveApi]:
    api = LiveApi()
    with served_in_thread(api.serve) as address:
        file = tmp_path / "kubeconfig"
        file.write_text(kubeconfig(address, contexts=["here", "there"]))
        monkeypatch.setenv("KUBECONFIG", str(file))
        yield api


def in_shop(body: Json, name: str, **metadata: Any) -> Json:
    return {**body, "metadata": {"name": name, "namespace": "shop", **metadata}}


def test_the_live_cluster_is_judged_by_its_pods_and_templates(
    program: CommandLine, configuration: Configurations, cluster: LiveApi
) -> None:
    cluster.add(
        in_shop(template("Deployment", BAD), "web"),
        in_shop(template("ReplicaSet", BAD), "web-5d4", ownerReferences=BY_DEPLOYMENT),
        *(in_shop(pod(BAD), f"web-5d4-{n}", ownerReferences=BY_REPLICA_SET) for n in range(2)),
        in_shop(template("CronJob", PENDING), "nightly"),
        in_shop(pod(GOOD), "fine"),
        {**pod(UNKNOWN), "metadata": {"name": "lonely", "namespace": "pay"}},
    )
    today = configuration("today", "passive")

    ended = program("review", "--cluster", "-c", today, "--mode", "strict", "-o", "json")

    assert ended.code == 1
    assert changes(ended) == [
        ("newlyDenied", "Deployment shop/web", BAD, "denied"),
        ("newlyDenied", "Pod pay/lonely", UNKNOWN, "denied"),
        ("newlyWarned", "CronJob shop/nightly", PENDING, "warned"),
    ]
    assert ended.document["changes"][0]["requests"] == 3
    assert ended.document["notJudged"]["outOfScope"] == {"owned": 1}
    assert {request.method for request in cluster.requests} == {"GET"}
    assert all(request.headers["authorization"] == "Bearer t" for request in cluster.requests)


def test_one_namespace_of_another_context(
    program: CommandLine, configuration: Configurations, cluster: LiveApi
) -> None:
    cluster.add(in_shop(pod(BAD), "web"), {**pod(BAD), "metadata": {"name": "lonely", "namespace": "pay"}})

    ended = program(
        "review", "--cluster", "-c", configuration("strict", "strict"), "-n", "pay", "--context", "there", "-o", "json"
    )

    assert changes(ended) == [("newlyDenied", "Pod pay/lonely", BAD, "denied")]
    assert all("/namespaces/pay/" in request.url.path for request in cluster.requests)


def test_rules_about_users_apply_to_the_controllers(
    program: CommandLine, configuration: Configurations, cluster: LiveApi
) -> None:
    cluster.add(in_shop(pod(BAD), "web-5d4-1", ownerReferences=BY_REPLICA_SET), in_shop(pod(BAD), "lonely"))
    controller = "system:serviceaccount:kube-system:*"
    rules = [
        {"name": "controllers", "match": {"users": [controller]}, "mode": "skip"},
        {"name": "alice", "match": {"users": ["alice"], "groups": ["dev"]}, "mode": "strict", "enforcement": "warn"},
    ]
    arguments = ("review", "--cluster", "-c", configuration("strict", "strict", rules=rules), "-o", "json")

    unnamed, alice = program(*arguments), program(*arguments, "--user", "alice", "--group", "dev")

    assert changes(unnamed) == [("newlyDenied", "Pod shop/lonely", BAD, "denied")]
    assert changes(alice) == [("newlyWarned", "Pod shop/lonely", BAD, "warned")]


BY_LABEL = [{"name": "prod", "match": {"namespaceSelector": {"matchLabels": {"env": "prod"}}}, "mode": "strict"}]


def test_the_labels_of_namespaces_come_from_the_cluster(
    program: CommandLine, configuration: Configurations, cluster: LiveApi
) -> None:
    for name, env in {"shop": "prod", "pay": "test"}.items():
        cluster.add({"kind": "Namespace", "metadata": {"name": name, "labels": {"env": env}}})
        cluster.add({**pod(BAD), "metadata": {"name": "web", "namespace": name}})
    today, new = configuration("today", "passive"), configuration("new", "passive", rules=BY_LABEL)

    ended = program("review", "--cluster", "-c", today, "--against", new, "-o", "json")

    assert ended.code == 1
    assert changes(ended) == [("newlyDenied", "Pod shop/web", BAD, "denied")]


def test_without_the_right_to_list_namespaces_a_file_gives_their_labels(
    program: CommandLine, configuration: Configurations, cluster: LiveApi, tmp_path: Path
) -> None:
    cluster.add(in_shop(pod(BAD), "web"))
    cluster.forbidden = frozenset({"Namespace"})
    labels = tmp_path / "namespaces.yaml"
    labels.write_text("shop: {env: prod}")
    arguments = (
        "review",
        "--cluster",
        "-n",
        "shop",
        "-c",
        configuration("new", "passive", rules=BY_LABEL),
        "-o",
        "json",
    )

    refused, given = program(*arguments), program(*arguments, "--namespace-labels", labels)

    assert (refused.code, refused.out) == (2, "")
    assert "namespaces: their labels are needed, but cannot be listed: " in refused.err
    assert "--namespace-labels FILE gives them otherwise" in refused.err
    assert changes(given) == [("newlyDenied", "Pod shop/web", BAD, "denied")]


def test_recorded_requests_need_a_file_with_the_labels(
    program: CommandLine, configuration: Configurations, tmp_path: Path
) -> None:
    labels = tmp_path / "namespaces.yaml"
    labels.write_text("shop: {env: prod}")
    arguments = ("review", "--replay", "-", "-c", configuration("new", "passive", rules=BY_LABEL), "-o", "json")
    recorded = lines(created(BAD), created(BAD, namespace="pay"))

    refused, given = (
        program(*arguments, stdin=recorded),
        program(*arguments, "--namespace-labels", labels, stdin=recorded),
    )

    assert refused.code == 2
    assert "--namespace-labels" in refused.err
    assert changes(given) == [
        ("newlyDenied", "Pod shop/web", BAD, "denied"),
        ("newlyUndecided", "Pod pay/web", BAD, "undecided (denied)"),
    ]
    table = program(*arguments[:-2], "--namespace-labels", labels, stdin=recorded).out
    assert "1 in namespaces whose labels are not known; give them with --namespace-labels." in table
    assert "once it responds" not in table


def test_a_missing_right_is_named_and_the_other_kinds_are_judged(
    program: CommandLine, configuration: Configurations, cluster: LiveApi
) -> None:
    cluster.add(in_shop(pod(GOOD), "web"))
    cluster.forbidden = frozenset({"Job"})

    ended = program("review", "--cluster", "-c", configuration("strict", "strict"))

    assert ended.code == 2
    assert ended.out.splitlines()[-2:] == [
        f"Under {configuration('strict', 'strict')}: everything is admitted. Judged: 1 Pod.",
        "Could not be read: cluster: jobs.batch: 403: Job is forbidden",
    ]


@pytest.mark.parametrize("content", ["", "{", '{"kind": "Event", "apiVersion": "audit.k8s.io/v1"}\n'])
def test_an_input_without_a_request_is_not_called_admitted(
    program: CommandLine, configuration: Configurations, tmp_path: Path, content: str
) -> None:
    (tmp_path / "audit.log").write_text(content)

    ended = program("review", "--replay", tmp_path / "audit.log", "-c", configuration("strict", "strict"))

    assert ended.code == 2
    assert f"Under {configuration('strict', 'strict')}: nothing was judged.\n" in ended.out
    assert "is admitted" not in ended.out


def test_without_access_to_a_cluster_the_error_says_so(
    program: CommandLine, configuration: Configurations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    ended = program("review", "--cluster", "-c", configuration("strict", "strict"))

    assert ended.code == 2
    assert "kubeconfig: no access to a Kubernetes API" in ended.err
