"""What a cluster would make of built manifests: pods, whom a selector finds, and what NetworkPolicies let through."""

from ipaddress import ip_address, ip_network
from typing import Any

Object = dict[str, Any]
POD_TEMPLATES = {
    "Deployment": lambda o: o["spec"]["template"],
    "Job": lambda o: o["spec"]["template"],
    "CronJob": lambda o: o["spec"]["jobTemplate"]["spec"]["template"],
}


class Cluster:
    """The objects of one build."""

    def __init__(self, objects: list[Object]) -> None:
        self.objects = objects
        self.pods = {
            template["metadata"]["labels"]["app.kubernetes.io/component"]: template
            for o in objects
            if (of := POD_TEMPLATES.get(o["kind"])) and (template := of(o))
        }

    def all(self, kind: str) -> list[Object]:
        """The objects of a kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def names(self, kind: str) -> set[str]:
        """Their names."""
        return {each["metadata"]["name"] for each in self.all(kind)}

    def one(self, kind: str, name: str = "") -> Object:
        """The one object of a kind whose name ends so."""
        [found] = [each for each in self.all(kind) if each["metadata"]["name"].endswith(name)]
        return found

    def selected(self, selector: Object) -> set[str]:
        """The pods that a selector finds, by their component."""
        return {name for name, pod in self.pods.items() if matches(selector, pod["metadata"]["labels"])}

    def reaches(self, component: str, address: str, port: int, protocol: str = "TCP") -> bool:
        """Whether a pod may connect to an address outside of the cluster."""
        policies = [
            policy["spec"]
            for policy in self.all("NetworkPolicy")
            if "Egress" in policy["spec"]["policyTypes"] and component in self.selected(policy["spec"]["podSelector"])
        ]
        assert policies, "what no policy selects may do everything"
        return any(
            _to(rule, address) and _by(rule, port, protocol) for spec in policies for rule in spec.get("egress", [])
        )


def matches(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a selector finds what has these labels."""
    of_labels = all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items())
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "In" for each in expressions)
    return of_labels and all(labels.get(each["key"]) in each["values"] for each in expressions)


def _to(rule: Object, address: str) -> bool:
    if "to" not in rule:
        return True
    blocks = [peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer]
    return any(
        _in(address, block["cidr"]) and not any(_in(address, out) for out in block.get("except", []))
        for block in blocks
    )


def _in(address: str, network: str) -> bool:
    return ip_address(address) in ip_network(network)


def _by(rule: Object, port: int, protocol: str) -> bool:
    ports = rule.get("ports", [])
    return not ports or any(each["port"] == port and each.get("protocol", "TCP") == protocol for each in ports)
