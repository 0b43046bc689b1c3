#!/usr/bin/python3
"""docs/openapi.yaml is OpenAPI 3.0.3. (test_http.py holds it against the running server.)"""
import unittest

import yaml

from lib.fleet import ROOT
from lib.openapi_form import Form, load

TEXT = (ROOT / "docs/openapi.yaml").read_text()

# What each change breaks.
BREAKS = (
    ("description: \"Percent, as those below.\"", "description: Percent, as those below.", "a schema has no"),
    ("#/components/schemas/Error\"", "#/components/schemas/Eror\"", "leads nowhere"),
    ("#/components/responses/Conflict\"", "#/components/schemas/Error\"", "is no response"),
    ("\"504\":", "\"5044\":", "is no status"),
    ("\"504\":", "504:", "is no status"),
    ("nullable: true", "nullable: \"true\"", "is no boolean"),
    ("minimum: 0", "minimum: none", "is no number"),
    ("type: integer", "type: int", "type is none of"),
    ("description: A stream without end.", "summary: A stream without end.", "must have 'description'"),
    ("items: {type: integer}", "item: {type: integer}", "must say what its items are"),
    ("required: [lost]", "required: [lots]", "is no property"),
    ("in: header", "in: head", "in is none of"),
    ("  - token: []", "  - tokens: []", "is no scheme"),
)


class OpenApi(unittest.TestCase):
    def test_the_document(self):
        self.assertEqual(Form(load(TEXT)).problems, [])

    def test_what_breaks_it_is_found(self):
        for good, bad, problem in BREAKS:
            with self.subTest(bad):
                self.assertIn(good, TEXT)
                self.assertRegex("\n".join(Form(load(TEXT.replace(good, bad, 1))).problems), problem)

    def test_no_key_twice(self):
        with self.assertRaisesRegex(yaml.YAMLError, "twice"):
            load(TEXT.replace("    Lost:", "    Result:", 1))


if __name__ == "__main__":
    unittest.main()
