"""What a release says of itself, in several files, agrees."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import dev
import sklearn_l2cnn

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def workflow(name):
    [path] = [path for path in WORKFLOWS if path.stem == name]
    return yaml.safe_load(path.read_text())


def jobs_of_dev():
    return set(re.findall(r"python3 dev\.py (\w+)", dev.__doc__))


def test_the_newest_changes_are_of_this_version():
    newest = re.search(r"(?m)^## (\S+) \((.*)\)$", (ROOT / "CHANGES.md").read_text())
    version = sklearn_l2cnn.__version__
    assert newest[1] == version.removesuffix(".dev0")
    if version.endswith(".dev0"):
        assert newest[2] == "unreleased"
    else:
        assert re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2])


def test_the_changes_name_every_public_name():
    reference = (ROOT / "docs" / "api.rst").read_text()
    changes = (ROOT / "CHANGES.md").read_text()
    names = re.findall(r"(?m)^   (?:\w+\.)*(\w+)$", reference)
    assert len(names) > 50
    assert not [name for name in names if not re.search(rf"\b{name}\b", changes)]


def test_a_citation_can_be_read():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["license"] == PROJECT["license"]
    assert citation["url"] == PROJECT["urls"]["Documentation"]
    assert citation["repository-code"] == PROJECT["urls"]["Source"]
    assert "version" not in citation  # it stands in the package alone


@pytest.mark.parametrize(
    "path",
    [*WORKFLOWS, ROOT / "CONTRIBUTING.md", ROOT / "RELEASING.md", ROOT / "README.md"],
    ids=lambda path: path.name,
)
def test_jobs_that_are_named_are_there(path):
    named = set(re.findall(r"python3? dev\.py (\w+)", path.read_text()))
    assert named <= jobs_of_dev()


def test_every_job_is_described_for_contributors():
    table = (ROOT / "CONTRIBUTING.md").read_text()
    assert jobs_of_dev() == set(re.findall(r"\| `python3 dev\.py (\w+)", table))


def test_pythons_of_the_workflow_are_those_of_the_classifiers():
    tried = workflow("tests")["jobs"]["newest"]["strategy"]["matrix"]["python"]
    stated = re.findall(r"Python :: (3\.\d+)", "\n".join(PROJECT["classifiers"]))
    assert tried == stated
    assert PROJECT["requires-python"] == f">={stated[0]}"


def test_what_is_untried_may_fail_and_has_no_classifier():
    jobs = workflow("tests")["jobs"]
    assert jobs["untried"]["continue-on-error"] is True
    tried = {
        ("ubuntu-latest", one) for one in jobs["newest"]["strategy"]["matrix"]["python"]
    }
    rows = jobs["untried"]["strategy"]["matrix"]["include"]
    assert not tried & {(row["os"], row["python"]) for row in rows}
    for system in ("MacOS", "Windows", "OS Independent"):
        assert not [name for name in PROJECT["classifiers"] if system in name]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_workflows_may_do_as_little_as_possible(path):
    content = yaml.safe_load(path.read_text())
    assert content["permissions"] == {"contents": "read"}
    assert "concurrency" in content
    for name, job in content["jobs"].items():
        assert "timeout-minutes" in job, name
        # who may write somewhere: the job that shows the site, the one that publishes
        writes = name in ("deploy", "publish")
        assert ("permissions" in job) is writes
        for step in job["steps"]:
            assert re.search(r"@(v\d+|release/v\d+)$", step.get("uses", "@v0"))


def test_a_tag_is_published_after_all_checks():
    content = workflow("release")
    assert content[True] == {"push": {"tags": ["v*"]}}  # YAML reads "on" as a truth
    assert content["jobs"]["publish"]["needs"] == "build"
    steps = [step.get("run", "") for step in content["jobs"]["build"]["steps"]]
    assert "python dev.py release" in steps
