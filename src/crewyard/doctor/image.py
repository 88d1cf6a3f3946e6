"""F20 and F23 in a Dockerfile: what it builds on, which user it runs as, which secrets it holds."""

import re
from collections.abc import Iterator

from crewyard.doctor.dockerfile import Dockerfile, Instruction
from crewyard.doctor.files import ENV_EXAMPLES, Tree, is_ignored
from crewyard.doctor.findings import Finding
from crewyard.doctor.installs import installs
from crewyard.doctor.rules.secrets import PLACEHOLDER, SECRET, key_in

ROOTLESS = ("nonroot", "cgr.dev/", "-rootless", "unprivileged")
PYTHON = re.compile(r"\b(python|pip|uv|poetry|uvicorn|gunicorn|celery|streamlit)\b")
NAME_OF_SECRET = re.compile(r"(API_?KEY|ACCESS_KEY|SECRET|PASSWORD|TOKEN)$")


def check(file: Dockerfile, tree: Tree) -> Iterator[Finding]:
    """Every finding of a Dockerfile."""
    yield from _bases(file)
    yield from _user(file)
    yield from installs(file, tree)
    yield from _secrets(file)
    yield from _copied(file, tree)


def _stages(file: Dockerfile) -> list[tuple[Instruction, str, str]]:
    """Each FROM with its image, ARGs before it filled in, and the name it gives to its stage."""
    defaults: dict[str, str] = {}
    stages: list[tuple[Instruction, str, str]] = []
    for one in file.instructions:
        if one.name == "ARG" and "=" in one.rest and not stages:
            name, _, value = one.rest.partition("=")
            defaults[name.strip()] = value.strip().strip("\"'")
        if one.name == "FROM":
            words = [word for word in one.rest.split() if not word.startswith("--")]
            image = re.sub(
                r"\$\{?(\w+)(?::-([^}]*))?\}?",
                lambda found: defaults.get(found[1]) or found[2] or found[0],
                words[0] if words else "",
            )
            stages.append((one, image, words[2].lower() if len(words) > 2 and words[1].upper() == "AS" else ""))
    return stages


def _bases(file: Dockerfile) -> Iterator[Finding]:
    known: set[str] = set()
    for one, image, name in _stages(file):
        if image.lower() not in known and image != "scratch" and "@" not in image:
            tag = image.rsplit("/", 1)[-1].partition(":")[2]
            if "$" in image:
                if not tag:
                    yield file.found(
                        one,
                        "F20",
                        "hint",
                        f"the base image {image} may have no tag",
                        "give its ARG a default with a tag",
                    )
            elif tag in ("", "latest"):
                yield file.found(
                    one,
                    "F20",
                    "error",
                    f"the base image {image} is whatever is newest on the day of the build",
                    "name a version, best with its digest",
                )
        known.add(name)


def _user(file: Dockerfile) -> Iterator[Finding]:
    """The user of the last stage, through the stages that it is built from."""
    stages = _stages(file)
    if not stages or not PYTHON.search(file.text):
        return
    users = _users(file)
    last, image, _ = stages[-1]
    names = {name: (one, base) for one, base, name in stages if name}
    start: Instruction | None = last
    while start is not None:
        if start in users:
            break
        following = names.get(image.lower())
        start, image = following if following and following[0] is not start else (None, image)
    user = users.get(start) if start else None
    edit = "add `RUN useradd --create-home app` and, as the last USER, `USER app`"
    if user is None and not any(word in image for word in ROOTLESS):
        certain = not re.search(r"\b(gosu|su-exec|setpriv)\b", file.text)
        yield file.found(last, "F20", "error" if certain else "hint", "the image has no USER: it runs as root", edit)
    elif user and user.rest.split(":")[0].strip() in ("root", "0"):
        yield file.found(user, "F20", "error", "the image runs as root", edit)


def _users(file: Dockerfile) -> dict[Instruction, Instruction]:
    """The last USER of each stage, by the stage's FROM."""
    found, stage = {}, None
    for one in file.instructions:
        if one.name == "FROM":
            stage = one
        elif one.name == "USER" and stage:
            found[stage] = one
    return found


def _secrets(file: Dockerfile) -> Iterator[Finding]:
    arguments = {one.rest.partition("=")[0].strip() for one in file.instructions if one.name == "ARG"}
    edit = "pass it when the container starts; for the build alone use `RUN --mount=type=secret`"
    for one in file.instructions:
        if key := key_in(one.rest):
            yield file.found(one, "F23", "error", f"a literal {key} in the image", edit)
            continue
        for name, value in _assignments(one):
            if not (SECRET.search(name) and NAME_OF_SECRET.search(name)):
                continue
            reference = re.fullmatch(r"\$\{?(\w+)\}?", value)
            if one.name == "ENV" and reference and reference[1] in arguments:
                yield file.found(
                    one, "F23", "error", f"the image keeps the build argument {reference[1]} as {name}", edit
                )
            elif not reference and "$" not in value and value and not PLACEHOLDER.search(value):
                yield file.found(one, "F23", "error", f"{one.name} {name} has a value in the image", edit)


def _assignments(one: Instruction) -> list[tuple[str, str]]:
    if one.name not in ("ENV", "ARG"):
        return []
    pairs = re.findall(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S*)", one.rest)
    if not pairs and one.name == "ENV" and " " in one.rest:
        pairs = [tuple(one.rest.split(None, 1))]
    return [(name, value.strip("\"'")) for name, value in pairs]


def _copied(file: Dockerfile, tree: Tree) -> Iterator[Finding]:
    """A .env that gets into the image, by its name or with everything else."""
    for one in file.instructions:
        if one.name not in ("COPY", "ADD") or "--from" in one.rest:
            continue
        *sources, _ = [word for word in re.sub(r"[\[\],\"]", " ", one.rest).split() if not word.startswith("--")] or [
            ""
        ]
        if any(word.rsplit("/", 1)[-1].startswith(".env") and not ENV_EXAMPLES.search(word) for word in sources):
            yield file.found(
                one,
                "F23",
                "error",
                "a .env file is copied into the image",
                "leave it out, and give the variables when the container starts",
            )
        elif {".", "./"} & set(sources):
            yield from _whole_context(file, one, tree)


def _whole_context(file: Dockerfile, one: Instruction, tree: Tree) -> Iterator[Finding]:
    context = file.place.parent
    if is_ignored(context / ".env", context, ".dockerignore") or is_ignored(
        context / ".env", context, f"{file.place.name}.dockerignore"
    ):
        return
    edit = "name .env in .dockerignore"
    if context / ".env" in tree.names:
        yield file.found(
            one, "F23", "error", f"`{one.name} . ` takes the .env into the image: no .dockerignore names it", edit
        )
    elif any(path.parent == context and path.name.startswith(".env") for path in tree.names):
        yield file.found(
            one,
            "F23",
            "hint",
            f"`{one.name} .` takes a .env into the image where there is one: no .dockerignore names it",
            edit,
        )
