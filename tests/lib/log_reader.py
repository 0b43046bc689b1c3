"""What a program writes on standard error: lines of JSON (docs/operations.md, Logs), and plain ones.

A test waits for an event by its name and fields; what a line tells people is asserted, never waited for."""
import json
import re


def record_of(line):
    """A line of the log as {"time", "level", "program", "event"?, "message", ...}; None: it is none."""
    try:
        return json.loads(line) if line.startswith('{"time":') else None
    except ValueError:
        return None


def matching(records, event, message="", **fields):
    """Those of this event (or one of several), with these fields, and with a message that has this pattern."""
    names = (event,) if isinstance(event, str) else event
    return [r for r in records if r.get("event") in names and re.search(message, r["message"])
            and all(r.get(key) == value for key, value in fields.items())]


class LogReader:
    """Reads a file that grows, each line once."""

    def __init__(self, path):
        self.path, self.position = path, 0
        self.records = []  # of the log's lines
        self.plain = []    # lines that are none of it
        self.shown = ""    # all whole lines, as people read them
        self.rest = b""    # what has no end yet

    def read(self):
        with open(self.path, "rb") as file:
            file.seek(self.position)
            new = file.read()
        self.position += len(new)
        *lines, self.rest = (self.rest + new).split(b"\n")
        self.shown += "".join(self.take(line.decode(errors="replace")) for line in lines)

    def take(self, line):
        record = record_of(line)
        if not record:
            self.plain.append(line)
            return line + "\n"
        self.records.append(record)
        event = record.get("event")
        head = {"failed": f"{record['program']}: ", "training_progress": ""}.get(event, f"{record['level']:<5} ")
        return f"{head}{record['message']}\n"

    def text(self):
        """Everything, lines of the log as "info  message" and a program's last one as "program: message"."""
        self.read()
        return self.shown + ("" if self.rest.startswith(b"{") else self.rest.decode(errors="replace"))

    def events(self, event, **how):
        """See `matching`."""
        self.read()
        return matching(self.records, event, **how)
