"""docs/openapi.yaml held against real answers: as much of OpenAPI 3.0 as that file uses."""
import json
import re

import yaml

from .fleet import ROOT

TYPES = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool}


class OpenApi:
    def __init__(self):
        self.document = yaml.safe_load((ROOT / "docs/openapi.yaml").read_text())
        self.seen = set()    # (path, method, status)
        self.fields = set()  # places in the document, as tuples of keys
        self.codes = set()

    def resolve(self, node):
        while "$ref" in node:
            path = node["$ref"].removeprefix("#/").split("/")
            node = self.document
            for key in path:
                node = node[key]
        return node

    def check_answer(self, path, method, status, headers, body):
        """An answer must be what the document says of this path, method and status."""
        responses = self.document["paths"][path][method.lower()]["responses"]
        assert str(status) in responses, f"{method} {path}: status {status} is not documented: {body[:300]}"
        response = self.resolve(responses[str(status)])
        self.seen.add((path, method.lower(), str(status)))
        for name, header in response.get("headers", {}).items():
            value = headers.get(name)
            assert value is not None, f"{method} {path} {status}: no header {name}"
            self.check(self.resolve(header)["schema"], value, f"header {name}")
        assert re.fullmatch(r"[A-Za-z0-9._-]{1,64}", headers["X-Request-Id"]), headers
        kind = headers["Content-Type"].split(";")[0]
        assert kind in response["content"], f"{method} {path} {status}: content type {kind}"
        if kind == "application/json":
            value = json.loads(body)
            self.check(response["content"][kind]["schema"], value, f"{method} {path} {status}")
            return value
        return body

    def check_event(self, name, data):
        self.check({"$ref": f"#/components/schemas/{name}"}, json.loads(data), f"event {name}")

    def check(self, schema, value, where):
        schema = self.resolve(schema)
        if "oneOf" in schema:
            self.check_one_of(schema["oneOf"], value, where)
            return
        if value is None:
            assert schema.get("nullable"), f"{where}: null"
            return
        kind = schema["type"]
        is_number = kind in ("integer", "number")
        assert isinstance(value, TYPES[kind]) and not (is_number and isinstance(value, bool)), f"{where}: {value!r}"
        if "enum" in schema:
            assert value in schema["enum"], f"{where}: {value!r}"
        if "pattern" in schema:
            assert re.search(schema["pattern"], value), f"{where}: {value!r}"
        assert value >= schema.get("minimum", value) if is_number else True, f"{where}: {value!r}"
        assert value <= schema.get("maximum", value) if is_number else True, f"{where}: {value!r}"
        if kind == "array":
            assert schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value)), f"{where}: {value}"
            for i, item in enumerate(value):
                self.check(schema["items"], item, f"{where}[{i}]")
        elif kind == "object":
            self.check_object(schema, value, where)

    def check_one_of(self, choices, value, where):
        failures = []
        for choice in choices:
            before = set(self.fields)
            try:
                self.check(choice, value, where)
                return
            except AssertionError as failure:
                self.fields = before
                failures.append(str(failure))
        raise AssertionError(f"{where} is none of what it may be: {failures}")

    def check_object(self, schema, value, where):
        properties = schema.get("properties", {})
        for name in schema.get("required", []):
            assert name in value, f"{where}: {name} is missing"
        for name, item in value.items():
            if name in properties:
                self.fields.add((id(schema), name))
                if name == "code":
                    self.codes.add(item)
                self.check(properties[name], item, f"{where}.{name}")
            else:
                other = schema.get("additionalProperties", True)
                assert other is not False, f"{where}: {name} is not documented"
                if isinstance(other, dict):
                    self.check(other, item, f"{where}.{name}")

    def unseen(self):
        """What the document has and no answer showed."""
        missing = [(path, method, status) for path, methods in self.document["paths"].items()
                   for method, operation in methods.items() for status in operation["responses"]
                   if (path, method, status) not in self.seen]
        for name, schema in self.document["components"]["schemas"].items():
            missing += self._unseen_fields(name, schema)
        codes = self.document["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]["enum"]
        return missing + sorted(set(codes) - self.codes)

    def _unseen_fields(self, where, schema):
        missing = []
        for name, inner in schema.get("properties", {}).items():
            if (id(schema), name) not in self.fields:
                missing.append(f"{where}.{name}")
            if "$ref" not in inner:
                missing += self._unseen_fields(f"{where}.{name}", inner)
        return missing
