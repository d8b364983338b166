# Publishes a run, lists it, and follows it to its end, over restarts of the server.
#
#   ruby follow.rb ADDRESS RUN_ID SERVICE_CONFIG
#
# RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from protoc
# and grpc_ruby_plugin, see buf.gen.yaml.

require 'google/protobuf/well_known_types'
require 'google/rpc/error_details_pb'
require 'google/rpc/status_pb'
require 'grpc'
require 'grpc/health/v1/health_services_pb'
require 'runlog/v1/event_service_services_pb'

$stdout.sync = true

# A stream that ends with one of these was cut. All others are final.
CUT = [GRPC::Unavailable, GRPC::ResourceExhausted].freeze

def connect(address, service_config)
  options = {
    'grpc.service_config' => service_config,
    # Requests of up to this size are kept for retries; the default is 256 KiB.
    'grpc.per_rpc_retry_buffer_size' => 4 << 20,
    # Notices within 40 s that a peer is gone without a word.
    'grpc.keepalive_time_ms' => 30_000,
    'grpc.keepalive_timeout_ms' => 10_000,
    # Waits at most this long between attempts to connect.
    'grpc.max_reconnect_backoff_ms' => 2_000
  }
  credentials = :this_channel_is_insecure
  if (authority = ENV['RUNLOG_CA'])
    credentials = GRPC::Core::ChannelCredentials.new(File.read(authority))
    if (key = ENV['RUNLOG_KEY'])
      bearer = ->(_) { { authorization: "Bearer #{key}" } }
      credentials = credentials.compose(GRPC::Core::CallCredentials.new(bearer))
    end
  end
  # One connection for all stubs.
  GRPC::ClientStub.setup_channel(nil, address, credentials, options)
end

# Yields the events after the cursor, each once and in order, until the run ends.
def follow(events, run_id, cursor = '')
  epoch = ''
  loop do
    request = Runlog::V1::SubscribeRequest.new(run_id: run_id, cursor: cursor, epoch: epoch, wait_for_run: true)
    begin
      events.subscribe(request).each do |frame|
        frame.events&.events&.each { |event| yield event }
        return if frame.run_ended

        cursor = frame.cursor
        epoch = frame.epoch unless frame.epoch.empty?
      end
    rescue *CUT
      # Resumes below.
    end
    sleep rand(0.1..1.0)
  end
end

# Yields the stored events, page by page.
def list(events, run_id)
  request = Runlog::V1::ListEventsRequest.new(run_id: run_id, page_size: 30)
  loop do
    page = events.list_events(request)
    page.events.each { |event| yield event }
    return unless page.has_more

    request.cursor = page.next_cursor
    request.epoch = page.epoch
  end
end

# The reason of an error of the server; nil for an error of the connection.
def reason(error)
  status = error.to_rpc_status or return nil
  info = status.details.find { |detail| detail.is(Google::Rpc::ErrorInfo) }
  info&.unpack(Google::Rpc::ErrorInfo)&.reason
end

address, run_id, service_config = ARGV
channel = connect(address, File.read(service_config))
# The channel has the credentials.
stub = ->(service) { service::Stub.new(nil, nil, channel_override: channel) }

health = stub.call(Grpc::Health::V1::Health).check(Grpc::Health::V1::HealthCheckRequest.new)
puts "health #{health.status}"
events = stub.call(Runlog::V1::EventService)

publish = lambda do |event_id, payload|
  # The event_id makes a retry safe, so the service config may ask for one.
  event = Runlog::V1::NewEvent.new(event_id: event_id, agent_name: 'planner', payload: Runlog::V1::Payload.new(payload))
  answer = events.publish(Runlog::V1::PublishRequest.new(run_id: run_id, events: [event]))
  puts "published #{answer.events[0].seq}"
end

publish.call('start', run_start: Runlog::V1::RunStart.new(framework: 'none'))
(1...100).each do |n|
  publish.call("step-#{n}", step: Runlog::V1::Step.new(node_name: "node #{n}", phase: 'end'))
end
begin
  publish.call('start', run_start: Runlog::V1::RunStart.new(framework: 'another'))
rescue GRPC::BadStatus => e
  puts "refused #{reason(e)}"
end
list(events, run_id) { |event| puts "listed #{event.seq} #{event.event_id}" }
follow(events, run_id) { |event| puts "followed #{event.seq} #{event.event_id}" }
puts 'ended'
