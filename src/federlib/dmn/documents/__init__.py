"""Models as documents, and values of FEEL as JSON.

`forms` is the way in: it reads and writes a model as XML (`xml`, `xml_tree`, `xml_expressions`,
`xml_write`), JSON and YAML (`shape`). `normal` gives ids to what has none, `plain_json` writes
values.
"""
