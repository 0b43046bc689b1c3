"""Whether a document is OpenAPI 3.0.3: every object has the fields that the specification gives it, of the right type,
and no other; references lead to objects of the right kind; no key comes twice. Source: OpenAPI 3.0.3, section 4.7."""
import re

import yaml

SIMPLE = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "any": object}

# A field is "kind", "[kind]" (a list) or "{kind}" (a map with names of its own); "kind!" must be there. "a|b" with "&":
# the object itself or a reference to one.
OBJECTS = {
    "document": {"openapi": "string!", "info": "info!", "servers": "[server]", "paths": "{path}!", "tags": "[tag]",
                 "components": "components", "security": "[{[string]}]", "externalDocs": "documents"},
    "info": {"title": "string!", "version": "string!", "description": "string", "termsOfService": "string",
             "contact": "contact", "license": "license"},
    "contact": {"name": "string", "url": "string", "email": "string"},
    "license": {"name": "string!", "url": "string"},
    "documents": {"url": "string!", "description": "string"},
    "tag": {"name": "string!", "description": "string", "externalDocs": "documents"},
    "server": {"url": "string!", "description": "string", "variables": "{variable}"},
    "variable": {"enum": "[string]", "default": "string!", "description": "string"},
    "path": {"summary": "string", "description": "string", "servers": "[server]", "parameters": "[&parameter]",
             **dict.fromkeys(("get", "put", "post", "delete", "options", "head", "patch", "trace"), "operation")},
    "operation": {"tags": "[string]", "summary": "string", "description": "string", "externalDocs": "documents",
                  "operationId": "string", "parameters": "[&parameter]", "requestBody": "&requestBody",
                  "responses": "{&response}!", "deprecated": "boolean", "security": "[{[string]}]", "servers": "[server]"},
    "parameter": {"name": "string!", "in": "string!", "description": "string", "required": "boolean",
                  "deprecated": "boolean", "allowEmptyValue": "boolean", "style": "string", "explode": "boolean",
                  "allowReserved": "boolean", "schema": "&schema", "example": "any", "examples": "{&example}",
                  "content": "{media}"},
    "header": {"description": "string", "required": "boolean", "deprecated": "boolean", "style": "string",
               "explode": "boolean", "schema": "&schema", "example": "any", "examples": "{&example}",
               "content": "{media}"},
    "requestBody": {"description": "string", "content": "{media}!", "required": "boolean"},
    "media": {"schema": "&schema", "example": "any", "examples": "{&example}", "encoding": "{encoding}"},
    "encoding": {"contentType": "string", "headers": "{&header}", "style": "string", "explode": "boolean",
                 "allowReserved": "boolean"},
    "response": {"description": "string!", "headers": "{&header}", "content": "{media}", "links": "{any}"},
    "example": {"summary": "string", "description": "string", "value": "any", "externalValue": "string"},
    "components": {"schemas": "{&schema}", "responses": "{&response}", "parameters": "{&parameter}",
                   "examples": "{&example}", "requestBodies": "{&requestBody}", "headers": "{&header}",
                   "securitySchemes": "{&securityScheme}"},
    "securityScheme": {"type": "string!", "description": "string", "name": "string", "in": "string", "scheme": "string",
                       "bearerFormat": "string", "flows": "any", "openIdConnectUrl": "string"},
    "schema": {"title": "string", "multipleOf": "number", "maximum": "number", "exclusiveMaximum": "boolean",
               "minimum": "number", "exclusiveMinimum": "boolean", "maxLength": "integer", "minLength": "integer",
               "pattern": "string", "maxItems": "integer", "minItems": "integer", "uniqueItems": "boolean",
               "maxProperties": "integer", "minProperties": "integer", "required": "[string]", "enum": "[any]",
               "type": "string", "allOf": "[&schema]", "oneOf": "[&schema]", "anyOf": "[&schema]", "not": "&schema",
               "items": "&schema", "properties": "{&schema}", "additionalProperties": "any", "description": "string",
               "format": "string", "default": "any", "nullable": "boolean", "discriminator": "any",
               "readOnly": "boolean", "writeOnly": "boolean", "xml": "any", "externalDocs": "documents",
               "example": "any", "deprecated": "boolean"},
}
WORDS = {("schema", "type"): {"array", "boolean", "integer", "number", "object", "string"},
         ("parameter", "in"): {"query", "header", "path", "cookie"},
         ("securityScheme", "type"): {"apiKey", "http", "oauth2", "openIdConnect"}}


class UniqueKeys(yaml.SafeLoader):
    """A mapping names each of its keys once."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise yaml.constructor.ConstructorError(None, None, f"{twice} twice", node.start_mark)
        return super().construct_mapping(node, deep)


def load(text):
    return yaml.load(text, UniqueKeys)


class Form:
    def __init__(self, document):
        self.document, self.problems = document, []
        self.check("document", document, "#")
        if not self.problems:
            self.check_security()
            self.check_paths()

    def wrong(self, where, what):
        self.problems.append(f"{where}: {what}")

    def check(self, kind, value, where):
        if kind.startswith("["):
            items = enumerate(value) if isinstance(value, list) else ()
            return self.check_each(kind[1:-1], items, where) if items != () else self.wrong(where, "no list")
        if kind.startswith("{"):
            items = value.items() if isinstance(value, dict) else ()
            return self.check_each(kind[1:-1], items, where) if items != () else self.wrong(where, "no map")
        if kind.startswith("&") and isinstance(value, dict) and "$ref" in value:
            return self.check_reference(kind[1:], value, where)
        kind = kind.lstrip("&")
        if kind in SIMPLE:
            is_it = isinstance(value, SIMPLE[kind]) and (kind in ("any", "boolean") or not isinstance(value, bool))
            return None if is_it else self.wrong(where, f"{value!r} is no {kind}")
        return self.check_object(kind, value, where) if isinstance(value, dict) else self.wrong(where, f"no {kind}")

    def check_each(self, kind, items, where):
        for key, item in items:
            self.check(kind, item, f"{where}/{key}")

    def check_object(self, kind, value, where):
        fields = OBJECTS[kind]
        for name, item in value.items():
            if name not in fields:
                self.wrong(where, f"a {kind} has no {name!r}")
                continue
            self.check(fields[name].rstrip("!"), item, f"{where}/{name}")
            if (kind, name) in WORDS and item not in WORDS[kind, name]:
                self.wrong(where, f"{name} is none of {sorted(WORDS[kind, name])}")
        for name, field in fields.items():
            if field.endswith("!") and name not in value:
                self.wrong(where, f"a {kind} must have {name!r}")
        if kind == "schema":
            self.check_schema(value, where)
        if kind == "parameter" and ("schema" in value) == ("content" in value):
            self.wrong(where, "a parameter has a schema or a content")

    def check_schema(self, value, where):
        if value.get("type") == "array" and "items" not in value:
            self.wrong(where, "an array must say what its items are")
        others = value.get("additionalProperties")
        if isinstance(others, dict):
            self.check("&schema", others, f"{where}/additionalProperties")
        elif others is not None and not isinstance(others, bool):
            self.wrong(where, "additionalProperties is a schema, true or false")
        if "properties" in value and others is False:
            for name in set(value.get("required", [])) - set(value["properties"]):
                self.wrong(where, f"{name!r} is required and is no property")
        if "pattern" in value:
            try:
                re.compile(value["pattern"])
            except re.error as e:
                self.wrong(where, f"pattern: {e}")

    def check_reference(self, kind, value, where):
        if set(value) != {"$ref"}:
            self.wrong(where, "beside $ref nothing counts")
        node, path = self.document, value["$ref"].split("/")
        folder = {"requestBody": "requestBodies"}.get(kind, f"{kind}s")
        if path[:3] != ["#", "components", folder] or len(path) != 4:
            self.wrong(where, f"{value['$ref']} is no {kind}")
            return
        for key in path[1:]:
            node = node.get(key) if isinstance(node, dict) else None
        if node is None:
            self.wrong(where, f"{value['$ref']} leads nowhere")

    def check_security(self):
        schemes = self.document.get("components", {}).get("securitySchemes", {})
        wanted = list(self.document.get("security", []))
        for methods in self.document["paths"].values():
            for operation in methods.values():
                wanted += operation.get("security", []) if isinstance(operation, dict) else []
        for name in {name for entry in wanted for name in entry} - set(schemes):
            self.wrong("#", f"security {name!r} is no scheme")

    def check_paths(self):
        for path, methods in self.document["paths"].items():
            if not path.startswith("/"):
                self.wrong("#/paths", f"{path} does not begin with a slash")
            for method, operation in methods.items():
                for status in operation.get("responses", {}) if isinstance(operation, dict) else ():
                    if not re.fullmatch(r"[1-5](\d\d|XX)|default", str(status)) or not isinstance(status, str):
                        self.wrong(f"#/paths/{path}/{method}", f"{status!r} is no status")
        for folder, named in self.document.get("components", {}).items():
            for name in named if folder != "securitySchemes" else ():
                if not re.fullmatch(r"[A-Za-z0-9._-]+", name):
                    self.wrong(f"#/components/{folder}", f"{name!r} is no name")
