"""Certificates for tests, made with deploy/make-ca as people make them."""
import pathlib
import ssl
import subprocess

from .fleet import PATIENCE, PORTIONS, ROOT


class Authority:
    """A CA's folder, with certificates for a server and every node."""

    def __init__(self, folder, hosts="localhost,127.0.0.1"):
        self.folder, self.hosts = pathlib.Path(folder), hosts
        self.renew()

    def renew(self):
        """New certificates of the same CA, in the same files."""
        subprocess.run([ROOT / "deploy/make-ca", self.folder, self.hosts, str(PORTIONS)], check=True,
                       capture_output=True, timeout=PATIENCE)

    def options(self, name, ca=None):
        """What a program needs to be `name`; `ca`: the Authority that it trusts, where that is another."""
        return ("--tls-cert", self.folder / f"{name}.pem", "--tls-key", self.folder / f"{name}-key.pem", "--tls-ca",
                (ca or self).folder / "ca.pem")

    def server(self):
        return self.options("server")

    def node(self, k):
        return self.options(f"node-{k}")

    def client(self, name=None):
        """A context of Python's ssl that trusts this CA; `name`: with the certificate of that name."""
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if name:
            context.load_cert_chain(self.folder / f"{name}.pem", self.folder / f"{name}-key.pem")
        return context

    def serial(self, name):
        """The serial number of a certificate in its file."""
        said = subprocess.run(["openssl", "x509", "-in", self.folder / f"{name}.pem", "-noout", "-serial"], check=True,
                              capture_output=True, text=True, timeout=PATIENCE)
        return said.stdout.strip().removeprefix("serial=")
