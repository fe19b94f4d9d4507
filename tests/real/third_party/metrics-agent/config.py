from jetson_containers import update_dependencies


def metrics(version, default=False):
    made = package.copy()
    made["name"] = f"metrics-agent:{version}"
    made["build_args"] = {"METRICS_VERSION": version}
    made["depends"] = update_dependencies(made["depends"], ["python"])
    if default:
        made["alias"] = "metrics-agent"
    source = made.copy()
    source["name"] += "-builder"
    source["build_args"] = {**made["build_args"], "FORCE_BUILD": "on"}
    source.pop("alias", None)
    return made, source


package = [metrics("0.21.1"), metrics("0.22.1", default=True)]
