"""The manifests: what Kubernetes' schemas say of them, and what has to agree where no schema looks."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import httpx
import kubernetes_validate
import pytest
import yaml

from eval.processes import firstreply, free_port
from model.policy_file import DEFAULT_POLICY
from serving.keys import new_key
from serving.settings import ServeSettings
from tests.processes import until
from tests.torture.servers import ROOT, START_SECONDS

MANIFESTS = ROOT / "deploy" / "kubernetes"
KUBECTL = shutil.which("kubectl")
RELEASES = ("1.30", kubernetes_validate.latest_version())
"""Of Kubernetes: the oldest that knows all that is asked for by default, and the newest whose schemas are there."""
END_SECONDS = 5
"""For a server to end once requests in flight have had their time, as it is given by its own parent too."""


def parsed(text: str) -> dict[str, dict[str, Any]]:
    """Kubernetes' objects of YAML documents, by kind."""
    return {value["kind"]: value for value in yaml.safe_load_all(text)}


def fences(language: str) -> list[str]:
    """Code blocks of the page that says how to use the manifests."""
    page = (ROOT / "docs" / "replicas.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


OBJECTS = parsed("\n---\n".join(path.read_text(encoding="utf-8") for path in sorted(MANIFESTS.glob("*.yaml"))))
KUSTOMIZATION = OBJECTS.pop("Kustomization")
TEMPLATE = OBJECTS["Deployment"]["spec"]["template"]
POD = TEMPLATE["spec"]
(CONTAINER,) = POD["containers"]
LABELS = TEMPLATE["metadata"]["labels"]
PORTS = {port["name"]: port["containerPort"] for port in CONTAINER["ports"]}
OPTIONS = dict(argument.removeprefix("--").split("=") for argument in CONTAINER["args"][1:])
PROBES = {name: CONTAINER[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}


def dockerfile(instruction: str) -> str:
    """The last such instruction of the Dockerfile."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [line.removeprefix(instruction).strip() for line in lines if line.startswith(f"{instruction} ")][-1]


def built(folder: Path) -> dict[str, dict[str, Any]]:
    """The objects that ``kubectl apply -k`` would send, by kind."""
    assert KUBECTL is not None
    made = subprocess.run([KUBECTL, "kustomize", folder], check=True, capture_output=True, text=True)
    return parsed(made.stdout)


def policy_volume(objects: dict[str, dict[str, Any]]) -> str:
    """The name of the ConfigMap that replicas take their policy from."""
    volumes = objects["Deployment"]["spec"]["template"]["spec"]["volumes"]
    return next(str(volume["configMap"]["name"]) for volume in volumes if volume["name"] == "policy")


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("kind", OBJECTS)
def test_schemas_of_kubernetes_know_every_field(kind: str, release: str) -> None:
    kubernetes_validate.validate(OBJECTS[kind], release, strict=True)


def test_schemas_refuse_what_is_misspelt() -> None:
    spec = {**OBJECTS["Service"]["spec"], "selectr": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**OBJECTS["Service"], "spec": spec}, RELEASES[-1], strict=True)


def test_kustomization_has_every_file_and_nothing_has_another_name() -> None:
    files = {path.name for path in MANIFESTS.glob("*.yaml")} - {"kustomization.yaml"}
    assert files == set(KUSTOMIZATION["resources"])
    assert len(files) == len(OBJECTS), "a kind is there twice"
    assert {value["metadata"]["name"] for value in OBJECTS.values()} == {"firstreply"}


def test_everything_that_selects_pods_selects_these() -> None:
    spec = {kind: value.get("spec", {}) for kind, value in OBJECTS.items()}
    selectors = [
        spec["Deployment"]["selector"]["matchLabels"],
        spec["Service"]["selector"],
        spec["PodDisruptionBudget"]["selector"]["matchLabels"],
        spec["NetworkPolicy"]["podSelector"]["matchLabels"],
        *(each["labelSelector"]["matchLabels"] for each in POD["topologySpreadConstraints"]),
    ]
    assert selectors == [LABELS] * len(selectors)
    target = spec["HorizontalPodAutoscaler"]["scaleTargetRef"]
    assert target == {"apiVersion": OBJECTS["Deployment"]["apiVersion"], "kind": "Deployment", "name": "firstreply"}
    assert POD["serviceAccountName"] == OBJECTS["ServiceAccount"]["metadata"]["name"]


def test_ports_are_one_port() -> None:
    assert PORTS == {"http": int(OPTIONS["port"])} == {"http": int(dockerfile("EXPOSE"))}
    (port,) = OBJECTS["Service"]["spec"]["ports"]
    assert port["targetPort"] in PORTS
    assert {probe["port"] for probe in PROBES.values()} == set(PORTS)
    (rule,) = OBJECTS["NetworkPolicy"]["spec"]["ingress"]
    assert [port["port"] for port in rule["ports"]] == list(PORTS)


def test_image_and_user_are_those_of_the_container() -> None:
    (service,) = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"].values()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert CONTAINER["image"] == service["image"] == f"firstreply:{project['version']}"
    user, group = map(int, dockerfile("USER").split(":"))
    context = POD["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (user, group, group)


def test_arguments_are_the_images_and_what_a_cluster_needs_besides() -> None:
    words = json.loads(dockerfile("CMD"))
    assert words[0] == CONTAINER["args"][0] == "serve"
    images = dict(zip(words[1::2], words[2::2], strict=True))
    assert {f"--{name}": value for name, value in OPTIONS.items() if name not in ("policy", "drain")} == images


def test_keys_and_policy_lie_where_the_arguments_say() -> None:
    mounts = {mount["mountPath"]: mount["name"] for mount in CONTAINER["volumeMounts"]}
    volumes = {volume["name"]: volume for volume in POD["volumes"]}
    assert set(mounts.values()) == set(volumes)
    assert all("subPath" not in mount for mount in CONTAINER["volumeMounts"]), "a running pod would not see changes"
    keys, policy = Path(OPTIONS["keys"]), Path(OPTIONS["policy"])
    secret = volumes[mounts[str(keys.parent)]]["secret"]
    assert secret["defaultMode"] & 0o040, "the pod's group must be able to read it"
    assert any(f"generic {secret['secretName']} --from-file={keys.name}=" in fence for fence in fences("sh"))
    (generated,) = KUSTOMIZATION["configMapGenerator"]
    assert generated == {"name": volumes[mounts[str(policy.parent)]]["configMap"]["name"], "files": [policy.name]}


def test_policy_is_the_default_one() -> None:
    """So that moving to a cluster changes nobody's priorities: cp model/policy.toml deploy/kubernetes/ ."""
    assert (MANIFESTS / "policy.toml").read_bytes() == DEFAULT_POLICY.read_bytes()


def test_replicas_have_time_to_finish_and_always_leave_one_that_answers() -> None:
    stop_seconds = ServeSettings(bundle=Path()).stop_seconds
    assert POD["terminationGracePeriodSeconds"] >= float(OPTIONS["drain"]) + stop_seconds + END_SECONDS
    readiness = CONTAINER["readinessProbe"]
    assert float(OPTIONS["drain"]) >= readiness["periodSeconds"], "a balancer that asks /readyz would not notice"
    deployment, autoscaler = OBJECTS["Deployment"]["spec"], OBJECTS["HorizontalPodAutoscaler"]["spec"]
    assert "replicas" not in deployment, "it would undo what the autoscaler does"
    assert deployment["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert autoscaler["minReplicas"] > OBJECTS["PodDisruptionBudget"]["spec"]["maxUnavailable"]
    assert "cpu" in CONTAINER["resources"]["requests"], "what the autoscaler's percentages are of"


def test_pods_are_restricted_as_kubernetes_standard_says() -> None:
    """The profile "restricted" of the Pod Security Standards, a read-only root, and no token, besides."""
    context, container = POD["securityContext"], CONTAINER["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["allowPrivilegeEscalation"] is False
    assert container["capabilities"] == {"drop": ["ALL"]}
    assert container["readOnlyRootFilesystem"] is True
    assert not {"hostNetwork", "hostPID", "hostIPC"} & POD.keys()
    assert {kind for volume in POD["volumes"] for kind in volume} <= {"name", "secret", "configMap", "emptyDir"}
    assert POD["automountServiceAccountToken"] is False
    assert OBJECTS["ServiceAccount"]["automountServiceAccountToken"] is False


def test_server_takes_the_arguments_and_answers_the_probes(tmp_path: Path) -> None:
    key = new_key(tmp_path / "keys.toml", "caller")
    port = free_port()
    here = {"host": "127.0.0.1", "port": port, "keys": tmp_path / "keys.toml", "policy": MANIFESTS / "policy.toml"}
    options = [f"--{name}={value}" for name, value in {**OPTIONS, **here}.items()]

    def status(path: str) -> int:
        try:
            return httpx.get(f"http://127.0.0.1:{port}{path}").status_code
        except httpx.TransportError:
            return 0

    with subprocess.Popen(firstreply("serve", *options), cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            assert until(lambda: status(PROBES["startup"]["path"]) == 200, START_SECONDS)
            assert [status(probe["path"]) for probe in PROBES.values()] == [200, 200, 200]
            assert status("/v1/model") == 401
            authorised = httpx.get(f"http://127.0.0.1:{port}/v1/model", headers={"Authorization": f"Bearer {key}"})
            assert authorised.status_code == 200
            process.terminate()
            assert until(lambda: status(PROBES["readiness"]["path"]) == 503)
            assert status(PROBES["liveness"]["path"]) == 200, "the kubelet would kill it while it finishes"
            process.send_signal(signal.SIGINT)  # and no more time for others to notice
            assert process.wait(timeout=30) == 0
        finally:
            process.kill()


@pytest.mark.skipif(KUBECTL is None, reason="no kubectl here")
def test_kubectl_builds_them_with_a_policy_whose_name_changes_with_it() -> None:
    objects = built(MANIFESTS)
    assert objects.keys() == {*OBJECTS, "ConfigMap"}
    for value in objects.values():
        kubernetes_validate.validate(value, RELEASES[-1], strict=True)
    policy = objects["ConfigMap"]
    assert policy_volume(objects) == policy["metadata"]["name"] != "firstreply-policy"
    assert policy["data"]["policy.toml"] == DEFAULT_POLICY.read_text(encoding="utf-8")


@pytest.mark.skipif(KUBECTL is None, reason="no kubectl here")
def test_page_shows_how_to_put_ones_own_on_top(tmp_path: Path) -> None:
    shutil.copytree(MANIFESTS, tmp_path / "firstreply" / "deploy" / "kubernetes")
    own = tmp_path / "production"
    own.mkdir()
    (own / "policy.toml").write_text(DEFAULT_POLICY.read_text().replace("purchase = 60", "purchase = 61"))
    (overlay,) = (fence for fence in fences("yaml") if "kind: Kustomization" in fence)
    (own / "kustomization.yaml").write_text(overlay, encoding="utf-8")
    objects, base = built(own), built(MANIFESTS)
    for value in objects.values():
        kubernetes_validate.validate(value, RELEASES[-1], strict=True)
    assert "purchase = 61" in objects["ConfigMap"]["data"]["policy.toml"]
    assert policy_volume(objects) == objects["ConfigMap"]["metadata"]["name"] != base["ConfigMap"]["metadata"]["name"]
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    assert container["image"].endswith(CONTAINER["image"])
    assert container["args"] == [*CONTAINER["args"], "--tier=fast"]
    assert objects["HorizontalPodAutoscaler"]["spec"]["maxReplicas"] == 20


def test_pages_other_pieces_are_what_kubernetes_takes() -> None:
    (ingress,) = (fence for fence in fences("yaml") if "kind: Ingress" in fence)
    kubernetes_validate.validate(yaml.safe_load(ingress), RELEASES[-1], strict=True)
    (path,) = yaml.safe_load(ingress)["spec"]["rules"][0]["http"]["paths"]
    (port,) = OBJECTS["Service"]["spec"]["ports"]
    assert path["backend"]["service"] == {"name": "firstreply", "port": {"name": port["name"]}}
    (metrics,) = (fence for fence in fences("yaml") if fence.startswith("metrics:"))
    spec = {**OBJECTS["HorizontalPodAutoscaler"]["spec"], **yaml.safe_load(metrics)}
    kubernetes_validate.validate({**OBJECTS["HorizontalPodAutoscaler"], "spec": spec}, RELEASES[-1], strict=True)
