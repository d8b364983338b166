//! The standard gRPC services: health and reflection.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};
use runlog::config::ServeOptions;
use runlog::pb::event_service_client::EventServiceClient;
use runlog::pb::list_events_request::Scope;
use runlog::pb::run_service_client::RunServiceClient;
use runlog::pb::{GetRunRequest, ListEventsRequest};
use tokio_stream::iter;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::builders::numbered;
use crate::harness::{TestServer, in_time};

const SERVICES: [&str; 3] = ["", "runlog.v1.EventService", "runlog.v1.RunService"];

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test]
async fn the_server_and_each_service_are_healthy_and_others_are_not_known() {
    let server = TestServer::start().await;
    let mut health = HealthClient::new(server.connect().await);
    for service in SERVICES {
        let answer = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service:?}");
    }
    assert_eq!(health.check(of("nothing")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn health_watches_are_notified_of_the_drain_and_do_not_delay_it() {
    let mut server =
        TestServer::start_with(|options| options.connections.drain_timeout = std::time::Duration::from_secs(600)).await;
    let mut health = HealthClient::new(server.connect().await);
    let mut watches = Vec::new();
    for service in SERVICES {
        let mut watch = health.watch(of(service)).await.unwrap().into_inner();
        assert_eq!(in_time(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
        watches.push(watch);
    }
    server.begin_to_drain();
    for mut watch in watches {
        assert_eq!(in_time(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
        assert_eq!(in_time(watch.message()).await.unwrap(), None);
    }
    server.stop().await;
}

#[tokio::test]
async fn an_admin_listener_takes_metrics_reflection_and_openapi_away_from_the_other_and_serves_no_events() {
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

    let admin = |options: &mut ServeOptions| options.admin_listen = Some("127.0.0.1:0".parse().unwrap());
    let mut server = TestServer::start_with(admin).await;
    server.publish("r", vec![numbered(1)]).await;
    for (address, is_admin) in [(server.address(), false), (server.admin_address(), true)] {
        for (path, is_served) in [
            ("/health/live", true),
            ("/health/ready", true),
            ("/health/deps", true),
            ("/metrics", is_admin),
            ("/openapi.json", is_admin),
            ("/", !is_admin),
            ("/console/main.js", !is_admin),
            ("/v1/caller", !is_admin),
            ("/v1/runs", !is_admin),
            ("/v1/runs/r", !is_admin),
            ("/api/structure-runs/r", !is_admin),
        ] {
            let status = reqwest::get(format!("http://{address}{path}")).await.unwrap().status().as_u16();
            assert_eq!(status, if is_served { 200 } else { 404 }, "{path} {is_admin}");
        }
        let channel = server.connect_to(address).await;
        let health = HealthClient::new(channel.clone()).check(of("")).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving);
        let run = GetRunRequest { run_id: "r".to_owned() };
        let run = RunServiceClient::new(channel.clone()).get_run(run).await;
        let events = ListEventsRequest { scope: Some(Scope::RunId("r".to_owned())), ..ListEventsRequest::default() };
        let events = EventServiceClient::new(channel.clone()).list_events(events).await;
        let ask = MessageRequest::ListServices(String::new());
        let ask = ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
        let reflection = ServerReflectionClient::new(channel).server_reflection_info(iter([ask])).await;
        let served =
            [run.map(drop), events.map(drop), reflection.map(drop)].map(|answer| answer.err().map(|e| e.code()));
        let missing = Some(Code::Unimplemented);
        assert_eq!(served, if is_admin { [missing, missing, None] } else { [None, None, missing] }, "{is_admin}");
    }
    server.stop().await;
}

/// Asks both versions of the protocol, which differ only in their package.
macro_rules! reflection {
    ($version:ident) => {{
        use tonic_reflection::pb::$version::ServerReflectionRequest;
        use tonic_reflection::pb::$version::server_reflection_client::ServerReflectionClient;
        use tonic_reflection::pb::$version::server_reflection_request::MessageRequest;
        use tonic_reflection::pb::$version::server_reflection_response::MessageResponse;

        let server = TestServer::start().await;
        let mut client = ServerReflectionClient::new(server.connect().await);
        let symbol = |name: &str| MessageRequest::FileContainingSymbol(name.to_owned());
        let questions = vec![
            MessageRequest::ListServices(String::new()),
            symbol("runlog.v1.EventService"),
            symbol("runlog.v1.RunService"),
            symbol("runlog.v1.Payload"),
            symbol("google.rpc.ErrorInfo"),
            MessageRequest::FileByFilename("google/rpc/error_details.proto".to_owned()),
            MessageRequest::FileByFilename("google/rpc/status.proto".to_owned()),
            MessageRequest::FileByFilename("google/protobuf/any.proto".to_owned()),
        ];
        let asked = questions
            .into_iter()
            .map(|question| ServerReflectionRequest { host: String::new(), message_request: Some(question) });
        let mut answers = client.server_reflection_info(iter(asked.collect::<Vec<_>>())).await.unwrap().into_inner();
        let (mut services, mut files) = (BTreeSet::new(), Vec::new());
        while let Some(answer) = in_time(answers.message()).await.unwrap() {
            match answer.message_response.unwrap() {
                MessageResponse::ListServicesResponse(list) => {
                    services.extend(list.service.into_iter().map(|service| service.name));
                }
                MessageResponse::FileDescriptorResponse(found) => files.extend(found.file_descriptor_proto),
                other => panic!("{other:?}"),
            }
        }
        let package = concat!("grpc.reflection.", stringify!($version), ".ServerReflection");
        for service in [SERVICES[1], SERVICES[2], "grpc.health.v1.Health", package] {
            assert!(services.contains(service), "{service} of {services:?}");
        }
        assert_describes_all(&files);
    }};
}

/// Asserts that the returned descriptors equal the descriptors of the build.
fn assert_describes_all(files: &[Vec<u8>]) {
    let files: Vec<_> = files.iter().map(|file| FileDescriptorProto::decode(&file[..]).unwrap()).collect();
    let built_from = FileDescriptorSet::decode(runlog::pb::FILE_DESCRIPTOR_SET).unwrap();
    for file in ["event_service", "run_service", "payload"] {
        let name = format!("runlog/v1/{file}.proto");
        let of_server = built_from.file.iter().find(|file| file.name() == name).unwrap();
        let received =
            files.iter().find(|file| file.name() == name).unwrap_or_else(|| panic!("{name} is not returned"));
        assert_eq!(received.service, of_server.service);
        assert_eq!(received.message_type, of_server.message_type);
    }
    let methods = files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
    let methods: BTreeSet<_> = methods.map(|method| method.name().to_owned()).collect();
    let of_events = ["ListEvents", "Publish", "PublishStream", "Subscribe"];
    let of_runs = [
        "CancelRun",
        "CreateRun",
        "CreateStreamToken",
        "EraseEvents",
        "GetRun",
        "GetUsage",
        "HoldRun",
        "ListRuns",
        "ReleaseRun",
        "ResumeRun",
        "SignalRun",
    ];
    let all: Vec<_> = of_events.into_iter().chain(of_runs).collect();
    assert_eq!(methods, all.into_iter().map(str::to_owned).collect());
    assert_describes_errors(&files);
}

/// Asserts that a generic client finds what it needs to show the details of an error.
fn assert_describes_errors(files: &[FileDescriptorProto]) {
    let messages_of = |name: &str| {
        let file = files.iter().find(|file| file.name() == name).unwrap_or_else(|| panic!("{name} is not returned"));
        file.message_type.iter().map(|message| message.name().to_owned()).collect::<BTreeSet<_>>()
    };
    let details = messages_of("google/rpc/error_details.proto");
    for message in ["ErrorInfo", "BadRequest", "RetryInfo"] {
        assert!(details.contains(message), "{message} of {details:?}");
    }
    assert!(messages_of("google/rpc/status.proto").contains("Status"));
    assert!(messages_of("google/protobuf/any.proto").contains("Any"));
}

#[test]
fn methods_say_whether_they_may_be_sent_again_and_publish_does_not_since_that_depends_on_its_event_ids() {
    use prost_types::method_options::IdempotencyLevel::{Idempotent, NoSideEffects};
    let files = FileDescriptorSet::decode(runlog::pb::FILE_DESCRIPTOR_SET).unwrap().file;
    let of = |level| {
        let methods = files.iter().flat_map(|file| &file.service).flat_map(|service| &service.method);
        let marked = methods.filter(move |method| {
            method.options.as_ref().and_then(|options| options.idempotency_level) == Some(i32::from(level))
        });
        marked.map(|method| method.name()).collect::<BTreeSet<_>>()
    };
    let reads = ["Backup", "GetCaller", "GetRun", "GetUsage", "ListEvents", "ListKeys", "ListRuns", "Subscribe"];
    assert_eq!(of(NoSideEffects), BTreeSet::from(reads));
    let writes = ["CancelRun", "CreateStreamToken", "EraseEvents", "HoldRun", "ReleaseRun", "RevokeKey"];
    assert_eq!(of(Idempotent), BTreeSet::from(writes));
}

#[tokio::test]
async fn reflection_v1_lists_and_describes_all_services() {
    reflection!(v1);
}

#[tokio::test]
async fn reflection_v1alpha_lists_and_describes_all_services() {
    reflection!(v1alpha);
}
