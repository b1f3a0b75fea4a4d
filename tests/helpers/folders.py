"""What lies in a folder of scenes or exports."""

import json


def contents(folder):
    """Every file, but for the name of the model in errors.json, which Python does not know."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            found[name] = path.read_bytes()
            if path.name == "errors.json":
                found[name] = {key: value for key, value in json.loads(found[name]).items() if key != "model"}
    return found
