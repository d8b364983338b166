import com.example.runlog.v1.Event;
import com.example.runlog.v1.EventServiceGrpc;
import com.example.runlog.v1.EventServiceGrpc.EventServiceBlockingStub;
import com.example.runlog.v1.ListEventsRequest;
import com.example.runlog.v1.ListEventsResponse;
import com.example.runlog.v1.NewEvent;
import com.example.runlog.v1.Payload;
import com.example.runlog.v1.PublishRequest;
import com.example.runlog.v1.RunStart;
import com.example.runlog.v1.Step;
import com.example.runlog.v1.SubscribeRequest;
import com.example.runlog.v1.SubscribeResponse;
import com.google.gson.Gson;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.rpc.ErrorInfo;
import io.grpc.CallCredentials;
import io.grpc.CompositeChannelCredentials;
import io.grpc.ChannelCredentials;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Iterator;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Executor;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Publishes a run, lists it, and follows it to its end, over restarts of the server.
 *
 * <pre>java Follow ADDRESS RUN_ID SERVICE_CONFIG</pre>
 *
 * RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from protoc
 * and its plugin for gRPC, see buf.gen.yaml.
 */
public final class Follow {
  /** A stream that ends with one of these was cut. All others are final. */
  private static final Set<Status.Code> CUT = EnumSet.of(Status.Code.UNAVAILABLE, Status.Code.RESOURCE_EXHAUSTED);

  /** Sends the key with every call. */
  private static final class Bearer extends CallCredentials {
    private static final Metadata.Key<String> NAME =
        Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    private final Metadata headers = new Metadata();

    Bearer(String key) {
      headers.put(NAME, "Bearer " + key);
    }

    @Override
    public void applyRequestMetadata(RequestInfo request, Executor executor, MetadataApplier applier) {
      applier.apply(headers);
    }

    @Override
    public void thisUsesUnstableApi() {}
  }

  @SuppressWarnings("unchecked")
  private static ManagedChannel connect(String address, String serviceConfig) throws IOException {
    ChannelCredentials credentials = InsecureChannelCredentials.create();
    String authority = System.getenv("RUNLOG_CA");
    String key = System.getenv("RUNLOG_KEY");
    if (authority != null) {
      credentials = TlsChannelCredentials.newBuilder().trustManager(new File(authority)).build();
      if (key != null) {
        credentials = CompositeChannelCredentials.create(credentials, new Bearer(key));
      }
    }
    return Grpc.newChannelBuilder(address, credentials)
        // The numbers of the map must be doubles, as Gson makes them.
        .defaultServiceConfig(new Gson().fromJson(serviceConfig, Map.class))
        // The default since 1.43.
        .enableRetry()
        // Requests of up to this size are kept for retries; the default is 1 MiB.
        .perRpcBufferLimit(4 << 20)
        // Notices within 40 s that a peer is gone without a word.
        .keepAliveTime(30, TimeUnit.SECONDS)
        .keepAliveTimeout(10, TimeUnit.SECONDS)
        .build();
  }

  /** Calls each with the events after the cursor, once and in order, until the run ends. */
  private static void follow(EventServiceBlockingStub events, String runId, String cursor, Consumer<Event> each)
      throws InterruptedException {
    String epoch = "";
    while (true) {
      SubscribeRequest request =
          SubscribeRequest.newBuilder().setRunId(runId).setCursor(cursor).setEpoch(epoch).setWaitForRun(true).build();
      try {
        Iterator<SubscribeResponse> frames = events.subscribe(request);
        while (frames.hasNext()) {
          SubscribeResponse frame = frames.next();
          frame.getEvents().getEventsList().forEach(each);
          if (frame.hasRunEnded()) {
            return;
          }
          cursor = frame.getCursor();
          epoch = frame.getEpoch().isEmpty() ? epoch : frame.getEpoch();
        }
      } catch (StatusRuntimeException error) {
        if (!CUT.contains(error.getStatus().getCode())) {
          throw error;
        }
      }
      Thread.sleep(ThreadLocalRandom.current().nextLong(100, 1000));
    }
  }

  /** Calls each with the stored events, page by page. */
  private static void list(EventServiceBlockingStub events, String runId, Consumer<Event> each) {
    ListEventsRequest.Builder request = ListEventsRequest.newBuilder().setRunId(runId).setPageSize(30);
    while (true) {
      ListEventsResponse page = events.listEvents(request.build());
      page.getEventsList().forEach(each);
      if (!page.getHasMore()) {
        return;
      }
      request.setCursor(page.getNextCursor()).setEpoch(page.getEpoch());
    }
  }

  /** The reason of an error of the server; null for an error of the connection. */
  private static String reason(StatusRuntimeException error) throws InvalidProtocolBufferException {
    com.google.rpc.Status status = StatusProto.fromThrowable(error);
    for (Any detail : status.getDetailsList()) {
      if (detail.is(ErrorInfo.class)) {
        return detail.unpack(ErrorInfo.class).getReason();
      }
    }
    return null;
  }

  private static void publish(EventServiceBlockingStub events, String runId, String eventId, Payload.Builder payload) {
    // The event id makes a retry safe, so the service config may ask for one.
    NewEvent event = NewEvent.newBuilder().setEventId(eventId).setAgentName("planner").setPayload(payload).build();
    PublishRequest request = PublishRequest.newBuilder().setRunId(runId).addEvents(event).build();
    System.out.println("published " + events.publish(request).getEvents(0).getSeq());
  }

  private static Payload.Builder start(String framework) {
    return Payload.newBuilder().setRunStart(RunStart.newBuilder().setFramework(framework));
  }

  public static void main(String[] args) throws Exception {
    String runId = args[1];
    ManagedChannel channel = connect(args[0], Files.readString(Path.of(args[2])));
    try {
      System.out.println(
          "health " + HealthGrpc.newBlockingStub(channel).check(HealthCheckRequest.getDefaultInstance()).getStatus());
      EventServiceBlockingStub events = EventServiceGrpc.newBlockingStub(channel);
      publish(events, runId, "start", start("none"));
      for (int n = 1; n < 100; n++) {
        Step.Builder step = Step.newBuilder().setNodeName("node " + n).setPhase("end");
        publish(events, runId, "step-" + n, Payload.newBuilder().setStep(step));
      }
      try {
        publish(events, runId, "start", start("another"));
      } catch (StatusRuntimeException error) {
        System.out.println("refused " + reason(error));
      }
      list(events, runId, event -> System.out.println("listed " + event.getSeq() + " " + event.getEventId()));
      follow(events, runId, "", event -> System.out.println("followed " + event.getSeq() + " " + event.getEventId()));
      System.out.println("ended");
    } finally {
      channel.shutdownNow();
    }
  }
}
