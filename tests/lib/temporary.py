"""One folder for all that a test program makes in temporary folders, gone with it, however it ends.

Imported before anything is made: tempfile, and every program that is started (TMPDIR), work in it. A keeper beside this
process removes it as soon as this process is gone, killed or not, with whoever is still at work in it."""
import os
import pathlib
import subprocess
import tempfile

PREFIX = "fewbit-tests-"


def _keep():
    folder = tempfile.mkdtemp(prefix=PREFIX)
    reader, writer = os.pipe()  # the writer stays open as long as this process
    subprocess.Popen([pathlib.Path(__file__).with_name("keeper"), folder], stdin=reader, stdout=subprocess.DEVNULL,
                     stderr=subprocess.DEVNULL, start_new_session=True, cwd="/", env={"PATH": os.environ.get("PATH", os.defpath)})
    os.close(reader)
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    return folder


FOLDER = _keep()
