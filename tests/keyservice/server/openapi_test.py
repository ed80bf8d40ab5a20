"""Every call of the route tables stands in docs/api/openapi.json and none besides, and the service serves it."""
import glob
import json
import os
import re
import types

import keyd
import openapi

ROUTE = re.compile(r'\{"([A-Z]+)",\s*"(/[^"]*)",\s*HTTP_\w+,\s*\w+,\s*[^,{}]+,\s*(\w+)\}')


def routes():
    """(listener, method, path) of every route that is no page."""
    found = []
    for name in glob.glob(os.path.join(openapi.ROOT, "keyservice/server/*.c")):
        with open(name, encoding="utf-8") as file:
            text = file.read()
        for table in re.finditer(r"struct http_route (\w+)_routes\[\] = \{(.*?)\n\};", text, re.S):
            for method, path, handle in ROUTE.findall(table[2]):
                if handle != "pages_get":
                    found.append((table[1], method, path))
            if len(ROUTE.findall(table[2])) != table[2].count('{"'):
                raise AssertionError(f"{name}: a route that this test cannot read")
    return found


def fits(route, template):
    path = re.sub(r"{\w+}", "x", template)
    return path.startswith(route) if len(route) > 1 and route.endswith("/") else path == route


class Routes(keyd.unittest.TestCase):
    def setUp(self):
        self.described = openapi.OpenApi()
        self.operations = [(listener, method, template)
                           for method, template, operation in self.described.operations
                           for listener in self.described.listeners(operation)]

    def test_every_route_is_described(self):
        for listener, method, path in routes():
            self.assertTrue(any((listener, method) == (there, name) and fits(path, template)
                                for there, name, template in self.operations),
                            f"{listener}: {method} {path} is not in docs/api/openapi.json")

    def test_nothing_else_is_described(self):
        for listener, method, template in self.operations:
            self.assertTrue(any((listener, method) == (there, name) and fits(path, template)
                                for there, name, path in routes()),
                            f"{listener}: {method} {template} has no route")

    def test_objects_refuse_unknown_members(self):
        def look(item, where):
            if isinstance(item, list):
                for value in item:
                    look(value, where)
            elif isinstance(item, dict):
                if "properties" in item:
                    self.assertIs(item.get("additionalProperties"), False, where)
                for name, value in item.items():
                    look(value, where + "/" + name)
        look(self.described.document, "")

    def test_every_reference_is_there(self):
        text = json.dumps(self.described.document)
        for name in set(re.findall(r'"\$ref": "([^"]+)"', text)):
            self.described.resolve({"$ref": name})

    def test_an_answer_with_another_member_is_told(self):
        answer = types.SimpleNamespace(status=200, body=b'{"status":"ok","more":1}',
                                       headers={"Content-Type": "application/json"})
        with self.assertRaises(AssertionError):
            self.described.check("public", "GET", "/v1/health", answer)
        answer.body = b'{"status":"ok"}'
        self.described.check("public", "GET", "/v1/health", answer)


class Served(keyd.Case):
    def test_the_service_serves_the_file(self):
        answer = self.service.call("GET", "/v1/openapi.json")
        self.assertEqual(answer.status, 200)
        with open(openapi.FILE, encoding="utf-8") as file:
            self.assertEqual(answer.json, json.load(file))
        self.assertIsNone(answer.headers["Access-Control-Allow-Origin"])


if __name__ == "__main__":
    keyd.main()
