// Publishes a run, lists it, and follows it to its end, over restarts of the server.
//
//   follow ADDRESS RUN_ID SERVICE_CONFIG
//
// RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from protoc
// and grpc_cpp_plugin, see buf.gen.yaml.

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "runlog/v1/event_service.grpc.pb.h"

using Events = runlog::v1::EventService::Stub;
using OnEvent = std::function<void(const runlog::v1::Event&)>;

std::string Read(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error("cannot read " + path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

std::shared_ptr<grpc::Channel> Connect(const std::string& address, const std::string& service_config) {
  grpc::ChannelArguments arguments;
  arguments.SetServiceConfigJSON(service_config);
  // Requests of up to this size are kept for retries; the default is 256 KiB.
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, 4 << 20);
  // Notices within 40 s that a peer is gone without a word.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  // Waits at most this long between attempts to connect.
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  auto credentials = grpc::InsecureChannelCredentials();
  if (const char* authority = std::getenv("RUNLOG_CA")) {
    grpc::SslCredentialsOptions tls;
    tls.pem_root_certs = Read(authority);
    credentials = grpc::SslCredentials(tls);
    if (const char* key = std::getenv("RUNLOG_KEY")) {
      credentials = grpc::CompositeChannelCredentials(credentials, grpc::AccessTokenCredentials(key));
    }
  }
  return grpc::CreateCustomChannel(address, credentials, arguments);
}

// Calls on_event with the events after the cursor, each once and in order, until the run ends; over cut streams.
grpc::Status Follow(Events& events, const std::string& run_id, std::string cursor, const OnEvent& on_event) {
  std::minstd_rand random(std::random_device{}());
  std::string epoch;
  for (;;) {
    runlog::v1::SubscribeRequest request;
    request.set_run_id(run_id);
    request.set_cursor(cursor);
    request.set_epoch(epoch);
    request.set_wait_for_run(true);
    grpc::ClientContext context;
    auto stream = events.Subscribe(&context, request);
    runlog::v1::SubscribeResponse frame;
    bool has_ended = false;
    while (stream->Read(&frame)) {
      for (const auto& event : frame.events().events()) on_event(event);
      has_ended = has_ended || frame.has_run_ended();
      cursor = frame.cursor();
      if (!frame.epoch().empty()) epoch = frame.epoch();
    }
    const auto status = stream->Finish();
    const auto code = status.error_code();
    if (has_ended) return grpc::Status::OK;
    // A stream that ends in one of these ways was cut. All others are final.
    if (!status.ok() && code != grpc::UNAVAILABLE && code != grpc::RESOURCE_EXHAUSTED) return status;
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random() % 1000));
  }
}

// Calls on_event with the stored events, page by page.
grpc::Status List(Events& events, const std::string& run_id, const OnEvent& on_event) {
  runlog::v1::ListEventsRequest request;
  request.set_run_id(run_id);
  request.set_page_size(30);
  for (;;) {
    grpc::ClientContext context;
    runlog::v1::ListEventsResponse page;
    const auto status = events.ListEvents(&context, request, &page);
    if (!status.ok()) return status;
    for (const auto& event : page.events()) on_event(event);
    if (!page.has_more()) return status;
    request.set_cursor(page.next_cursor());
    request.set_epoch(page.epoch());
  }
}

// The reason of an error of the server; empty for an error of the connection.
std::string Reason(const grpc::Status& status) {
  google::rpc::Status details;
  google::rpc::ErrorInfo info;
  details.ParseFromString(status.error_details());
  for (const auto& detail : details.details()) {
    if (detail.UnpackTo(&info)) return info.reason();
  }
  return "";
}

void Check(const grpc::Status& status) {
  if (!status.ok()) throw std::runtime_error(Reason(status) + " " + status.error_message());
}

grpc::Status Publish(Events& events, const std::string& run_id, const std::string& event_id,
                     const runlog::v1::Payload& payload) {
  runlog::v1::PublishRequest request;
  request.set_run_id(run_id);
  auto* event = request.add_events();
  // The event_id makes a retry safe, so the service config may ask for one.
  event->set_event_id(event_id);
  event->set_agent_name("planner");
  *event->mutable_payload() = payload;
  grpc::ClientContext context;
  runlog::v1::PublishResponse answer;
  const auto status = events.Publish(&context, request, &answer);
  if (status.ok()) std::cout << "published " << answer.events(0).seq() << std::endl;
  return status;
}

int Run(const std::string& address, const std::string& run_id, const std::string& service_config) {
  const auto channel = Connect(address, Read(service_config));
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckResponse health;
  Check(grpc::health::v1::Health::NewStub(channel)->Check(&context, {}, &health));
  std::cout << "health " << grpc::health::v1::HealthCheckResponse::ServingStatus_Name(health.status()) << std::endl;
  const auto events = runlog::v1::EventService::NewStub(channel);

  runlog::v1::Payload payload;
  payload.mutable_run_start()->set_framework("none");
  Check(Publish(*events, run_id, "start", payload));
  for (int n = 1; n < 100; ++n) {
    payload.mutable_step()->set_node_name("node " + std::to_string(n));
    payload.mutable_step()->set_phase("end");
    Check(Publish(*events, run_id, "step-" + std::to_string(n), payload));
  }
  payload.mutable_run_start()->set_framework("another");
  std::cout << "refused " << Reason(Publish(*events, run_id, "start", payload)) << std::endl;
  const auto print = [](const char* how) {
    return [how](const auto& event) { std::cout << how << ' ' << event.seq() << ' ' << event.event_id() << std::endl; };
  };
  Check(List(*events, run_id, print("listed")));
  Check(Follow(*events, run_id, "", print("followed")));
  std::cout << "ended" << std::endl;
  return 0;
}

int main(int, char** args) {
  try {
    return Run(args[1], args[2], args[3]);
  } catch (const std::exception& error) {
    std::cerr << error.what() << std::endl;
    return 1;
  }
}
