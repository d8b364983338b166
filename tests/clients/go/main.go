// Publishes a run, lists it, and follows it to its end, over restarts of the server.
//
//	follow ADDRESS RUN_ID SERVICE_CONFIG
//
// RUNLOG_CA is the file of the server's authority, for TLS; RUNLOG_KEY is the key of the caller. The stubs come from
// protoc-gen-go and protoc-gen-go-grpc, see buf.gen.yaml.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	runlog "example.com/worker/gen/runlog/v1"
)

// bearer sends the key with every call, over TLS only.
type bearer string

func (key bearer) GetRequestMetadata(context.Context, ...string) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(key)}, nil
}

func (bearer) RequireTransportSecurity() bool { return true }

func connect(address, serviceConfig string) (*grpc.ClientConn, error) {
	options := []grpc.DialOption{
		grpc.WithDefaultServiceConfig(serviceConfig),
		// Requests of up to this size are kept for retries; the default is 256 KiB.
		grpc.WithDefaultCallOptions(grpc.MaxRetryRPCBufferSize(4 << 20)),
		// Notices within 40 s that a peer is gone without a word.
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		// Waits at most this long between attempts to connect.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 2, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
	authority := os.Getenv("RUNLOG_CA")
	if authority == "" {
		return grpc.NewClient(address, append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))...)
	}
	tls, err := credentials.NewClientTLSFromFile(authority, "")
	if err != nil {
		return nil, err
	}
	options = append(options, grpc.WithTransportCredentials(tls))
	if key := os.Getenv("RUNLOG_KEY"); key != "" {
		options = append(options, grpc.WithPerRPCCredentials(bearer(key)))
	}
	return grpc.NewClient(address, options...)
}

// follow calls each with the events after the cursor, once and in order, until the run ends.
func follow(ctx context.Context, events runlog.EventServiceClient, runID, cursor string, each func(*runlog.Event)) error {
	epoch := ""
	for {
		stream, err := events.Subscribe(ctx, &runlog.SubscribeRequest{
			Scope:      &runlog.SubscribeRequest_RunId{RunId: runID},
			Start:      &runlog.SubscribeRequest_Cursor{Cursor: cursor},
			Epoch:      epoch,
			WaitForRun: true,
		})
		for err == nil {
			var frame *runlog.SubscribeResponse
			if frame, err = stream.Recv(); err != nil {
				break
			}
			for _, event := range frame.GetEvents().GetEvents() {
				each(event)
			}
			if frame.GetRunEnded() != nil {
				return nil
			}
			cursor = frame.Cursor
			if frame.Epoch != "" {
				epoch = frame.Epoch
			}
		}
		// A stream that ends in one of these ways was cut. All others are final.
		code := status.Code(err)
		if !errors.Is(err, io.EOF) && code != codes.Unavailable && code != codes.ResourceExhausted {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100*time.Millisecond + time.Duration(rand.Int63n(int64(time.Second)))):
		}
	}
}

// list calls each with the stored events, page by page.
func list(ctx context.Context, events runlog.EventServiceClient, runID string, each func(*runlog.Event)) error {
	request := &runlog.ListEventsRequest{Scope: &runlog.ListEventsRequest_RunId{RunId: runID}, PageSize: 30}
	for {
		page, err := events.ListEvents(ctx, request)
		if err != nil {
			return err
		}
		for _, event := range page.Events {
			each(event)
		}
		if !page.HasMore {
			return nil
		}
		request.Cursor, request.Epoch = page.NextCursor, page.Epoch
	}
}

// reason is that of an error of the server; empty for an error of the connection.
func reason(err error) string {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.ErrorInfo); ok {
			return info.Reason
		}
	}
	return ""
}

func run(ctx context.Context, address, runID, serviceConfig string) error {
	channel, err := connect(address, serviceConfig)
	if err != nil {
		return err
	}
	defer channel.Close()
	health, err := grpc_health_v1.NewHealthClient(channel).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
	if err != nil {
		return err
	}
	fmt.Println("health", health.Status)
	events := runlog.NewEventServiceClient(channel)

	publish := func(eventID string, payload *runlog.Payload) error {
		// The event_id makes a retry safe, so the service config may ask for one.
		event := &runlog.NewEvent{EventId: eventID, AgentName: "planner", Payload: payload}
		answer, err := events.Publish(ctx, &runlog.PublishRequest{RunId: runID, Events: []*runlog.NewEvent{event}})
		if err == nil {
			fmt.Println("published", answer.Events[0].Seq)
		}
		return err
	}
	start := func(framework string) *runlog.Payload {
		return &runlog.Payload{Variant: &runlog.Payload_RunStart{RunStart: &runlog.RunStart{Framework: &framework}}}
	}
	if err := publish("start", start("none")); err != nil {
		return err
	}
	for n := 1; n < 100; n++ {
		step := &runlog.Step{NodeName: proto.String(fmt.Sprint("node ", n)), Phase: proto.String("end")}
		if err := publish(fmt.Sprint("step-", n), &runlog.Payload{Variant: &runlog.Payload_Step{Step: step}}); err != nil {
			return err
		}
	}
	fmt.Println("refused", reason(publish("start", start("another"))))
	err = list(ctx, events, runID, func(event *runlog.Event) { fmt.Println("listed", event.Seq, event.EventId) })
	if err != nil {
		return err
	}
	err = follow(ctx, events, runID, "", func(event *runlog.Event) { fmt.Println("followed", event.Seq, event.EventId) })
	if err != nil {
		return err
	}
	fmt.Println("ended")
	return nil
}

func main() {
	serviceConfig, err := os.ReadFile(os.Args[3])
	if err == nil {
		err = run(context.Background(), os.Args[1], os.Args[2], string(serviceConfig))
	}
	if err != nil {
		log.Fatal(err)
	}
}
