use super::*;
use crate::pb::payload::Variant;

fn stored(payload: &str) -> pb::Event {
    let at = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    pb::Event {
        run_id: "r".into(),
        seq: 7,
        event_id: "e\u{2028}1".into(),
        r#type: "étape".into(),
        origin: 2,
        occurred_at: at(-62_135_596_800, 1),
        sent_seconds: Some(12_345.678_901_234),
        recorded_at: at(1_700_000_000, 123_456_789),
        agent_name: "a".into(),
        payload: Some(pb::Payload { extra_json: String::new(), variant: Some(Variant::Json(payload.into())) }),
        ..Default::default()
    }
}

#[test]
fn an_event_reads_back_from_its_one_line_with_the_text_of_its_payload() {
    for payload in [
        "{ \"b\":12345678901234567890123 ,\"a\":1e2, \"b\":\"\\ud800\\u0000\"}",
        "{\n  \"pretty\": [\r\n\t1\n]}\n",
        " {}",
        "{} ",
        "null",
        "1e999",
        "\"\u{2028}\u{7f}\u{85}é\"",
    ] {
        let line = event(&stored(payload), None).unwrap();
        assert!(!line.contains(['\n', '\r']), "{line:?}");
        let back = parse_event(3, &line).unwrap();
        assert_eq!(back.event.payload.as_str(), payload, "{line}");
        assert_eq!((back.line, back.event.seq, back.event.event_id.as_str()), (3, 7, "e\u{2028}1"));
        assert_eq!(back.event.event_type.as_str(), "étape");
        assert_eq!(back.event.origin, Origin::User);
        assert_eq!(back.event.recorded_at, Timestamp::new(1_700_000_000, 123_456_789).unwrap());
        assert_eq!(back.event.occurred_at, Timestamp::new(-62_135_596_800, 1).unwrap());
        assert_eq!(back.event.sent_seconds, Some(12_345.678_901_234));
        assert_eq!(back.event.agent_name, Some(AgentName::parse("a").unwrap()));
        assert_eq!((back.run_agent_name, back.structure_id), (None, None));
    }
    let run = pb::Run { agent_name: "founder".into(), structure_id: "s".into(), ..Default::default() };
    let back = parse_event(1, &event(&stored("1"), Some(&run)).unwrap()).unwrap();
    assert_eq!(back.run_agent_name.unwrap().as_str(), "founder");
    assert_eq!(back.structure_id.unwrap().as_str(), "s");
}

#[test]
fn an_event_with_a_joined_payload_says_from_which_seq() {
    let joined = |joined_from| event(&pb::Event { joined_from, ..stored("{}") }, None).unwrap();
    assert!(!joined(0).contains("joined_from"));
    for (line, expected) in [(joined(0), None), (joined(1), Some(1)), (joined(6), Some(6))] {
        assert_eq!(parse_event(1, &line).unwrap().event.joined_from, expected, "{line}");
    }
    let line = joined(6);
    for (given, problem) in [
        (r#""joined_from":7"#, "joined_from: must be a seq before that of the event"),
        (r#""joined_from":0"#, "joined_from: must be a seq before"),
        (r#""joined_from":null"#, "joined_from: must be a seq before"),
        (r#""removal":"erased","joined_from":6"#, "joined_from: is given beside removal"),
    ] {
        let refused = parse_event(1, &line.replace(r#""joined_from":6"#, given)).unwrap_err();
        assert!(refused.starts_with(problem), "{given}: {refused}");
    }
}

#[test]
fn a_damaged_line_names_its_field() {
    let line = event(&stored("{}"), None).unwrap();
    assert!(parse_event(1, &line).is_ok());
    for (good, bad, expected) in [
        ("\"run_id\":\"r\"", "\"run_id\":\"r\\nr\"", "run_id: must not hold control characters"),
        ("\"run_id\":\"r\",", "", "run_id: is missing"),
        ("\"seq\":7", "\"seq\":0", "seq: must be a number from 1"),
        ("\"seq\":7", "\"seq\":\"7\"", "seq: must be"),
        ("\"seq\":7", "\"seq\":9223372036854775808", "seq: must be"),
        ("\"seq\":7", "\"seq\":7,\"seq\":7", "seq: is given twice"),
        ("\"USER\"", "\"ME\"", "origin: must be SYSTEM or USER"),
        ("\"agent_name\":\"a\"", "\"agent_name\":7", "agent_name: must be a string"),
        ("\"sent_seconds\":", "\"sent_seconds\":\"x\",\"_\":", "_: is not known"),
        ("12345.678901234", "1e999", "sent_seconds: must be a number"),
        ("\"agent_name\":\"a\"", "\"run_agent_name\":\"\"", "run_agent_name: must not be empty"),
        ("2023-11-14T22", "yesterday", "recorded_at: must be RFC 3339"),
        ("\"payload\":{}", "\"payload\":{},\"payload_text\":\"{}\"", "payload_text: is given beside payload"),
        ("\"payload\":{}", "\"payload_text\":\"{\"", "payload_text: must be JSON"),
        ("\"payload\":{}", "\"what\":{}", "what: is not known"),
        (",\"payload\":{}", "", "payload: is missing"),
        ("{\"run_id\"", "[\"run_id\"", "is no JSON object"),
    ] {
        assert!(line.contains(good), "{good}");
        let problem = parse_event(1, &line.replace(good, bad)).unwrap_err();
        assert!(problem.starts_with(expected), "{bad}: {problem}");
    }
}
