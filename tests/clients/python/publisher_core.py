"""The core of the Python package against a server that is killed, unreachable, asks for keys, or loses an answer. Run with the
program as the argument."""

import multiprocessing
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from runlog import Publisher
from runlog.v1 import payload_pb2
from served import GUARD, Proxy, Recording, Said, Server, eventually


def a_server_that_is_killed_gets_each_event_once_and_in_order(program):
    server = Server(program)
    publisher = Recording(server, batch_events=7, linger_seconds=0.001)
    middle = threading.Barrier(4)

    def agent(run_id):
        for number in range(300):
            if number in (100, 200):
                middle.wait(GUARD)
            publisher.publish(run_id, "step", {"node_name": f"{number}", "phase": "end"})

    agents = [threading.Thread(target=agent, args=(f"run-{number}",)) for number in range(3)]
    for thread in agents:
        thread.start()
    middle.wait(GUARD)
    server.kill()
    # The agents go on while no server is there.
    middle.wait(GUARD)
    for thread in agents:
        thread.join(GUARD)
    server.start()
    publisher.is_all_stored(server)
    assert publisher.published == 900 and publisher.close()
    server.kill()


def a_full_queue_drops_counts_and_says_so_and_the_run_shows_the_gap(program, said):
    server = Server(program)
    server.kill()
    publisher = Publisher(f"http://{server.address}", queue_events=10)
    ids = [publisher.publish("gap", "step", {"number": number}) for number in range(100)]
    assert all(ids[:10]) and not any(ids[10:]) and publisher.dropped == 90, (ids, publisher.dropped)
    assert publisher.publish("gap", "error", {"error_message": "the last one"}, essential=True) is not None
    assert any("events dropped" in line and "queue is full" in line for line in said.lines), said.lines
    server.start()
    assert publisher.flush(GUARD)
    publisher.publish("gap", "step", {"number": 100})
    assert not publisher.close(GUARD), "something was dropped"
    stored = [(kind, payload) for _, kind, payload in server.events("gap")]
    expected = [("step", {"number": number}) for number in range(10)]
    expected += [("events_dropped", {"count": 90}), ("error", {"error_message": "the last one"}), ("step", {"number": 100})]
    assert stored == expected, stored
    server.kill()


def an_event_whose_answer_was_lost_is_sent_again_and_stored_once(program):
    server = Server(program)
    proxy = Proxy(server.address)
    publisher = Publisher(f"http://{proxy.address}")
    publisher.publish("lost", "step", {"number": 1})
    assert publisher.flush(GUARD)
    proxy.loses_answers = True
    publisher.publish("lost", "step", {"number": 2})
    eventually("the second event", lambda: len(server.events("lost")) == 2)
    assert publisher.pending == 1, "it is not known to be stored"
    proxy.loses_answers = False
    proxy.cut()
    publisher.publish("lost", "step", {"number": 3})
    assert publisher.flush(GUARD) and publisher.close()
    assert [payload["number"] for _, _, payload in server.events("lost")] == [1, 2, 3]
    server.kill()


def an_event_that_the_server_refuses_does_not_take_others_with_it(program):
    server = Server(program)
    publisher = Publisher(f"http://{server.address}")
    for number in range(10):
        payload = {"text": "x" * (2 << 20)} if number == 4 else {"number": number}
        publisher.publish("refused", "t" * 300 if number == 7 else "step", payload)
    circle = {}
    circle["itself"] = circle
    publisher.publish("refused", "step", {"number": 10, "circle": circle})
    publisher.publish("refused", "step", {"number": object(), "nan": float("nan"), "half": "\ud800"})
    publisher.publish("refused", "step", 42)
    assert publisher.flush(GUARD) and publisher.dropped == 4, publisher.dropped
    stored = [payload for _, _, payload in server.events("refused")]
    assert [payload["number"] for payload in stored[:-1]] == [0, 1, 2, 3, 5, 6, 8, 9], stored
    assert stored[-1]["nan"] == "nan" and stored[-1]["half"] == "?", stored[-1]
    server.kill()


def a_key_with_the_right_to_publish_is_enough_and_a_key_file_may_come_late(program, said):
    server = Server(program, start=False)
    key, reader = server.key("events.publish"), server.key("events.read", "events.read_sensitive")
    server.start()
    file = Path(server.directory.name) / "late.key"
    late = Publisher(f"http://{server.address}", key_file=file)
    late.publish("keys", "run_start", payload_pb2.RunStart(framework="none"), extra={"more": 1})
    eventually("the report", lambda: any("late.key" in line for line in said.lines))
    file.write_text(f"{key}\n")
    assert late.flush(GUARD)
    os.environ["RUNLOG_KEY"] = key
    with Publisher(server.address) as of_environment:
        of_environment.publish("keys", "run_end", {})
    del os.environ["RUNLOG_KEY"]
    stored = [(kind, payload) for _, kind, payload in server.events("keys", reader)]
    assert stored == [("run_start", {"framework": "none", "more": 1}), ("run_end", {})], stored
    wrong = Publisher(server.address, key="key_wrong:0123456789012345678901234567890123456789")
    wrong.publish("keys", "step", {})
    assert wrong.flush(GUARD) and wrong.dropped == 1
    eventually("the refusal", lambda: any("UNAUTHENTICATED" in line for line in said.lines))
    assert not any(key.split(":")[1] in line for line in said.lines), "a secret is in the log"
    server.kill()


def arguments_that_cannot_be_are_named():
    for name, arguments in [
        ("server", {"server": "ftp://host"}),
        ("server", {"server": "http://host:port"}),
        ("key", {"key": "no key"}),
        ("key_file", {"key": "key_a:b", "key_file": "file"}),
        ("cert_key", {"cert": "file"}),
        ("queue_events", {"queue_events": 0}),
        ("batch_events", {"batch_events": 1_001}),
    ]:
        try:
            Publisher(**arguments)
        except ValueError as error:
            assert name in str(error), error
        else:
            raise AssertionError(arguments)


def a_forked_process_publishes_its_own_events_and_not_those_of_its_parent(program):
    server = Server(program)
    publisher = Publisher(f"http://{server.address}", linger_seconds=0.5)
    publisher.publish("parent", "step", {"number": 1})

    def child():
        # Sent at the end of the process.
        assert publisher.publish("child", "step", {"number": 2}) and publisher.pending == 1

    # The first event still waits in the parent; a library that is used by several threads cannot be forked at any moment,
    # so nothing has been sent yet.
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    process.join(GUARD)
    assert process.exitcode == 0, process.exitcode
    assert publisher.flush(GUARD)
    assert [len(server.events(run_id)) for run_id in ("parent", "child")] == [1, 1]
    server.kill()


def the_end_of_a_program_sends_what_waits_and_does_not_wait_for_a_dead_server(program):
    server = Server(program)
    script = "import runlog, sys; runlog.default_publisher().publish('exit', 'step', {'number': 1}); print('ends')"

    def ends():
        environment = {**os.environ, "RUNLOG_SERVER": f"http://{server.address}"}
        begin = time.monotonic()
        ran = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=GUARD)
        assert (ran.returncode, ran.stdout) == (0, "ends\n"), ran
        return time.monotonic() - begin, ran.stderr

    assert "dropped" not in ends()[1]
    assert [payload for _, _, payload in server.events("exit")] == [{"number": 1}]
    server.kill()
    took, log = ends()
    assert "dropped" in log and "before the end of the program" in log, log
    assert took < GUARD / 2, took


def main():
    program, said = sys.argv[1], Said()
    # First, since a fork is safe only before the library has been used.
    a_forked_process_publishes_its_own_events_and_not_those_of_its_parent(program)
    a_server_that_is_killed_gets_each_event_once_and_in_order(program)
    an_event_whose_answer_was_lost_is_sent_again_and_stored_once(program)
    said.none_about_faults()
    a_full_queue_drops_counts_and_says_so_and_the_run_shows_the_gap(program, said)
    an_event_that_the_server_refuses_does_not_take_others_with_it(program)
    said.lines.clear()
    a_key_with_the_right_to_publish_is_enough_and_a_key_file_may_come_late(program, said)
    arguments_that_cannot_be_are_named()
    the_end_of_a_program_sends_what_waits_and_does_not_wait_for_a_dead_server(program)
    print("ok")


main()
