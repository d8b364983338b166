"""The core of the Python package over TLS. Run with the server's address and the file of its authority as the arguments."""

import sys

from runlog import Publisher
from served import GUARD, Said, eventually


def main():
    said, (server, authority) = Said(), sys.argv[1:3]
    with Publisher(f"https://{server}", ca=authority) as publisher:
        publisher.publish("tls", "run_start", {"framework": "none"})
        assert publisher.flush(GUARD) and publisher.published == 1, publisher.dropped
    said.none_about_faults()
    publisher = Publisher(f"https://{server}")
    publisher.publish("tls", "run_end")
    eventually("the refusal of the certificate", lambda: any("cannot send events" in line for line in said.lines))
    assert not publisher.close(0) and publisher.published == 0, "an authority that no one trusts was trusted"
    print("ok")


main()
