// The Java client of openapi-generator, with its library `native`. Run with the server's base URL.

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.AgentSdkApi;
import org.openapitools.client.api.PublicRunsApi;
import org.openapitools.client.api.StructureRunsApi;
import org.openapitools.client.model.AgentRunStatus;
import org.openapitools.client.model.IngestEvent;
import org.openapitools.client.model.PostedStructureEvent;
import org.openapitools.client.model.PublicError;
import org.openapitools.client.model.PublicNewEvent;
import org.openapitools.client.model.PublicRunStatus;
import org.openapitools.client.model.StructureEventBatch;

public class Client {
  private static final String RUN = "openapi-generator-java";

  /** The generated client reads every body as JSON. A stream is the only body that is text. */
  private static final class Bodies extends ObjectMapper {
    Bodies(ObjectMapper other) {
      super(other);
    }

    @Override
    public ObjectMapper copy() {
      return new Bodies(this);
    }

    @Override
    public <T> T readValue(String body, TypeReference<T> type) throws JsonProcessingException {
      if (type.getType() != String.class) {
        return super.readValue(body, type);
      }
      @SuppressWarnings("unchecked")
      T text = (T) body;
      return text;
    }
  }

  private static void check(boolean is, Object seen) {
    if (!is) {
      throw new AssertionError(seen);
    }
  }

  private static List<Long> seqs(String stream) throws JsonProcessingException {
    List<Long> found = new ArrayList<>();
    for (String line : stream.split("\n")) {
      if (line.startsWith("data: ")) {
        found.add(new ObjectMapper().readTree(line.substring(6)).get("seq").asLong());
      }
    }
    return found;
  }

  public static void main(String[] args) throws Exception {
    ApiClient client = new ApiClient();
    client.updateBaseUri(args[0]);
    client.setObjectMapper(new Bodies(client.getObjectMapper()));
    PublicRunsApi runs = new PublicRunsApi(client);

    // The stream is opened before the run begins.
    CompletableFuture<String> stream =
        CompletableFuture.supplyAsync(
            () -> {
              try {
                return runs.streamPublicRunEvents(RUN, null, null, true, null, null, null);
              } catch (ApiException failure) {
                throw new IllegalStateException(failure);
              }
            });

    PublicNewEvent step = new PublicNewEvent().type("step").payload(Map.of("n", 1)).eventId("first");
    for (boolean isRepeat : new boolean[] {false, true}) {
      var published = runs.publishPublicRunEvents(RUN, List.of(step), null).getEvents().get(0);
      check(published.getSeq() == 1 && published.getDuplicate() == isRepeat, published);
    }
    var posted = new PostedStructureEvent().type("step").payload(Map.of("n", 2)).timestamp(1726096542.083);
    new StructureRunsApi(client).postStructureRunEvents(RUN, new StructureEventBatch().events(List.of(posted)));
    IngestEvent end = new IngestEvent().eventType("run_end").sdkRunId(RUN).payload(Map.of("output", "done"));
    var ended = new AgentSdkApi(client).agentIngest(List.of(end), null).get(0);
    check(ended.getSeq() == 3 && ended.getRunStatus() == AgentRunStatus.SUCCESS, ended);

    check(seqs(stream.get()).equals(List.of(1L, 2L, 3L)), stream.get());

    var page = runs.listPublicRunEvents(RUN, 2, null, null, null, null, null);
    check(page.getEvents().size() == 2 && page.getHasMore(), page);
    var rest = runs.listPublicRunEvents(RUN, null, page.getNextCursor(), null, null, null, null);
    check(rest.getEvents().get(0).getType().equals("run_end") && !rest.getHasMore(), rest);
    check(runs.getPublicRun(RUN).getStatus() == PublicRunStatus.SUCCEEDED, RUN);

    try {
      runs.publishPublicRunEvents(RUN, List.of(new PublicNewEvent().type("step").payload(1).eventId("runlog:x")), null);
      throw new AssertionError("a reserved id was taken");
    } catch (ApiException refused) {
      PublicError error = client.getObjectMapper().readValue(refused.getResponseBody(), PublicError.class);
      check(refused.getCode() == 422 && error.getReasonCode().equals("invalid_field"), refused);
    }
    System.out.println("ok");
  }
}
