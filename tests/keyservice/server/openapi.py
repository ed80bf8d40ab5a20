"""Holds answers, and the requests that were answered, to docs/api/openapi.json."""
import json
import os
import re

import jsonschema

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../..")
FILE = os.path.join(ROOT, "docs/api/openapi.json")
METHODS = ("get", "head", "options", "post", "put", "delete")


def pattern(template):
    return re.compile("".join("[^/]+" if part.startswith("{") else re.escape(part)
                              for part in re.split(r"({\w+})", template)) + "$")


class OpenApi:
    def __init__(self):
        with open(FILE, encoding="utf-8") as file:
            self.document = json.load(file)
        self.operations = []
        self.validators = {}
        for template, item in self.document["paths"].items():
            for method, operation in item.items():
                if method in METHODS:
                    self.operations.append((method.upper(), template, operation))
        # What has no parameter stands before what has one.
        self.operations.sort(key=lambda entry: entry[1].count("{"))
        self.patterns = [pattern(template) for _, template, _ in self.operations]

    def listeners(self, operation):
        listener = operation.get("x-listener", "public")
        return ("public", "engine") if listener == "both" else (listener,)

    def find(self, listener, method, path):
        for fits, (name, template, operation) in zip(self.patterns, self.operations):
            if name == method and listener in self.listeners(operation) and fits.match(path):
                return template, operation
        return None, None

    def resolve(self, item):
        while "$ref" in item:
            found = self.document
            for name in item["$ref"].removeprefix("#/").split("/"):
                found = found[name]
            item = found
        return item

    def validate(self, schema, value, where):
        key = json.dumps(schema, sort_keys=True)
        if key not in self.validators:
            whole = {**schema, "components": self.document["components"]}
            self.validators[key] = jsonschema.Draft202012Validator(whole)
        errors = sorted(self.validators[key].iter_errors(value), key=str)
        if errors:
            raise AssertionError(f"{where}: not as docs/api/openapi.json says: "
                                 f"{errors[0].message} at {list(errors[0].absolute_path)}")

    def check_content(self, content, kind, body, where):
        kind = (kind or "").split(";")[0].strip().lower()
        named = content.get(kind, content.get("*/*"))
        if named is None:
            raise AssertionError(f"{where}: {kind} is not in docs/api/openapi.json")
        if "schema" in named and (kind == "application/json" or "*/*" in content):
            self.validate(named["schema"], json.loads(body), where)

    def check(self, listener, method, path, answer, sent=None, sent_kind=None):
        """An answer with `status`, `headers` and `body`; raises when it is another than described."""
        path = path.split("?")[0]
        where = f"{method} {path} {answer.status}"
        asked = "GET" if method == "HEAD" and self.find(listener, "HEAD", path)[1] is None else method
        _, operation = self.find(listener, asked, path)
        error = self.document["components"]["responses"]["Error"]
        if operation is None:
            if answer.status in (404, 405) and answer.body:
                self.check_content(error["content"], answer.headers["Content-Type"], answer.body,
                                   where)
            elif path.startswith("/v1/") and answer.status < 400:
                raise AssertionError(f"{where}: not in docs/api/openapi.json")
            return
        responses = operation["responses"]
        response = self.resolve(responses.get(str(answer.status)) or responses["default"])
        if answer.status < 400 and str(answer.status) not in responses:
            raise AssertionError(f"{where}: this status is not in docs/api/openapi.json")
        if method != "HEAD" and "content" in response:
            self.check_content(response["content"], answer.headers["Content-Type"], answer.body,
                               where)
        if answer.status < 300 and "requestBody" in operation and sent is not None:
            self.check_content(operation["requestBody"]["content"], sent_kind, sent,
                               where + " (request)")
