"""What the tester expects of an event stream. /openapi.json describes the body as text, as generators of clients need it; the
tester parses the text and compares each event with the schema."""

import schemathesis

EVENT = {
    "type": "object",
    "required": ["data"],
    "properties": {"id": {"type": "string"}, "data": {"type": "string"}, "retry": {"type": "integer"}},
}


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for operations in raw_schema["paths"].values():
        for operation in operations.values():
            for response in operation["responses"].values():
                stream = response.get("content", {}).get("text/event-stream")
                if stream is not None:
                    stream["schema"] = EVENT
