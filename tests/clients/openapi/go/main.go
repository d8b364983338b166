// The Go client of openapi-generator. Run with the server's base URL.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"
	"strings"

	"generated/runlog"
)

const run = "openapi-generator-go"

func check(is bool, what string, seen any) {
	if !is {
		log.Fatalf("%s: %+v", what, seen)
	}
}

func seqs(stream string) []float64 {
	var found []float64
	for _, line := range strings.Split(stream, "\n") {
		if !strings.HasPrefix(line, "data: ") {
			continue
		}
		var event map[string]any
		check(json.Unmarshal([]byte(line[6:]), &event) == nil, "the event is JSON", line)
		found = append(found, event["seq"].(float64))
	}
	return found
}

func main() {
	configuration := runlog.NewConfiguration()
	configuration.Servers = runlog.ServerConfigurations{{URL: os.Args[1]}}
	client, ctx := runlog.NewAPIClient(configuration), context.Background()
	public := client.PublicRunsAPI

	// The stream is opened before the run begins.
	streamed := make(chan string)
	go func() {
		text, _, err := public.StreamPublicRunEvents(ctx, run).Wait(true).Execute()
		check(err == nil, "the stream ends", err)
		streamed <- text
	}()

	step := runlog.NewPublicNewEvent(map[string]any{"n": 1}, "step")
	step.SetEventId("first")
	for _, isRepeat := range []bool{false, true} {
		published, _, err := public.PublishPublicRunEvents(ctx, run).PublicNewEvent([]runlog.PublicNewEvent{*step}).Execute()
		check(err == nil, "the event is stored", err)
		check(published.Events[0].Seq == 1 && published.Events[0].Duplicate == isRepeat, "it is stored once", published)
	}
	posted := runlog.NewPostedStructureEvent("step")
	posted.Payload = map[string]any{"n": 2}
	posted.SetTimestamp(1726096542.083)
	batch := runlog.NewStructureEventBatch([]runlog.PostedStructureEvent{*posted})
	_, err := client.StructureRunsAPI.PostStructureRunEvents(ctx, run).StructureEventBatch(*batch).Execute()
	check(err == nil, "the batch is stored", err)
	end := runlog.NewIngestEvent("run_end", run)
	end.Payload = map[string]any{"output": "done"}
	ended, _, err := client.AgentSDKAPI.AgentIngest(ctx).IngestEvent([]runlog.IngestEvent{*end}).Execute()
	check(err == nil, "the end is stored", err)
	check(ended[0].Seq == 3 && ended[0].RunStatus == runlog.AGENTRUNSTATUS_SUCCESS, "the run has ended", ended)

	found := seqs(<-streamed)
	check(len(found) == 3 && found[0] == 1 && found[2] == 3, "each event once, in order", found)

	page, _, err := public.ListPublicRunEvents(ctx, run).Limit(2).Execute()
	check(err == nil && len(page.Events) == 2 && page.HasMore, "the first page", err)
	rest, _, err := public.ListPublicRunEvents(ctx, run).Cursor(page.NextCursor).Execute()
	check(err == nil && len(rest.Events) == 1 && rest.Events[0].Type == "run_end" && !rest.HasMore, "the rest", err)
	shown, _, err := public.GetPublicRun(ctx, run).Execute()
	check(err == nil && shown.Status == runlog.PUBLICRUNSTATUS_SUCCEEDED, "the status", err)

	reserved := runlog.NewPublicNewEvent(1, "step")
	reserved.SetEventId("runlog:x")
	_, answer, err := public.PublishPublicRunEvents(ctx, run).PublicNewEvent([]runlog.PublicNewEvent{*reserved}).Execute()
	var refused *runlog.GenericOpenAPIError
	check(errors.As(err, &refused) && answer.StatusCode == 422, "a reserved id is refused", err)
	problem, isTyped := refused.Model().(runlog.PublicError)
	check(isTyped && problem.ReasonCode == "invalid_field", "the error is typed", refused.Model())
	log.Print("ok")
}
