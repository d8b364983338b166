"""What the Python package does at its limits: finalizers and signals that publish, ends that cannot wait, values that are no
JSON, slow networks. Run with the program as the argument."""

import faulthandler
import gc
import signal
import sys
import threading

from served import GUARD, Recording, Said, Server


def finalizers_and_signal_handlers_may_publish_at_any_moment(server):
    publisher = Recording(server, batch_events=5, linger_seconds=0)
    # The ids of what interrupts another call have no order that a test knows.
    publish = super(Recording, publisher).publish
    made = {"finalizer": 0, "signal": 0, "thread": 0}

    def emit(source):
        made[source] += 1
        assert publish(f"from-a-{source}", "step", {"source": source})

    class Garbage:
        def __init__(self):
            self.itself = self

        def __del__(self):
            emit("finalizer")

    def agent():
        for _ in range(200):
            Garbage()
            publish("from-a-thread", "step", {"source": "thread"})

    before, thresholds = signal.signal(signal.SIGALRM, lambda *_: emit("signal")), gc.get_threshold()
    # Almost every object that is made runs finalizers, also where a lock is held.
    gc.set_threshold(1)
    signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
    try:
        threads = [threading.Thread(target=agent) for _ in range(3)]
        for thread in threads:
            thread.start()
        agent()
        for thread in threads:
            thread.join()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        gc.set_threshold(*thresholds)
    gc.collect()
    assert publisher.flush(GUARD) and publisher.close()
    assert len(server.events("from-a-thread")) == 800
    assert len(server.events("from-a-finalizer")) == made["finalizer"] == 800, made
    assert len(server.events("from-a-signal")) == made["signal"], made


def main():
    program, said = sys.argv[1], Said()
    # A lock that is never released ends the script.
    faulthandler.dump_traceback_later(3 * GUARD, exit=True)
    server = Server(program)
    finalizers_and_signal_handlers_may_publish_at_any_moment(server)
    said.none_about_faults()
    server.kill()
    print("ok")


main()
